"""What a study is made of: settings, calibrators, measurements, and the source that it names."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.experiments.measuring import judged, verdict_of
from rllib_calsheq.experiments.paper_settings import SETTING_PROFILES, SETTINGS, hidden_profile
from rllib_calsheq.experiments.records import source_hash
from rllib_calsheq.experiments.study import (
    Run,
    examples_folder,
    load_settings,
    parse_calibrator,
)
from rllib_calsheq.results.checkpoints import last_stage
from rllib_calsheq.results.evaluation import summarise

EXAMPLES = Path(__file__).resolve().parent.parent / "tuned_examples"


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_has_a_tuned_example_with_targets_of_its_hidden_profile(setting):
    (experiment,) = load_settings([setting], EXAMPLES).values()
    known = TargetFile.load(experiment.config["targets"])
    assert set(known.targets) == set(SETTINGS[setting].outcomes)
    assert known.env_config == {"num_merchants": SETTINGS[setting].num_merchants}
    assert known.profile == pytest.approx(hidden_profile(SETTING_PROFILES[setting]))
    assert known.source["name"] == SETTING_PROFILES[setting]
    # Far from the start: what there is to recover stands clear of the noise of a measurement.
    assert known.ceiling - known.reward_start > 0.4


def test_the_targets_of_setting_2_hold_the_one_that_the_paper_shows():
    known = TargetFile.load(EXAMPLES / "targets" / "experiment_2.yaml")
    assert known.targets["supertype_1.quantity_p10"]["value"] == pytest.approx(8.0, abs=0.1)


def test_the_targets_of_setting_3_are_those_of_the_main_job():
    names = ("experiment_3", "setting_3_small")
    one, other = (TargetFile.load(EXAMPLES / "targets" / f"{name}.yaml") for name in names)
    assert one == other


def test_a_calibrator_may_carry_fields():
    assert parse_calibrator("ppo") == {"name": "ppo"}
    label = "ppo:critic=none:hidden_sizes=[8, 8]"
    assert parse_calibrator(label) == {"name": "ppo", "critic": "none", "hidden_sizes": [8, 8]}
    assert Run(1, label, 0).name == "setting_1-ppo-critic-none-hidden_sizes-8-8--seed_0"


def test_the_tuned_examples_are_found():
    assert examples_folder().name == "tuned_examples"


def test_the_last_stage_is_that_of_the_last_whole_line(tmp_path):
    assert last_stage(tmp_path) == 0
    lines = [json.dumps({"training_iteration": k}) for k in (1, 2, 3)]
    (tmp_path / "result.json").write_text("\n".join(lines) + '\n{"training_it', encoding="utf-8")
    assert last_stage(tmp_path) == 3


def test_a_measured_run_says_which_targets_it_misses():
    known = (Outcome("sold", 10.0), Outcome("share", 0.05), Outcome("never", 1.0))
    targets = TargetSet.from_mapping({"sold": 10.0, "share": 0.5}, known)
    outcomes = np.array([[11.0, 0.6, np.nan], [12.0, 0.6, np.nan]])
    assert judged(targets, summarise(outcomes, targets)) == {
        "targets_met": 1,
        "num_targets": 2,
        "worst_miss": pytest.approx(2.0),
        "rms_miss": pytest.approx(math.sqrt((0.15**2 + 2.0**2) / 2)),
    }
    assert judged(TargetSet((), targets.outcome_names), summarise(outcomes, targets)) == {}


def test_a_line_on_a_measurement_leads_with_the_judge():
    verdict = {"targets_met": 18, "num_targets": 19, "worst_miss": 0.314}
    found = {"verdict": verdict, "reward": 0.8, "recovered_fraction": 1.02}
    assert verdict_of(found) == (
        "18 of 19 targets met, worst miss 0.31, reward 0.800, recovered fraction 1.020"
    )
    assert verdict_of({"verdict": None, "reward": 0.8, "recovered_fraction": None}) == (
        "reward 0.800"
    )


def test_the_source_is_that_of_the_whole_package(tmp_path, monkeypatch):
    before = source_hash()
    (tmp_path / "more.py").write_text("", encoding="utf-8")
    for package in ("rllib_calsheq", "rllib_calsheq.envs", "rllib_calsheq.callbacks"):
        module = sys.modules[package]
        with monkeypatch.context() as patch:
            patch.setattr(module.__spec__, "submodule_search_locations", [str(tmp_path)])
            source_hash.cache_clear()
            assert source_hash() != before
    source_hash.cache_clear()
    assert source_hash() == before
