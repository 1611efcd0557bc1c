"""Who trades what with whom in the market, and the outcomes that come of it."""

import numpy as np
import pytest
from market_play import NO_QUOTE, assert_frequency, make, outcomes, play, profile_of, trades

from rllib_calsheq.envs.market.data import transaction_outcomes

# --- customers' choice ----------------------------------------------------------------


@pytest.mark.parametrize("outside", [True, False])
def test_logit_frequencies_are_the_softmax_probabilities(outside):
    market = make(num_merchants=3, outside_option=outside)
    half_spreads = np.array([0.3, 0.5, 0.8])
    play(market, profile_of(market, 1.0), 24, np.repeat(half_spreads[:, None], 2, axis=1))
    weights = np.exp(-np.append(half_spreads, 1.0) / 0.2)
    weights[-1] *= outside
    probability = weights / weights.sum()
    arrivals = len(market._customers.episode)
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
    assert len(merchants) == len(market._customers.episode)
    assert set(merchants) == {1, 3}
    assert_frequency((merchants == 1).sum(), len(merchants), 0.5)


def test_best_price_customers_leave_above_the_reservation():
    market = make(choice_rule="best_price", reservation_half_spread=0.6)
    play(market, profile_of(market, 1.0), 2, 0.61)
    assert len(trades(market)[0]) == 0
    play(market, profile_of(market, 1.0), 2, 0.6)
    assert len(trades(market)[0]) == len(market._customers.episode)


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


# --- shares by cluster ----------------------------------------------------------------


@pytest.mark.parametrize("share_by", ["quantity", "count"])
def test_shares_by_cluster_are_those_of_the_trades(share_by):
    market = make(num_merchants=3, share_by=share_by)
    play(market, profile_of(market, 0.6, **{"supertype_2__connection_4": 0.0}), 2, 0.2)
    (found,) = market.episode_breakdowns().values()
    assert (found.rows, found.columns[3]) == (("supertype_1", "supertype_2"), "cluster 4")
    episode, merchant, quantity = trades(market)
    weight = np.ones(len(quantity)) if share_by == "count" else quantity
    # Cluster k of the standard market trades 10(k-1)+1 .. 10k.
    cluster = (np.asarray(quantity).astype(int) - 1) // 10
    for e in range(2):
        for k in range(10):
            here = (episode == e) & (cluster == k)
            first = weight[here & (merchant == 0)].sum() / weight[here].sum()
            assert found.values[e, 0, k] == pytest.approx(first)
            assert found.values[e, 1, k] == pytest.approx((1 - first) / 2)
    assert (found.values[:, 0, 3] == 1.0).all()


def test_a_cluster_without_a_trade_has_no_share():
    market = make(num_merchants=2)
    profile = profile_of(market, 0.0, **{"supertype_2__connection_3": 1.0})
    play(market, profile, 1, 0.2)
    (found,) = market.episode_breakdowns().values()
    assert np.isnan(np.delete(found.values, 2, axis=2)).all()
    assert found.values[0, :, 2].tolist() == [0.0, 1.0]
