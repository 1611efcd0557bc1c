"""Self-play sequences (Definition 2) and Theorem 1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rllib_calsheq.equilibrium.finite_games import (
    FiniteGame,
    payoff_matrix,
    pure_policies,
    shared_gains,
)
from rllib_calsheq.equilibrium.self_play import is_self_play_sequence, most_steps, self_play
from rllib_calsheq.equilibrium.transitivity import epsilons, extended_transitivity

ROCK_PAPER_SCISSORS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])


@st.composite
def transitive_games(draw):
    """Whole-number payoffs whose gains are positive only against policies of a lower rank."""
    m = draw(st.integers(1, 8))
    gain = draw(hnp.arrays(np.int64, (m, m), elements=st.integers(-5, 5)))
    rank = np.array(draw(st.permutations(range(m))))
    gain = np.where(rank[:, None] > rank, gain, -np.abs(gain))
    np.fill_diagonal(gain, 0)
    return gain + draw(hnp.arrays(np.int64, m, elements=st.integers(-5, 5)))


@settings(max_examples=200, deadline=None)
@given(payoff=transitive_games(), epsilon=st.sampled_from([0, 1, 2.5]), seed=st.integers(0, 999))
def test_theorem_1_self_play_ends_at_an_epsilon_shared_equilibrium(payoff, epsilon, seed):
    rng = np.random.default_rng(seed)
    skill = extended_transitivity(payoff).skill
    for start in range(len(payoff)):
        # However the deviations are chosen.
        played = self_play(payoff, start, epsilon, lambda candidates, _: rng.choice(candidates))
        z = played.policies
        assert played.ended
        assert z[0] == start
        assert epsilons(payoff)[z[-1]] <= epsilon
        assert is_self_play_sequence(payoff, z, epsilon)
        assert len(z) - 1 <= len(payoff) - 1
        if epsilon:
            # δ_ε = ε for this T.
            assert len(z) - 1 <= most_steps(skill, epsilon)


@settings(max_examples=50, deadline=None)
@given(payoff=transitive_games())
def test_pairs_are_those_of_definition_2(payoff):
    played = self_play(payoff, 0, 0.5)
    z, pairs = played.policies, played.pairs
    assert len(pairs) == 2 * (len(z) - 1) + 1
    for n in range(len(z)):
        assert pairs[2 * n] == (z[n], z[n])
    for n in range(len(z) - 1):
        assert pairs[2 * n + 1] == (z[n + 1], z[n])
        assert payoff[pairs[2 * n + 1]] > payoff[pairs[2 * n]] + 0.5


def test_the_bound_on_steps_is_attained():
    # Each policy gains 1 against the one before it only; T = 0, 1, 2, 3.
    payoff = np.eye(4, k=-1)
    played = self_play(payoff, 0, 0.99)
    assert played.policies == (0, 1, 2, 3)
    skill = extended_transitivity(payoff).skill
    assert skill.tolist() == [0, 1, 2, 3]
    assert most_steps(skill, 0.99) == 3
    # Gains of exactly ε are no steps.
    assert most_steps(skill, 1.0) == 2
    assert self_play(payoff, 0, 1.0).policies == (0,)
    assert most_steps([5.0], 0.1) == 0


@pytest.mark.parametrize("start", [0, 1, 2])
def test_rock_paper_scissors_comes_back(start):
    played = self_play(ROCK_PAPER_SCISSORS, start)
    order = [(start + k) % 3 for k in range(3)]
    assert not played.ended
    assert played.cycle == tuple(order)
    assert played.policies == (*order, start)
    assert is_self_play_sequence(ROCK_PAPER_SCISSORS, played.policies)


def test_a_cycle_is_reported_without_the_way_into_it():
    payoff = np.full((4, 4), -1.0)
    payoff[:3, :3] = ROCK_PAPER_SCISSORS
    payoff[0, 3], payoff[3, 3] = 5.0, 0.0
    played = self_play(payoff, 3)
    assert played.policies == (3, 0, 1, 2, 0)
    assert played.cycle == (0, 1, 2)


def test_self_play_finds_who_pays_for_a_public_good():
    """Three agents; the good pays 1/2 a contribution, which costs 1/4 (type 0) or 1 (type 1)."""
    cost, a = np.array([0.25, 1.0]), np.arange(2)
    good = (a[:, None, None] + a[:, None] + a) / 2
    payoffs = np.empty((2, 2) * 3)
    for kind in range(2):
        own = good - cost[kind] * a[:, None, None]
        payoffs[kind] = own[:, None, :, None, :]
    game = FiniteGame(payoffs, [[0.9, 0.1], [0.2, 0.8]], (1, 2))
    pure = pure_policies(2, 2)
    payoff = payoff_matrix(game, pure)
    assert extended_transitivity(payoff, 1e-12).holds
    for start in range(len(pure)):
        end = pure[self_play(payoff, start, 1e-12).policies[-1]]
        # Those give whom it costs less than it pays them.
        assert end.tolist() == [[0, 1], [1, 0]]
        # A shared equilibrium among all policies, not only pure ones.
        assert shared_gains(game, end).gain == pytest.approx(0, abs=1e-12)


def test_an_equilibrium_can_exist_where_self_play_finds_none():
    """Mixing is the shared equilibrium of rock-paper-scissors, which pure self-play goes round."""
    game = FiniteGame.symmetric(ROCK_PAPER_SCISSORS)
    assert shared_gains(game, np.full((1, 3), 1 / 3)).gain == pytest.approx(0, abs=1e-12)
    assert not self_play(payoff_matrix(game, pure_policies(1, 3)), 0).ended


def test_snapshots_in_order_need_no_indices():
    t = np.array([0.0, 1.0, 1.5])
    payoff = t[:, None] - t
    assert is_self_play_sequence(payoff, epsilon=0.4)
    assert not is_self_play_sequence(payoff, epsilon=0.6)
    assert not is_self_play_sequence(payoff, [0, 2, 1])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="start is 3; the policies are 0 to 2"):
        self_play(ROCK_PAPER_SCISSORS, 3)
    with pytest.raises(ValueError, match=r"policy 2 was chosen against 0; .* are \[1\]"):
        self_play(ROCK_PAPER_SCISSORS, 0, choose=lambda *_: 2)
    with pytest.raises(ValueError, match="delta is 0"):
        most_steps([0, 1], 0)
