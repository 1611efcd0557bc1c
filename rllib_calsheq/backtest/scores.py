"""How good predictions are: root mean square error, CRPS, coverage, and one against another.

Shapes: D draws, P predicted parts, N outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.core.supertypes import FloatArray


def crps(draws: npt.ArrayLike, observed: npt.ArrayLike) -> FloatArray:
    """Continuous ranked probability score (...) of draws (D, ...) for what was observed (...).

    E|X − y| − E|X − X'|/2 of the draws' own distribution (Gneiting and Raftery, 2007, equation 21);
    in the unit of the draws, 0 for a sure prediction that is right, |X − y| for a sure one that is
    not.
    """
    ordered = np.sort(np.asarray(draws, dtype=np.float64), axis=0)
    D = len(ordered)
    off = np.abs(ordered - np.asarray(observed, dtype=np.float64)).mean(axis=0)
    # Σ_ij |x_i − x_j| = 2 Σ_i (2i − D − 1) x_(i), i from 1.
    weights = 2.0 * np.arange(1, D + 1) - D - 1.0
    spread = np.tensordot(weights, ordered, axes=1) / D**2
    return np.asarray(off - spread)


def rmse(errors: npt.ArrayLike) -> float:
    """Root mean square of errors."""
    return float(np.sqrt(np.mean(np.square(errors))))


@dataclass(frozen=True)
class Comparison:
    """The mean score of one prediction less that of another, smaller being better.

    Attributes:
        difference: The mean over parts.
        low, high: Interval of it at `CONFIDENCE` by Student's t over the parts, whose outcomes err
            together; None where there are fewer than 2.
        parts: How many.
        verdict: ``better``, ``worse`` or ``no clear difference``.
    """

    difference: float
    low: float | None
    high: float | None
    parts: int
    verdict: str


def compare(scores: FloatArray, others: FloatArray) -> Comparison:
    """One prediction against another, by their mean scores in each part, (P,) both."""
    differences = np.asarray(scores, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    mean, count = float(differences.mean()), len(differences)
    if count < 2:
        return Comparison(mean, None, None, count, "no clear difference")
    error = float(differences.std(ddof=1)) / np.sqrt(count)
    half = float(student.ppf(0.5 + CONFIDENCE / 2.0, count - 1)) * error
    low, high = mean - half, mean + half
    verdict = "better" if high < 0 else "worse" if low > 0 else "no clear difference"
    return Comparison(mean, low, high, count, verdict)
