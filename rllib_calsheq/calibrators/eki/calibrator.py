"""Ensemble Kalman inversion: slopes from the particles, a Kalman step towards all targets.

What the particles show, and the step, are an `EnsembleModel`'s; here is where they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.calibrators.eki.config import EKIConfig
from rllib_calsheq.calibrators.ensemble_model import (
    MARGIN,
    MAX_WINDOW,
    EnsembleModel,
    from_logits,
    mean_of_last,
    mirrored_draws,
    prior_in_logits,
    shrunk_spread,
    to_logits,
)
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: Two mirrored particles are the fewest that show a slope.
MIN_PARTICLES = 2


class EKICalibrator(Calibrator):
    """Ensemble Kalman inversion with forgetting: a centre, and particles drawn around it.

    The particles of a stage are drawn anew (`mirrored_draws`). They start wide, since percentiles
    have plateaus with no slope on them, and their spread shrinks to a floor that goes on measuring.

    Args:
        start: Initial profile Λ_0 in the unit cube, shape (d,): the mean of the prior.
        num_particles: B, the size of the ensemble; at least 2.
        targets: The targets; a target's weight is worth as many episodes.
        seed: Seed of all its random numbers.
        config: Its fields.

    Raises:
        ValueError: If there are too few particles.
    """

    def __init__(
        self,
        start: npt.ArrayLike,
        num_particles: int,
        targets: TargetSet,
        seed: int,
        config: EKIConfig | None = None,
    ) -> None:
        super().__init__(start, num_particles, targets, seed)
        require(
            num_particles >= MIN_PARTICLES,
            "num_particles of calibrator 'eki'",
            num_particles,
            f"integers from {MIN_PARTICLES}, since slopes need a pair",
        )
        self.config = config or EKIConfig()
        self._prior, self._precision = prior_in_logits(self.prior, self.config.prior_std)
        #: Centre of the particles (d,), where the outcomes' levels are taken.
        self._centre = to_logits(self.profiles[0], MARGIN)
        #: Coordinates of the particles (B, d).
        self._coordinates: FloatArray = np.tile(self._centre, (num_particles, 1))
        self._model = EnsembleModel(
            targets,
            self.dim,
            self.config.slope_memory,
            self.config.level_memory,
            self.config.ridge,
        )
        #: How often the spread has shrunk so far, in `shrink_stages`' stages.
        self._shrinking = np.zeros(())
        #: The last centres, shape (at most MAX_WINDOW, d).
        self._recent: FloatArray = np.zeros((0, self.dim))

    def set_prior(self, prior: Prior) -> None:
        """Takes its means for Λ_0 as what no target speaks of is pulled to."""
        super().set_prior(prior)
        self._prior, self._precision = prior_in_logits(prior, self.config.prior_std)

    @property
    def spread(self) -> float:
        """Standard deviation of the particles around their centre at this stage, in logits."""
        config = self.config
        return shrunk_spread(
            config.initial_spread, config.min_spread, float(self._shrinking), config.shrink_stages
        )

    # --- the two halves of a stage ----------------------------------------------------

    def _propose(self) -> FloatArray:
        drawn = mirrored_draws(self.rng(stream=Stream.PROPOSAL), self.num_particles, self.dim)
        self._coordinates = self._centre + self.spread * drawn
        return from_logits(self._coordinates)

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        self._model.observe(self._coordinates[particles] - self._centre, outcomes)
        haste = self._model.haste
        step, damping = self._model.step(
            self._centre - self._prior,
            self._precision,
            self.config.max_step * self.spread,
        )
        self._centre = self._centre + step
        self._model.move(step)
        self._recent = np.concatenate([self._recent, self._centre[None]])[-MAX_WINDOW:]
        numbers = {
            "spread": self.spread,
            "worst_miss": float(np.abs(self._model.level).max()),
            "step": float(np.abs(step).max()),
            "damping": damping,
        }
        self._shrinking = self._shrinking + haste
        return numbers

    # --- what was found ---------------------------------------------------------------

    def estimate(self) -> FloatArray | None:
        """Mean of the last centres, unit cube, shape (d,); None before the first `tell`."""
        return mean_of_last(self._recent, self.stage) if len(self._recent) else None

    # --- state ------------------------------------------------------------------------

    _STATE = ("centre", "coordinates", "shrinking", "recent")

    def state_dict(self) -> dict[str, Any]:
        """Particles, and all that was learned of the outcomes."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in self._STATE}
        return super().state_dict() | arrays | {"model": self._model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If the state belongs to another number of particles or parameters.
        """
        super().load_state_dict(state)
        for name in self._STATE:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        self._model.load_state_dict(state["model"])
