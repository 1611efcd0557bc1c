"""Extended transitivity (Assumption 1) over a finite set of policies.

A payoff matrix is ``payoff[y, x] = u(y, x)``: what policy y gets where all others play x, that is
V̂(π_y, π_x). Its *gain* u(y, x) − u(x, x) says whether y is a profitable deviation from x. Draw an
arrow from x to y wherever the gain is positive. On a finite set,

    Assumption 1 holds  <=>  the arrows have no cycle.

If T exists, it rises along every arrow, so that no path returns. If none returns, let T(y) be the
largest sum of gains along a path that ends at y: along an arrow it rises by the gain at least,
which is Assumption 1 with δ_ε = ε. For u(x, y) = t(x) − t(y) this T is t up to a constant.

A subset of an extended transitive set is extended transitive with the same T. So a cycle among a
few policies disproves Assumption 1 on all of X, while its absence proves nothing beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ExtendedTransitivity:
    """Whether Assumption 1 holds on a finite set, with its T or a counterexample.

    Attributes:
        skill: T, (m,), with smallest entry 0 and δ_ε = ε: every gain above ε comes with a rise of T
            above ε, up to rounding. None where there is a cycle.
        cycle: A shortest cycle x_0, x_1, ..., in which each policy is a profitable deviation from
            the one before, and x_0 from the last. Empty where T exists.
    """

    skill: FloatArray | None
    cycle: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Whether T exists."""
        return not self.cycle


def gains(payoff: npt.ArrayLike) -> FloatArray:
    """``gains[y, x] = u(y, x) − u(x, x)``, (m, m): what y gains against a population of x.

    Raises:
        ValueError: If ``payoff`` is not a square matrix of finite numbers.
    """
    matrix = square(payoff, "payoff")
    return matrix - np.diag(matrix)


def epsilons(payoff: npt.ArrayLike) -> FloatArray:
    """The smallest ε for which each policy is an ε-shared equilibrium within the set, (m,).

    Deviations outside the set are not seen: Definition 1's ε over all of X is at least this.
    """
    return gains(payoff).max(axis=0)


def extended_transitivity(payoff: npt.ArrayLike, epsilon: float = 0.0) -> ExtendedTransitivity:
    """Checks Assumption 1 on a payoff matrix.

    Args:
        payoff: u(y, x), (m, m): the row's policy against a population of the column's.
        epsilon: Gains up to this do not count. 0 is Assumption 1 itself; above 0 it is Assumption 1
            for all ε' >= epsilon, which suffices for ε-shared equilibria. Payoffs that carry
            rounding need something like 1e-12.

    Raises:
        ValueError: If ``payoff`` is not a square matrix of finite numbers, or epsilon is negative.
    """
    return transitivity_of_gains(gains(payoff), epsilon)


def transitivity_of_gains(gain: npt.ArrayLike, epsilon: float = 0.0) -> ExtendedTransitivity:
    """`extended_transitivity` of a matrix of gains (m, m); its diagonal is not read."""
    gain = square(gain, "gain")
    improves = improvements(gain, epsilon)
    skill, left = np.zeros(len(gain)), np.ones(len(gain), dtype=bool)
    while left.any():
        # The policies into which no arrow leads from one that is left: their T can be told.
        ready = left & ~improves[:, left].any(axis=1)
        if not ready.any():
            return ExtendedTransitivity(None, _shortest_cycle(improves & left & left[:, None]))
        paths = np.where(improves[ready], gain[ready] + skill, 0.0)
        skill[ready] = paths.max(axis=1)
        left &= ~ready
    return ExtendedTransitivity(skill, ())


def smallest_rise(payoff: npt.ArrayLike, skill: npt.ArrayLike, epsilon: float = 0.0) -> float:
    """The smallest T(y) − T(x) where u(y, x) − u(x, x) > ε; infinite if that is nowhere so.

    A candidate T satisfies Assumption 1 at this ε if and only if the result is positive, with any
    positive δ_ε below it.

    Args:
        payoff: u(y, x), (m, m).
        skill: A candidate T, (m,).
        epsilon: ε >= 0.

    Raises:
        ValueError: If shapes differ, numbers are not finite or epsilon is negative.
    """
    gain = gains(payoff)
    skill = vector(skill, len(gain), "skill")
    rises = (skill[:, None] - skill)[improvements(gain, epsilon)]
    return float(rises.min(initial=np.inf))


def improvements(gain: FloatArray, epsilon: float) -> BoolArray:
    """``[y, x]``: whether y gains more than ε against x; never on the diagonal."""
    if not epsilon >= 0:
        raise ValueError(f"epsilon is {epsilon}; allowed: numbers >= 0")
    return (gain > epsilon) & ~np.eye(len(gain), dtype=bool)


def square(matrix: npt.ArrayLike, what: str) -> FloatArray:
    """``matrix`` as floats, or a ValueError unless it is (m, m), m >= 1, and finite."""
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(
            f"{what} has shape {array.shape}; give a square matrix (m, m) of m policies against "
            "each other"
        )
    if not np.isfinite(array).all():
        y, x = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{what}[{y}, {x}] is {array[y, x]}; all pairs of policies need a finite number: leave "
            "out policies that were not played against all others"
        )
    return array


def vector(values: npt.ArrayLike, size: int, what: str) -> FloatArray:
    """``values`` as floats, or a ValueError unless they are (size,) and finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ValueError(
            f"{what} is {array} of shape {array.shape}; give {size} finite numbers, one a policy"
        )
    return array


def _shortest_cycle(improves: BoolArray) -> tuple[int, ...]:
    """A shortest cycle of the arrows x → y where ``improves[y, x]``; there must be one."""
    shortest: tuple[int, ...] = ()
    for start in np.flatnonzero(improves.any(axis=0)):
        cycle = _cycle_through(int(start), improves)
        if cycle and (not shortest or len(cycle) < len(shortest)):
            shortest = cycle
        if len(shortest) == 2:
            break
    return shortest


def _cycle_through(start: int, improves: BoolArray) -> tuple[int, ...]:
    """A shortest cycle that begins at ``start``, by breadth-first search; empty if none does."""
    seen = np.zeros(len(improves), dtype=bool)
    levels = [np.arange(len(improves)) == start]
    while not seen[start]:
        reached = improves[:, levels[-1]].any(axis=1) & ~seen
        if not reached.any():
            return ()
        seen |= reached
        levels.append(reached)
    # Back from the return to ``start``, one level at a time.
    path = [start]
    for level in reversed(levels[1:-1]):
        path.append(int(np.flatnonzero(level & improves[path[-1]])[0]))
    return (start, *reversed(path[1:]))
