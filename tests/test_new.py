"""`calsheq new`: what it writes is an environment, its test and an experiment, under any name."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from rllib_calsheq.cli import calsheq, train
from rllib_calsheq.cli.new import class_name, write_template
from rllib_calsheq.conformance.plain import check_environment
from rllib_calsheq.data.experiment_files import load_experiments

from experiment_specs import refusal


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The template as ``corner_shops``, which can be imported."""
    folder = tmp_path_factory.mktemp("new") / "corner_shops"
    write_template("corner_shops", folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("corner_shops", None)


def test_the_environment_has_the_names_that_were_given_and_keeps_the_protocol(made):
    env = importlib.import_module("corner_shops").CornerShops
    check_environment(env)
    for file in made.glob("*.*"):
        assert "my_env" not in file.read_text(encoding="utf-8").lower()
        assert "MyEnv" not in file.read_text(encoding="utf-8")


def test_its_own_test_passes(made):
    environment = {**os.environ, "PYTHONPATH": str(made)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(made)]
    run = subprocess.run(
        command, cwd=made, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout
    assert "3 passed" in run.stdout


@pytest.mark.learning
def test_its_experiment_trains(made):
    (experiment,) = load_experiments(made / "corner_shops.yaml")
    train.check(experiment)
    (config,) = train.configurations(experiment)
    # Without a cluster: the algorithm in this process, as Tune's trial has it.
    algorithm = config.copy(copy_frozen=False).calibration(num_particles=8).build_algo()
    for stage in (1, 2):
        result = algorithm.train()["calibration"]
        assert result["stage"] == stage
        assert 0.0 <= result["outcomes"]["price"]["mean"] <= 1.0
    algorithm.stop()


def test_nobody_gains_by_leaving_the_price_that_it_describes(made):
    env = importlib.import_module("corner_shops").CornerShops({"episode_length": 1})
    env.set_supertypes([0.4])
    cost, price = 0.4, (1 + 2 * 0.4) / 3

    def profit(own):
        env.reset(seed=0)
        env._costs[:] = cost
        asked = dict.fromkeys(env.agents, price) | {"seller_1": own}
        actions = {agent: np.array([2 * p - 1]) for agent, p in asked.items()}
        return env.step(actions)[1]["seller_1"]

    best = profit(price)
    assert all(profit(other) < best for other in (price - 0.05, price + 0.05, 0.1, 0.9))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my-env", "NAME is 'my-env'; allowed: names of Python modules"),
        ("MyEnv", "in small letters"),
        ("class", "NAME is 'class'"),
        ("json", "Python has a module 'json' already"),
    ],
)
def test_bad_names_are_refused(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    assert words in refusal(capsys, calsheq.main, ["new", name])
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path, capsys):
    words = ["new", "quiet_market", "-o", tmp_path / "here"]
    assert calsheq.main([str(word) for word in words]) == 0
    assert "PYTHONPATH=. rllib train -f quiet_market.yaml" in capsys.readouterr().out
    assert "exists already" in refusal(capsys, calsheq.main, words)


def test_a_module_is_named_in_small_letters_and_its_class_in_capitals():
    assert class_name("my_new_env") == "MyNewEnv"
