"""What an ensemble shows of its centre: mean misses, their slopes, and the Kalman step from there.

Ensemble inversion (Iglesias, Law and Stuart, 2013) with a prior, iterated as in the ensemble
Kalman filter of Gu and Oliver (2007), in a form that forgets. With z the logits of the profile,
z_0 those of Λ_0 and y(z) the signed mean misses in scales, it looks for

    min_z  y(z)ᵀ Γ⁻¹ y(z) + |z − z_0|² / σ²,

Γ being the noise of the mean misses and N(z_0, σ²) the prior. Slopes G of y come from a linear
regression over the particles; the step is the Kalman (Gauss-Newton) step. Where G is 0, the prior
alone speaks: what no target tells stays at Λ_0 and does not drift to the box.

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
from scipy.special import logit

from rllib_calsheq.calibrators.recursive_ridge import RecursiveRidge
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool

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
#: A Λ_0 at a bound is taken to be this far inside, where something may still be seen to move.
MARGIN = 0.01
#: Of a prior of this deviation, in logits, nothing is left to be seen, and one of its inverse holds
#: a parameter where it is; beyond both, sums with other precisions lose all of their digits.
WIDEST_STD = 1e4
#: Profiles are taken to be at least this far inside, so that their logits are finite.
EDGE = 0.001
#: The recommended profile averages over at most so many of the last centres, and at most this
#: part of all stages: the centre moves early on, and a longer mean would still hold its start.
MAX_WINDOW = 20
LARGEST_WINDOW = 0.125


def to_logits(profiles: npt.ArrayLike, margin: float = EDGE) -> FloatArray:
    """Logits of profiles in the unit cube, any shape, kept ``margin`` inside of it."""
    return np.asarray(logit(np.clip(profiles, margin, 1.0 - margin)))


def from_logits(coordinates: FloatArray) -> FloatArray:
    """Profiles in the unit cube, `EDGE` inside of it, of their logits."""
    # NumPy's exponential takes a fifth of the time of SciPy's `expit`; one that overflows gives 0.
    with np.errstate(over="ignore"):
        inside = 1.0 / (1.0 + np.exp(-coordinates))
    return np.asarray(np.clip(inside, EDGE, 1.0 - EDGE))


def prior_in_logits(prior: Prior, usual_std: float) -> tuple[FloatArray, FloatArray]:
    """Means (d,) of a prior in logits, and its precisions 1/σ² (d,).

    Args:
        prior: The prior, in the unit cube.
        usual_std: σ, in logits, where the user states none.
    """
    mean = to_logits(prior.mean, MARGIN)
    inside = from_logits(mean)
    # A logit changes by 1 / (Λ (1 − Λ)) times what its parameter does.
    stated = prior.std / (inside * (1.0 - inside))
    std = np.where(np.isnan(stated), usual_std, stated)
    return mean, np.clip(std, 1.0 / WIDEST_STD, WIDEST_STD) ** -2.0


def shrunk_spread(initial: float, least: float, shrunk_for: float, stages: float) -> float:
    """A spread that falls by 1/e in so many stages, until the least one."""
    return max(least, initial * float(np.exp(-shrunk_for / stages)))


def mean_of_last(centres: FloatArray, stage: int) -> FloatArray:
    """The profile (d,) that the last centres (R, d), in logits, recommend after a stage.

    Their mean, and not the particles' in the cube, which lies nearer to the middle than they do.
    """
    window = min(MAX_WINDOW, max(1, int(stage * LARGEST_WINDOW)))
    return from_logits(centres[-window:].mean(axis=0))


class EnsembleModel:
    """A local linear model of the mean misses that forgets, in logits of the unit cube.

    An outcome that did not happen is taken to be as predicted: it teaches nothing.

    Args:
        targets: The K targets; a target's weight is worth as many episodes.
        dim: d, number of coordinates.
        slope_memory: Stages after which a stage's weight in the slopes has fallen to 1/e.
        level_memory: The same for the misses at the centre.
        ridge: Ridge penalty on the slopes, in episodes at one logit from the centre.
    """

    def __init__(
        self,
        targets: TargetSet,
        dim: int,
        slope_memory: float,
        level_memory: float,
        ridge: float,
    ) -> None:
        K = len(targets)
        self._targets = targets
        self._ridge = ridge
        self._slope_decay = float(np.exp(-1 / slope_memory))
        self._level_decay = float(np.exp(-1 / level_memory))
        self._slopes = RecursiveRidge(dim, K, self._slope_decay, ridge)
        #: Mean misses at the centre (K,), and how many episodes each rests on.
        self._level: FloatArray = np.zeros(K)
        self._level_weight: FloatArray = np.zeros(K)
        #: Sums of the squared residuals (K,), and how many episodes each rests on.
        self._squares: FloatArray = np.zeros(K)
        self._squares_weight: FloatArray = np.zeros(K)

    @property
    def level(self) -> FloatArray:
        """Signed mean misses at the centre in scales, (K,); 0 of what has not happened yet."""
        return self._level

    @property
    def near(self) -> bool:
        """Whether every mean miss is known and within `NEAR` scales."""
        return bool(((np.abs(self._level) <= NEAR) & (self._level_weight > 0)).all())

    @property
    def haste(self) -> float:
        """Stages that this one counts for in the shrinking of the particles' spread."""
        return HASTE if self.near else 1.0

    @property
    def observed(self) -> bool:
        """Whether it has seen an episode."""
        return bool(self._level_weight.any())

    def observe(self, offsets: FloatArray, outcomes: FloatArray) -> None:
        """Learns slopes, levels and noise from one stage.

        Args:
            offsets: Particles' coordinates less the centre's, shape (M, d).
            outcomes: Their outcome vectors, shape (M, N), NaN where one did not happen.
        """
        misses = self._targets.signed_misses(outcomes)
        happened = np.isfinite(misses)
        misses = np.where(happened, misses, np.nan)
        count = happened.sum(axis=0)
        predicted = offsets @ self._slopes.coefficients
        filled = np.where(happened, misses, self._found(misses - predicted) + predicted)
        centred = offsets - offsets.mean(axis=0)
        labels = filled - filled.mean(axis=0)
        self._slopes.update(centred, labels)

        residuals = labels - centred @ self._slopes.coefficients
        self._squares = self._slope_decay * self._squares
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

    def move(self, step: FloatArray) -> None:
        """Notes that the centre moved by a step (d,)."""
        self._level = self._level + step @ self._slopes.coefficients

    def step(
        self, from_prior: FloatArray, prior_precision: FloatArray, limit: float
    ) -> tuple[FloatArray, float]:
        """The centre's move, shape (d,) in logits, and the damping that kept it short.

        It minimises the expected objective: slopes are uncertain by the covariance of their
        regression, which charges for a move along directions that only noise gives a slope.

        Args:
            from_prior: The centre less the prior's mean, (d,).
            prior_precision: 1/σ², (d,).
            limit: Largest move in one coordinate.
        """
        slopes, dim = self._slopes.coefficients, len(from_prior)
        variance = self._squares / np.maximum(self._squares_weight, 1.0)
        variance = np.maximum(variance, LEAST_NOISE**2)
        far = np.square(self._level).sum() / (FAR_WEIGHT * dim)
        error = max(LEAST_NOISE, float(np.sqrt(far)))
        # How many episodes of that variance the knowledge of each mean miss is worth.
        worth = np.minimum(self._level_weight, variance / error**2)
        worth = worth * self._targets.weights * len(self._targets)
        precision = worth / variance

        gradient = slopes @ (precision * self._level) + prior_precision * from_prior
        doubt = worth.sum() * np.linalg.inv(self._slopes.grams[0] + self._ridge * np.eye(dim))
        curvature = (slopes * precision) @ slopes.T + doubt + np.diag(prior_precision)
        values, vectors = np.linalg.eigh(curvature)
        along = vectors.T @ gradient
        damping = 0.0
        while True:
            step = -vectors @ (along / (values + damping))
            if np.abs(step).max() <= limit:
                return np.asarray(step), damping
            damping = max(float(prior_precision.min()), DAMPING_FACTOR * damping)

    _STATE = ("level", "level_weight", "squares", "squares_weight")

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, as arrays."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in self._STATE}
        return arrays | {"slopes": self._slopes.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        for name in self._STATE:
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        self._slopes.load_state_dict(state["slopes"])


def mirrored_draws(rng: np.random.Generator, count: int, dim: int) -> FloatArray:
    """Draws (B, d) of mean 0 and covariance 1, exactly so where there are pairs enough.

    They come in pairs mirrored at 0, so that curvature does not bend the slopes that they show, and
    are orthogonal, as in the second-order exact sampling of Pham (2001), so that every direction
    is seen equally well. Of an odd number, the last is 0.

    Args:
        rng: The generator.
        count: B.
        dim: d.
    """
    pairs = count // 2
    drawn = rng.standard_normal((pairs, dim))
    wide = pairs < dim
    basis = np.linalg.qr(drawn.T if wide else drawn)[0]
    half = np.sqrt(max(pairs, dim)) * (basis.T if wide else basis)
    return np.concatenate([half, -half, np.zeros((count % 2, dim))])
