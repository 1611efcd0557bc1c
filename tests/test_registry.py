"""Calibrators are found by their names or by the dotted paths of their classes."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from known_optimum import parameter_targets
from test_experiments import TINY, TINY_FLAGS

from rllib_calsheq import CALSHEQ, Calibrator, evaluate
from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.calibrators import calibrator_config, entries, find_entry, make_calibrator
from rllib_calsheq.calibrators.entry import Entry
from rllib_calsheq.cli import calsheq
from rllib_calsheq.experiments import records
from rllib_calsheq.experiments.drawing import label_of, looks_of
from rllib_calsheq.experiments.study import parse_calibrator
from rllib_calsheq.experiments.summary import calibrator_order
from rllib_calsheq.results.palette import FURTHER

from echo_env import EchoEnv

WALK, PLAIN = "own_calibrator.Walk", "own_calibrator.Plain"
BY_NAME = pytest.mark.parametrize("name", entries())


class TestEntries:
    def test_those_of_the_package_are_found_in_the_order_of_tables(self):
        names = list(entries())
        assert {"ppo", "bo", "bo_tr", "cma", "eki", "random", "fixed"} <= set(names)
        assert (names[0], names[-1]) == ("ppo", "fixed")
        assert names == sorted(names, key=calibrator_order)

    @BY_NAME
    def test_each_names_a_calibrator_and_says_its_name_in_its_label(self, name):
        entry = entries()[name]
        assert entry.name == name
        assert issubclass(entry.load(), Calibrator)
        assert f"({name})" in entry.label

    def test_each_has_a_label_and_a_colour_that_no_other_has(self):
        for attribute in ("label", "colour"):
            found = [getattr(entry, attribute) for entry in entries().values()]
            assert len(set(found) - {None}) == len(found)
        assert not {entry.colour for entry in entries().values()} & set(FURTHER)

    @BY_NAME
    def test_the_dotted_path_of_one_is_the_same_calibrator(self, name):
        assert find_entry(entries()[name].path) is entries()[name]

    def test_only_those_with_a_rate_follow_a_schedule(self):
        assert find_entry("ppo").has_learning_rate
        assert not find_entry("random").has_learning_rate
        assert not find_entry(PLAIN).has_learning_rate

    def test_looking_at_them_imports_nothing_heavy(self):
        code = (
            "import sys; from rllib_calsheq.calibrators import calibrator_config, entries; "
            "[calibrator_config(name, {}) for name in entries()]; "
            "heavy = ('ray', 'torch', 'botorch', 'gpytorch', 'cma', 'matplotlib'); "
            "print([m for m in heavy if m in sys.modules])"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == "[]"


class TestDottedPath:
    def test_it_is_built_with_its_checked_fields(self):
        targets = parameter_targets(np.array([0.2, 0.8]))
        made = make_calibrator(
            WALK, start=[0.5, 0.5], num_particles=3, targets=targets, seed=4, step=0.3
        )
        assert type(made).__name__ == "Walk"
        assert (made.config.step, made.seed, made.profiles.shape) == (0.3, 4, (3, 2))
        assert calibrator_config(WALK, {}).step == 0.1
        assert calibrator_config(PLAIN, {}) is None

    @pytest.mark.parametrize(
        ("name", "fields", "message"),
        [
            ("walk", {}, r"unknown calibrator 'walk'; there are \['ppo'.*dotted path"),
            ("own calibrator.Walk", {}, "unknown calibrator"),
            (".Walk", {}, "unknown calibrator"),
            ("no_such_module.Walk", {}, "cannot be imported .*no_such_module"),
            ("own_calibrator.Missing", {}, "cannot be imported .*Missing"),
            ("own_calibrator.NoCalibrator", {}, "is no subclass of rllib_calsheq.Calibrator"),
            ("own_calibrator.WALK", {}, "cannot be imported"),
            ("own_calibrator.Unfinished", {}, "is not finished: it does not define _learn"),
            ("own_calibrator.Discoloured", {}, "the colour of .* is 'blueish'; allowed: #rrggbb"),
            ("own_calibrator.Fieldless", {}, "config_class of .*; allowed: dataclasses"),
            (WALK, {"step": 2}, r"calibrator 'own_calibrator.Walk': step is 2; .* \(0, 1\]"),
            (WALK, {"stp": 0.2}, "did you mean 'step'"),
            (PLAIN, {"step": 0.2}, "has no fields"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, name, fields, message):
        with pytest.raises(ValueError, match=message):
            calibrator_config(name, fields)

    def test_a_study_reads_it_with_its_fields(self):
        assert parse_calibrator(f"{WALK}:step=0.25") == {"name": WALK, "step": 0.25}

    def test_it_has_a_label_and_a_colour_and_a_place_before_the_reference(self):
        assert label_of(WALK) == "random walk"
        assert label_of(PLAIN) == "Plain (own_calibrator.Plain)"
        looks = looks_of(["fixed", PLAIN, WALK, "ppo", f"{WALK}:step=0.2", "gone.Away"])
        assert list(looks)[:4] == ["ppo", PLAIN, WALK, "fixed"]
        assert looks[WALK].colour == "#123456"
        assert len(set(looks.values())) == len(looks)

    def test_two_that_want_one_colour_do_not_share_it(self, monkeypatch):
        monkeypatch.setattr("own_calibrator.Plain.colour", entries()["ppo"].colour)
        looks = looks_of([PLAIN, "ppo"])
        assert looks["ppo"].colour == entries()["ppo"].colour
        assert looks[PLAIN] != looks["ppo"]

    def test_a_missing_package_is_named_with_the_extra_that_installs_it(self):
        entry = Entry("own", WALK, "own", package="no_such_package", extra="own")
        with pytest.raises(ValueError, match=r'no_such_package.*"rllib-calsheq\[own\]"'):
            entry.load()

    def test_a_record_knows_the_source_of_a_calibrator_from_elsewhere(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        module = tmp_path / "edited_calibrator.py"
        module.write_text("from own_calibrator import Plain\nclass Mine(Plain):\n    pass\n")
        config = {"env": EchoEnv, "targets": {"only.a": 0.3}, "num_particles": 4}
        config["calibrator"] = {"name": "edited_calibrator.Mine"}
        before = records.record_of(config)
        module.write_text(module.read_text() + "    # other code\n")
        (line,) = records.differences(before, records.record_of(config))
        assert line.startswith("calibrator_source: ")
        assert "calibrator_source" not in records.record_of({**config, "calibrator": {}})


def walk_config(**fields):
    config = CALSHEQConfig().environment(EchoEnv).debugging(seed=3)
    config.minibatch_size = 32
    return config.calibration(
        targets={"only.a": 0.3, "only.b": 0.7},
        calibrator={"name": WALK, **fields},
        num_particles=8,
    )


def test_a_learning_rate_that_no_schedule_sets_may_be_given():
    config = walk_config()
    config.calibration(calibrator={"name": "own_calibrator.OwnRate", "learning_rate": 0.2})
    config.validate()
    config.calibration(calibrator={"name": "ppo", "learning_rate": 0.2})
    with pytest.raises(ValueError, match=r"set lr_cal\.initial instead"):
        config.validate()


@pytest.mark.learning
def test_it_trains_and_goes_on_from_a_checkpoint_and_is_evaluated(tmp_path):
    algorithm = walk_config(step=0.2).build_algo()
    try:
        for _ in range(2):
            algorithm.train()
        algorithm.save_to_path(str(tmp_path / "saved"))
        expected = algorithm.train()["calibration"]
    finally:
        algorithm.stop()
    assert expected["calibrator"]["best"] > 0
    resumed = CALSHEQ.from_checkpoint(str(tmp_path / "saved"))
    try:
        found = resumed.train()["calibration"]
    finally:
        resumed.stop()
    assert resumed.config.calibrator_fields == {"step": 0.2}
    for key in ("stage", "reward_mean", "profile", "calibrator"):
        assert found[key] == expected[key]
    assert evaluate(tmp_path / "saved", episodes=8)["stage"] == 2


@pytest.mark.learning
def test_it_is_studied_and_appears_in_tables_and_pictures(tmp_path, capsys):
    file = tmp_path / "experiment_1.yaml"
    file.write_text(yaml.safe_dump({"experiment_1": TINY}), encoding="utf-8")
    label, output = f"{WALK}:step=0.3", tmp_path / "results"
    words = ["experiment", "1", "--calibrators", f"{label},{PLAIN}", "--seeds", 1]
    words += ["--examples", tmp_path, "--storage-path", tmp_path / "study", "-o", output]
    assert calsheq.main([str(word) for word in [*words, *TINY_FLAGS]]) == 0
    assert f"| {PLAIN} |" in capsys.readouterr().out
    final = pd.read_csv(output / "final.csv")
    assert set(final["calibrator"]) == {label, PLAIN}
    assert final["reward"].between(0, 1).all()
    assert (output / "figure_1.png").stat().st_size > 5000
    files = (tmp_path / "study").rglob("*.record.json")
    made_by = [record["calibrator"] for file in files for record in json.loads(file.read_text())]
    assert {"name": WALK, "step": 0.3} in made_by
