"""What measured payoffs between policies say about Assumption 1 beyond their noise.

Payoffs between snapshots of learned policies are means over episodes. A conclusion is drawn here
only if it holds for all values within their errors: every statement about a gain (or a rise of T)
is one-sided and normal, and the level is shared among all of them (Bonferroni), so that with the
given confidence none of the statements that are made is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.decomposition import standard_errors
from rllib_calsheq.equilibrium.transitivity import gains, square, transitivity_of_gains, vector

SignArray = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class MeasuredTransitivity:
    """Whether Assumption 1 holds among the measured policies.

    Attributes:
        verdict: ``holds``: no cycle is possible within the errors. ``fails``: there is one for
            certain, which disproves Assumption 1 on all of X as well. ``undecided``: neither.
        skill: T (m,) where it holds, with δ_ε = ε for the true gains.
        cycle: Where it fails, the certain cycle; where undecided, a possible one; else empty.
        improves: ``[y, x]`` is 1 if y gains more than ε against x, -1 if not, 0 if noise hides it.
    """

    verdict: Literal["holds", "fails", "undecided"]
    skill: FloatArray | None
    cycle: tuple[int, ...]
    improves: SignArray


@dataclass(frozen=True, eq=False)
class SkillCheck:
    """Whether profitable deviations came with a rise of a candidate T.

    Attributes:
        pairs: (x, y) of each step from x to y, (P, 2).
        gains: u(y, x) − u(x, x), (P,).
        rises: T(y) − T(x), (P,).
        improved: 1 if the gain is above ε, -1 if not, 0 if noise hides it, (P,).
        rose: The same of the rise and 0.
    """

    pairs: npt.NDArray[np.intp]
    gains: FloatArray
    rises: FloatArray
    improved: SignArray
    rose: SignArray

    @property
    def supported(self) -> npt.NDArray[np.bool_]:
        """Steps that improved for certain and on which T rose for certain, (P,)."""
        return (self.improved == 1) & (self.rose == 1)

    @property
    def contradicted(self) -> npt.NDArray[np.bool_]:
        """Steps that improved for certain and on which T did not rise for certain, (P,)."""
        return (self.improved == 1) & (self.rose == -1)

    @property
    def verdict(self) -> Literal["holds", "fails", "undecided"]:
        """Of this T on these steps: ``holds`` if T rose on all that may have improved."""
        if self.contradicted.any():
            return "fails"
        return "holds" if (self.rose[self.improved >= 0] == 1).all() else "undecided"


def gain_errors(errors: npt.ArrayLike) -> FloatArray:
    """Standard errors of the gains (m, m) from those of payoffs (m, m) measured independently.

    Where u(y, x) and u(x, x) were played with the same random numbers, measure the error of their
    difference instead: it is mostly smaller.
    """
    errors = square(errors, "errors")
    errors = standard_errors(errors, errors, "errors")
    combined = np.hypot(errors, np.diag(errors))
    np.fill_diagonal(combined, 0.0)
    return combined


def measured_transitivity(
    payoff: npt.ArrayLike,
    errors_of_gains: npt.ArrayLike,
    epsilon: float = 0.0,
    confidence: float = CONFIDENCE,
) -> MeasuredTransitivity:
    """`extended_transitivity` of measured payoffs.

    Args:
        payoff: Measured u(y, x), (m, m).
        errors_of_gains: Standard errors of u(y, x) − u(x, x), (m, m), see `gain_errors`; the
            diagonal is not read.
        epsilon: Gains up to this do not count. At 0, two policies that gain nothing from each
            other stay undecided however long they are measured.
        confidence: Probability that the verdict is right if it is not ``undecided``, in (0, 1).

    Raises:
        ValueError: If shapes differ or a number is out of range.
    """
    gain = gains(payoff)
    errors = standard_errors(errors_of_gains, gain, "errors_of_gains")
    margin = errors * _quantile(len(gain) * (len(gain) - 1), confidence)
    np.fill_diagonal(margin, 0.0)
    certain = transitivity_of_gains(gain - margin, epsilon)
    possible = transitivity_of_gains(gain + margin, epsilon)
    improves = _sign(gain, margin, epsilon)
    if possible.holds:
        return MeasuredTransitivity("holds", possible.skill, (), improves)
    if not certain.holds:
        return MeasuredTransitivity("fails", None, certain.cycle, improves)
    return MeasuredTransitivity("undecided", None, possible.cycle, improves)


def check_skill(
    payoff: npt.ArrayLike,
    skill: npt.ArrayLike,
    *,
    errors_of_gains: npt.ArrayLike | None = None,
    skill_errors: npt.ArrayLike | None = None,
    pairs: npt.ArrayLike | None = None,
    epsilon: float = 0.0,
    confidence: float = CONFIDENCE,
) -> SkillCheck:
    """Checks Assumption 1 for a candidate T on given steps, such as those of training.

    That a step contradicts this T says nothing of others: only a cycle disproves them all.

    Args:
        payoff: u(y, x), (m, m), exact or measured.
        skill: The candidate T, (m,).
        errors_of_gains: Standard errors of the gains, (m, m); 0 when None.
        skill_errors: Standard errors of T, (m,), independent of each other, or of its rises from
            x to y, (m, m) with rows y; 0 when None.
        pairs: Steps (x, y) from policy x to y, (P, 2); from each snapshot k to k + 1 when None.
        epsilon: Gains up to this do not count.
        confidence: Probability that no statement that is made is wrong, in (0, 1).

    Raises:
        ValueError: If shapes differ or a number is out of range.
    """
    gain = gains(payoff)
    m = len(gain)
    skill = vector(skill, m, "skill")
    noise = np.zeros((m, m)) if errors_of_gains is None else errors_of_gains
    noise = standard_errors(noise, gain, "errors_of_gains")
    given = np.zeros(m) if skill_errors is None else np.asarray(skill_errors, dtype=np.float64)
    if given.ndim == 1:
        own = standard_errors(given, skill, "skill_errors")
        rise_noise = np.asarray(np.hypot(own[:, None], own))
    else:
        rise_noise = standard_errors(given, gain, "skill_errors")
    if not epsilon >= 0:
        raise ValueError(f"epsilon is {epsilon}; allowed: numbers >= 0")
    steps = np.stack([np.arange(m - 1), np.arange(1, m)], axis=1) if pairs is None else pairs
    steps = np.asarray(steps, dtype=np.intp)
    if steps.ndim != 2 or steps.shape[1] != 2 or not ((steps >= 0) & (steps < m)).all():
        raise ValueError(
            f"pairs is {np.asarray(pairs).tolist()}; give rows (x, y) of policies 0 to {m - 1}"
        )
    x, y = steps.T
    # Two statements a step, about its gain and its rise.
    z = _quantile(2 * len(steps), confidence)
    rises = skill[y] - skill[x]
    return SkillCheck(
        pairs=steps,
        gains=gain[y, x],
        rises=rises,
        improved=_sign(gain[y, x], z * noise[y, x], epsilon),
        rose=_sign(rises, z * rise_noise[y, x], 0.0),
    )


def _quantile(statements: int, confidence: float) -> float:
    """Standard errors by which each of several statements must be clear."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; allowed: numbers between 0 and 1")
    return max(0.0, NormalDist().inv_cdf(1 - (1 - confidence) / max(statements, 1)))


def _sign(values: FloatArray, margin: FloatArray, threshold: float) -> SignArray:
    """1 where values are above the threshold for certain, -1 where at most it, else 0."""
    above, below = values - margin > threshold, values + margin <= threshold
    return above.astype(np.int8) - below.astype(np.int8)
