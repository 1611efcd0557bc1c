"""A critic that predicts outcomes, so that the known reward can be imagined (section 3).

The calibrator's reward is a known function of the outcomes; only the outcomes of a profile
have to be learned. The critic fits them by recursive ridge regression on quadratic features
of the profile, forgetting old stages, because the agents keep learning and the outcomes of
one profile drift with them. The expected reward at a profile is the known reward averaged
over predicted outcome + noise, with the noise resampled from recent residuals: the reward
of a mean outcome is not the mean reward. How far outcomes scatter depends on the profile,
too (a merchant with few customers has noisy percentiles), and so does the mean reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.calibrators.recursive_ridge import RecursiveRidge
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool

#: Up to this many parameters the features hold all products; beyond, only the squares,
#: so that the cost stays small (32 parameters give 561 features).
MAX_DIM_WITH_PRODUCTS = 32
#: Weight of the second-order features against the first-order ones: what is expected of an
#: outcome is that it is mostly linear over the box.
SECOND_ORDER_WEIGHT = 0.4
#: Weight of the constant, so large that the ridge penalty does not bear on it.
CONSTANT_WEIGHT = 10.0
#: Residuals kept for the noise.
NUM_RESIDUALS = 512
#: Ridge penalty of the noise, in units of the critic's own: an absolute residual says little.
NOISE_RIDGE = 4.0
#: The noise of a profile is at most this many times the usual one, and at least 1 over it.
NOISE_RANGE = 3.0
#: The usual noise is at least this, in scales, so that it can be divided by.
LEAST_NOISE = 1e-3


class OutcomeCritic:
    """Recency-weighted model of the targets' outcomes given the profile.

    Everything is in units of a miss: y_k = (f_k − f*_k) / s_k. An outcome that may not
    happen (NaN) is a second regression, of the probability that it does. Where it does not, it
    scores 0, so that E[r_k] = P(it happens) · E[r_k | it happens]; the second factor, miss and
    noise, is learned from the episodes in which it happened alone.

    Args:
        targets: The K targets.
        dim: d, number of parameters.
        memory: Stages after which the weight of a stage has fallen to 1/e.
        ridge: Ridge penalty, in units of episodes: directions seen by fewer episodes
            than this are shrunk.
        heteroscedastic: Whether the mean absolute residual of each outcome is taken to be a linear
            function of the profile. Otherwise outcomes scatter alike everywhere, and of two
            profiles with the same mean outcomes the quieter one is not seen to be better.
    """

    def __init__(
        self,
        targets: TargetSet,
        dim: int,
        memory: float,
        ridge: float,
        *,
        heteroscedastic: bool = True,
    ) -> None:
        self._targets = targets
        self._dim = dim
        self._ridge = ridge
        self._products = dim <= MAX_DIM_WITH_PRODUCTS
        size = 1 + dim + (dim * (dim + 1) // 2 if self._products else dim)
        self._size = size
        K = len(targets)
        decay = float(np.exp(-1.0 / memory))
        #: Misses, and whether they happened.
        self._outcomes = RecursiveRidge(size, 2 * K, decay, ridge)
        #: Absolute residuals, from the constant and the first-order features.
        self._noise: RecursiveRidge | None = None
        if heteroscedastic:
            self._noise = RecursiveRidge(1 + dim, K, decay, NOISE_RIDGE * ridge)
        self._usual_noise: FloatArray = np.ones(K)
        self._recent_profiles: FloatArray = np.zeros((0, dim))
        self._recent_features: FloatArray = np.zeros((0, size))
        self._recent_misses: FloatArray = np.zeros((0, K))

    def update(self, profiles: FloatArray, outcomes: FloatArray) -> dict[str, float]:
        """Adds one stage of episodes and fits again.

        Args:
            profiles: Profiles in the unit cube, shape (M, d).
            outcomes: Outcome vectors, shape (M, N), NaN where one did not happen.

        Returns:
            Numbers to log: ``critic_error``, the root mean squared error of this stage's
            misses as predicted before it was seen, in units of the targets' scales.
        """
        signed = self._targets.signed_misses(outcomes)
        happened = np.isfinite(signed)
        features = self._features(profiles)
        expected = self._misses(features)
        missing = np.where(happened, signed, np.nan)
        error = (signed - expected)[happened]

        self._outcomes.update(features, np.concatenate([missing, happened], axis=1))
        if self._noise is not None:
            off = np.abs(missing - self._misses(features))
            self._noise.update(self._first_order(features), off)

        self._recent_profiles = _append(self._recent_profiles, profiles)
        self._recent_features = _append(self._recent_features, features)
        self._recent_misses = _append(self._recent_misses, missing)
        return {"critic_error": float(np.sqrt(np.mean(error**2))) if error.size else np.nan}

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
        residuals, num_residuals = self._standard_residuals()
        # Single precision is enough here, and half the time.
        features = self._features(profiles.astype(np.float32, copy=False))
        mean, happens = self._misses(features), self._probabilities(features)
        noise_scale = self._noise_scale(features)
        # Of an outcome that never happened, the first: 0.
        last = np.maximum(num_residuals, 1)
        drawn = rng.integers(last, size=(num_noise, residuals.shape[1]))
        noise = np.take_along_axis(residuals, drawn, axis=0).astype(np.float32)
        fit = np.zeros_like(mean)
        for row in noise:
            fit += 1 / (1 + self._targets.losses(mean + row * noise_scale))
        fit *= happens / num_noise
        return np.asarray(fit @ self._targets.weights)

    def mean_reward(self, profiles: FloatArray) -> FloatArray:
        """The known reward (M,) of the expected outcomes of profiles (M, d)."""
        features = self._features(profiles.astype(np.float32, copy=False))
        losses = self._targets.losses(self._expected(features))
        fit = self._probabilities(features) / (1 + losses)
        return np.asarray(fit @ self._targets.weights)

    def _expected(self, features: npt.NDArray) -> npt.NDArray:
        """Predicted misses (M, K), less what the recent ones were off by.

        Episodes of earlier, wider particles bend the regression; where the particles are now,
        the mean outcomes are known.
        """
        if len(self._recent_misses) and not np.isnan(self._recent_misses).any():
            there = self._misses(self._recent_features.mean(axis=0, keepdims=True))
            offset = self._recent_misses.mean(axis=0) - there[0]
        else:
            offset = np.nan_to_num(pool(self._plain_residuals()))
        return self._misses(features) + offset.astype(features.dtype)

    def _misses(self, features: npt.NDArray) -> npt.NDArray:
        """Predicted misses (M, K) of those episodes in which the outcomes happen."""
        return self._outcomes.predict(features, slice(len(self._targets)))

    def _probabilities(self, features: npt.NDArray) -> npt.NDArray:
        """Probabilities (M, K) that the outcomes happen; (1, K) of ones if all always have."""
        K = len(self._targets)
        # A miss that was always known was known in all samples of what says so.
        sure = self._outcomes.gram_of[:K] == self._outcomes.gram_of[K:]
        if sure.all():
            return np.ones((1, K), features.dtype)
        happens = self._outcomes.predict(features, slice(K, None))
        return np.where(sure, 1.0, np.clip(happens, 0.0, 1.0)).astype(features.dtype)

    def _plain_residuals(self) -> FloatArray:
        """Residuals (R, K) of the recent episodes in scales, NaN where one did not happen."""
        return self._recent_misses - self._misses(self._recent_features)

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as arrays."""
        return {
            "outcomes": self._outcomes.state_dict(),
            "noise": None if self._noise is None else self._noise.state_dict(),
            **{name: getattr(self, f"_{name}").copy() for name in self._STATE},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If it is the state of a critic with other parts.
        """
        wrong = [
            name
            for name, mine in self.state_dict().items()
            if name not in state or (mine is None) != (state[name] is None)
        ]
        if wrong:
            raise ValueError(
                f"the saved critic has other parts than this one ({', '.join(wrong)}): use the "
                "fit, critic_heteroscedastic and version of rllib-calsheq that it was made with"
            )
        self._outcomes.load_state_dict(state["outcomes"])
        if self._noise is not None:
            self._noise.load_state_dict(state["noise"])
        for name in self._STATE:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        self._recent_features = self._features(self._recent_profiles)

    _STATE = ("recent_profiles", "recent_misses")

    def _features(self, profiles: FloatArray) -> FloatArray:
        """Features (M, p) of profiles (M, d): constant, first and second order."""
        centred = np.ascontiguousarray(2.0 * profiles.T - 1.0)
        # One feature after the other, so that the products of a parameter are made in one piece.
        features = np.empty((self._size, centred.shape[1]), centred.dtype)
        features[0] = CONSTANT_WEIGHT
        features[1 : 1 + self._dim] = centred
        weighted = SECOND_ORDER_WEIGHT * centred
        first = 1 + self._dim
        if not self._products:
            np.multiply(weighted, centred, out=features[first:])
            return features.T
        for i in range(self._dim):
            last = first + self._dim - i
            np.multiply(weighted[i], centred[i:], out=features[first:last])
            first = last
        return features.T

    def _first_order(self, features: FloatArray) -> FloatArray:
        """The constant and the first-order ones (M, 1 + d) of features (M, p)."""
        return features[:, : 1 + self._dim]

    def _standard_residuals(self) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Residuals of the recent episodes in units of the noise at their profiles.

        Returns:
            Residuals (R, K), those of outcomes that happened first, and how many these are (K,).
        """
        features = self._recent_features
        if self._noise is not None and len(features):
            levels = self._noise.predict(self._first_order(features)).mean(axis=0)
            self._usual_noise = np.maximum(levels, LEAST_NOISE)
        residuals = self._plain_residuals() / self._noise_scale(features)
        happened = ~np.isnan(residuals)
        if not happened.all():
            order = np.argsort(~happened, axis=0, kind="stable")
            residuals = np.nan_to_num(np.take_along_axis(residuals, order, axis=0))
        return residuals, happened.sum(axis=0)

    def _noise_scale(self, features: npt.NDArray) -> npt.NDArray:
        """Mean absolute residual at a profile, (M, K); (1, K) of ones if it is the same for all."""
        usual = self._usual_noise.astype(features.dtype)
        if self._noise is None:
            return usual[None]
        expected = self._noise.predict(self._first_order(features))
        return np.clip(expected, usual / NOISE_RANGE, usual * NOISE_RANGE)


def _append(kept: FloatArray, new: FloatArray) -> FloatArray:
    """The last `NUM_RESIDUALS` rows of both."""
    return np.concatenate([kept, new])[-NUM_RESIDUALS:]
