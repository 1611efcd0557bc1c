"""Save, restore, go on: bit for bit as if nothing had happened."""

import numpy as np
import pytest

from rllib_calsheq.algorithm import CALSHEQ, CALSHEQConfig
from rllib_calsheq.results.evaluation import evaluate

from echo_env import EchoEnv

pytestmark = pytest.mark.usefixtures("ray_cluster")


def build(num_env_runners=0, sampling="arrays", seed=3):
    return (
        CALSHEQConfig()
        .environment(EchoEnv)
        .env_runners(num_env_runners=num_env_runners)
        .training(minibatch_size=8, num_epochs=2)
        .calibration(targets={"only.a": 0.9, "only.b": 0.2}, num_particles=6, sampling=sampling)
        .debugging(seed=seed)
        .build_algo()
    )


def numbers(result):
    """Everything of a stage that must not depend on an interruption."""
    metrics = result["calibration"]
    keys = ("stage", "reward_mean", "lr_shared", "kl_coefficient_shared", "profile", "outcomes")
    return {key: metrics[key] for key in keys} | {
        "kl": metrics["calibrator"]["kl_coefficient"],
        "lr": metrics["calibrator"]["learning_rate"],
    }


@pytest.mark.parametrize(
    ("num_env_runners", "sampling"), [(0, "arrays"), (2, "arrays"), (0, "episodes")]
)
def test_from_checkpoint_goes_on_bit_for_bit(tmp_path, num_env_runners, sampling):
    first = build(num_env_runners, sampling)
    for _ in range(4):
        first.train()
    path = first.save_to_path(str(tmp_path / "checkpoint"))
    expected = [numbers(first.train()) for _ in range(3)]
    first.stop()
    second = CALSHEQ.from_checkpoint(path)
    # Numbers are exact: no tolerance.
    assert [numbers(second.train()) for _ in range(3)] == expected
    second.stop()


def test_going_back_to_an_older_checkpoint_is_not_ignored(tmp_path):
    algorithm = build()
    algorithm.train()
    path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    expected = [numbers(algorithm.train()) for _ in range(3)]
    algorithm.restore_from_path(path)
    assert [numbers(algorithm.train()) for _ in range(3)] == expected
    algorithm.stop()


def test_get_state_and_set_state_carry_the_calibration(tmp_path):
    algorithm = build()
    for _ in range(2):
        algorithm.train()
    state = algorithm.get_state()
    profiles = algorithm.calibration.calibrator.profiles.copy()
    for _ in range(2):
        algorithm.train()
    assert not np.array_equal(algorithm.calibration.calibrator.profiles, profiles)
    algorithm.set_state(state)
    np.testing.assert_array_equal(algorithm.calibration.calibrator.profiles, profiles)
    algorithm.stop()


def test_the_same_seed_gives_the_same_run_and_another_does_not():
    curves = []
    for seed in (1, 1, 2):
        algorithm = build(seed=seed)
        curves.append([numbers(algorithm.train()) for _ in range(3)])
        algorithm.stop()
    assert curves[0] == curves[1] != curves[2]


def test_rates_in_the_optimizers_are_those_of_the_schedules():
    algorithm = build()
    shared, cal = algorithm.config.learning_rates()
    for stage in range(3):
        found = numbers(algorithm.train())
        assert found["lr_shared"] == pytest.approx(shared.at(stage))
        assert found["lr"] == pytest.approx(cal.at(stage))
    algorithm.stop()


@pytest.mark.parametrize("fate", ["edited", "deleted"])
def test_a_checkpoint_owns_its_targets(tmp_path, monkeypatch, fate):
    """What it is judged against is what it learned, wherever and whenever that is."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    file = home / "targets.yaml"
    file.write_text("targets: {only.a: 0.9}\nceiling: 0.8\n", encoding="utf-8")
    monkeypatch.chdir(home)
    config = CALSHEQConfig().environment(EchoEnv).training(minibatch_size=8)
    algorithm = config.calibration(targets="targets.yaml", num_particles=4).build_algo()
    algorithm.train()
    path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    algorithm.stop()
    if fate == "edited":
        file.write_text("targets: {only.b: 0.1}\n", encoding="utf-8")
    else:
        file.unlink()
    monkeypatch.chdir(elsewhere)
    found = evaluate(path, episodes=4)
    assert [(o["name"], o["target"]) for o in found["outcomes"]] == [("only.a", 0.9)]
    assert found["ceiling"] == 0.8
    again = CALSHEQ.from_checkpoint(path)
    assert again.train()["calibration"]["stage"] == 2
    again.stop()
    # The configuration is the user's own: built again, it reads its file again.
    assert config.targets == "targets.yaml"
