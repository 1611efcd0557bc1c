"""Backtests: splits, rivals and scores on what is known, no leak, and errors."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from rllib_calsheq.backtest import markets
from rllib_calsheq.backtest.folds import LEAST_ROWS, group_folds, label_rows, time_folds
from rllib_calsheq.backtest.observations import (
    PREDICTED,
    SHARE_NAME,
    Observations,
    learn,
    split_rows,
)
from rllib_calsheq.backtest.predictions import (
    Predictor,
    in_words,
    predictions,
    rows_of,
    score,
)
from rllib_calsheq.backtest.rivals import Scatter, even_noise, last_period, pooled_mean, told
from rllib_calsheq.backtest.scores import compare, crps, rmse
from rllib_calsheq.cli import calsheq
from rllib_calsheq.core.targets import DECILES
from rllib_calsheq.envs.market.data import targets_from_transactions

from transaction_tables import BY_WEEK, READING, SMALL, make_table


@pytest.fixture(scope="module")
def seen():
    return Observations.of(make_table(), READING, BY_WEEK)


# --- scores ---------------------------------------------------------------------------


class TestScores:
    @pytest.mark.parametrize("off", [-2.0, 0.0, 0.7])
    def test_crps_of_a_gaussian_is_its_closed_form(self, off):
        # Gneiting and Raftery (2007), 4.2: sigma [z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)].
        sigma = 3.0
        draws = 5.0 + sigma * even_noise((20_000, 1), np.inf, np.random.default_rng(0))
        found = crps(draws, np.array([5.0 + sigma * off]))
        closed = off * (2 * norm.cdf(off) - 1) + 2 * norm.pdf(off) - 1 / np.sqrt(np.pi)
        assert found[0] == pytest.approx(sigma * closed, abs=2e-3)

    def test_crps_is_what_its_definition_says(self):
        draws = np.random.default_rng(1).normal(size=(7, 2))
        observed = np.array([0.3, -1.0])
        apart = np.abs(draws[:, None] - draws[None]).mean(axis=(0, 1))
        expected = np.abs(draws - observed).mean(axis=0) - apart / 2
        assert crps(draws, observed) == pytest.approx(expected)

    def test_crps_of_a_sure_prediction_is_its_error(self):
        assert crps(np.full((5, 1), 2.0), [3.5])[0] == pytest.approx(1.5)
        assert rmse([3.0, -4.0]) == pytest.approx(np.sqrt(12.5))

    def test_a_difference_counts_only_if_parts_agree_on_it(self):
        rng = np.random.default_rng(0)
        other = rng.random(12)
        assert compare(other - 0.1 + 0.01 * rng.random(12), other).verdict == "better"
        assert compare(other + 0.1 + 0.01 * rng.random(12), other).verdict == "worse"
        unclear = compare(other + rng.normal(0, 0.5, 12), other)
        assert unclear.verdict == "no clear difference"
        assert unclear.low < unclear.difference < unclear.high
        assert compare([0.1], [0.9]).verdict == "no clear difference"
        assert compare(other, other).verdict == "no clear difference"


# --- rivals ---------------------------------------------------------------------------


def covered(draws, new):
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return (low <= new) & (new <= high)


class TestRivals:
    def test_bands_of_the_pooled_mean_hold_new_parts_of_gaussian_data(self):
        rng = np.random.default_rng(0)
        parts = rng.normal(10.0, 2.0, (4, 4000))
        draws = pooled_mean(parts.mean(axis=0), Scatter.of_parts(parts), 400, rng)
        assert covered(draws, rng.normal(10.0, 2.0, 4000)).mean() == pytest.approx(0.9, abs=0.02)

    @pytest.mark.parametrize("ahead", [1, 3])
    def test_bands_of_the_last_period_hold_a_random_walk(self, ahead):
        rng = np.random.default_rng(1)
        walk = np.cumsum(rng.normal(size=(5 + ahead, 4000)), axis=0)
        draws = last_period(walk[:5], ahead, 400, rng)
        assert np.median(draws, axis=0) == pytest.approx(walk[4], abs=0.05)
        assert covered(draws, walk[4 + ahead]).mean() == pytest.approx(0.9, abs=0.02)

    def test_who_has_not_seen_an_outcome_takes_it_to_scatter_as_targets_do(self):
        is_target = np.array([True, True, False])
        found = told(np.array([3.0, 4.0, 99.0]), np.array([1.0, 1.0, 10.0]), is_target)
        assert found == pytest.approx([3.0, 4.0, 10.0 * np.sqrt(12.5)])


# --- splits ---------------------------------------------------------------------------


class TestSplits:
    @pytest.mark.parametrize(("periods", "folds"), [(12, 3), (12, 9), (8, 2), (6, 2), (4, 1)])
    def test_by_time_each_fold_learns_from_all_that_was_before(self, periods, folds):
        codes = np.random.default_rng(0).permutation(np.repeat(np.arange(periods), 3))
        names = [f"p{i}" for i in range(periods)]
        found = time_folds(codes, names, folds, "week")
        tested = []
        for fold in found:
            first = min(codes[part.rows].min() for part in fold.test)
            assert sorted(fold.train_rows) == sorted(np.flatnonzero(codes < first))
            assert len(fold.train) >= 3
            for part, ahead in zip(fold.test, fold.ahead, strict=True):
                assert set(codes[part.rows]) == {first - 1 + ahead}
                assert part.name == names[first - 1 + ahead]
                tested += part.rows.tolist()
        assert len(found) == folds
        assert len(tested) == len(set(tested))
        assert codes.max() in codes[tested]

    def test_at_random_each_row_is_predicted_once(self, seen):
        folds = split_rows(seen, replace(BY_WEEK, split="random", folds=3))
        tested = np.concatenate([part.rows for fold in folds for part in fold.test])
        assert sorted(tested) == list(range(len(seen.table)))
        for fold in folds:
            assert not set(fold.train_rows) & set(fold.test[0].rows)
            assert len(fold.train_rows) + len(fold.test[0].rows) == len(seen.table)
        again = split_rows(seen, replace(BY_WEEK, split="random", folds=3))
        other = split_rows(seen, replace(BY_WEEK, split="random", folds=3, seed=1))
        assert (again[0].test[0].rows == folds[0].test[0].rows).all()
        assert set(other[0].test[0].rows) != set(folds[0].test[0].rows)

    def test_half_of_the_weeks_stay_whole(self, seen):
        config = replace(BY_WEEK, split="random", group="day", period="week")
        folds = split_rows(seen, config)
        weeks = [{part.name for part in fold.test} for fold in folds]
        assert len(weeks[0]) == len(weeks[1]) == 4
        assert not weeks[0] & weeks[1]
        for fold in folds:
            assert {part.name for part in fold.train} == weeks[2 - fold.number]
            for part in fold.test:
                assert seen.table["week"].iloc[part.rows].nunique() == 1

    def test_calendars_and_orders(self):
        days = pd.Series(["2013-10-02", "2013-09-30T08:00", "2013-10-01"], name="when")
        codes, names = label_rows(days, "month", True)
        assert codes.tolist() == [1, 0, 1]
        assert names == ["2013-09", "2013-10"]
        # As text, 10 would come before 9.
        codes, names = label_rows(pd.Series([10, 9, 10], name="when"), "value", True)
        assert (codes.tolist(), names) == ([1, 0, 1], ["9", "10"])
        assert label_rows(days, "value", True)[1][0] == "2013-09-30T08:00:00"


# --- what is learned ------------------------------------------------------------------


class TestLesson:
    def test_nothing_of_the_rows_that_are_predicted_gets_into_it(self):
        table, config = make_table(), replace(BY_WEEK, folds=1)
        (fold,) = split_rows(Observations.of(table, READING, config), config)
        tested = np.concatenate([part.rows for part in fold.test])
        spoilt = table.copy()
        spoilt.loc[tested, "kilograms"] *= 1000
        spoilt.loc[tested, "shop"] = np.resize(["A", "E"], len(tested))
        before, after = (
            learn(Observations.of(t, READING, config), fold, config) for t in (table, spoilt)
        )
        assert after.content == before.content
        for name in ("scales", "pooled", "parts", "is_target"):
            assert (getattr(after, name) == getattr(before, name)).all()
        for one, other in zip(before.scatter, after.scatter, strict=True):
            assert (one.deviation == other.deviation).all()

    @pytest.mark.parametrize("supertype_2", [False, True])
    def test_targets_are_those_of_calsheq_targets(self, seen, supertype_2):
        own = replace(seen, reading=replace(READING, supertype_2=supertype_2))
        fold = split_rows(own, BY_WEEK)[0]
        expected = targets_from_transactions(
            seen.table.iloc[fold.train_rows],
            seller="shop", quantity="kilograms", merchant="A", share_by="count",
            supertype_2=supertype_2, bootstrap=10,
        )  # fmt: skip
        found = learn(own, fold, BY_WEEK).content
        assert found["targets"] == expected["targets"]
        assert found["env_config"] == expected["env_config"]

    def test_standard_errors_hold_the_scatter_of_periods(self, seen):
        fold = split_rows(seen, BY_WEEK)[0]
        lesson = learn(seen, fold, BY_WEEK)
        shares = [1 - seen.is_other[part.rows].mean() for part in fold.train]
        assert lesson.parts[:, 0] == pytest.approx(shares)
        error = lesson.content["standard_errors"][SHARE_NAME]
        assert error > np.std(shares, ddof=1) / np.sqrt(len(shares))

    def test_what_is_withheld_is_no_target_and_weights_sum_to_1(self, seen):
        config = replace(BY_WEEK, withhold=(SHARE_NAME, "supertype_1.quantity_p50"))
        lesson = learn(seen, split_rows(seen, config)[0], config)
        targets = lesson.content["targets"]
        assert set(targets) == {f"supertype_1.quantity_p{p}" for p in DECILES if p != 50}
        assert sum(t["weight"] for t in targets.values()) == pytest.approx(1.0)
        assert [n for n, t in zip(PREDICTED, lesson.is_target, strict=True) if t] == list(targets)

    def test_outcomes_are_those_of_the_rows(self, seen):
        rows = np.arange(100)
        own = seen.quantities[rows][~seen.is_other[rows]]
        found = dict(zip(PREDICTED, seen.outcomes(rows), strict=True))
        assert found["supertype_1.quantity_p50"] == pytest.approx(np.median(own))
        assert found[SHARE_NAME] == pytest.approx(len(own) / 100)

    def test_rows_drawn_one_by_one_scatter_as_a_bootstrap_says(self, seen):
        config = replace(BY_WEEK, split="random", bootstrap=300)
        fold = split_rows(seen, config)[0]
        scatter = learn(seen, fold, config).scatter[0]
        binomial = np.sqrt(1 / 3 * 2 / 3 / len(fold.test[0].rows))
        assert scatter.deviation[0] == pytest.approx(binomial, rel=0.15)
        assert scatter.freedom == np.inf


# --- predictions ----------------------------------------------------------------------


@dataclass
class Says:
    """A market that is sure of some means."""

    calibrated: np.ndarray

    @property
    def inferred(self):
        return np.tile(self.calibrated, (400, 1))


def predicted(lesson, ahead=1):
    """By markets that say what the training rows are."""
    market = Says(lesson.pooled)
    return predictions(market, market, lesson, 0, ahead, 0, 1)


def made_up(seen, config=BY_WEEK):
    """What the first fold learns, and what is predicted by it."""
    lesson = learn(seen, split_rows(seen, config)[0], config)
    return lesson, predicted(lesson)


class TestPredictions:
    def test_markets_do_not_know_how_withheld_outcomes_scatter(self, seen):
        lesson, before = made_up(seen)
        known = lesson.scatter[0]
        deviation = np.where(lesson.is_target, known.deviation, 1e6)
        error = np.where(lesson.is_target, known.mean_error, 1e6)
        scatter = replace(known, deviation=deviation, mean_error=error)
        after = predicted(replace(lesson, scatter=(scatter,)))
        for predictor in list(Predictor)[:4]:
            assert (after[predictor] == before[predictor]).all()
        assert (after[Predictor.POOLED] != before[Predictor.POOLED]).any()

    def test_without_order_there_is_no_last_period(self, seen):
        lesson, _ = made_up(seen, replace(BY_WEEK, split="random", group="week"))
        assert set(predicted(lesson, None)) == set(Predictor) - {Predictor.LAST}

    def test_rows_and_scores(self, seen):
        lesson, found = made_up(seen)
        observed = lesson.pooled + 2.0 * lesson.scales
        rows = pd.concat(
            [rows_of(found, observed, lesson, 1, name) for name in ("5", "6")], ignore_index=True
        )
        learning = rows[rows["predictor"] == "learning, inferred"]
        assert learning["error"].to_numpy() == pytest.approx(-2.0, abs=0.05)
        assert (rows["low_90"] <= rows["low_50"]).all()
        scored = score(rows)
        own = next(r for r in scored["scores"] if r["predictor"] == "learning, inferred")
        assert own["role"] == "target"
        assert own["predictions"] == 20
        assert own["rmse"] == pytest.approx(2.0, abs=0.05)
        kept = learning[learning["role"] == "target"]
        inside = kept["low_90"].le(kept["observed"]) & kept["high_90"].ge(kept["observed"])
        assert own["coverage_90"] == pytest.approx(inside.mean())
        assert len(scored["versus"]) == 2 * 2 * 3
        others = {row["rival"]: row for row in scored["versus"] if row["role"] == "target"}
        assert others["last period"]["parts"] == 2
        words = in_words(scored)
        assert words[0].startswith("On targeted outcomes of new rows, learning, inferred")
        for row in scored["versus"]:
            assert any(f"{row['rival']} ({row['difference']:+.2g})" in line for line in words)


# --- errors ---------------------------------------------------------------------------


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"split": "wek"}, "--split, a column of the table, is 'wek'"),
            ({"split": "random", "group": "wek"}, "--group, a column of the table, is 'wek'"),
            ({"folds": 6}, "allowed: integers from 1 to 5"),
            ({"folds": 900}, "has 8 periods"),
            ({"split": "shop"}, "cannot be put in order as times"),
            ({"period": "month"}, "cannot be put in order as times"),
            ({"split": "day", "period": "year"}, "has 1 periods"),
            ({"split": "day"}, f"need at least {LEAST_ROWS} of each"),
            ({"split": "random", "folds": 60}, f"need at least {LEAST_ROWS} of each"),
            ({"split": "random", "folds": 1}, "integers from 2"),
            ({"split": "random", "group": "shop", "folds": 2}, "needs 3 to learn from"),
            ({"group": "day"}, "for --split random only"),
            ({"split": "random", "period": "month"}, "given with --group"),
        ],
    )
    def test_a_split_that_cannot_be_is_refused(self, change, message):
        config = replace(BY_WEEK, **change)
        with pytest.raises(ValueError, match=message):
            split_rows(Observations.of(make_table(), READING, config), config)

    def test_rows_without_a_time_are_named(self):
        table = make_table()
        table.loc[3, "week"] = np.nan
        with pytest.raises(ValueError, match="1 of the 1280 rows have no value in column 'week'"):
            split_rows(Observations.of(table, READING, BY_WEEK), BY_WEEK)

    def test_groups_need_others_to_learn_from(self):
        with pytest.raises(ValueError, match="allowed: integers from 3 to 5"):
            group_folds(np.arange(5), list("abcde"), 2, "g", np.random.default_rng(0))

    @pytest.mark.parametrize(
        ("withhold", "message"),
        [(("share",), "--withhold is 'share'"), (PREDICTED[:10], "leaves no target")],
    )
    def test_targets_that_cannot_be_withheld(self, seen, withhold, message):
        config = replace(BY_WEEK, withhold=withhold)
        with pytest.raises(ValueError, match=message):
            learn(seen, split_rows(seen, config)[0], config)

    def test_an_experiment_must_not_say_what_training_rows_are_to_say(self):
        base = {"env_config": {"cluster_quantities": [[[1, 1]]] * 10}}
        with pytest.raises(ValueError, match=r"cluster_quantities.*leave these out"):
            markets.configure(base, {"targets": {}}, BY_WEEK)

    def test_only_the_market_can_be_calibrated_to_transactions(self):
        base = {"env": "rllib_calsheq.envs.SubwayEnv"}
        targets = {"targets": {"suburbs.subway_rate": 0.3}}
        with pytest.raises(ValueError, match="since transactions are read as a market"):
            markets.configure(base, targets, BY_WEEK)

    def test_a_quote_that_is_none_is_refused_before_anything_starts(self, seen):
        content = learn(seen, split_rows(seen, BY_WEEK)[0], BY_WEEK).content
        with pytest.raises(
            ValueError, match=r"--half-spread is 1\.0; .* below max_half_spread = 1"
        ):
            markets.configure(SMALL, content, replace(BY_WEEK, half_spread=1.0))

    def test_the_command_prints_one_paragraph_before_anything_starts(self, tmp_path, capsys):
        file = tmp_path / "sales.csv"
        make_table().to_csv(file, index=False)
        words = ["backtest", str(file), "--seller", "shop", "--quantity", "kilograms"]
        words += ["--merchant", "A", "--split", "week", "-o", str(tmp_path / "out")]
        assert calsheq.main([*words, "--folds", "40"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: --folds is 40")
        assert calsheq.main([*words, "--set", "config.seed=1"]) == 2
        assert "no --experiment" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
