"""Configuration of ensemble Kalman inversion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rllib_calsheq.core.configuration import require


@dataclass(frozen=True)
class EKIConfig:
    """Fields of ensemble Kalman inversion; lengths are in logits of the unit cube.

    Attributes:
        prior_std: Standard deviation of the prior around Λ_0 in every coordinate, where the user
            states none: how far the profile may go for a target's sake. What no target speaks of
            stays at Λ_0, or goes where the user expects it.
        initial_spread: Standard deviation of the particles around their centre at the start.
        min_spread: The standard deviation that it shrinks to.
        shrink_stages: Stages in which the spread falls to 1/e, until `min_spread`; a third of
            them once all targets are near.
        max_step: Largest move of the centre in one coordinate and stage, in spreads.
        slope_memory: Stages after which a stage's weight in the slopes has fallen to 1/e.
        level_memory: The same for the outcomes at the centre.
        ridge: Ridge penalty on the slopes, in episodes at one logit from the centre.
    """

    prior_std: float = 1.5
    initial_spread: float = 1.8
    min_spread: float = 0.2
    shrink_stages: float = 20.0
    max_step: float = 0.7
    slope_memory: float = 8.0
    level_memory: float = 2.0
    ridge: float = 2.0

    @property
    def uses_prior(self) -> bool:
        """Whether the calibrator pulls to a prior: always."""
        return True

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
            require(
                good and 0 < value < np.inf, f"calibrator field {name}", value, "numbers above 0"
            )
        require(
            self.min_spread <= self.initial_spread,
            "calibrator field min_spread",
            self.min_spread,
            f"numbers up to initial_spread, {self.initial_spread}",
        )
