"""Ensemble Kalman inversion: slopes from the particles, a Kalman step, never far from the prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from rllib_calsheq.calibrators.eki.config import EKIConfig
from rllib_calsheq.calibrators.recursive_ridge import RecursiveRidge
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool

#: A Λ_0 at a bound is taken to be this far inside, so that its logit is finite.
MARGIN = 0.01
#: The noise of a mean miss is taken to be at least this, in scales.
LEAST_NOISE = 0.03
MODEL_ERROR = 0.5
#: Factor by which the damping of a step grows until the step is short enough.
DAMPING_FACTOR = 2.0
#: The recommended profile averages over at most so many of the last centres, and at most this
#: part of all stages.
MAX_WINDOW = 10
LARGEST_WINDOW = 0.25


class EKICalibrator(Calibrator):
    """Ensemble Kalman inversion with forgetting: a centre, and particles drawn around it."""

    def __init__(
        self,
        start: npt.ArrayLike,
        num_particles: int,
        targets: TargetSet,
        seed: int,
        config: EKIConfig | None = None,
    ) -> None:
        super().__init__(start, num_particles, targets, seed)
        self.config = config or EKIConfig()
        K = len(targets)
        self._prior: FloatArray = logit(np.clip(self.profiles[0], MARGIN, 1 - MARGIN))
        #: Centre of the particles (d,), where the outcomes' levels are taken.
        self._centre = self._prior.copy()
        #: Coordinates of the particles (B, d).
        self._coordinates: FloatArray = np.tile(self._prior, (num_particles, 1))
        self._slopes = RecursiveRidge(
            self.dim, K, float(np.exp(-1 / self.config.slope_memory)), self.config.ridge
        )
        #: Mean misses at the centre (K,), and the weights of the episodes behind them.
        self._level = np.zeros(K)
        self._level_weight = np.zeros(K)
        #: Sums and weights of the squared residuals (K,).
        self._squares = np.zeros(K)
        self._squares_weight = np.zeros(K)
        self._recent: FloatArray = np.zeros((0, self.dim))

    @property
    def spread(self) -> float:
        c = self.config
        return max(c.min_spread, c.initial_spread * float(np.exp(-self.stage / c.shrink_stages)))

    def _propose(self) -> FloatArray:
        rng = self.rng(stream=Stream.PROPOSAL)
        half = rng.standard_normal((self.num_particles // 2, self.dim))
        rest = np.zeros((self.num_particles % 2, self.dim))
        self._coordinates = self._centre + self.spread * np.concatenate([half, -half, rest])
        return np.asarray(expit(self._coordinates))

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        targets = self.targets
        misses = (outcomes[:, targets.index] - targets.values) / targets.scales
        offsets = self._coordinates[particles] - self._centre
        self._observe(offsets, misses)
        step, damping = self._step()
        self._centre = self._centre + step
        self._level = self._level + step @ self._slopes.coefficients
        self._recent = np.concatenate([self._recent, self._centre[None]])[-MAX_WINDOW:]
        return {
            "spread": self.spread,
            "worst_miss": float(np.abs(self._level).max()),
            "step": float(np.abs(step).max()),
            "damping": damping,
        }

    def _observe(self, offsets: FloatArray, misses: FloatArray) -> None:
        happened = np.isfinite(misses)
        count = happened.sum(axis=0)
        predicted = offsets @ self._slopes.coefficients
        found = pool(np.where(happened, misses - predicted, np.nan))
        level = np.where(count > 0, found, self._level)
        filled = np.where(happened, misses, level + predicted)
        centred = offsets - offsets.mean(axis=0)
        labels = filled - filled.mean(axis=0)
        self._slopes.update(centred, labels)
        residuals = np.where(happened, labels - centred @ self._slopes.coefficients, 0.0)

        predicted = offsets @ self._slopes.coefficients
        found = pool(np.where(happened, misses - predicted, np.nan))
        decay = float(np.exp(-1 / self.config.level_memory))
        self._level_weight = decay * self._level_weight + count
        gain = count / np.maximum(self._level_weight, 1)
        self._level = self._level + gain * np.where(count > 0, found - self._level, 0.0)
        decay = float(np.exp(-1 / self.config.slope_memory))
        self._squares = decay * self._squares + np.square(residuals).sum(axis=0)
        self._squares_weight = decay * self._squares_weight + count

    def _step(self) -> tuple[FloatArray, float]:
        """Move (d,) of the centre, and the damping that kept it short."""
        variance = np.maximum(self._squares / np.maximum(self._squares_weight, 1), LEAST_NOISE**2)
        # Precision of each target's mean miss, in episodes' worth of residual noise.
        floor = max(LEAST_NOISE, MODEL_ERROR * float(np.sqrt(np.mean(self._level**2))))
        episodes = np.minimum(self._level_weight, variance / floor**2)
        precision = episodes / variance
        slopes = self._slopes.coefficients
        gradient = slopes @ (precision * self._level)
        prior = np.eye(self.dim) / self.config.prior_std**2
        gradient = gradient + prior @ (self._centre - self._prior)
        doubt = episodes.sum() * np.linalg.inv(
            self._slopes.grams[0] + self.config.ridge * np.eye(self.dim)
        )
        curvature = (slopes * precision) @ slopes.T + prior + doubt
        values, vectors = np.linalg.eigh(curvature)
        along = vectors.T @ gradient
        damping = 0.0
        while True:
            step = -vectors @ (along / (values + damping))
            if np.abs(step).max() <= self.config.max_step * self.spread:
                return np.asarray(step), damping
            damping = max(values[0], DAMPING_FACTOR * damping)

    def estimate(self) -> FloatArray | None:
        window = int(self.stage * LARGEST_WINDOW)
        if not len(self._recent):
            return None
        return np.asarray(expit(self._recent[-max(1, window) :].mean(axis=0)))

    # --- state ------------------------------------------------------------------------

    _STATE = (
        "prior",
        "centre",
        "coordinates",
        "level",
        "level_weight",
        "squares",
        "squares_weight",
        "recent",
    )

    def state_dict(self) -> dict[str, Any]:
        """Particles, and all that was learned of the outcomes."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in self._STATE}
        return super().state_dict() | arrays | {"slopes": self._slopes.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If the state belongs to another number of particles or parameters.
        """
        super().load_state_dict(state)
        for name in self._STATE:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        self._slopes.load_state_dict(state["slopes"])
