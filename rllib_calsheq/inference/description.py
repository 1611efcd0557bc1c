"""What draws of profiles say of each parameter, of directions, and of what is traded for what.

Shapes: M draws, f parameters, K targets.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rllib_calsheq.core.supertypes import FloatArray

#: Probabilities of the intervals that are reported, the narrower first.
INTERVALS = (0.5, 0.9)
#: A parameter is pinned down if its wide interval is at most this part of the prior's.
PINNED_WIDTH = 1 / 3
#: One end of the prior, of this probability, is excluded if the draws give it less than
#: `EXCLUDED`.
END, EXCLUDED = 0.25, 0.05
#: A direction is free if its standard deviation is at least this part of the prior's.
FREE_DEVIATION = 0.8
#: Parameters trade off if their draws correlate at least so much.
TRADE_OFF = 0.5
#: Quantiles are compared on so many draws of the prior.
PRIOR_DRAWS = 20_000


class Knowledge(enum.StrEnum):
    """What is known of a parameter or of a direction, in plain words."""

    PINNED = "pinned down"
    NARROWED = "narrowed"
    ABOVE = "bounded from below"
    BELOW = "bounded from above"
    FREE = "free"


@dataclass(frozen=True)
class ParameterFinding:
    """What draws say of one parameter, in natural units.

    Attributes:
        name: Its name.
        median: Median.
        intervals: Lower and upper end for each of `INTERVALS`.
        knowledge: The class.
        width: The wide interval, as a part of the prior's.
    """

    name: str
    median: float
    intervals: tuple[tuple[float, float], ...]
    knowledge: Knowledge
    width: float


def describe_parameter(name: str, draws: FloatArray, prior: FloatArray) -> ParameterFinding:
    """Compares draws (M,) of a parameter with draws (P,) of its prior."""
    intervals = tuple(_interval(draws, p) for p in INTERVALS)
    expected = _interval(prior, INTERVALS[-1])
    width = (intervals[-1][1] - intervals[-1][0]) / max(expected[1] - expected[0], 1e-300)
    low, high = np.quantile(prior, [END, 1.0 - END])
    not_low = float((draws < low).mean()) < EXCLUDED
    not_high = float((draws > high).mean()) < EXCLUDED
    if width <= PINNED_WIDTH:
        knowledge = Knowledge.PINNED
    elif not_low and not_high:
        knowledge = Knowledge.NARROWED
    elif not_low:
        knowledge = Knowledge.ABOVE
    elif not_high:
        knowledge = Knowledge.BELOW
    else:
        knowledge = Knowledge.FREE
    return ParameterFinding(name, float(np.median(draws)), intervals, knowledge, float(width))


def _interval(draws: FloatArray, probability: float) -> tuple[float, float]:
    """The middle interval of a probability."""
    tail = (1.0 - probability) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of the profile, from that with the largest information to the smallest.

    Attributes:
        vectors: Directions as rows (f, f), in units of the prior's standard deviations.
        deviations: The draws' standard deviation along each, as a part of the prior's, (f,).
    """

    vectors: FloatArray
    deviations: FloatArray

    @classmethod
    def of(cls, draws: FloatArray, prior_std: FloatArray) -> Directions:
        """Principal directions of draws (M, f), for a prior of standard deviations (f,)."""
        covariance = np.atleast_2d(np.cov(draws / prior_std, rowvar=False))
        variances, vectors = np.linalg.eigh(covariance)
        return cls(vectors.T, np.sqrt(np.maximum(variances, 0.0)))

    def knowledge(self, index: int) -> Knowledge:
        """The class of a direction."""
        deviation = self.deviations[index]
        if deviation <= PINNED_WIDTH:
            return Knowledge.PINNED
        return Knowledge.FREE if deviation >= FREE_DEVIATION else Knowledge.NARROWED

    def count(self, knowledge: Knowledge) -> int:
        """How many directions are of a class."""
        return sum(self.knowledge(j) == knowledge for j in range(len(self.deviations)))


def trade_offs(draws: FloatArray, names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Pairs of parameters whose draws (M, f) correlate, the strongest first."""
    if len(names) < 2:
        return []
    correlation = np.asarray(np.corrcoef(draws, rowvar=False))
    pairs = [
        (names[i], names[j], float(correlation[i, j]))
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if abs(correlation[i, j]) >= TRADE_OFF
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[2]))
