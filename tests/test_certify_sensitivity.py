"""Sensitivity to the profile: a Jacobian that is known, its noise, and what it says."""

import json

import numpy as np
import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.certificates.sensitivity.analysis import analyse, differences, in_words
from rllib_calsheq.cli import calsheq
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace

from echo_env import EchoEnv

SPACE = SupertypeSpace(
    (Parameter("a", "s"), Parameter("b", "s", high=2.0), Parameter("c", "s", low=-1.0))
)
#: Two outcomes that a and b move, the second both; c moves none.
SLOPES = np.array([[3.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
EPISODES = 400


def sampler(noise, seed=0):
    shocks = noise * np.random.default_rng(seed).normal(size=(EPISODES, 2))
    return lambda profile: profile @ SLOPES.T + shocks


def test_differences_are_exact_for_a_linear_model_and_in_the_right_units():
    found = differences(sampler(1.0), SPACE, np.array([0.5, 1.0, 0.0]), np.array([0.1, 0.5]))
    assert found.shape == (EPISODES, 2, 3)
    # Slope times the parameter's range (1, 2, 2) over the outcome's scale; the shocks are paired.
    np.testing.assert_allclose(found[7], [[30.0, 0.0, 0.0], [2.0, 8.0, 0.0]], atol=1e-9)


def test_differences_at_a_bound_are_one_sided():
    found = differences(sampler(0.0), SPACE, np.array([1.0, 0.0, 1.0]), np.ones(2))
    np.testing.assert_allclose(found[0], SLOPES * [1.0, 2.0, 2.0], atol=1e-9)


def test_what_no_outcome_depends_on_is_not_pinned_down():
    found = analyse(
        differences(sampler(0.0), SPACE, np.array([0.5, 1.0, 0.0]), np.array([0.1, 0.5])),
        np.random.default_rng(0),
    )
    assert found.rank == 2
    np.testing.assert_allclose(found.pinned, [1.0, 1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(
        found.singular_values, np.linalg.svd([[30.0, 0.0], [2.0, 8.0]], compute_uv=False)
    )
    said = in_words(found, SPACE.names, ["first", "second"])
    assert said[0].startswith("The 2 targets pin down 2 of 3 directions")
    assert "up s.a" in said[1]
    assert "Pinned down by themselves: s.a, s.b." in said
    assert said[-1].startswith("Open, ")
    assert said[-1].endswith(": s.c.")


def test_noise_pins_nothing_down():
    rng = np.random.default_rng(2)
    found = analyse(50.0 * rng.normal(size=(100, 2, 3)), rng)
    assert found.rank == 0
    assert not found.pinned.any()
    np.testing.assert_allclose(found.stderr, 5.0, rtol=0.4)
    assert "pin down 0 of 3" in in_words(found, SPACE.names, ["x", "y"])[0]
    assert "The 2 outcomes pin down" in in_words(found, SPACE.names, ["x", "y"], "outcomes")[0]


def test_the_command_says_what_the_targets_of_a_run_pin_down(tmp_path, capsys):
    """The echo environment's outcomes are its parameters: two targets pin down two of three."""
    config = CALSHEQConfig().environment(EchoEnv).training(minibatch_size=16)
    config.calibration(targets={"only.a": 0.3, "only.c": 0.4}, num_particles=4)
    algorithm = config.build_algo()
    algorithm.train()
    algorithm.save_to_path(tmp_path / "checkpoint_000000")
    algorithm.stop()
    words = ["sensitivity", str(tmp_path / "checkpoint_000000"), "--episodes", "4"]
    assert calsheq.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rank"] == 2
    # The outcome's scale is 0.1 of the parameter's range.
    np.testing.assert_allclose(found["jacobian"], [[10, 0, 0], [0, 0, 10]], atol=1e-6)
    pinned = {name: row["pinned"] for name, row in found["parameters"].items()}
    assert pinned == pytest.approx({"only.a": 1.0, "only.b": 0.0, "only.c": 1.0})
    folder = tmp_path / "certificate" / "checkpoint_000000"
    (file,) = folder.glob("sensitivity_*.json")
    assert json.loads(file.read_text()) == found
    assert calsheq.main([*words, "--retrain", "1"]) == 0
    assert "Pinned down by themselves: only.a, only.c." in capsys.readouterr().out
    assert json.loads(file.read_text()) == found
    assert len(list(folder.glob("sensitivity_*retrain=1_*.json"))) == 1
    assert calsheq.main([*words, "--step", "0"]) == 2
    assert "--step is 0.0" in capsys.readouterr().err
