"""Configuration of the CMA-ES calibrator. Needs no cma package."""

from __future__ import annotations

from dataclasses import dataclass

from rllib_calsheq.configuration import require

#: The package keeps standard deviations below this part of the box.
MAX_STD = 1 / 3


@dataclass(frozen=True)
class CMAConfig:
    """Fields of the CMA-ES calibrator.

    Attributes:
        initial_std: Standard deviation σ_0 of the first population, in the unit cube.
        min_std: Smallest standard deviation in any parameter, in the unit cube; keeps the
            population exploring, since the equilibrium moves while the agents learn. 0 for
            no limit.
    """

    initial_std: float = 0.25
    min_std: float = 0.0

    def __post_init__(self) -> None:
        for name, low, allowed in (
            ("initial_std", 1e-6, "numbers from 1e-6 to 1/3"),
            ("min_std", 0.0, "numbers from 0 to 1/3"),
        ):
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
            good = good and low <= value <= MAX_STD
            require(good, f"calibrator field {name}", value, allowed)
        require(
            self.min_std <= self.initial_std,
            "calibrator field min_std",
            self.min_std,
            f"numbers up to initial_std, {self.initial_std}",
        )
