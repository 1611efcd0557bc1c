"""Experiment files and overrides: what is read, and what is refused."""

import pytest

from rllib_calsheq.data.examples import find_experiment_file, shipped_examples
from rllib_calsheq.data.experiment_files import (
    apply_override,
    flatten,
    load_experiments,
    resolve_grid,
    variants,
)

from experiment_specs import SPEC, load_one, spec, write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (spec(stpo={}), ["experiment 'experiment' has no field 'stpo'", "did you mean 'stop'"]),
        (spec(checkpoint_config={"frequency": 1}), ["checkpoint_config", "checkpoint_frequency"]),
        ({"env": "x"}, ["does not say which algorithm to run", "run: CALSHEQ"]),
        ("a: [", ["is not valid YAML"]),
        ("a: {run: CALSHEQ, stop: {}, run: PPO}", ["'run' stands there twice", "line 1"]),
        ("[1, 2]", ["is no experiment file", "must map experiment names"]),
        ("name: 3", ["is no experiment file"]),
        ("", ["is no experiment file"]),
    ],
)
def test_a_bad_experiment_file_is_refused(tmp_path, content, words):
    file = write(tmp_path, content)
    with pytest.raises(ValueError, match=r".") as caught:
        load_experiments(file)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_experiment_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no experiment file .*nowhere\.yaml"):
        load_experiments(tmp_path / "nowhere.yaml")


def test_an_experiment_is_read(tmp_path):
    found = load_one(tmp_path, spec(num_samples=2, checkpoint_config={"num_to_keep": 3}))
    assert (found.name, found.run, found.num_samples) == ("experiment", "CALSHEQ", 2)
    assert found.is_calsheq
    assert found.config["env"] == SPEC["env"]
    assert found.checkpoint == {"checkpoint_at_end": True, "num_to_keep": 3}
    assert found.stop == {"training_iteration": 3}
    assert found.storage_path is None


def test_old_names_of_stops_and_checkpoints_mean_the_new_ones(tmp_path):
    stop = {"timesteps_total": 5, "episode_reward_mean": 1.0, "env_runners": {"num_episodes": 2}}
    found = load_one(
        tmp_path, {"run": "PPO", "env": "x", "stop": stop, "checkpoint_freq": 4, "local_dir": "y"}
    )
    assert found.stop == {
        "num_env_steps_sampled_lifetime": 5,
        "env_runners/episode_return_mean": 1.0,
        "env_runners/num_episodes": 2,
    }
    assert found.checkpoint == {"checkpoint_frequency": 4}
    assert found.storage_path == "y"
    assert not found.is_calsheq


@pytest.mark.parametrize(
    "stop", [{"calibration/targets_met": "all"}, {"calibration": {"targets_met": "all"}}]
)
def test_a_run_may_stop_once_all_targets_have_been_met_for_a_while(tmp_path, stop):
    found = load_one(tmp_path, spec(stop={"training_iteration": 50, **stop}))
    assert found.stop == {"training_iteration": 50, "calibration/stages_all_met": 10}


def test_a_number_of_targets_met_means_what_it_says(tmp_path):
    stop = {"calibration/targets_met": 2, "calibration/stages_all_met": 25}
    assert load_one(tmp_path, spec(stop=stop)).stop == stop


def test_flatten_joins_keys_with_slashes():
    assert flatten({"a": {"b": {"c": 1}, "d": 2}, "e": 3}) == {"a/b/c": 1, "a/d": 2, "e": 3}
    assert flatten({}) == {}


def test_grids_are_resolved_at_any_depth(tmp_path):
    config = {"lr_ratio": {"grid_search": [1.0, 0.1]}, "lr_cal": {"offset": {"grid_search": [1]}}}
    found = load_one(tmp_path, spec(config))
    assert {c["lr_ratio"] for c in variants(found.config)} == {1.0, 0.1}
    assert all(c["lr_cal"]["offset"] == 1 for c in variants(found.config))
    assert resolve_grid([{"a": 1}]) == [{"a": 1}]


def test_target_files_are_looked_for_beside_the_experiment_and_carried_inside(tmp_path):
    write(tmp_path, "{targets: {suburbs.subway_rate: 0.7}, ceiling: 0.9}", "mine.yaml")
    found = load_one(tmp_path, spec({"targets": "mine.yaml"}))
    assert found.config["targets"] == {"targets": {"suburbs.subway_rate": 0.7}, "ceiling": 0.9}
    swept = load_one(tmp_path, spec({"targets": {"grid_search": ["mine.yaml", {"a": 1.0}]}}))
    values = [c["targets"]["targets"] for c in variants(swept.config)]
    assert values == [{"suburbs.subway_rate": 0.7}, {"a": 1.0}]


# --- overrides ------------------------------------------------------------------------------


def test_overrides_are_read_as_yaml(tmp_path):
    overrides = (
        "config.num_particles=4",
        "config.lr_cal.exponent=0.8",
        "config.calibrator={name: fixed}",
        "stop.training_iteration=7",
        "config.env_config.num_inside=1",
    )
    found = load_one(tmp_path, SPEC, overrides)
    assert found.config["num_particles"] == 4
    assert found.config["lr_cal"] == {"exponent": 0.8}
    assert found.config["calibrator"] == {"name": "fixed"}
    assert found.config["env_config"]["num_inside"] == 1
    assert found.stop == {"training_iteration": 7}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("config.num_particles", ["--set takes path.to.key=value"]),
        ("=3", ["--set takes path.to.key=value"]),
        ("config..x=3", ["--set takes path.to.key=value"]),
        ("confg.num_particles=3", ["no field 'confg'", "did you mean 'config'"]),
        ("num_particles=3", ["no field 'num_particles'", "--set config.num_particles=3"]),
        ("config.num_particles.x=3", ["config.num_particles is 8, no mapping"]),
        ("config.targets={", ["the value is not valid YAML"]),
    ],
)
def test_a_bad_override_is_refused(override, words):
    with pytest.raises(ValueError, match=r".") as caught:
        apply_override(spec(), override)
    for word in words:
        assert word in str(caught.value)


# --- refusals -------------------------------------------------------------------------------


# --- the package's own ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["city.yaml", "tuned_examples/city.yaml"])
def test_the_packages_own_examples_are_found_by_name_anywhere(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert find_experiment_file(name) == shipped_examples() / "city.yaml"
    (experiment,) = load_experiments(name)
    assert experiment.name == "city"


def test_a_users_own_file_comes_before_the_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, SPEC, "city.yaml")
    (experiment,) = load_experiments("city.yaml")
    assert experiment.name == "experiment"


def test_a_file_elsewhere_is_not_taken_for_the_packages(tmp_path):
    with pytest.raises(ValueError, match=r"there is no experiment file .*city\.yaml"):
        find_experiment_file(tmp_path / "city.yaml")


def test_a_missing_file_is_answered_with_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"did you mean 'calsheq\.yaml'.*own are .*city\.yaml"):
        find_experiment_file("calshek.yaml")
    write(tmp_path, SPEC, "my_market.yaml")
    with pytest.raises(ValueError, match=r"did you mean 'my_market\.yaml'"):
        find_experiment_file("my_markt.yaml")
