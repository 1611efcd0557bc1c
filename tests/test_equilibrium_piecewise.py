"""Piecewise potential games: the identity at the end of section 2, and the paper's example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rllib_calsheq.equilibrium.piecewise import (
    below,
    identity_terms,
    piecewise_potentials,
    piecewise_violation,
    product_game,
)
from rllib_calsheq.equilibrium.transitivity import extended_transitivity, smallest_rise

POINTS = np.linspace(0, 1, 41)
ROCK_PAPER_SCISSORS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])


def identity_error(payoff, first, second):
    """Largest |T(y) − T(x) − the sum of its terms| over x ≤ y."""
    t = np.diag(first)
    missing = (t - t[:, None]) - sum(identity_terms(payoff, first, second))
    return np.abs(missing[below(payoff)]).max()


@pytest.mark.parametrize(
    ("h", "g1", "g2"),
    [
        (lambda s: 1 + s, lambda d: 1 + d / 4, lambda d: np.exp(-d)),
        (lambda s: np.exp(s), lambda d: np.exp(-d / 2), lambda d: 1 - d / 2),
        (lambda s: 2 + s**2 + s, lambda d: 1 / (1 + d), lambda d: 1 / (1 + d) ** 2),
        (lambda s: np.log(2 + s), lambda d: 1 + np.sin(d), lambda d: np.cos(d)),
    ],
)
def test_the_papers_example_is_piecewise_potential(h, g1, g2):
    payoff, first, second = product_game(POINTS, h, g1, g2)
    # u(x, y) = h(x + y) g1(x − y) above the diagonal's x = y, h(x + y) g2(y − x) below it.
    assert payoff[30, 10] == pytest.approx(h(1.0) * g1(0.5))
    assert payoff[10, 30] == pytest.approx(h(1.0) * g2(0.5))
    assert piecewise_violation(payoff, first, second) < 1e-12
    assert identity_error(payoff, first, second) < 1e-12
    t = h(2 * POINTS)
    assert np.diag(first) == pytest.approx(t)
    # Order as numbers is all that x ≤ y can be here, and T rises with it.
    order = below(payoff)
    assert not order[np.tril_indices(41, -1)].any()
    assert order[np.triu_indices(41)].sum() > 41
    assert extended_transitivity(payoff).holds
    assert smallest_rise(payoff, t) > 0


def test_every_pair_of_the_example_can_be_related():
    payoff, _, _ = product_game(POINTS, lambda s: 1 + s, lambda d: 1 + d / 4, lambda d: np.exp(-d))
    assert below(payoff)[np.triu_indices(41)].all()


def test_the_example_fails_without_its_conditions():
    # h falls, so that x ≤ y where x > y as numbers, and g1 and g2 have changed places.
    payoff, first, second = product_game(
        POINTS, lambda s: 3 - s, lambda d: np.exp(-d), lambda d: np.exp(-d / 2)
    )
    assert below(payoff)[np.tril_indices(41, -1)].any()
    assert piecewise_violation(payoff, first, second) > 0.1


@settings(max_examples=50, deadline=None)
@given(
    raw=hnp.arrays(np.float64, (5, 5), elements=st.floats(-10, 10)),
    level=hnp.arrays(np.float64, 5, elements=st.floats(-10, 10)),
)
def test_potential_games_are_piecewise_potential(raw, level):
    # u(x, y) = P(x, y) + c(y) has all deviations u(y, z) − u(x, z) = P(y, z) − P(x, z).
    potential = (raw + raw.T) / 2
    payoff = potential + level
    assert piecewise_violation(payoff, potential, potential) < 1e-12
    assert identity_error(payoff, potential, potential) < 1e-12


@settings(max_examples=100, deadline=None)
@given(
    payoff=st.integers(1, 6).flatmap(
        lambda m: hnp.arrays(np.int64, (m, m), elements=st.integers(-3, 3))
    )
)
def test_every_game_is_piecewise_potential(payoff):
    first, second = piecewise_potentials(payoff)
    assert piecewise_violation(payoff, first, second) == 0
    assert identity_error(payoff, first, second) == 0
    assert not np.diag(first).any()
    # The deviations of x ≤ y are never negative.
    one, two, _ = identity_terms(payoff, first, second)
    assert (one[below(payoff)] >= 0).all()
    assert (two[below(payoff)] >= 0).all()


def test_even_rock_paper_scissors_with_any_t():
    t = [3.0, -1.0, 7.0]
    first, second = piecewise_potentials(ROCK_PAPER_SCISSORS, t)
    assert piecewise_violation(ROCK_PAPER_SCISSORS, first, second) == 0
    assert np.diag(first).tolist() == t
    # What goes round is all in the piecewise term, which the definition leaves free.
    assert identity_error(ROCK_PAPER_SCISSORS, first, second) == 0
    assert identity_terms(ROCK_PAPER_SCISSORS, first, second)[2][0, 1] == (t[1] - t[0]) - 2


def test_the_identity_says_nothing_of_anti_coordination():
    """Either is a profitable deviation from the other, but neither x ≤ y nor y ≤ x."""
    payoff = np.array([[0, 1], [1, 0]])
    assert below(payoff).tolist() == [[True, False], [False, True]]
    assert not extended_transitivity(payoff).holds


def test_violations_are_seen():
    payoff, first, second = product_game(POINTS, np.exp, lambda d: 1 - d / 4, lambda d: 1 - d / 2)
    crooked = first.copy()
    crooked[3, 7] += 0.5
    assert piecewise_violation(payoff, crooked, second) >= 0.5 - 1e-12
    # Symmetric changes off the diagonal, of a pair with 3 ≤ 7.
    bump = np.zeros_like(first)
    bump[[3, 7], [7, 3]] = 0.125
    assert piecewise_violation(payoff, first + bump, second) == pytest.approx(0.125)
    assert piecewise_violation(payoff, first, second + bump) == pytest.approx(0.125)
    assert piecewise_violation(payoff, first, second + 0.25) == pytest.approx(0.25)
    assert piecewise_violation(payoff, second, first) > 0.1


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="must have one shape"):
        piecewise_violation(np.zeros((2, 2)), np.zeros((3, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"skill is 0\.0 for policy 0 and 1\.0 for 1"):
        piecewise_potentials(np.zeros((2, 2)), [0.0, 1.0])
