"""What needs no model: predictions from the training rows alone, and the scatter of what is new.

A prediction is D draws of each of N outcomes, in their own units. Bands have the width that the
training parts' scatter gives, with Student's t since they are few.

Shapes: U training parts, D draws, N outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rllib_calsheq.core.supertypes import FloatArray


@dataclass(frozen=True, eq=False)
class Scatter:
    """How far a new part's outcomes may be from their long-run mean.

    Attributes:
        deviation: Standard deviation of each outcome, (N,).
        mean_error: Standard error of the training rows' own outcomes as that mean, (N,).
        freedom: Degrees of freedom; infinite for Gaussian errors.
    """

    deviation: FloatArray
    mean_error: FloatArray
    freedom: float

    @classmethod
    def of_parts(cls, parts: FloatArray) -> Scatter:
        """From the outcomes (U, N) of at least 2 training parts."""
        deviation = parts.std(axis=0, ddof=1)
        return cls(deviation, deviation / np.sqrt(len(parts)), float(len(parts) - 1))


def even_noise(shape: tuple[int, int], freedom: float, rng: np.random.Generator) -> FloatArray:
    """Draws (D, N) of Student's t, evenly spread in each column: quantiles in random order."""
    from scipy.stats import norm, t

    levels = (np.arange(shape[0]) + 0.5) / shape[0]
    quantiles = norm.ppf(levels) if np.isinf(freedom) else t.ppf(levels, freedom)
    return np.stack([rng.permutation(quantiles) for _ in range(shape[1])], axis=1)


def pooled_mean(
    pooled: FloatArray, scatter: Scatter, draws: int, rng: np.random.Generator
) -> FloatArray:
    """Draws (D, N) of a new part round the outcomes (N,) of all training rows together."""
    deviation = np.hypot(scatter.deviation, scatter.mean_error)
    noise = even_noise((draws, len(pooled)), scatter.freedom, rng)
    return np.asarray(pooled + deviation * noise)


def last_period(parts: FloatArray, ahead: int, draws: int, rng: np.random.Generator) -> FloatArray:
    """Draws (D, N) of the part that is ``ahead`` parts after the last of some parts (U, N).

    A random walk: it stays where it was, and its error grows with the root of the distance, from
    that of the changes from part to part.
    """
    changes = np.diff(parts, axis=0)
    deviation = np.sqrt(np.square(changes).mean(axis=0) * ahead)
    noise = even_noise((draws, parts.shape[1]), float(len(changes)), rng)
    return np.asarray(parts[-1] + deviation * noise)


def new_part(
    means: FloatArray, deviation: FloatArray, freedom: float, rng: np.random.Generator
) -> FloatArray:
    """Draws (D, N) of a new part from draws (D, N) of its mean and a deviation (N,)."""
    noise = even_noise((len(means), means.shape[1]), freedom, rng)
    return np.asarray(means + deviation * noise)


def told(deviation: FloatArray, scales: FloatArray, is_target: np.ndarray) -> FloatArray:
    """The deviations (N,) that one knows who has not seen the outcomes that are no targets.

    Those of targets are what they are; the others are taken to scatter as the targets do, by as
    many scales (their root mean square).
    """
    typical = np.sqrt(np.mean(np.square(deviation[is_target] / scales[is_target])))
    return np.where(is_target, deviation, typical * scales)
