"""Ensemble Kalman inversion: slopes from the particles, a Kalman step towards all targets.

Ensemble inversion (Iglesias, Law and Stuart, 2013) with a prior, iterated as in the ensemble
Kalman filter of Gu and Oliver (2007), in a form that forgets. With z the logits of the profile,
z_0 those of Λ_0 and y(z) the signed mean misses in scales, it looks for

    min_z  y(z)ᵀ Γ⁻¹ y(z) + |z − z_0|² / σ²,

Γ being the noise of the mean misses and N(z_0, σ²) the prior. Slopes G of y come from a linear
regression over the particles; one Kalman (Gauss-Newton) step a stage moves their centre. Where G
is 0, the prior alone speaks: what no target tells stays at Λ_0 and does not drift to the box.

Agents learn meanwhile, and outcomes drift. So slopes come from differences within each stage,
which no drift of the level bends, and both slopes and levels forget. That is why the smoothers of
the package iterative-ensemble-smoother do not fit: they assimilate one set of observations of
given noise in a number of passes and inflations fixed beforehand, with the gain of the current
ensemble alone, and know no outcome that did not happen and no state to save (nor does the GPL suit
this licence). What would be left to borrow is one linear solve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from rllib_calsheq.calibrators.eki.config import EKIConfig
from rllib_calsheq.calibrators.recursive_ridge import RecursiveRidge
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool

#: Two mirrored particles are the fewest that show a slope.
MIN_PARTICLES = 2
#: A Λ_0 at a bound is taken to be this far inside, so that its logit is finite.
MARGIN = 0.01
#: The noise of a mean miss is taken to be at least this, in scales.
LEAST_NOISE = 0.03
#: While targets are far, the noise is at least so large that all squared misses together weigh this
#: times what the prior's parameters do, however many targets there are: a linear model errs far
#: off, and a step that trusted it would drive parameters to where nothing has slopes.
FAR_WEIGHT = 3.0
#: Factor by which a step's damping grows until the step is short enough (Levenberg, Marquardt).
DAMPING_FACTOR = 2.0
#: Once all mean misses are within so many scales, the particles have found the way, and their
#: spread, which bends what they show of their centre, shrinks so many times as fast.
NEAR = 0.5
HASTE = 3.0
#: The recommended profile averages over at most so many of the last centres, and at most this
#: part of all stages.
MAX_WINDOW = 10
LARGEST_WINDOW = 0.25


class EKICalibrator(Calibrator):
    """Ensemble Kalman inversion with forgetting: a centre, and particles drawn around it.

    The particles of a stage are drawn anew, in mirrored pairs, so that curvature does not bend
    the slopes. They start wide, since percentiles have plateaus with no slope on them, and their
    spread shrinks to a floor that goes on measuring. An outcome that did not happen is taken to
    be as predicted: it teaches nothing.

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
        K = len(targets)
        self._prior: FloatArray = logit(np.clip(self.profiles[0], MARGIN, 1 - MARGIN))
        #: Centre of the particles (d,), where the outcomes' levels are taken.
        self._centre = self._prior.copy()
        #: Coordinates of the particles (B, d).
        self._coordinates: FloatArray = np.tile(self._prior, (num_particles, 1))
        self._slope_decay = float(np.exp(-1 / self.config.slope_memory))
        self._level_decay = float(np.exp(-1 / self.config.level_memory))
        self._slopes = RecursiveRidge(self.dim, K, self._slope_decay, self.config.ridge)
        #: Mean misses at the centre (K,), and how many episodes each rests on.
        self._level = np.zeros(K)
        self._level_weight = np.zeros(K)
        #: Sums of the squared residuals (K,), and how many episodes each rests on.
        self._squares = np.zeros(K)
        self._squares_weight = np.zeros(K)
        #: How often the spread has shrunk so far, in `shrink_stages`' stages.
        self._shrinking = np.zeros(())
        #: The last centres, shape (at most MAX_WINDOW, d).
        self._recent: FloatArray = np.zeros((0, self.dim))

    @property
    def spread(self) -> float:
        """Standard deviation of the particles around their centre at this stage, in logits."""
        config = self.config
        shrunk = config.initial_spread * float(np.exp(-self._shrinking / config.shrink_stages))
        return max(config.min_spread, shrunk)

    # --- the two halves of a stage ----------------------------------------------------

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
        misses = np.where(np.isfinite(misses), misses, np.nan)
        offsets = self._coordinates[particles] - self._centre
        self._observe(offsets, misses)
        near = bool(((np.abs(self._level) <= NEAR) & (self._level_weight > 0)).all())
        step, damping = self._step()
        self._centre = self._centre + step
        self._level = self._level + step @ self._slopes.coefficients
        self._recent = np.concatenate([self._recent, self._centre[None]])[-MAX_WINDOW:]
        numbers = {
            "spread": self.spread,
            "worst_miss": float(np.abs(self._level).max()),
            "step": float(np.abs(step).max()),
            "damping": damping,
        }
        self._shrinking = self._shrinking + (HASTE if near else 1.0)
        return numbers

    def _observe(self, offsets: FloatArray, misses: FloatArray) -> None:
        """Learns slopes, levels and noise from one stage.

        Args:
            offsets: Particles' coordinates less the centre's, shape (M, d).
            misses: Their signed misses in scales, shape (M, K), NaN where one did not happen.
        """
        happened = ~np.isnan(misses)
        count = happened.sum(axis=0)
        predicted = offsets @ self._slopes.coefficients
        filled = np.where(happened, misses, self._found(misses - predicted) + predicted)
        centred = offsets - offsets.mean(axis=0)
        labels = filled - filled.mean(axis=0)
        self._slopes.update(centred, labels)

        residuals = labels - centred @ self._slopes.coefficients
        self._squares *= self._slope_decay
        self._squares += np.where(happened, np.square(residuals), 0.0).sum(axis=0)
        self._squares_weight = self._slope_decay * self._squares_weight + count

        found = self._found(misses - offsets @ self._slopes.coefficients)
        self._level_weight = self._level_decay * self._level_weight + count
        gain = count / np.maximum(self._level_weight, 1.0)
        self._level = self._level + gain * (found - self._level)

    def _found(self, levels: FloatArray) -> FloatArray:
        """Mean (K,) of this stage's levels (M, K), or the last one where none happened."""
        mean = pool(levels)
        return np.where(np.isnan(mean), self._level, mean)

    # --- the step ---------------------------------------------------------------------

    def _step(self) -> tuple[FloatArray, float]:
        """The centre's move, shape (d,) in logits, and the damping that kept it short.

        It minimises the expected objective: slopes are uncertain by the covariance of their
        regression, which charges for a move along directions that only noise gives a slope.
        """
        targets, slopes = self.targets, self._slopes.coefficients
        variance = self._squares / np.maximum(self._squares_weight, 1.0)
        variance = np.maximum(variance, LEAST_NOISE**2)
        far = np.square(self._level).sum() / (FAR_WEIGHT * self.dim)
        error = max(LEAST_NOISE, float(np.sqrt(far)))
        # How many episodes of that variance the knowledge of each mean miss is worth.
        worth = np.minimum(self._level_weight, variance / error**2)
        worth = worth * targets.weights * len(targets)
        precision = worth / variance
        prior = 1.0 / self.config.prior_std**2

        gradient = slopes @ (precision * self._level) + prior * (self._centre - self._prior)
        one = np.eye(self.dim)
        doubt = worth.sum() * np.linalg.inv(self._slopes.grams[0] + self.config.ridge * one)
        values, vectors = np.linalg.eigh((slopes * precision) @ slopes.T + doubt + prior * one)
        along = vectors.T @ gradient
        damping = 0.0
        while True:
            step = -vectors @ (along / (values + damping))
            if np.abs(step).max() <= self.config.max_step * self.spread:
                return np.asarray(step), damping
            damping = max(prior, DAMPING_FACTOR * damping)

    # --- what was found ---------------------------------------------------------------

    def estimate(self) -> FloatArray | None:
        """Mean of the last centres, unit cube, shape (d,); None before the first `tell`.

        Ten of them, or a quarter of all stages if that is less: the centre moves early on, and a
        longer mean would still hold where it came from. Not the particles' mean in the cube,
        which lies nearer to the middle than their centre does.
        """
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
        "shrinking",
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
