"""Outcomes of one's own in the market: what a subclass is told of trades, and where they go."""

import numpy as np
import pytest

from rllib_calsheq.conformance.plain import check_environment
from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.envs import ArrayMarket, MarketConfig, MarketEnv

from recording_market import RecordingMarket

SMALL = {"num_merchants": 3, "episode_length": 6, "customers_per_cluster": 5}


class Volumes(ArrayMarket):
    """What merchant 1 trades in the first step, and what all do in an episode."""

    def own_outcomes(self):
        return (Outcome("first_volume", scale=50.0, low=0.0), Outcome("volume", scale=100.0))

    def measure(self, trades):
        volumes = trades.volumes()
        self.seen = trades
        return {"volume": volumes.sum(axis=(1, 2)), "first_volume": volumes[:, 0, 0]}


class VolumesEnv(MarketEnv):
    market = Volumes


class Both(Volumes, RecordingMarket):
    pass


def play(market, episodes=4):
    start = market.supertype_space.start
    market.reset(np.tile(start, (episodes, 1)), range(episodes))
    rng = np.random.default_rng(0)
    while market._t < market.episode_length:
        market.step(rng.uniform(-1, 0.5, (episodes, market.config.num_merchants, 2)))
    return market.episode_outcomes()


@pytest.fixture(scope="module")
def played():
    market = Both(MarketConfig(**SMALL))
    return market, play(market)


def test_trades_are_those_that_took_place(played):
    market, _ = played
    episode, merchant, quantity = market.trades()
    trades = market.seen
    assert len(quantity) > 50
    np.testing.assert_array_equal(trades.episode, episode)
    np.testing.assert_array_equal(trades.merchant, merchant)
    np.testing.assert_array_equal(trades.quantity, quantity)
    steps = np.repeat(np.arange(6), [len(part[0]) for part in market.recorded])
    np.testing.assert_array_equal(trades.step, steps)
    assert trades.shape == (4, 6, 3)


def test_volumes_and_quantities_are_sums_of_trades(played):
    market, _ = played
    volumes = market.seen.volumes()
    assert volumes.shape == (4, 6, 3)
    episode, merchant, quantity = market.trades()
    for e in range(4):
        np.testing.assert_array_equal(market.seen.quantities(e), quantity[episode == e])
        for i in range(3):
            own = quantity[(episode == e) & (merchant == i)]
            np.testing.assert_array_equal(market.seen.quantities(e, i), own)
            assert volumes[e, :, i].sum() == pytest.approx(own.sum())


def test_own_outcomes_stand_beside_the_markets_own(played):
    market, outcomes = played
    names = [o.name for o in market.outcomes]
    assert names[-2:] == ["first_volume", "volume"]
    # Those of the market are what they are without.
    np.testing.assert_array_equal(outcomes[:, :-2], play(ArrayMarket(MarketConfig(**SMALL))))
    volumes = market.seen.volumes()
    np.testing.assert_allclose(outcomes[:, -2], volumes[:, 0, 0])
    np.testing.assert_allclose(outcomes[:, -1], volumes.sum(axis=(1, 2)))
    # The market's share is the same trades' share.
    share = volumes.sum(axis=1)[:, 0] / volumes.sum(axis=(1, 2))
    np.testing.assert_allclose(outcomes[:, names.index("supertype_1.share")], share)


def test_they_can_be_targets_and_the_environment_keeps_the_protocol():
    check_environment(VolumesEnv, SMALL)
    found = TargetSet.from_mapping({"volume": 900.0}, VolumesEnv(SMALL).outcomes)
    assert found.values.tolist() == [900.0]


def test_an_episode_without_a_trade_has_no_volume():
    market = Volumes(MarketConfig(**SMALL))
    market.reset(market.supertype_space.start[None], [0])
    # +1 is no quote.
    market.step(np.ones((1, 3, 2)))
    assert market.episode_outcomes()[0, -2:].tolist() == [0.0, 0.0]
    assert len(market.seen.quantity) == 0


def test_a_name_without_a_value_is_an_error():
    class Forgetful(Volumes):
        def measure(self, trades):
            return {"volume": np.zeros(trades.shape[0])}

    with pytest.raises(ValueError, match=r"\['first_volume'\] have no value"):
        play(Forgetful(MarketConfig(**SMALL)))
