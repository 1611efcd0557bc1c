"""Composite Bayesian optimisation in a trust region, by BoTorch.

The reward is a known function of the outcomes, so the Gaussian processes model the outcomes
and the known reward is applied to their samples. The search stays in a box around the best
profile, which grows and shrinks with its successes and failures, as in TuRBO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.models import SingleTaskGP

from rllib_calsheq.calibrators.bayesian.calibrator import NUM_BEST, TrialCalibrator
from rllib_calsheq.calibrators.bayesian.config import TrustRegionConfig
from rllib_calsheq.calibrators.bayesian.gaussian_process import with_age
from rllib_calsheq.calibrators.bayesian.trials import Trials
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: Samples of the posterior that rewards are averaged over.
NUM_SAMPLES = 32
#: Residuals of single episodes that are kept, and their quantiles that stand for the noise.
NUM_RESIDUALS, NUM_QUANTILES = 512, 16
#: Variance of an outcome that no episode of a trial had, in units of a miss squared: it says
#: nothing.
UNKNOWN_VARIANCE = 1e4


class TrustRegionCalibrator(TrialCalibrator):
    """One Gaussian process for every target, and the known reward on top.

    A process models the mean signed miss (f_k − f*_k) / s_k of a trial's episodes. The reward
    of a mean outcome is not the mean reward, so the reward is averaged over the noise of
    single episodes, taken from recent residuals; what is still missed of the trials' mean
    rewards, outcomes that did not happen included, is one more process.

    Args:
        start: Initial profile Λ_0 in the unit cube, shape (d,): the first trial.
        num_particles: B, one particle an episode slot.
        targets: The targets.
        seed: Seed of all its random numbers.
        config: Its fields.
    """

    def __init__(
        self,
        start: npt.ArrayLike,
        num_particles: int,
        targets: TargetSet,
        seed: int,
        config: TrustRegionConfig | None = None,
    ) -> None:
        self.config = config or TrustRegionConfig()
        super().__init__(start, num_particles, targets, seed, self.config)
        self._residuals: FloatArray = np.zeros((0, len(targets)))
        #: Side of the box, and successes and failures in a row.
        self._length = self.config.initial_length
        self._successes = 0
        self._failures = 0

    # --- observations -----------------------------------------------------------------

    def _new_trials(self) -> Trials:
        return Trials(self.dim, 1 + len(self.targets))

    def _observe(self, rewards: FloatArray, outcomes: FloatArray) -> FloatArray:
        """Reward and signed misses (M, 1 + K); keeps the residuals of the misses."""
        misses = self.targets.signed_misses(outcomes)
        misses = np.where(np.isfinite(misses), misses, np.nan)
        known = np.isfinite(misses)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, misses, 0.0).sum(axis=0) / count
        self._residuals = np.concatenate([self._residuals, misses - mean])[-NUM_RESIDUALS:]
        return np.concatenate([rewards[:, None], misses], axis=1)

    def _data(self, window: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Misses of the trials and, last, what the known reward of them misses."""
        means, variances = (values[window] for values in self._trials.observations())
        rewards, misses = means[:, 0], means[:, 1:]
        known = np.isfinite(misses)
        filled = np.where(known, misses, 0.0)
        typical = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        filled = np.where(known, misses, typical)
        errors = np.where(known, variances[:, 1:], UNKNOWN_VARIANCE)
        missed = rewards - self._known_reward(torch.from_numpy(filled)).numpy()
        return (
            np.concatenate([filled, missed[:, None]], axis=1),
            np.concatenate([errors, variances[:, :1]], axis=1),
        )

    # --- reward -----------------------------------------------------------------------

    def _known_reward(self, misses: torch.Tensor) -> torch.Tensor:
        """r_cal of single episodes around mean signed misses (..., K), averaged: (...)."""
        noisy = misses[..., None, :] + torch.from_numpy(self._noise())
        fit = self.targets.losses(noisy).add(1.0).reciprocal().mean(dim=-2)
        return fit @ torch.from_numpy(self.targets.weights)

    def _noise(self) -> FloatArray:
        """Quantiles (Q, K) of the recent residuals; one row of 0 before there are any."""
        known = np.isfinite(self._residuals).any(axis=0)
        if not known.any():
            return np.zeros((1, len(self.targets)))
        levels = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
        noise = np.zeros((NUM_QUANTILES, len(self.targets)))
        residuals = self._residuals[:, known]
        noise[:, known] = np.nanquantile(residuals, levels, axis=0, method="inverted_cdf")
        return noise

    def _reward(self, samples: torch.Tensor, X: torch.Tensor | None = None) -> torch.Tensor:
        """Reward (...) of samples (..., K + 1) of the model."""
        return self._known_reward(samples[..., :-1]) + samples[..., -1]

    def _expected_reward(self, model: SingleTaskGP, profiles: FloatArray) -> FloatArray:
        # One profile a batch: samples of single profiles, without their joint covariance.
        with torch.no_grad():
            posterior = model.posterior(with_age(profiles, float(self.stage))[:, None])
            return self._reward(self._sampler(NUM_SAMPLES)(posterior)).mean(dim=0)[:, 0].numpy()

    def _acquisition(
        self, model: SingleTaskGP, profiles: FloatArray, expected: FloatArray
    ) -> AcquisitionFunction:
        # Against the best few alone: samples of all tried profiles would cost far more.
        order = np.argsort(-expected, kind="stable")[:NUM_BEST]
        return qLogNoisyExpectedImprovement(
            model,
            with_age(profiles[order], float(self.stage)),
            self._sampler(NUM_SAMPLES),
            GenericMCObjective(self._reward),
            prune_baseline=False,
            cache_root=False,
        )

    # --- trust region -----------------------------------------------------------------

    def _box(self, profiles: FloatArray, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Resizes the region by what the last trial was, and puts it around the best one."""
        cfg, best = self.config, int(np.argmax(expected))
        if len(self._trials) > cfg.initial_trials:
            success = best == len(profiles) - 1
            self._successes = self._successes + 1 if success else 0
            self._failures = 0 if success else self._failures + 1
        if self._successes >= cfg.success_tolerance:
            self._length, self._successes = min(2 * self._length, cfg.max_length), 0
        if self._failures >= cfg.failure_tolerance:
            self._length, self._failures = self._length / 2, 0
        if self._length < cfg.min_length:
            self._length = cfg.initial_length
        half = self._length / 2
        return np.clip(profiles[best] - half, 0.0, 1.0), np.clip(profiles[best] + half, 0.0, 1.0)

    def _numbers(self) -> dict[str, float]:
        return {"region": self._length}

    # --- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Particles, trials, residuals and the trust region."""
        return super().state_dict() | {
            "residuals": self._residuals.copy(),
            "length": self._length,
            "successes": self._successes,
            "failures": self._failures,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If the state belongs to another number of particles or parameters.
        """
        super().load_state_dict(state)
        self._residuals = np.array(state["residuals"], dtype=np.float64)
        self._length = float(state["length"])
        self._successes = int(state["successes"])
        self._failures = int(state["failures"])
