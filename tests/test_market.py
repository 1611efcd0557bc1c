"""The market against facts that can be derived by hand or from its definition."""

import numpy as np
import pytest
from market_play import NO_QUOTE, make, outcomes, play, profile_of, trades

from rllib_calsheq.core.targets import Outcome
from rllib_calsheq.envs import ArrayMarket, MarketConfig, MarketEnv

# --- golden facts of the specification ------------------------------------------------


def test_fixed_quotes_give_about_570_trades_and_even_shares():
    market = make()
    play(market, profile_of(market), 128, 0.25)
    assert len(trades(market)[0]) / 128 / 5 == pytest.approx(573, abs=12)
    found = outcomes(market)
    assert found["supertype_1.share"].mean() == pytest.approx(0.2, abs=0.006)
    assert found["supertype_1.share"].std() == pytest.approx(0.0145, abs=0.004)
    for p in range(20, 90, 10):
        assert found[f"supertype_1.quantity_p{p}"].mean() == pytest.approx(p + 0.7, abs=1.5)
        assert 1.4 < found[f"supertype_1.quantity_p{p}"].std() < 4.2


def test_narrow_quotes_lose_wide_quotes_earn_and_skewing_pays():
    """Unscaled reward of an episode: about -2,200, 3,700 and 5,200 or more."""
    market = make()
    profile = profile_of(market)

    def skewed(observations):
        inventory = observations[..., :1] * market.config.inventory_scale
        return np.clip(0.25 + 0.0006 * inventory * np.array([1, -1]), 0, 0.99)

    def income(quote):
        _, rewards = play(market, profile, 192, quote)
        return rewards.sum(axis=0).mean() * market.config.reward_scale

    flat = income(0.25)
    assert income(0.05) == pytest.approx(-2170, abs=350)
    assert flat == pytest.approx(3650, abs=350)
    assert income(skewed) > flat + 1000


def test_no_quote_trades_nothing_and_earns_exactly_zero():
    market = make()
    _, rewards = play(market, profile_of(market, 1.0), 4, NO_QUOTE)
    assert (rewards == 0.0).all()
    assert len(trades(market)[0]) == 0
    found = outcomes(market)
    assert np.isnan(found["supertype_1.share"]).all()
    assert np.isnan(found["supertype_2.quantity_p50"]).all()
    assert (found["supertype_1.half_spread"] == 1.0).all()
    assert (found["supertype_1.abs_inventory"] == 0.0).all()


def test_one_merchant_may_stay_away_from_a_market_that_trades():
    market = make()
    quotes = np.full((5, 2), 0.2)
    quotes[0] = NO_QUOTE
    _, rewards = play(market, profile_of(market, 1.0), 4, quotes)
    assert (rewards[..., 0] == 0.0).all()
    assert (rewards[..., 1:] != 0.0).any()
    found = outcomes(market)
    assert (found["supertype_1.share"] == 0.0).all()
    assert np.isnan(found["supertype_1.quantity_p10"]).all()
    np.testing.assert_allclose(found["supertype_2.share"], 0.25)


@pytest.mark.parametrize("n", [5, 10])
def test_logit_bertrand_price_is_a_best_response(n):
    """γ = 0, all connected, no outside option: δ* = τ n / (n - 1) maximises δ·P(chosen)."""
    market = make(num_merchants=n, outside_option=False, price_volatility=0.0, risk_aversion=0.0)
    best = market.config.choice_temperature * n / (n - 1)

    def income(deviation):
        quotes = np.full((n, 2), best)
        quotes[0] += deviation
        _, rewards = play(market, profile_of(market, 1.0, 1.0), 24, quotes)
        return rewards[..., 0].sum(axis=0).mean()

    at_best = income(0.0)
    assert at_best > income(-0.1)
    assert at_best > income(0.1)


# --- type symmetry --------------------------------------------------------------------


class PermutedMarket(ArrayMarket):
    """The market with its merchants renamed: every merchant keeps its random draws."""

    order = np.array([3, 0, 4, 1, 2])

    def __init__(self, config):
        super().__init__(config)
        self._group = self._group[self.order]

    def _draw_types(self, part, profiles, uniforms, normals):
        super()._draw_types(part, profiles, uniforms[:, self.order], normals[:, self.order])

    def reset(self, profiles, seeds):
        observations = super().reset(profiles, seeds)
        draw = self._customers._draw_exponentials

        def permuted(starts):
            noise = draw(starts)
            return np.concatenate([noise[:, self.order], noise[:, -1:]], axis=1)

        self._customers._draw_exponentials = permuted
        return observations


@pytest.mark.parametrize("rule", ["logit", "best_price"])
def test_permuting_merchants_permutes_observations_and_rewards_exactly(rule):
    config = MarketConfig(choice_rule=rule)
    markets = ArrayMarket(config), PermutedMarket(config)
    order = PermutedMarket.order
    rng = np.random.default_rng(0)
    profiles = markets[0].supertype_space.from_unit(rng.random((3, 23)))
    one, other = (market.reset(profiles, [1, 2, 3]) for market in markets)
    np.testing.assert_array_equal(one[:, order], other)
    for _ in range(config.episode_length):
        # Two decimals, so that the best-price rule meets ties.
        actions = np.round(rng.uniform(-1, 1, (3, 5, 2)), 2)
        one, reward = markets[0].step(actions)
        other, permuted_reward = markets[1].step(actions[:, order])
        np.testing.assert_array_equal(one[:, order], other)
        np.testing.assert_array_equal(reward[:, order], permuted_reward)
    np.testing.assert_allclose(*(market.episode_outcomes() for market in markets), rtol=1e-12)


# --- types, observations and rewards --------------------------------------------------


def test_types_follow_the_profile():
    market = make(num_merchants=10)
    profile = profile_of(
        market, 0.3, 0.4, 0.04, **{"supertype_1__connection_2": 0.9, "supertype_1__tolerance": 0.7}
    )
    types = market.reset(np.tile(profile, (200, 1)), range(200))[..., 7:].astype(float)
    first, others = types[:, 0], types[:, 1:].reshape(-1, 11)
    wanted = np.full(10, 0.3)
    assert np.allclose(others[:, :10].mean(axis=0), wanted, atol=0.01)
    wanted[1] = 0.9
    assert np.allclose(first[:, :10].mean(axis=0), wanted, atol=0.02)
    # 50 customers a cluster: the realised fraction is binomial.
    assert others[:, 0].std() == pytest.approx(np.sqrt(0.3 * 0.7 / 50), rel=0.1)
    np.testing.assert_allclose(first[:, 10], 0.7)
    # A normal of mean 0.4 and deviation 0.2, clipped at 0 and 1 (two and three deviations off).
    assert others[:, 10].mean() == pytest.approx(0.4, abs=0.02)
    assert others[:, 10].std() == pytest.approx(0.2, abs=0.02)
    assert others[:, 10].min() == 0.0
    assert others[:, 10].max() <= 1.0
    assert abs(np.corrcoef(types[:, 1, 0], types[:, 2, 0])[0, 1]) < 0.3


def test_rewards_are_income_gain_and_penalty():
    market = make(risk_aversion=0.8)
    profile = profile_of(market, 0.5, 0.3, **{"supertype_1__tolerance": 0.9})
    quotes = np.random.default_rng(1).uniform(0.05, 0.6, (5, 2))
    seen, rewards = play(market, profile, 2, quotes)
    seen = seen[1:].astype(float)
    inventory, price_step = seen[..., 0] * 1000, seen[..., 1] * 0.1
    income = (seen[..., 3:5] * seen[..., 5:7] * 500).sum(axis=-1)
    gain = inventory * price_step
    tolerance = np.array([0.9, 0.3, 0.3, 0.3, 0.3])
    expected = (income + gain - 0.8 * (1 - tolerance) * np.abs(gain)) / 100
    np.testing.assert_allclose(rewards, expected, atol=1e-4)
    np.testing.assert_allclose(
        np.diff(inventory, axis=0), (seen[1:, ..., 5] - seen[1:, ..., 6]) * 500, atol=1e-2
    )
    np.testing.assert_allclose(seen[..., 3:5], np.broadcast_to(quotes, (60, 2, 5, 2)), atol=1e-6)
    np.testing.assert_allclose(seen[:, 0, 0, 2], np.arange(1, 61) / 60, atol=1e-6)


def test_price_steps_are_truncated_so_that_rewards_are_bounded():
    market = make(price_truncation=1.5)
    seen, rewards = play(market, profile_of(market, 1.0), 64, 0.2)
    steps = seen[1:, :, 0, 1]
    assert np.abs(steps).max() == pytest.approx(1.5)
    assert abs(steps.mean()) < 0.06
    # One price for all merchants of an episode.
    assert (seen[..., 1] == seen[..., :1, 1]).all()
    config = market.config
    per_lot = config.max_half_spread + 2 * config.price_truncation * config.price_volatility
    largest = 100 * config.num_customers * config.episode_length
    assert np.abs(rewards).max() <= per_lot * largest / config.reward_scale


def test_actions_are_clipped_to_the_action_space():
    results = []
    for bound in (1.0, 7.0):
        market = make()
        market.reset(profile_of(market)[None], [0])
        actions = np.zeros((1, 5, 2))
        actions[:, 0], actions[:, 1] = -bound, bound
        results.append(market.step(actions))
    np.testing.assert_array_equal(results[0][0], results[1][0])


def test_misuse_is_refused():
    market = make(episode_length=1)
    start = market.supertype_space.start
    with pytest.raises(ValueError, match="number of seeds"):
        market.reset(start[None], [1, 2])
    market.reset(start[None], [1])
    with pytest.raises(ValueError, match=r"\(1, 5, 2\)"):
        market.step(np.zeros((5, 3)))
    market.step(np.zeros((1, 5, 2)))
    with pytest.raises(RuntimeError, match=r"reset\(\)"):
        market.step(np.zeros((1, 5, 2)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_merchants": 1}, "num_merchants is 1"),
        ({"episode_length": 0}, "episode_length"),
        ({"arrival_probability": 1.5}, r"numbers in \(0, 1\]"),
        ({"choice_rule": "nearest"}, "'logit' or 'best_price'"),
        ({"share_by": "value"}, "'quantity' or 'count'"),
        ({"percentiles": [101]}, r"\[0, 100\]"),
        ({"choice_temperature": 0}, "numbers > 0"),
        ({"reward_scale": float("nan")}, "numbers > 0"),
        ({"cluster_quantities": [[[1, 1]]]}, "num_clusters = 10"),
        ({"cluster_quantities": [[[1, 1]]] * 9 + [[[1, -1]]]}, "cluster 10"),
        ({"supertypes": {"supertype_1.tolerance": 2.0}}, "tolerance = 2"),
        ({"num_merchant": 5}, "did you mean 'num_merchants'"),
    ],
)
def test_bad_configurations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MarketEnv(fields)


def test_plain_form_names_its_merchants():
    env = MarketEnv({"num_merchants": 3, "supertypes": {"supertype_1.connection_1": 1.0}})
    assert env.agent_supertypes == {
        "merchant_1": "supertype_1",
        "merchant_2": "supertype_2",
        "merchant_3": "supertype_2",
    }
    observations, _ = env.reset(seed=0)
    assert observations["merchant_1"].shape == (18,)
    # Everyone in cluster 1 is connected to merchant 1.
    assert observations["merchant_1"][7] == 1.0
    with pytest.raises(ValueError, match="merchant_3"):
        env.step({"merchant_1": np.zeros(2), "merchant_2": np.zeros(2)})


def test_episodes_without_a_seed_follow_from_the_last_seed():
    env = MarketEnv({})
    runs = []
    for _ in range(2):
        env.reset(seed=3)
        runs.append([env.reset()[0]["merchant_2"] for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][0], runs[0][1])


# --- outcomes by name -------------------------------------------------------------------


def test_the_markets_outcomes_find_their_columns_by_name():
    market = make()
    play(market, profile_of(market), 3, 0.25)
    usual = market.episode_outcomes()
    market.outcomes = market.outcomes[::-1]
    np.testing.assert_array_equal(market.episode_outcomes(), usual[:, ::-1])


def test_an_outcome_of_the_market_without_a_value_is_refused_at_once():
    market = make()
    play(market, profile_of(market), 3, 0.25)
    market.outcomes = (*market.outcomes, Outcome("supertype_1.wealth", 1.0))
    with pytest.raises(ValueError, match=r"\['supertype_1.wealth'\] have no value"):
        market.episode_outcomes()
