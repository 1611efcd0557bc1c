"""An emulator: the mean outcomes of any profile near those that were simulated.

A regression on a polynomial of the profile, in units of the simulated profiles' own spread, from
single episodes: a quadratic, or where there are few parameters one of a higher degree. Degree and
ridge penalty are those that predict left-out episodes best. Two errors of it are known apart: that
of its coefficients, which more episodes would lessen, and the lack of fit, which they would not,
found at profiles that it has not seen.

Shapes: E episodes, M profiles, f coordinates of the unit cube, N outcomes, p features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray

#: Degrees that are tried, as long as there are no more features than this.
DEGREES, MAX_FEATURES = (2, 3, 4, 5), 400
#: Ridge penalties of the terms above the linear ones that are tried, in episodes.
RIDGES = (0.3, 3.0, 30.0, 300.0, 3000.0)
#: Those of the linear terms and of the constant are so much smaller.
LINEAR_PART, CONSTANT_PART = 0.1, 1e-6
#: Half of a difference that a slope is found from.
STEP = 1e-5
#: Spread of a coordinate below which it counts as this.
LEAST_SPREAD = 0.03


@dataclass(frozen=True, eq=False)
class Emulator:
    """Mean outcomes as a polynomial of the profile.

    Attributes:
        degree: Its degree.
        centre: Mean of the simulated profiles in the unit cube, (f,).
        spread: Their standard deviation, (f,).
        coefficients: Of the features, (p, N).
        inverse: Covariance of the coefficients for noise of variance 1, (p, p).
        residuals: Covariance of single episodes' outcomes around their means, (N, N).
        lack_of_fit: What its mean is off by, over noise, at profiles it has not seen, (N,): a
            standard deviation. 0 until `judged`.
        explained: R² of the means at those profiles, (N,); NaN until `judged`.
        low, high: Bounds of the outcomes, (N,), which no mean is beyond.
    """

    degree: int
    centre: FloatArray
    spread: FloatArray
    coefficients: FloatArray
    inverse: FloatArray
    residuals: FloatArray
    lack_of_fit: FloatArray
    explained: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def fit(
        cls,
        profiles: FloatArray,
        outcomes: FloatArray,
        low: npt.ArrayLike = -np.inf,
        high: npt.ArrayLike = np.inf,
        weights: FloatArray | None = None,
    ) -> Emulator:
        """Fits single episodes.

        Args:
            profiles: Profiles (E, f) in the unit cube.
            outcomes: Their outcome vectors (E, N); NaN for what did not happen, which is taken to
                be as the others are in the mean: it teaches nothing of the profile.
            low, high: Bounds of the outcomes, (N,) or one for all.
            weights: What each episode counts, (E,); all alike when None. Only those of weight 1 say
                where the fit is to be good, and what the noise is there.

        Raises:
            ValueError: If there are fewer episodes than twice the features of a line.
        """
        E, f = profiles.shape
        if 2 * (1 + f) > E:
            raise ValueError(
                f"{E} episodes are too few to emulate outcomes of {f} parameters: at least "
                f"{2 * (1 + f)} are needed"
            )
        whole = np.ones(E, dtype=bool) if weights is None else weights == 1.0
        centre = profiles[whole].mean(axis=0)
        spread = np.maximum(profiles[whole].std(axis=0), LEAST_SPREAD)
        scaled, filled = (profiles - centre) / spread, _filled(outcomes)
        roots = np.ones((E, 1)) if weights is None else np.sqrt(weights)[:, None]
        fits = [
            _Fit.best(_features(scaled, degree), filled, roots, f)
            for degree in DEGREES
            if degree == DEGREES[0] or math.comb(f + degree, degree) <= min(MAX_FEATURES, E // 4)
        ]
        chosen = int(np.argmin([fit.error for fit in fits]))
        fit = fits[chosen]
        missing = np.isnan(outcomes[whole])
        errors = np.where(missing, 0.0, (filled - fit.predicted)[whole])
        count = (~missing).sum(axis=0)
        free = np.maximum(np.sqrt(np.outer(count, count)) - fit.used, 1.0)
        N = filled.shape[1]
        return cls(
            DEGREES[chosen],
            centre,
            spread,
            fit.coefficients,
            fit.inverse,
            residuals=errors.T @ errors / free,
            lack_of_fit=np.zeros(N),
            explained=np.full(N, np.nan),
            low=np.broadcast_to(np.asarray(low, dtype=np.float64), (N,)),
            high=np.broadcast_to(np.asarray(high, dtype=np.float64), (N,)),
        )

    def mean(self, profiles: FloatArray) -> FloatArray:
        """Mean outcomes (M, N) of profiles (M, f) in the unit cube."""
        return self._within(self._features_of(profiles) @ self.coefficients)

    def mean_and_leverage(self, profiles: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean outcomes (M, N), and the variance (M,) of each for episodes of variance 1."""
        features = self._features_of(profiles)
        leverage = np.einsum("mp,mp->m", features @ self.inverse, features)
        return self._within(features @ self.coefficients), leverage

    def _within(self, means: FloatArray) -> FloatArray:
        return np.clip(means, self.low, self.high)

    def _features_of(self, profiles: FloatArray) -> FloatArray:
        return _features((profiles - self.centre) / self.spread, self.degree)

    @cached_property
    def scatter(self) -> FloatArray:
        """Standard deviation of single episodes' outcomes around their means, (N,)."""
        return np.asarray(np.sqrt(np.diag(self.residuals)))

    def only(self, outcomes: npt.ArrayLike) -> Emulator:
        """The same emulator of some outcomes, by their index (K,)."""
        index = np.asarray(outcomes, dtype=np.intp)
        return replace(
            self,
            coefficients=self.coefficients[:, index],
            residuals=self.residuals[np.ix_(index, index)],
            lack_of_fit=self.lack_of_fit[index],
            explained=self.explained[index],
            low=self.low[index],
            high=self.high[index],
        )

    def shifted(self, shift: FloatArray) -> Emulator:
        """The same emulator, with numbers (N,) added to all of its means."""
        coefficients = self.coefficients.copy()
        coefficients[0] += shift
        return replace(self, coefficients=coefficients)

    def slopes(self, profile: FloatArray) -> FloatArray:
        """Derivatives (N, f) of the means, inside their bounds, at a profile (f,), unit cube."""
        steps = STEP * np.eye(len(profile))
        above, below = (self._features_of(profile + sign * steps) for sign in (1.0, -1.0))
        return np.asarray(((above - below) @ self.coefficients).T / (2.0 * STEP))

    def judged(self, profiles: FloatArray, means: FloatArray, episodes: int) -> Emulator:
        """The same emulator, knowing how well it predicts what it has not seen.

        Args:
            profiles: Profiles (M, f) that it was not fitted to.
            means: Mean outcomes (M, N) of several episodes at each.
            episodes: How many.
        """
        predicted, leverage = self.mean_and_leverage(profiles)
        expected = np.square(self.scatter) * (leverage[:, None] + 1.0 / episodes)
        squares = np.square(means - predicted)
        happened = ~np.isnan(squares)
        count = np.maximum(happened.sum(axis=0), 1)
        missed = np.where(happened, squares - expected, 0.0).sum(axis=0) / count
        noise = np.square(self.scatter) / episodes
        signal = np.maximum(np.nanvar(means, axis=0) - noise, 1e-300)
        off = np.where(happened, squares - noise, 0.0).sum(axis=0) / count
        return replace(
            self,
            lack_of_fit=np.sqrt(np.maximum(missed, 0.0)),
            explained=np.minimum(1.0 - off / signal, 1.0),
        )


@dataclass(frozen=True, eq=False)
class _Fit:
    """A ridge regression with the penalty that predicts left-out episodes best.

    Attributes:
        coefficients: (p, N).
        inverse: Covariance of the coefficients for noise of variance 1, (p, p).
        predicted: (E, N).
        used: Degrees of freedom that it uses.
        error: Mean squared error of left-out episodes, in units of the outcomes' variance.
    """

    coefficients: FloatArray
    inverse: FloatArray
    predicted: FloatArray
    used: float
    error: float

    @classmethod
    def best(cls, features: FloatArray, labels: FloatArray, roots: FloatArray, linear: int) -> _Fit:
        """Fits labels (E, N) by features (E, p), of which so many are linear.

        Args:
            features: The features, the constant first.
            labels: What is fitted.
            roots: Roots of the weights, (E, 1).
            linear: Features after the constant that are penalised less.
        """
        penalty = np.full(features.shape[1], 1.0)
        penalty[0], penalty[1 : 1 + linear] = CONSTANT_PART, LINEAR_PART
        left, singular, right = np.linalg.svd(
            roots * features / np.sqrt(penalty), full_matrices=False
        )
        weighted = roots * labels
        projected = left.T @ weighted
        errors = [_left_out_error(left, singular, projected, weighted, r) for r in RIDGES]
        error = min(errors)
        ridge = RIDGES[errors.index(error)]
        shrunk = singular / (singular**2 + ridge)
        coefficients = right.T @ (shrunk[:, None] * projected) / np.sqrt(penalty)[:, None]
        inverse = (right.T * (1.0 / (singular**2 + ridge))) @ right
        inverse = inverse / np.sqrt(np.outer(penalty, penalty))
        used = float((singular * shrunk).sum())
        return cls(coefficients, inverse, features @ coefficients, used, error)


def _features(scaled: FloatArray, degree: int) -> FloatArray:
    """All products of up to ``degree`` coordinates, (M, p), of scaled profiles (M, f).

    The constant comes first, the coordinates themselves next.
    """
    M, f = scaled.shape
    features = np.empty((M, math.comb(f + degree, degree)))
    features[:, 0] = 1.0
    features[:, 1 : 1 + f] = scaled
    # Where the products of the last order begin whose lowest coordinate is i, for each i.
    starts, end = list(range(1, 1 + f)), 1 + f
    for _ in range(degree - 1):
        last = end
        following = []
        for i in range(f):
            following.append(end)
            count = last - starts[i]
            np.multiply(
                scaled[:, i, None],
                features[:, starts[i] : last],
                out=features[:, end : end + count],
            )
            end += count
        starts = following
    return features


def _filled(outcomes: FloatArray) -> FloatArray:
    """Outcomes (E, N) with their means where they did not happen."""
    happened = ~np.isnan(outcomes)
    total = np.where(happened, outcomes, 0.0).sum(axis=0)
    return np.where(happened, outcomes, total / np.maximum(happened.sum(axis=0), 1))


def _left_out_error(
    left: FloatArray, singular: FloatArray, projected: FloatArray, labels: FloatArray, ridge: float
) -> float:
    """Mean squared error of left-out episodes, each outcome in units of its variance."""
    kept = singular**2 / (singular**2 + ridge)
    leverage = np.square(left) @ kept
    errors = labels - left @ (kept[:, None] * projected)
    errors /= np.maximum(1.0 - leverage, 1e-6)[:, None]
    variance = np.maximum(labels.var(axis=0), 1e-300)
    return float((np.square(errors).mean(axis=0) / variance).mean())
