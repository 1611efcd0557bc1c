"""Configuration of the CMA-ES calibrator. Needs no cma package."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rllib_calsheq.core.configuration import configuration, require

#: The package keeps standard deviations below this part of the box.
MAX_STD = 1 / 3


@configuration
class CMAConfig:
    """Fields of the CMA-ES calibrator.

    Attributes:
        initial_std: Standard deviation σ_0 of the first population, in the unit cube.
        min_std: Smallest standard deviation in any parameter, in the unit cube; keeps the
            population exploring, since the equilibrium moves while the agents learn. 0 for
            no limit.
    """

    initial_std: Annotated[float, Field(ge=1e-6, le=MAX_STD)] = 0.25
    min_std: Annotated[float, Field(ge=0, le=MAX_STD)] = 0.0

    def __post_init__(self) -> None:
        require(
            self.min_std <= self.initial_std,
            "min_std",
            self.min_std,
            f"numbers up to initial_std, {self.initial_std}",
        )
