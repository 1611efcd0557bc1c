"""Runs that go on are asked for what they were begun with; what is changed is named."""

import json

import pytest
import yaml

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.cli import rllib, train
from rllib_calsheq.data.experiment_files import load_experiments
from rllib_calsheq.running.stated_run import (
    begun_with,
    note_stated,
    require_same_stated,
    stated,
    stop_at,
)

CONFIG = {
    "env": "rllib_calsheq.envs.SubwayEnv",
    "targets": {"suburbs.subway_rate": 0.8},
    "num_particles": 8,
    "minibatch_size": 64,
    "lr_ratio": {"grid_search": [1.0, 0.3]},
}


def write(folder, config=None, **keys):
    file = folder / "experiment.yaml"
    spec = {"run": "CALSHEQ", "stop": {"training_iteration": 5}, "config": config or CONFIG, **keys}
    file.write_text(yaml.safe_dump({"city": spec}), encoding="utf-8")
    return file


def load(folder, config=None, **keys):
    (experiment,) = load_experiments(str(write(folder, config, **keys)), [])
    return experiment


@pytest.fixture
def run(tmp_path):
    """A run's folder as it is once Tune has noted its state."""
    folder = tmp_path / "city"
    folder.mkdir()
    for name in ("tuner.pkl", "experiment_state-1.json"):
        (folder / name).touch()
    note_stated(folder, stated(load(tmp_path), 1))
    return folder


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gamma": 0.9}, "config.gamma: not stated then, 0.9 now"),
        ({"lr_ratio": 0.3}, "config.lr_ratio: {'grid_search': [1.0, 0.3]} then, 0.3 now"),
        (
            {"lr_ratio": {"grid_search": [1.0, 0.4]}},
            "config.lr_ratio.grid_search: [1.0, 0.3] then, [1.0, 0.4] now",
        ),
        ({"targets": {"suburbs.subway_rate": 0.7}}, "suburbs.subway_rate: 0.8 then, 0.7 now"),
        ({"env_config": {"num_inside": 5}}, "num_inside"),
        ({"calibrator": {"kl_limit": 2.5}}, "kl_limit"),
        ({"num_env_runners": 1}, "config.num_env_runners: not stated then, 1 now"),
        ({"seed": 1}, "config.seed: not stated then, 1 now"),
    ],
)
def test_a_changed_field_is_named_before_anything_starts(tmp_path, run, capsys, changed, said):
    file = write(tmp_path, {**CONFIG, **changed})
    words = ["train", "-f", str(file), "--storage-path", str(tmp_path), "--resume"]
    assert rllib.main(words) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "this run was begun with another configuration" in told
    assert str(run) in told


def resolve(config):
    """As if 0.99 were the default of gamma and nothing else had one."""
    return {"gamma": 0.99, **config}


def test_what_comes_to_the_same_may_be_stated_in_another_way(tmp_path, run):
    asked = stated(load(tmp_path, {**CONFIG, "gamma": 0.99}), 1)
    require_same_stated(run, asked, resolve)
    with pytest.raises(ValueError, match=r"gamma"):
        require_same_stated(run, asked)
    # Tune compares keys with those that it saved.
    assert "gamma" not in begun_with(run, asked["config"])


def test_a_default_that_is_stated_comes_to_the_same(tmp_path, run):
    same = load(tmp_path, {**CONFIG, "gamma": CALSHEQConfig().gamma, "calibrator": {"name": "ppo"}})
    train._require_same(run, same, stated(same, 1))


def test_when_a_run_stops_may_change_and_what_has_no_effect_any_more_is_named(
    tmp_path, run, capsys
):
    require_same_stated(run, stated(load(tmp_path, stop={"training_iteration": 9}), 1))
    assert capsys.readouterr().out == ""
    often = {"checkpoint_frequency": 2}
    require_same_stated(run, stated(load(tmp_path, checkpoint_config=often), 3))
    said = capsys.readouterr().out
    assert "num_samples: 1 then, 3 now: a run that goes on keeps the first" in said
    assert "checkpoint_config.checkpoint_frequency: not stated then, 2 now" in said


def test_a_run_of_an_earlier_version_has_no_note(tmp_path):
    require_same_stated(tmp_path, stated(load(tmp_path), 1))
    assert begun_with(tmp_path, CONFIG) is CONFIG


@pytest.mark.parametrize(
    ("stop", "statuses"),
    [
        ({"training_iteration": 5}, ["TERMINATED", "RUNNING", "TERMINATED"]),
        ({"training_iteration": 9}, ["PENDING", "RUNNING", "PENDING"]),
        ({"training_iteration": 4}, ["TERMINATED", "RUNNING", "PENDING"]),
        (
            {"training_iteration": 9, "calibration/targets_met": 2},
            ["TERMINATED", "RUNNING", "PENDING"],
        ),
    ],
)
def test_finished_trials_go_on_if_a_new_stop_is_beyond_them(tmp_path, stop, statuses):
    def trial(status, stage, met):
        result = {"training_iteration": stage, "calibration": {"targets_met": met}}
        noted = {"status": status, "stopping_criterion": {"training_iteration": 5}}
        return [json.dumps(noted), json.dumps({"last_result": result})]

    state = {"trial_data": [trial("TERMINATED", 5, 2), trial("RUNNING", 3, 0)]}
    # Stopped early by something else.
    state["trial_data"].append(trial("TERMINATED", 3, 1))
    file = tmp_path / "experiment_state-1.json"
    file.write_text(json.dumps(state), encoding="utf-8")
    stop_at(tmp_path, stop)
    found = [
        json.loads(text) for text, _ in json.loads(file.read_text(encoding="utf-8"))["trial_data"]
    ]
    assert [noted["status"] for noted in found] == statuses
    assert all(noted["stopping_criterion"] == stop for noted in found)
