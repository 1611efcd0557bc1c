"""The market's invariants, whatever its sizes, profiles and actions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rllib_calsheq.envs import ArrayMarket, MarketConfig, MarketEnv

from recording_market import RecordingMarket

#: Sizes that are odd and small, so that clusters without customers' arrivals are common, too.
SIZES = {
    "num_merchants": st.integers(2, 6),
    "episode_length": st.integers(1, 5),
    "num_clusters": st.integers(1, 4),
    "customers_per_cluster": st.integers(1, 30),
    "arrival_probability": st.sampled_from([1e-6, 0.1, 0.5, 1.0]),
}
RULES = {
    "choice_rule": st.sampled_from(["logit", "best_price"]),
    "outside_option": st.booleans(),
    "share_by": st.sampled_from(["quantity", "count"]),
    "reservation_half_spread": st.sampled_from([0.0, 0.4, 1.0]),
    "price_volatility": st.sampled_from([0.0, 0.1, 3.0]),
    "risk_aversion": st.sampled_from([0.0, 1.0, 5.0]),
    "lot_size": st.sampled_from([0.01, 1.0, 7.0]),
    "percentiles": st.lists(st.floats(0, 100), min_size=1, max_size=4, unique=True),
}
PAIRS = st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)), min_size=1, max_size=4)
#: Any number, with those that an action space is made of, and those beyond, more often.
ACTIONS = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 0.99, 1.0]) | st.floats(allow_nan=False)
#: Numbers that a field may be given and a machine can hardly hold.
EXTREMES = st.sampled_from([5e-324, 1e-308, 1e-30, 1e-3, 1.0, 1e3, 1e30, 1.7e308])


@st.composite
def configs(draw, **fields):
    """Market configurations of any sizes and rules."""
    given = {name: draw(values) for name, values in (SIZES | RULES | fields).items()}
    if draw(st.booleans()):
        number = given["num_clusters"]
        tables = draw(st.lists(PAIRS, min_size=number, max_size=number))
        given["cluster_quantities"] = [[list(pair) for pair in table] for table in tables]
    return MarketConfig(**given)


def units(*shape):
    """Arrays in the unit cube, with its sides."""
    return hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0]) | st.floats(0, 1))


@st.composite
def played(draw):
    """A configuration, profiles (E, d), seeds, and actions (T, E, n, 2)."""
    config = draw(configs())
    count = draw(st.integers(1, 3))
    space = config.supertype_space
    profiles = space.from_unit(draw(units(count, len(space))))
    seeds = draw(st.lists(st.integers(0, 2**63 - 1), min_size=count, max_size=count))
    shape = (config.episode_length, count, config.num_merchants, 2)
    kind = draw(st.sampled_from([np.float32, np.float64]))
    with np.errstate(over="ignore"):
        actions = draw(hnp.arrays(np.float64, shape, elements=ACTIONS)).astype(kind)
    return config, profiles, seeds, actions


def columns(market):
    names = [outcome.name for outcome in market.outcomes]
    return dict(zip(names, market.episode_outcomes().T, strict=True))


@given(played())
def test_the_books_of_every_market_balance(game):
    config, profiles, seeds, actions = game
    market = RecordingMarket(config)
    observed = [market.reset(profiles, seeds)]
    rewards, bought, sold = [], [], []
    for action in actions:
        seen, earned = market.step(action)
        observed.append(seen)
        rewards.append(earned)
        volumes = seen[..., 5:7].astype(float) * config.volume_scale
        bought.append(volumes[..., 0])
        sold.append(volumes[..., 1])
        asked = np.clip((action.astype(float) + 1) / 2, 0, 1)
        assert (volumes[asked >= 1.0] == 0).all(), "a merchant traded without a quote"
        np.testing.assert_allclose(seen[..., 3:5], asked, atol=1e-6)
    E, n = len(seeds), config.num_merchants
    for array in (*observed, *rewards):
        assert np.isfinite(array).all()
    assert observed[0].shape == (E, n, config.num_clusters + 8)
    assert (observed[-1][..., 2] == 1.0).all()
    types = observed[0][..., 7:]
    assert ((types >= 0) & (types <= 1)).all()

    # What merchants have is what customers brought less what they took.
    held = observed[-1][..., 0].astype(float) * config.inventory_scale
    volume = sum(bought) + sum(sold)
    np.testing.assert_allclose(
        held, sum(bought) - sum(sold), atol=1e-5 * max(1.0, float(np.max(volume)))
    )
    episode, merchant, quantity = market.trades()
    lots = np.bincount(episode * n + merchant, quantity / config.lot_size, minlength=E * n)
    np.testing.assert_allclose(volume, lots.reshape(E, n), rtol=1e-5)
    # Every trade has a customer of its own, of whose cluster it is.
    assert len(quantity) <= len(market._customers.episode)
    assert set(quantity) <= set(config.quantity_table[0].ravel())


@given(played())
def test_outcomes_are_within_their_bounds_and_shares_sum_to_one(game):
    config, profiles, seeds, actions = game
    market = RecordingMarket(config)
    market.reset(profiles, seeds)
    for action in actions:
        market.step(action)
    found = columns(market)
    for outcome in market.outcomes:
        assert outcome.contains(found[outcome.name], rounding=1e-9).all(), outcome.name
    episode, merchant, _ = market.trades()
    traded = np.bincount(episode, minlength=len(seeds)) > 0
    total = found["supertype_1.share"] + (config.num_merchants - 1) * found["supertype_2.share"]
    np.testing.assert_allclose(total[traded], 1.0)
    assert np.isnan(total[~traded]).all()
    # A supertype has percentiles just where it traded, and they ascend.
    for name, own in (("supertype_1", merchant == 0), ("supertype_2", merchant > 0)):
        trades = np.bincount(episode[own], minlength=len(seeds)) > 0
        ordered = sorted(config.percentiles)
        table = np.array([found[f"{name}.quantity_p{p:g}"] for p in ordered])
        assert (np.isnan(table) == ~trades).all()
        assert (np.diff(table[:, trades], axis=0) >= -1e-9 * table[:-1, trades]).all()


@given(played())
def test_an_episode_does_not_know_which_others_are_played_with_it(game):
    """The plain form, one episode at a time, gives the numbers of the array form to the bit."""
    config, profiles, seeds, actions = game
    market, env = ArrayMarket(config), MarketEnv(config)
    starts = market.reset(profiles, seeds)
    steps = [market.step(action) for action in actions]
    outcomes = market.episode_outcomes()
    for e, (profile, seed) in enumerate(zip(profiles, seeds, strict=True)):
        env.set_supertypes(profile)
        seen, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(list(seen.values()), starts[e])
        for action, (observed, rewards) in zip(actions, steps, strict=True):
            given = dict(zip(env.possible_agents, action[e], strict=True))
            seen, earned, _, _, _ = env.step(given)
            np.testing.assert_array_equal(list(seen.values()), observed[e])
            np.testing.assert_array_equal(list(earned.values()), rewards[e])
        np.testing.assert_array_equal(env.episode_outcomes(), outcomes[e])


WRONG_ACTIONS = (
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
    | hnp.arrays(np.float64, (2, 3, 2), elements=st.sampled_from([np.nan, 0.0, np.inf]))
    | st.none()
    | st.text(max_size=3)
    | st.lists(st.lists(st.floats(-1, 1), max_size=2), max_size=3)
    | st.dictionaries(st.text(max_size=2), st.floats(-1, 1), max_size=2)
)


@given(WRONG_ACTIONS)
def test_a_wrong_action_is_a_value_error_and_changes_nothing(action):
    try:
        values = np.asarray(action, dtype=np.float64)
        assume(values.shape != (2, 3, 2) or np.isnan(values).any())
    except (TypeError, ValueError):
        pass
    config = MarketConfig(num_merchants=3, episode_length=2, customers_per_cluster=5)
    markets = ArrayMarket(config), ArrayMarket(config)
    for market in markets:
        market.reset(np.tile(market.supertype_space.start, (2, 1)), [1, 2])
    with pytest.raises(ValueError, match="action"):
        markets[0].step(action)
    good = np.zeros((2, 3, 2))
    for one, other in zip(*(market.step(good) for market in markets), strict=True):
        np.testing.assert_array_equal(one, other)


@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=9),
        elements=st.sampled_from([0.0, 0.5, 1.0]) | st.floats(),
    )
)
def test_a_wrong_profile_is_a_value_error(profiles):
    market = ArrayMarket(MarketConfig(num_clusters=2, episode_length=1))
    space = market.supertype_space
    right = profiles.shape == (2, len(space)) and bool(
        ((profiles >= space.low) & (profiles <= space.high)).all()
    )
    assume(not right)
    with pytest.raises(ValueError, match=r"profile|outside its allowed range"):
        market.reset(profiles, [0, 1])


@given(
    configs(episode_length=st.just(2), num_merchants=st.just(2)),
    st.dictionaries(
        st.sampled_from(
            [
                "price_volatility", "price_truncation", "lot_size", "choice_temperature",
                "reservation_half_spread", "max_half_spread", "risk_aversion", "reward_scale",
                "inventory_scale", "volume_scale", "max_tolerance_variance",
            ]
        ),
        EXTREMES,
        max_size=3,
    ),
    st.booleans(),
)  # fmt: skip
def test_extreme_numbers_are_refused_or_played_without_one_that_is_not_finite(
    config, extremes, huge
):
    tables = [[[1.7e308, 1.0]]] * config.num_clusters if huge else config.cluster_quantities
    market = made_or_refused(config, cluster_quantities=tables, **extremes)
    if market is None:
        return
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        shown = [market.reset(market.supertype_space.high[None], [3])]
        for _ in range(2):
            shown += market.step(np.full((1, 2, 2), 0.5))
    for array in shown:
        assert np.isfinite(array).all()
    share = columns(market)["supertype_1.share"]
    assert np.isnan(share) or 0 <= share <= 1


def made_or_refused(config, **fields):
    """The market with other fields, or None if that is an error, which then names one of them."""
    try:
        return ArrayMarket(replace(config, **fields))
    except ValueError as error:
        said = str(error)
    assert any(name in said for name in [*fields, "choice_temperature"])
    return None


@given(st.integers(-3, 3), st.integers(0, 3))
def test_as_many_merchants_as_are_asked_for_or_an_error(merchants, episodes):
    if merchants < 2:
        with pytest.raises(ValueError, match="num_merchants"):
            MarketConfig(num_merchants=merchants)
        return
    market = ArrayMarket(MarketConfig(num_merchants=merchants, episode_length=1, num_clusters=1))
    profiles = np.tile(market.supertype_space.start, (episodes, 1))
    if not episodes:
        with pytest.raises(ValueError, match="at least one"):
            market.reset(profiles, [])
        return
    assert market.reset(profiles, range(episodes)).shape == (episodes, merchants, 9)
