"""What an evaluation says of its episodes."""

import io

import numpy as np
import pytest
from rich.console import Console

from rllib_calsheq.cli.reports import show_evaluation
from rllib_calsheq.core.breakdowns import Breakdown, joined
from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.results.evaluation import summarise

KNOWN = (Outcome("sold", scale=10.0, description=""), Outcome("never", scale=1.0, description=""))
TARGETS = TargetSet.from_mapping({"sold": 10.0}, KNOWN)


def test_an_outcome_that_jumps_has_a_mean_where_no_episode_is_and_a_typical_median():
    sold = [10.0, 10.0, 10.0, 40.0, np.nan]
    outcomes = np.array([[value, np.nan] for value in sold])
    found = summarise(outcomes, TARGETS)
    assert found.outcomes[0] == pytest.approx(17.5)
    assert found.medians[0] == 10.0
    assert found.stderr[0] == pytest.approx(np.std(sold[:4]) / 2)
    assert np.isnan(found.medians[1])
    # Three perfect fits, one three scales off, one that did not happen.
    assert found.reward == pytest.approx((3 + 1 / 4) / 5)


def test_the_table_shows_both():
    row = {
        "name": "sold", "value": 17.5, "stderr": 6.5, "median": 10.25, "target": 10, "scale": 10,
        "tolerance": 0.25, "miss": 0.75, "met": False,
    }  # fmt: skip
    found = {
        "stage": 3, "profile": {"a": 0.5}, "outcomes": [row], "reward": 0.65, "reward_stderr": 0.1,
        "reward_start": 0.2, "ceiling": None, "recovered_fraction": None, "reward_on_target": 0.7,
        "verdict": {"targets_met": 0, "num_targets": 1, "worst_miss": 0.75, "summary": "0 of 1"},
        "at_bounds": {"a": 1.0},
    }  # fmt: skip
    console = Console(width=110, record=True, file=io.StringIO())
    show_evaluation(found, console)
    lines = [line for line in console.export_text().splitlines() if "sold" in line]
    assert [cell.strip() for cell in lines[0].split("│")[1:-1]] == [
        "sold", "17.5", "6.5", "10.25", "10", "0.75", "MISSED",
    ]  # fmt: skip


def test_breakdowns_of_several_blocks_are_means_over_the_episodes_that_have_them():
    def part(*values):
        return {"share": Breakdown(("a",), ("x", "y"), np.array(values)[:, None, :])}

    whole = joined([part([1.0, np.nan], [2.0, np.nan]), part([6.0, np.nan])])["share"]
    found = whole.to_mapping()
    assert found["values"][0][0] == 3.0
    assert found["stderr"][0][0] == pytest.approx(np.std([1, 2, 6]) / np.sqrt(3))
    assert np.isnan(found["values"][0][1])
    assert joined([]) == {}
    with pytest.raises(ValueError, match=r"must be \(number of episodes, 1, 2\)"):
        Breakdown(("a",), ("x", "y"), np.zeros((3, 2, 1)))
