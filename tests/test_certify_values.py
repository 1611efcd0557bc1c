"""V and V̂ by simulation: paired by common random numbers, one deviator, right in expectation."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from rllib_calsheq.certificates.search.deviations import (
    ConstantPolicy,
    RuleDeviation,
    cheap_deviations,
    constant_actions,
    shifts,
)
from rllib_calsheq.certificates.search.values import (
    Comparison,
    Estimate,
    draw_episodes,
    over_roles,
    play,
    supertype_shares,
)
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.envs import ArrayMarket, ArraySubway, MarketConfig, MarketEnv
from rllib_calsheq.equilibrium.finite_games import FiniteGame, shared_gains

from echo_env import ArrayEcho


class NoisyPolicy:
    """Gaussian actions round a number: what a network would do, without one."""

    def __init__(self, mean, std=0.3, size=2):
        self.mean, self.std, self.size = mean, std, size

    def draw_noise(self, rng, shape):
        return rng.standard_normal((*shape, self.size))

    def act(self, observations, noise):
        return np.clip(self.mean + self.std * noise, -1, 1)


class TablePolicy:
    """π(a|λ) of a finite game, drawn by Gumbel noise."""

    def __init__(self, table):
        self.table = np.asarray(table)

    def draw_noise(self, rng, shape):
        return rng.gumbel(size=(*shape, self.table.shape[1]))

    def act(self, observations, noise):
        log = np.log(np.maximum(self.table[observations[:, 0].astype(int)], 1e-12))
        return (log + noise).argmax(axis=1)


class ArrayGame:
    """A `FiniteGame` as an environment: one step, observations are types."""

    episode_length = 1
    outcomes = ()

    def __init__(self, game):
        self.game = game
        names = [f"k{k}" for k in range(len(game.counts))]
        self.supertype_space = SupertypeSpace(tuple(Parameter("x", name) for name in names))
        self.agent_supertypes = tuple(np.repeat(names, game.counts).tolist())
        self.observation_space = Box(0, 9, (1,), np.float32)
        self.action_space = Discrete(game.policy_shape[1])
        self._group = np.repeat(np.arange(len(names)), game.counts)

    def reset(self, profiles, seeds):
        draws = np.stack([np.random.default_rng(s).random(len(self._group)) for s in seeds])
        cumulative = self.game.types.cumsum(axis=1)[self._group]
        self._types = (draws[..., None] > cumulative).sum(axis=-1)
        return self._types[..., None].astype(np.float32)

    def step(self, actions):
        n = len(self._group)
        rewards = np.empty(actions.shape)
        for i in range(n):
            order = [i, *(j for j in range(n) if j != i)]
            index = [part for j in order for part in (self._types[:, j], actions[:, j])]
            rewards[:, i] = self.game.payoffs[tuple(index)]
        return self._types[..., None].astype(np.float32), rewards

    def episode_outcomes(self):
        return np.empty((len(self._types), 0))


def symmetric_game(rng, counts=(1, 2)):
    payoffs = rng.normal(size=(2, 2) * sum(counts))
    payoffs = (payoffs + payoffs.transpose(0, 1, 4, 5, 2, 3)) / 2
    return FiniteGame(payoffs, np.array([[0.7, 0.3], [0.2, 0.8]]), counts)


def test_values_are_those_of_a_finite_game_that_can_be_summed_exactly():
    rng = np.random.default_rng(0)
    game = symmetric_game(rng)
    policy, other = (rng.dirichlet(np.ones(2), size=2) for _ in range(2))
    env = ArrayGame(game)
    episodes = draw_episodes(env, env.supertype_space.start, 20_000, Stream.FRESH, 1)
    comparison = Comparison(env, TablePolicy(policy), episodes)
    shares = supertype_shares(env)
    np.testing.assert_allclose(shares, game.shares)
    value = Estimate.of(over_roles(comparison.base_values, shares))
    assert abs(value.value - game.value(policy, policy)) < 4 * value.stderr

    gains = comparison.gains(TablePolicy(other))
    exact = game.supertype_values(other, policy) - game.supertype_values(policy, policy)
    for k in (0, 1):
        one = Estimate.of(gains[k])
        assert abs(one.value - exact[k]) < 4 * one.stderr
    whole = Estimate.of(over_roles(gains, shares))
    exact_gain = game.value(other, policy) - game.value(policy, policy)
    assert abs(whole.value - exact_gain) < 4 * whole.stderr

    best = Estimate.of(
        over_roles(comparison.gains(TablePolicy(game.best_response(policy))), shares)
    )
    assert abs(best.value - shared_gains(game, policy).gain) < 4 * best.stderr


def market(**fields):
    return ArrayMarket(MarketConfig(episode_length=6, customers_per_cluster=10, **fields))


def test_a_deviation_that_changes_nothing_gains_exactly_nothing():
    env = market()
    comparison = Comparison(
        env, NoisyPolicy(-0.4), draw_episodes(env, env.supertype_space.start, 20, Stream.FRESH, 3)
    )
    assert not comparison.gains(NoisyPolicy(-0.4)).any()


def test_one_agent_deviates_and_pairing_leaves_the_rest_as_it_was():
    env = market(num_merchants=4)
    episodes = draw_episodes(env, env.supertype_space.start, 16, Stream.FRESH, 5)
    assert (episodes.roles[0] == 0).all()
    assert set(episodes.roles[1]) == {1, 2, 3}
    base = play(env, NoisyPolicy(-0.4), episodes)
    roles = episodes.roles[1]
    quiet = play(env, NoisyPolicy(-0.4), episodes, ConstantPolicy(np.ones(2)), roles)
    rows = np.arange(16)
    assert not quiet[rows, roles].any()
    others = np.ones((16, 4), dtype=bool)
    others[rows, roles] = False
    assert (quiet[others] != base[others]).any()
    # An episode is the same whichever are played beside it.
    alone = play(env, NoisyPolicy(-0.4), episodes.chosen(slice(7, 8)))
    np.testing.assert_allclose(alone[0], base[7])


def test_pairing_takes_most_of_the_noise_out_of_a_gain():
    env = market()
    episodes = draw_episodes(env, env.supertype_space.start, 64, Stream.FRESH, 5)
    shares = supertype_shares(env)
    comparison = Comparison(env, NoisyPolicy(-0.4), episodes)
    gains = comparison.gains(NoisyPolicy(-0.38))
    unpaired = Comparison(
        env, NoisyPolicy(-0.38), draw_episodes(env, env.supertype_space.start, 64, Stream.FRESH, 6)
    )
    deviations = [over_roles(c.base_values, shares).std() for c in (comparison, unpaired)]
    assert over_roles(gains, shares).std() < 0.5 * np.hypot(*deviations)


@pytest.mark.parametrize(("discount", "steps"), [(1.0, 4.0), (0.5, 1.875)])
def test_gains_and_discount_by_hand(discount, steps):
    """The echo environment pays -(a - 0.3)² a step: from a = 0 to a = 0.3 is worth 0.09."""
    env = ArrayEcho()
    episodes = draw_episodes(env, env.supertype_space.start, 8, Stream.FRESH, 0)
    comparison = Comparison(env, ConstantPolicy(np.zeros(1)), episodes, discount)
    np.testing.assert_allclose(comparison.base, -0.09 * steps, rtol=1e-6)
    gains = comparison.gains(ConstantPolicy(np.array([0.3])))
    np.testing.assert_allclose(gains, 0.09 * steps, rtol=1e-6)


def test_episodes_follow_from_their_names_and_draw_from_the_particles():
    env = ArrayEcho()
    particles = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    first, again, other = (
        draw_episodes(env, particles, 50, Stream.FRESH, *k) for k in [(1, 2), (1, 2), (1, 3)]
    )
    np.testing.assert_array_equal(first.seeds, again.seeds)
    np.testing.assert_array_equal(first.profiles, again.profiles)
    assert not np.array_equal(first.seeds, other.seeds)
    assert {tuple(p) for p in first.profiles} == {tuple(p) for p in particles}


def test_a_supertype_without_agents_is_left_out():
    class OneSided(ArrayEcho):
        def __init__(self):
            super().__init__()
            parameters = (*self.supertype_space.parameters, Parameter("d", "nobody"))
            self.supertype_space = SupertypeSpace(parameters)

    env = OneSided()
    episodes = draw_episodes(env, env.supertype_space.start, 8, Stream.FRESH, 0)
    comparison = Comparison(env, ConstantPolicy(np.zeros(1)), episodes)
    gains = comparison.gains(ConstantPolicy(np.array([0.3])))
    assert np.isnan(gains[1]).all()
    assert np.isnan(comparison.base_values[1]).all()
    shares = supertype_shares(env)
    np.testing.assert_array_equal(shares, [1.0, 0.0])
    np.testing.assert_allclose(over_roles(gains, shares), 0.36, rtol=1e-6)


def test_constant_actions_cover_a_box_and_a_discrete_space():
    actions = dict(constant_actions(Box(-1.0, 1.0, (2,), np.float32)))
    assert len(actions) == 21 + 20
    values = np.array(list(actions.values()))
    for corner in ([-1, -1], [1, 1], [-1, 1], [0, 0]):
        assert (np.abs(values - corner).max(axis=1) < 1e-6).any()
    assert [int(a) for _, a in constant_actions(Discrete(3))] == [0, 1, 2]
    with pytest.raises(ValueError, match="leave `start` out"):
        constant_actions(Discrete(3, start=2))
    with pytest.raises(ValueError, match="bounded Box or a Discrete"):
        constant_actions(Box(-np.inf, np.inf, (1,)))


def test_shifts_stay_in_the_box_and_discrete_spaces_have_none():
    box = Box(-1.0, 1.0, (2,), np.float32)
    own = np.array([[0.95, -0.5]])
    found = {name: rule(None, own) for name, rule in shifts(box)}
    assert len(found) == 6
    np.testing.assert_allclose(found["shared policy shifted by +10.0% of the range"], [[1.0, -0.3]])
    assert shifts(Discrete(2)) == []


def test_the_market_supplies_skews_and_no_quote():
    rules = MarketEnv.deviations({"num_merchants": 3})
    observations = np.zeros((2, 18))
    observations[:, 0] = 0.5, -0.5
    own = np.full((2, 2), -0.5)
    assert (rules["no quote at all"](observations, own) == 1.0).all()
    skewed = rules["half-spread 0.25, skew 0.2"](observations, own)
    # 2 · 0.2 · 0.5 in actions: half a unit of stock lifts the bid's half-spread by 0.1.
    np.testing.assert_allclose(skewed, [[-0.3, -0.7], [-0.7, -0.3]])
    further = rules["shared policy further skewed by 0.1"](observations, own)
    np.testing.assert_allclose(further, [[-0.4, -0.6], [-0.6, -0.4]])


def test_cheap_deviations_play_in_a_discrete_environment():
    env = ArraySubway()
    car = ConstantPolicy(np.asarray(0))
    found = cheap_deviations(env, car, {"ride": lambda o, own: 1 - own}, has_noise=False)
    assert [d.name for d in found] == ["always 0", "always 1", "ride"]
    comparison = Comparison(
        env, car, draw_episodes(env, env.supertype_space.start, 8, Stream.FRESH, 0)
    )
    assert not comparison.gains(found[0].policy).any()
    rides = [comparison.gains(d.policy) for d in found[1:]]
    np.testing.assert_allclose(*rides)
    assert isinstance(found[2].policy, RuleDeviation)
