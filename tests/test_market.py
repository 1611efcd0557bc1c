"""The market against facts that can be derived by hand or from its definition."""

import numpy as np
import pytest

from rllib_calsheq.data import transaction_outcomes
from rllib_calsheq.envs import ArrayMarket, MarketConfig, MarketEnv

from recording_market import RecordingMarket

NO_QUOTE = 1.0
#: Deviations beyond which a sampled frequency counts as wrong.
SIGMAS = 4.5


def make(**fields):
    return RecordingMarket(MarketConfig(**fields))


def profile_of(market, connection=0.5, tolerance=0.0, variance=0.0, **named):
    """A profile (d,) with the same value for every probability and both tolerances."""
    space = market.supertype_space
    values = {name: connection for name in space.names if ".connection_" in name}
    values["supertype_1.tolerance"] = values["supertype_2.tolerance_mean"] = tolerance
    values["supertype_2.tolerance_variance"] = variance
    return space.from_mapping(values | {k.replace("__", "."): v for k, v in named.items()})


def play(market, profile, episodes, quote, first_seed=0):
    """Plays fixed half-spreads or ``quote(observations)``; returns observations, rewards.

    Shapes: observations (T + 1, E, n, o), rewards (T, E, n).
    """
    profiles = np.broadcast_to(profile, (episodes, len(market.supertype_space)))
    seen = [market.reset(profiles, range(first_seed, first_seed + episodes))]
    earned = []
    shape = (episodes, market.config.num_merchants, 2)
    for _ in range(market.episode_length):
        half_spreads = quote(seen[-1]) if callable(quote) else np.broadcast_to(quote, shape)
        observations, rewards = market.step(2.0 * half_spreads - 1.0)
        seen.append(observations)
        earned.append(rewards)
    return np.array(seen), np.array(earned)


def trades(market):
    """Episode, merchant and quantity of every trade so far."""
    return market.trades()


def outcomes(market):
    """Outcome columns (E,) by name."""
    return {o.name: c for o, c in zip(market.outcomes, market.episode_outcomes().T, strict=True)}


def assert_frequency(count, total, probability):
    deviation = np.sqrt(probability * (1 - probability) / total)
    assert abs(count / total - probability) < SIGMAS * deviation


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

    def _draw_exponentials(self, starts):
        noise = super()._draw_exponentials(starts)
        return np.concatenate([noise[:, self.order], noise[:, -1:]], axis=1)


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


# --- customers' choice ----------------------------------------------------------------


@pytest.mark.parametrize("outside", [True, False])
def test_logit_frequencies_are_the_softmax_probabilities(outside):
    market = make(num_merchants=3, outside_option=outside)
    half_spreads = np.array([0.3, 0.5, 0.8])
    play(market, profile_of(market, 1.0), 24, np.repeat(half_spreads[:, None], 2, axis=1))
    weights = np.exp(-np.append(half_spreads, 1.0) / 0.2)
    weights[-1] *= outside
    probability = weights / weights.sum()
    arrivals = len(market._episode)
    assert_frequency(arrivals, 24 * 60 * 500, 0.1)
    merchants = trades(market)[1]
    for i in range(3):
        assert_frequency((merchants == i).sum(), arrivals, probability[i])
    left = arrivals - len(merchants)
    if outside:
        assert_frequency(left, arrivals, probability[-1])
    else:
        assert left == 0


def test_customers_trade_only_with_merchants_that_they_are_connected_to():
    market = make()
    profile = profile_of(market, 0.0, **{"supertype_2__connection_3": 1.0})
    play(market, profile, 4, 0.2)
    _, merchant, quantity = trades(market)
    assert len(merchant) > 0
    assert (merchant > 0).all()
    assert set(quantity) == set(range(21, 31))


def test_best_price_takes_the_lowest_and_splits_ties():
    market = make(choice_rule="best_price", reservation_half_spread=0.6)
    quotes = np.array([0.3, 0.1, 0.2, 0.1, 0.7])[:, None].repeat(2, axis=1)
    play(market, profile_of(market, 1.0), 8, quotes)
    merchants = trades(market)[1]
    assert len(merchants) == len(market._episode)
    assert set(merchants) == {1, 3}
    assert_frequency((merchants == 1).sum(), len(merchants), 0.5)


def test_best_price_customers_leave_above_the_reservation():
    market = make(choice_rule="best_price", reservation_half_spread=0.6)
    play(market, profile_of(market, 1.0), 2, 0.61)
    assert len(trades(market)[0]) == 0
    play(market, profile_of(market, 1.0), 2, 0.6)
    assert len(trades(market)[0]) == len(market._episode)


def test_quoting_on_the_bid_side_alone_only_buys():
    market = make()
    quotes = np.full((5, 2), NO_QUOTE)
    quotes[:, 0] = 0.2
    observations, _ = play(market, profile_of(market, 1.0), 2, quotes)
    bought, sold = observations[1:, ..., 5], observations[1:, ..., 6]
    assert bought.sum() > 0
    assert (sold == 0).all()
    assert (np.diff(observations[..., 0], axis=0) >= 0).all()
    _, _, quantity = trades(market)
    inventory = observations[-1, ..., 0].sum() * market.config.inventory_scale
    assert inventory == pytest.approx(quantity.sum(), rel=1e-6)


# --- quantities -----------------------------------------------------------------------


def test_quantities_are_uniform_in_the_clusters_range():
    market = make()
    play(market, profile_of(market, 0.0, **{"supertype_1__connection_7": 1.0}), 24, 0.1)
    quantity = trades(market)[2]
    for lots in range(61, 71):
        assert_frequency((quantity == lots).sum(), len(quantity), 0.1)


def test_cluster_quantities_follow_their_weights():
    tables = [[[5, 1], [7.5, 3]], [[100, 2], [200, 1], [300, 5]], [[1000, 0.5]]]
    market = make(num_clusters=3, customers_per_cluster=100, cluster_quantities=tables)
    play(market, profile_of(market, 1.0), 24, 0.1)
    quantity = trades(market)[2]
    for table in tables:
        values, weights = np.array(table, dtype=float).T
        inside = quantity[np.isin(quantity, values)]
        assert_frequency(len(inside), len(quantity), 1 / 3)
        for value, weight in zip(values, weights / weights.sum(), strict=True):
            assert_frequency((inside == value).sum(), len(inside), min(weight, 1 - 1e-9))


def test_a_lot_scales_rewards_but_not_quantities():
    integers = [[[q, 1] for q in range(10 * k + 1, 10 * k + 11)] for k in range(10)]
    sevenfold = [[[7 * q, 1] for q, _ in table] for table in integers]
    standard, scaled = (
        make(cluster_quantities=integers),
        make(cluster_quantities=sevenfold, lot_size=7),
    )
    results = [play(market, profile_of(market), 2, 0.3) for market in (standard, scaled)]
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(7 * trades(standard)[2], trades(scaled)[2])


# --- outcomes -------------------------------------------------------------------------


@pytest.mark.parametrize("share_by", ["quantity", "count"])
def test_outcomes_are_those_of_the_trades(share_by):
    market = make(share_by=share_by, percentiles=(0, 10, 33, 50, 100))
    profile = market.supertype_space.from_unit(np.random.default_rng(5).random(23))
    play(market, profile, 3, 0.3)
    episode, merchant, quantity = trades(market)
    found = outcomes(market)
    for e in range(3):
        mine, amounts = merchant[episode == e], quantity[episode == e]
        weight = amounts if share_by == "quantity" else np.ones_like(amounts)
        share = weight[mine == 0].sum() / weight.sum()
        assert found["supertype_1.share"][e] == pytest.approx(share)
        assert found["supertype_2.share"][e] == pytest.approx((1 - share) / 4)
        for p in (0, 10, 33, 50, 100):
            first, others = (np.percentile(amounts[c], p) for c in (mine == 0, mine > 0))
            assert found[f"supertype_1.quantity_p{p}"][e] == pytest.approx(first)
            assert found[f"supertype_2.quantity_p{p}"][e] == pytest.approx(others)
        from_data = transaction_outcomes(mine, amounts, 5, share_by, (0, 10, 33, 50, 100))
        for name, value in from_data.items():
            assert found[name][e] == pytest.approx(value)


def test_displayed_outcomes_are_means_over_steps_and_merchants():
    market = make()
    quotes = np.linspace(0.1, 0.5, 5)[:, None] + np.array([0.0, 0.2])
    observations, _ = play(market, profile_of(market), 2, quotes)
    found = outcomes(market)
    np.testing.assert_allclose(found["supertype_1.half_spread"], 0.2)
    np.testing.assert_allclose(found["supertype_2.half_spread"], 0.45)
    inventory = np.abs(observations[1:, ..., 0]) * market.config.inventory_scale
    np.testing.assert_allclose(
        found["supertype_2.abs_inventory"], inventory[..., 1:].mean(axis=(0, 2)), rtol=1e-5
    )


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
        ({"arrival_probability": 1.5}, r"probabilities in \(0, 1\]"),
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
