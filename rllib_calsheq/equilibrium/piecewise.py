"""Piecewise potential games and their identity (end of section 2).

Matrices are indexed ``[x, y]`` as in the paper: u(x, y) is what x gets against y. With x ≤ y if and
only if u(x, x) ≤ u(y, x) and u(x, y) ≤ u(y, y), symmetric P_1 and P_2 with one diagonal T make u a
piecewise potential game if for all x ≤ y

    u(y, x) − u(x, x) = P_1(y, x) − P_1(x, x),    u(y, y) − u(x, y) = P_2(y, y) − P_2(x, y).

Then T(y) − T(x) is the sum of `identity_terms`. The definition alone restricts nothing: see
`piecewise_potentials`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.transitivity import square, vector

Function = Callable[[FloatArray], FloatArray]


def below(payoff: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """``[x, y]``: whether x ≤ y, (m, m)."""
    u = square(payoff, "payoff")
    own = np.diag(u)
    return (own[:, None] <= u.T) & (u <= own)


def piecewise_violation(
    payoff: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike
) -> float:
    """By how much P_1 and P_2 miss the definition at most; 0 for a piecewise potential game.

    Args:
        payoff: u, (m, m).
        first: P_1, (m, m).
        second: P_2, (m, m).

    Raises:
        ValueError: If the three are not square matrices of finite numbers of one shape.
    """
    u, p1, p2 = _three(payoff, first, second)
    own = np.diag(u)
    one = (u.T - own[:, None]) - (p1.T - np.diag(p1)[:, None])
    two = (own - u) - (np.diag(p2) - p2)
    misses = (np.abs(p1 - p1.T), np.abs(p2 - p2.T), np.abs(np.diag(p1) - np.diag(p2)))
    related = below(u)
    return float(
        max(*(miss.max() for miss in misses), *(np.abs(d[related]).max() for d in (one, two)))
    )


def identity_terms(
    payoff: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The three terms of T(y) − T(x) for x ≤ y in a piecewise potential game, each (m, m).

    Entries ``[x, y]`` of: player 1's deviation u(y, x) − u(x, x), player 2's deviation
    u(y, y) − u(x, y), and the piecewise term P_2(x, y) − P_1(x, y). The first two are at least 0
    for x ≤ y by its definition; Assumption 1 hangs on the third.
    """
    u, p1, p2 = _three(payoff, first, second)
    own = np.diag(u)
    return u.T - own[:, None], own - u, p2 - p1


def piecewise_potentials(
    payoff: npt.ArrayLike, skill: npt.ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """P_1 and P_2, each (m, m), that make *any* payoff matrix piecewise potential.

    Where x ≤ y, P_1(x, y) := T(x) + u(y, x) − u(x, x) and P_2(x, y) := T(y) − u(y, y) + u(x, y).
    Both equations then hold, whatever T is: if y ≤ x as well, neither deviation changes anything,
    and T(x) = T(y) is all that is asked. Unrelated pairs are free, and get the mean of T here.

    Args:
        payoff: u, (m, m).
        skill: T, (m,); 0 when None.

    Raises:
        ValueError: If T differs between some x ≤ y ≤ x.
    """
    u = square(payoff, "payoff")
    t = np.zeros(len(u)) if skill is None else vector(skill, len(u), "skill")
    order = below(u)
    both = order & order.T & (t[:, None] != t)
    if both.any():
        x, y = np.argwhere(both)[0]
        raise ValueError(
            f"skill is {t[x]} for policy {x} and {t[y]} for {y}, between which nothing is gained "
            "or lost; give both the same"
        )
    middle = (t[:, None] + t) / 2
    one = t[:, None] + u.T - np.diag(u)[:, None]
    two = t - np.diag(u) + u
    first = np.where(order, one, np.where(order.T, one.T, middle))
    second = np.where(order, two, np.where(order.T, two.T, middle))
    return first, second


def product_game(
    points: npt.ArrayLike, h: Function, g1: Function, g2: Function
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The paper's example u(x, y) = h(x + y) g(x − y) on given points, with its P_1 and P_2.

    g(z) = g1(z) for z ≥ 0 and g2(−z) otherwise, g1(0) = g2(0) = 1, P_j = h(x + y) g_j(|x − y|) and
    T(x) = h(2x). The condition that the paper leaves open: x ≤ y must not hold where x > y as
    numbers (unless g1 = g2 there). It suffices that h is positive and strictly increasing and
    g2 ≤ 1. Then only a higher number gains, T rises with it, and the game is extended transitive:
    on any finite set of points, and on [0, 1] if the functions are continuous.

    Args:
        points: The policies, numbers (m,), e.g. in [0, 1].
        h: Function of x + y, elementwise on arrays.
        g1: Function of |x − y| for x ≥ y.
        g2: Function of |x − y| for x < y.

    Returns:
        u, P_1 and P_2, each (m, m).
    """
    x = np.asarray(points, dtype=np.float64)
    total, distance = h(x[:, None] + x), np.abs(x[:, None] - x)
    first, second = total * g1(distance), total * g2(distance)
    return np.where(x[:, None] >= x, first, second), first, second


def _three(
    payoff: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    u, p1, p2 = square(payoff, "payoff"), square(first, "first"), square(second, "second")
    if not u.shape == p1.shape == p2.shape:
        raise ValueError(f"u {u.shape}, P_1 {p1.shape} and P_2 {p2.shape} must have one shape")
    return u, p1, p2
