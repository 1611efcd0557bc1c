"""Finite games: V, V̂, ε-shared equilibria (Definition 1), and Proposition 1."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_calsheq.equilibrium.finite_games import (
    FiniteGame,
    gain_bound,
    payoff_matrix,
    pure_policies,
    shared_gains,
)
from rllib_calsheq.equilibrium.markov_games import Episodes, MarkovGame
from rllib_calsheq.equilibrium.shared_gradient import (
    deviation_gradient,
    shared_gradient,
    softmax,
)
from rllib_calsheq.equilibrium.transitivity import epsilons

MATCHING_PENNIES = np.array([[[1, -1], [-1, 1]], [[-1, 1], [1, -1]]])


def random_policy(rng, *shape):
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def random_game(rng, counts, num_types=2, num_actions=2):
    n = sum(counts)
    z = num_types * num_actions
    # Symmetric in all agents but the first.
    raw = rng.normal(size=(z,) * n)
    orders = [(0, *order) for order in itertools.permutations(range(1, n))]
    payoffs = np.mean([raw.transpose(order) for order in orders], axis=0)
    types = random_policy(rng, len(counts), num_types)
    return FiniteGame(payoffs.reshape((num_types, num_actions) * n), types, counts)


def value_by_hand(game, agent, policy, others):
    """Equation (2) as a sum over what every agent draws and does, agents in their own order."""
    supertypes = np.repeat(np.arange(len(game.counts)), game.counts)
    total = 0.0
    for profile in itertools.product(np.ndindex(game.policy_shape), repeat=game.num_agents):
        chance = 1.0
        for i, (kind, action) in enumerate(profile):
            chance *= game.types[supertypes[i], kind]
            chance *= (policy if i == agent else others)[kind, action]
        rest = [z for i, z in enumerate(profile) if i != agent]
        total += chance * game.payoffs[tuple(itertools.chain(profile[agent], *rest))]
    return total


def test_values_of_a_dilemma():
    # Two who defect get 1 each, two who cooperate 3, a defector against a cooperator 5.
    game = FiniteGame.symmetric([[3, 0], [5, 1]])
    cooperate, defect = pure_policies(1, 2)
    assert payoff_matrix(game, [cooperate, defect]).tolist() == [[3, 0], [5, 1]]
    assert shared_gains(game, defect).gain == 0
    assert shared_gains(game, cooperate).gain == 2
    # Half and half: 5/2 + 1/2 by defection, 9/4 by going on.
    assert shared_gains(game, [[0.5, 0.5]]).gain == pytest.approx(3 - 9 / 4)


def test_values_of_a_public_good_of_three():
    # Everyone gets half of the sum of contributions and pays their own.
    a = np.arange(2)
    game = FiniteGame.symmetric((a[:, None, None] + a[:, None] + a) / 2 - a[:, None, None])
    keep, give = pure_policies(1, 2)
    assert game.value(give, give) == 0.5
    assert game.value(keep, give) == 1.0
    assert game.value(give, keep) == -0.5
    assert game.best_response(give).tolist() == keep.tolist()
    assert shared_gains(game, give).gain == 0.5


def test_a_game_with_two_positions_is_a_coin_toss_for_the_position():
    game = FiniteGame.from_roles(MATCHING_PENNIES)
    rng = np.random.default_rng(0)
    one, two = random_policy(rng, 2, 2), random_policy(rng, 2, 2)
    row = one[0] @ MATCHING_PENNIES[0] @ two[1]
    column = two[0] @ MATCHING_PENNIES[1] @ one[1]
    assert game.value(one, two) == pytest.approx((row + column) / 2)
    assert game.supertype_values(one, two) == pytest.approx([row, column])
    # The one equilibrium is to toss the coin in both positions.
    assert shared_gains(game, np.full((2, 2), 0.5)).gain == 0
    both_heads = shared_gains(game, [[1, 0], [1, 0]])
    # The one who wants a mismatch goes from -1 to 1, the other stays.
    assert both_heads.by_supertype.tolist() == [0, 2]
    assert both_heads.gain == both_heads.bound == 1


def test_positions_of_three_are_not_mixed_up():
    payoffs = np.random.default_rng(1).normal(size=(3, 2, 2, 2))
    game = FiniteGame.from_roles(payoffs)
    for a, b in itertools.product(itertools.product((0, 1), repeat=3), repeat=2):
        one, two = np.eye(2)[list(a)], np.eye(2)[list(b)]
        by_hand = [payoffs[i][(*b[:i], a[i], *b[i + 1 :])] for i in range(3)]
        assert game.supertype_values(one, two) == pytest.approx(by_hand)


def test_one_policy_for_two_supertypes_can_gain_less_than_their_mean():
    # Action 0 pays 1/4. Action 1 pays 1 if the other agent is of type 1. Supertype 0 is always of
    # type 0, supertype 1 of both types alike.
    payoffs = np.zeros((2, 2, 2, 2))
    payoffs[:, 0] = 0.25
    payoffs[:, 1, 1] = 1.0
    game = FiniteGame(payoffs, [[1, 0], [0.5, 0.5]], (1, 1))
    safe = [[1, 0], [1, 0]]
    found = shared_gains(game, safe)
    # Alone, supertype 0 meets type 1 half the time: 1/2 - 1/4. Supertype 1 never does.
    assert found.by_supertype == pytest.approx([0.25, 0])
    assert found.bound == pytest.approx(0.125)
    # Action 1 at type 0: half the agents gain 1/4, the other half lose 1/4 half the time.
    assert found.gain == pytest.approx(0.5 * 0.25 - 0.5 * 0.5 * 0.25)
    assert game.best_response(safe).tolist() == [[0, 1], [1, 0]]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.sampled_from([(2,), (1, 1), (1, 2), (3,), (2, 1), (1, 1, 1)]),
)
def test_values_gains_and_bound_agree_with_enumeration(seed, counts):
    rng = np.random.default_rng(seed)
    game = random_game(rng, counts)
    policy, others = random_policy(rng, 2, 2), random_policy(rng, 2, 2)
    by_agent = [value_by_hand(game, i, policy, others) for i in range(game.num_agents)]
    first = np.cumsum((0, *counts[:-1]))
    assert game.supertype_values(policy, others) == pytest.approx(np.array(by_agent)[first])
    assert game.value(policy, others) == pytest.approx(np.mean(by_agent))

    found = shared_gains(game, policy)
    alone = game.supertype_values(policy, policy)
    deviations = [game.supertype_values(pure, policy) - alone for pure in pure_policies(2, 2)]
    by_supertype = np.maximum(np.max(deviations, axis=0), 0)
    together = max(0.0, *(np.dot(counts, gain) / game.num_agents for gain in deviations))
    assert found.by_supertype == pytest.approx(by_supertype, abs=1e-12)
    assert found.gain == pytest.approx(together, abs=1e-12)
    assert found.bound >= found.gain - 1e-12
    best = game.best_response(policy)
    assert game.value(best, policy) - game.value(policy, policy) == pytest.approx(
        found.gain, abs=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_bound_is_attained_where_supertypes_share_no_type(seed):
    rng = np.random.default_rng(seed)
    game = random_game(rng, (1, 2), num_types=3)
    apart = FiniteGame(game.payoffs, [[1, 0, 0], [0, 0.3, 0.7]], (1, 2))
    found = shared_gains(apart, random_policy(rng, 3, 2))
    assert found.gain == pytest.approx(found.bound)
    assert found.bound == pytest.approx(found.by_supertype @ [1 / 3, 2 / 3])


def test_the_bound_of_one_maker_and_four_takers():
    assert gain_bound([1.0, 0.5], (1, 4)) == pytest.approx(1 / 5 + 4 / 5 * 0.5)


def test_epsilon_among_pure_policies_is_that_over_all_policies():
    game = random_game(np.random.default_rng(2), (1, 2))
    pure = pure_policies(2, 2)
    assert pure.shape == (4, 2, 2)
    exact = [shared_gains(game, policy).gain for policy in pure]
    assert epsilons(payoff_matrix(game, pure)) == pytest.approx(exact)


def test_bad_games_and_policies_are_refused():
    skewed = np.random.default_rng(3).normal(size=(2, 2, 2))
    with pytest.raises(ValueError, match="other agents 1 and 2 trade places"):
        FiniteGame.symmetric(skewed)
    with pytest.raises(ValueError, match=r"e\.g\. \(1, 2, 1, 2, 1, 2\)"):
        FiniteGame(np.zeros((1, 2, 1, 2)), [[1.0]], (3,))
    with pytest.raises(ValueError, match="each must sum to 1"):
        FiniteGame(np.zeros((2, 2, 2, 2)), [[0.5, 0.6]], (2,))
    with pytest.raises(ValueError, match="K whole numbers"):
        FiniteGame(np.zeros((2, 2, 2, 2)), [[0.5, 0.5]], (1, 1))
    with pytest.raises(ValueError, match="n axes of A"):
        FiniteGame.from_roles(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="not finite"):
        FiniteGame.symmetric([[0, np.inf], [0, 0]])
    game = FiniteGame.symmetric([[3, 0], [5, 1]])
    with pytest.raises(ValueError, match=r"shape \(2,\) was given; this game's have \(L, A\) = "):
        game.value([0.5, 0.5], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="not probabilities"):
        shared_gains(game, [[1.5, -0.5]])
    with pytest.raises(ValueError, match="one gain and one"):
        gain_bound([1.0, 2.0], (3,))


def moving_game(n=2, horizon=2, discount=0.7):
    """Agents with a state s and a type λ, x = 2 λ + s, who push each other's states about."""
    rng = np.random.default_rng(4)
    counts = (1, n - 1)
    stage = random_game(rng, counts, num_types=4)
    # P(next s = 1) by own type, state and action and the share of others that play action 1.
    push = rng.uniform(0.1, 0.9, size=(4, 2, n))
    kernel = np.zeros((4, 2) * n + (4,) * n)
    for profile in itertools.product(np.ndindex(4, 2), repeat=n):
        actions = sum(action for _, action in profile)
        after = np.ones(())
        for x, action in profile:
            up = push[x, action, actions - action]
            own = np.zeros(4)
            own[2 * (x // 2) : 2 * (x // 2) + 2] = 1 - up, up
            after = np.multiply.outer(after, own)
        kernel[tuple(itertools.chain(*profile))] = after
    return MarkovGame(stage, kernel, discount, horizon)


def all_episodes(game, policy):
    """Every episode of two agents and two steps that share a policy, and its probability."""
    stage, rows, chances = game.stage, [], []
    profiles = list(itertools.product(np.ndindex(stage.policy_shape), repeat=2))
    for first, second in itertools.product(profiles, repeat=2):
        chance = 1.0
        for i, (x, a) in enumerate(first):
            chance *= stage.types[i, x] * policy[x, a]
        after = game.kernel[tuple(itertools.chain(*first))]
        chance *= after[second[0][0], second[1][0]]
        for x, a in second:
            chance *= policy[x, a]
        if chance > 0:
            rewards = [
                [stage.payoffs[(*z, *y)], stage.payoffs[(*y, *z)]] for z, y in (first, second)
            ]
            steps = np.array([first, second])
            rows.append((steps[..., 0], steps[..., 1], rewards))
            chances.append(chance)
    return Episodes(*(np.array(part) for part in zip(*rows, strict=True))), np.array(chances)


def test_one_step_is_the_stage_game():
    game = moving_game(n=3, horizon=1)
    one, two = random_policy(np.random.default_rng(5), 2, 4, 2)
    assert game.supertype_values(one, two) == pytest.approx(game.stage.supertype_values(one, two))


def test_proposition_1_with_all_episodes():
    """B = ∞: the expectation of (3) over every episode is the gradient of the enumerated V̂."""
    game = moving_game()
    logits = np.random.default_rng(6).normal(size=(4, 2))
    policy = softmax(logits)
    episodes, chances = all_episodes(game, policy)
    assert chances.sum() == pytest.approx(1)
    returns = np.einsum("bti,t->bi", episodes.rewards, [1, game.discount])
    assert game.supertype_values(policy, policy) == pytest.approx(chances @ returns)

    pooled = np.tensordot(chances, shared_gradient(logits, episodes, game.discount), axes=1)
    assert pooled == pytest.approx(deviation_gradient(game, logits), abs=1e-9)
    # It is not the derivative along which all agents move at once.
    step = 1e-5 * np.eye(8)[0].reshape(4, 2)
    up, down = softmax(logits + step), softmax(logits - step)
    everyone = (game.value(up, up) - game.value(down, down)) / 2e-5
    assert abs(everyone - pooled[0, 0]) > 0.01


def test_proposition_1_with_sampled_episodes():
    """The pooled estimator (3) lies within its confidence interval of ∇_θ1 V̂."""
    game = moving_game(n=3, horizon=3)
    logits = np.random.default_rng(7).normal(size=(4, 2))
    policy = softmax(logits)
    episodes = game.play(policy, 100_000, np.random.default_rng(8))
    exact = deviation_gradient(game, logits)

    def deviations(samples, truth):
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
        return np.abs(samples.mean(axis=0) - truth) / error

    # 8 entries at 99.9 % together: 3.8 standard errors for each.
    assert deviations(shared_gradient(logits, episodes, game.discount), exact).max() < 3.8
    # The interval is narrow enough to tell a wrong discount, and one agent's samples from all's.
    assert deviations(shared_gradient(logits, episodes, 1.0), exact).max() > 10
    first = Episodes(*(part[..., :1] for part in episodes))
    assert deviations(shared_gradient(logits, first, game.discount), exact).max() > 10

    returns = np.einsum("bti,t->bi", episodes.rewards, game.discount ** np.arange(3))
    value = game.value(policy, policy)
    assert deviations(returns.mean(axis=1), value) < 3.8


def test_proposition_1_needs_rewards_discounted_from_the_start():
    """γ^t' as in (3), not γ^(t'−t): without it, later steps weigh too much."""
    game = moving_game(discount=0.5)
    logits = np.random.default_rng(9).normal(size=(4, 2))
    episodes, chances = all_episodes(game, softmax(logits))
    exact = deviation_gradient(game, logits)
    last_alone = Episodes(*(part[:, 1:] for part in episodes))
    first_alone = shared_gradient(logits, episodes, 0.5) - 0.5 * shared_gradient(
        logits, last_alone, 0.5
    )
    undiscounted = first_alone + shared_gradient(logits, last_alone, 0.5)
    assert np.abs(np.tensordot(chances, undiscounted, axes=1) - exact).max() > 0.01


def test_bad_markov_games_are_refused():
    game = moving_game()
    with pytest.raises(ValueError, match="one axis of 4 for the next state of each of 2 agents"):
        MarkovGame(game.stage, game.kernel[..., 0], 0.9, 2)
    skewed = game.kernel.copy()
    skewed[0, 0, 1, 0] = np.eye(4)[2][:, None] * np.eye(4)[3]
    with pytest.raises(ValueError, match="must treat all agents alike"):
        MarkovGame(game.stage, skewed, 0.9, 2)
    with pytest.raises(ValueError, match=r"discount is 1.1 and horizon 2"):
        MarkovGame(game.stage, game.kernel, 1.1, 2)
    with pytest.raises(ValueError, match=r"must all be \(B, H, n\)"):
        shared_gradient(np.zeros((4, 2)), Episodes(*np.zeros((3, 5, 2))), 0.9)
