"""What a classical optimiser would do with the particles, for the policy to add to.

Ensemble Kalman inversion whose particles stay: their centre takes the Kalman step of an
`EnsembleModel`, and they come together as they go. Where `eki` draws its particles anew, these move
by bounded increments, as algorithm 1 has it, and look at nearly the same places stage after stage:
so they start in directions that are orthogonal, and the slopes forget sooner, since an older stage
says little that the present one does not, and says it of another place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.calibrators.ensemble_model import (
    MARGIN,
    MAX_WINDOW,
    EnsembleModel,
    mean_of_last,
    prior_in_logits,
    shrunk_spread,
    to_logits,
)
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: Shortest limit on a step of the centre in one coordinate, in logits.
LEAST_STEP = 0.1


class ClassicalOptimizer:
    """The particles' centre, what they show of it, and the steps that follow.

    Args:
        start: Λ_0 in the unit cube, shape (d,): the mean of the prior where the user states none.
        targets: The targets.
        config: The calibrator's fields.
    """

    def __init__(self, start: FloatArray, targets: TargetSet, config: PPOCalibratorConfig) -> None:
        self._config = config
        self._prior, self._precision = prior_in_logits(Prior.around(start), config.prior_std)
        self._model = EnsembleModel(
            targets, len(start), config.slope_memory, config.level_memory, config.slope_ridge
        )
        #: The particles' mean (d,) when they were seen last, in logits.
        self._centre = to_logits(start, MARGIN)
        #: How long the spread has shrunk so far, in `shrink_stages`' stages.
        self._shrinking = np.zeros(())
        #: The last centres, shape (at most MAX_WINDOW, d).
        self._recent: FloatArray = np.zeros((0, len(start)))

    def set_prior(self, prior: Prior) -> None:
        """Takes its means for Λ_0 as what no target speaks of is pulled to."""
        self._prior, self._precision = prior_in_logits(prior, self._config.prior_std)

    def observe(
        self, profiles: FloatArray, particles: npt.NDArray[np.intp], outcomes: FloatArray
    ) -> dict[str, float]:
        """Learns from the episodes of a stage.

        Args:
            profiles: Profiles of all particles, unit cube, (B, d).
            particles: Those that have outcomes, (M,).
            outcomes: Outcome vectors, (M, N), NaN where one did not happen.

        Returns:
            Numbers to log: the particles' ``spread`` in logits and the ``worst_miss`` that is
            expected at their centre, in scales.
        """
        coordinates = to_logits(profiles)
        centre = coordinates.mean(axis=0)
        self._model.move(centre - self._centre)
        self._centre = centre
        self._recent = np.concatenate([self._recent, centre[None]])[-MAX_WINDOW:]
        self._model.observe(coordinates[particles] - centre, outcomes)
        self._shrinking = self._shrinking + self._model.haste
        return {
            "spread": _length(coordinates - centre),
            "worst_miss": float(np.abs(self._model.level).max()),
        }

    def steps(self, profiles: FloatArray, noise: float) -> FloatArray:
        """What each particle would do, in logits, (B, d): 0 before anything was observed.

        All take the centre's Kalman step, and a part of the way to the centre: so much that, with
        the noise that the policy adds, they are spread as far as this stage wants.

        Args:
            profiles: Profiles of all particles, unit cube, (B, d).
            noise: Standard deviation that the policy adds, in logits.
        """
        config = self._config
        if not self._model.observed:
            return np.zeros(profiles.shape)
        offsets = to_logits(profiles) - self._centre
        spread = _length(offsets)
        step, _ = self._model.step(
            self._centre - self._prior,
            self._precision,
            max(config.max_step * spread, LEAST_STEP),
        )
        wanted = shrunk_spread(
            config.initial_spread, config.min_spread, float(self._shrinking), config.shrink_stages
        )
        left = np.sqrt(max(wanted**2 - noise**2, 0.0)) / max(spread, 1e-9)
        return np.asarray(config.kalman_gain * step - (1.0 - min(left, 1.0)) * offsets)

    def estimate(self, stage: int) -> FloatArray | None:
        """Mean of the last centres, unit cube, shape (d,); None before anything was observed."""
        return mean_of_last(self._recent, stage) if len(self._recent) else None

    _STATE = ("centre", "shrinking", "recent")

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as arrays."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in self._STATE}
        return arrays | {"model": self._model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        for name in self._STATE:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        self._model.load_state_dict(state["model"])


def _length(offsets: FloatArray) -> float:
    """Root mean square of offsets (B, d)."""
    return float(np.sqrt(np.mean(np.square(offsets))))
