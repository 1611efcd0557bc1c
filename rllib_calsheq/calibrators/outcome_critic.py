"""A critic that predicts outcomes, so that the known reward can be imagined (section 3).

The calibrator's reward is a known function of the outcomes; only the outcomes of a profile
have to be learned. The critic fits them by recursive ridge regression on quadratic features
of the profile, forgetting old stages, because the agents keep learning and the outcomes of
one profile drift with them. The expected reward at a profile is the known reward averaged
over predicted outcome + noise, with the noise resampled from recent residuals: the reward
of a mean outcome is not the mean reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.supertypes import FloatArray
from rllib_calsheq.targets import TargetSet

#: Up to this many parameters the features hold all products; beyond, only the squares,
#: so that the cost stays small (32 parameters give 561 features).
MAX_DIM_WITH_PRODUCTS = 32
#: Weight of the second-order features against the first-order ones: what is expected of an
#: outcome is that it is mostly linear over the box.
SECOND_ORDER_WEIGHT = 0.4
#: Weight of the constant, so large that the ridge penalty does not bear on it.
CONSTANT_WEIGHT = 10.0
#: Residuals kept for the noise, and episodes that the correction is fitted to.
NUM_RESIDUALS = 512
#: Ridge penalty of the correction, in units of the critic's own: it sees whole rewards, which
#: are noisier than the outcomes, and must not answer to their noise.
CORRECTION_RIDGE = 16.0
#: Residuals that the correction's expectations are taken over, and the seed that draws them.
NUM_CORRECTION_NOISE = 16
CORRECTION_SEED = 0


class OutcomeCritic:
    """Recency-weighted model of the targets' outcomes given the profile.

    Everything is in units of a miss: y_k = (f_k − f*_k) / s_k. An outcome that may not
    happen (NaN) is a second regression, of the probability that it does.

    Args:
        targets: The K targets.
        dim: d, number of parameters.
        memory: Stages after which the weight of a stage has fallen to 1/e.
        ridge: Ridge penalty, in units of episodes: directions seen by fewer episodes
            than this are shrunk.
        correct: Whether the expected reward is corrected by a linear fit of what it has
            missed in the recent episodes. Without it, a bias of the predicted outcomes can
            lead the particles downhill for good.
    """

    def __init__(
        self, targets: TargetSet, dim: int, memory: float, ridge: float, correct: bool = True
    ) -> None:
        self._targets = targets
        self._decay = float(np.exp(-1.0 / memory))
        self._ridge = ridge
        self._rows, self._columns = np.triu_indices(dim)
        if dim > MAX_DIM_WITH_PRODUCTS:
            self._rows = self._columns = np.arange(dim)
        size = 1 + dim + len(self._rows)
        K = len(targets)
        self._gram: npt.NDArray = np.zeros((size, size))
        self._moments = np.zeros((size, 2 * K))
        self._coefficients = np.zeros((size, 2 * K))
        self._recent_profiles: FloatArray = np.zeros((0, dim))
        self._recent_misses = np.zeros((0, K))
        self._recent_rewards = np.zeros(0)
        self._correct = correct
        self._correction = np.zeros(1 + dim)

    def update(self, profiles: FloatArray, outcomes: FloatArray) -> dict[str, float]:
        """Adds one stage of episodes and fits again.

        Args:
            profiles: Profiles in the unit cube, shape (M, d).
            outcomes: Outcome vectors, shape (M, N), NaN where one did not happen.

        Returns:
            Numbers to log: ``critic_error``, the root mean squared error of this stage's
            misses as predicted before it was seen, in units of the targets' scales.
        """
        targets = self._targets
        signed = (outcomes[:, targets.index] - targets.values) / targets.scales
        happened = np.isfinite(signed)
        features = self._features(profiles)
        expected, _ = self._split(features @ self._coefficients)
        # A missing outcome says nothing about its value: what was expected stands in for it.
        signed = np.where(happened, signed, expected)
        error = (signed - expected)[happened]

        self._gram = self._decay * self._gram + features.T @ features
        labels = np.concatenate([signed, happened], axis=1)
        self._moments = self._decay * self._moments + features.T @ labels
        penalised = self._gram + self._ridge * np.eye(len(self._gram))
        self._coefficients = np.asarray(np.linalg.solve(penalised, self._moments))

        missing = np.where(happened, signed, np.nan)
        self._recent_profiles = np.concatenate([self._recent_profiles, profiles])[-NUM_RESIDUALS:]
        self._recent_misses = np.concatenate([self._recent_misses, missing])[-NUM_RESIDUALS:]
        rewards = np.concatenate([self._recent_rewards, targets.reward(outcomes)])
        self._recent_rewards = rewards[-NUM_RESIDUALS:]
        if self._correct:
            self._fit_correction()
        return {"critic_error": float(np.sqrt(np.mean(error**2))) if error.size else np.nan}

    def _fit_correction(self) -> None:
        """Ridge regression, on first-order features, of the rewards that the critic missed."""
        self._correction[:] = 0.0
        rng = np.random.default_rng(CORRECTION_SEED)
        expected = self.expected_reward(self._recent_profiles, NUM_CORRECTION_NOISE, rng)
        features = self._features(self._recent_profiles)[:, : len(self._correction)]
        penalty = CORRECTION_RIDGE * self._ridge * np.eye(features.shape[1])
        gram = features.T @ features + penalty
        missed = features.T @ (self._recent_rewards - expected)
        self._correction = np.asarray(np.linalg.solve(gram, missed))

    def expected_reward(
        self, profiles: FloatArray, num_noise: int, rng: np.random.Generator
    ) -> FloatArray:
        """E[r_cal] of profiles, shape (M,), for profiles (M, d) in the unit cube.

        Args:
            profiles: Profiles, shape (M, d).
            num_noise: Residuals that the expectation is taken over, the same ones for all
                profiles, so that they cancel in differences.
            rng: Generator that draws the residuals.
        """
        # Single precision is enough here, and half the time.
        features = self._features(profiles.astype(np.float32))
        mean, happens = self._split(features @ self._coefficients.astype(np.float32))
        residuals = self._residuals()
        drawn = rng.integers(len(residuals), size=(num_noise, residuals.shape[1]))
        noise = np.take_along_axis(residuals, drawn, axis=0).astype(np.float32)
        fit = np.zeros_like(mean)
        for row in noise:
            fit += 1.0 / (1.0 + np.abs(mean + row))
        reward = (fit / num_noise * np.clip(happens, 0.0, 1.0)) @ self._targets.weights
        return np.asarray(reward + features[:, : len(self._correction)] @ self._correction)

    def state_dict(self) -> dict[str, npt.NDArray]:
        """All that was learned, as arrays."""
        return {name: getattr(self, f"_{name}").copy() for name in self._STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        for name in self._STATE:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))

    _STATE = (
        "gram",
        "moments",
        "coefficients",
        "recent_profiles",
        "recent_misses",
        "recent_rewards",
        "correction",
    )

    def _features(self, profiles: FloatArray) -> FloatArray:
        """Features (M, p) of profiles (M, d): constant, first and second order."""
        centred = 2.0 * profiles - 1.0
        constant = np.full((len(centred), 1), CONSTANT_WEIGHT, centred.dtype)
        second = SECOND_ORDER_WEIGHT * centred[:, self._rows] * centred[:, self._columns]
        return np.concatenate([constant, centred, second], axis=1)

    def _residuals(self) -> FloatArray:
        """Residuals (R, K) of the recent episodes; 0 where the outcome did not happen."""
        mean, _ = self._split(self._features(self._recent_profiles) @ self._coefficients)
        return np.nan_to_num(self._recent_misses - mean)

    @staticmethod
    def _split(predictions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Predicted misses and probabilities to happen, each (M, K)."""
        K = predictions.shape[1] // 2
        return predictions[:, :K], predictions[:, K:]
