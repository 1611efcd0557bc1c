"""Certificates end to end: jobs, resuming, any environment with an array form, the command."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.certificates.certify import certify
from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.certificates.jobs.certificate_jobs import DEVIATOR, FRESH_CHEAP, Job
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.jobs.store import JobStore, default_folder
from rllib_calsheq.certificates.report.pictures import draw_certificate
from rllib_calsheq.certificates.search.deviators import (
    Training,
    build_learner,
    get_weights,
    train_deviator,
)
from rllib_calsheq.certificates.search.values import Comparison, draw_episodes, over_roles
from rllib_calsheq.cli import calsheq
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.envs import SubwayEnv

from echo_env import EchoEnv

SMALL = CertificateConfig(
    seeds=2, budget=64, batch=16, measurements=2, validation=16, fresh=24, settling=2
)
KEYS = (
    "epsilon", "epsilon_low", "epsilon_high", "relative_epsilon", "value", "value_stderr",
    "per_supertype", "per_supertype_bound", "lag_gap", "budget", "kinds", "curves", "supertypes",
    "deviation", "statement", "checkpoint", "stage", "settings",
)  # fmt: skip


def checkpoint(folder, env, targets=None, stages=1, **env_config):
    config = CALSHEQConfig().environment(env, env_config=env_config)
    config.training(minibatch_size=32)
    calibrator = {"name": "ppo"} if targets else {"name": "fixed"}
    config.calibration(targets=targets, calibrator=calibrator, num_particles=8)
    algorithm = config.build_algo()
    for _ in range(stages):
        algorithm.train()
    algorithm.save_to_path(folder)
    algorithm.stop()
    return folder


@pytest.fixture(scope="module")
def subway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subway") / "checkpoint_000000"
    targets = {"suburbs.subway_rate": 0.8, "inside.subway_rate": 0.3}
    return checkpoint(folder, SubwayEnv, targets, num_suburbs=3, num_inside=2, episode_length=5)


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("echo") / "checkpoint_000000", EchoEnv)


def test_a_certificate_of_a_discrete_environment_with_two_supertypes(subway, tmp_path):
    lines = []
    found = certify(subway, SMALL, tmp_path, progress=lines.append)
    assert all(key in found for key in KEYS)
    assert found["epsilon"] >= 0
    assert found["epsilon_low"] <= found["epsilon"] <= found["epsilon_high"]
    assert found["value"] < 0
    assert found["relative_epsilon"] == pytest.approx(found["epsilon"] / -found["value"])
    assert {k: row["agents"] for k, row in found["per_supertype"].items()} == {
        "suburbs": 3, "inside": 2,
    }  # fmt: skip
    shares = {"suburbs": 0.6, "inside": 0.4}
    gains = sum(shares[k] * row["gain"] for k, row in found["per_supertype"].items())
    assert gains >= found["gain"] - 1e-9
    values = sum(shares[k] * row["value"] for k, row in found["per_supertype"].items())
    assert values == pytest.approx(found["value"])
    # Two seeds, two starts, the whole and two supertypes.
    assert found["budget"]["deviators"] == len(found["curves"]) == 12
    assert found["budget"]["training_episodes"] == 64
    assert set(found["kinds"]) == {"shared", "scratch", "mode", "constant"}
    assert found["lag_gap"] == pytest.approx(
        found["lag"]["reward_before"] - found["lag"]["reward_after"]
    )
    assert [o["name"] for o in found["lag"]["outcomes"]][:2] == [
        "suburbs.subway_rate", "inside.subway_rate",
    ]  # fmt: skip
    assert "lower bound" in found["statement"]
    assert "at the calibrated profile" in found["statement"]
    assert json.loads((tmp_path / found["file"]).read_text()) == found
    assert len(lines) == int(lines[-1].partition("/")[0])
    picture = draw_certificate(found, tmp_path / "page.png")
    assert picture.stat().st_size > 20_000


def test_a_certificate_of_a_box_with_one_supertype_and_no_targets(echo, tmp_path):
    """Where everyone has one supertype, its gain is the whole's."""
    found = certify(echo, replace(SMALL, supertypes="particles"), tmp_path)
    assert found["per_supertype"]["only"]["gain"] == found["gain"]
    assert found["per_supertype_bound"] == pytest.approx(found["epsilon"])
    assert found["lag_gap"] is None
    assert found["lag"]["outcomes"][0]["target"] is None
    assert found["supertypes"]["kind"] == "particles"
    assert len(found["supertypes"]["particles"]) == 8
    assert "distribution of the last particles" in found["statement"]
    # Four steps of -(a - 0.3)²: constants on the grid reach 0 exactly, at a = 0.3.
    assert found["kinds"]["constant"]["gain"] == pytest.approx(-found["value"], rel=0.1)
    draw_certificate(found, tmp_path / "page.png")


def test_finished_jobs_are_reused_and_unfinished_ones_come_out_the_same(subway, tmp_path):
    first = certify(subway, SMALL, tmp_path)
    (jobs,) = tmp_path.glob("parts-*")
    files = sorted(jobs.glob("*.npz"))
    names = [f.stem for f in files]
    assert {"settle", "cheap", "deviator_whole_shared_0", "fresh_deviator_whole_scratch_1"} <= {
        *names
    }
    lines = []
    again = certify(subway, SMALL, tmp_path, progress=lines.append)
    assert all("was stored" in line for line in lines)
    # As if it had been killed: a trained job, one that follows from it, and half a file.
    for name in ("deviator_whole_shared_0", "fresh_deviator_whole_shared_0", "settle"):
        (jobs / f"{name}.npz").unlink()
    (jobs / ".settle.1.npz").write_bytes(b"half")
    lines = []
    resumed = certify(subway, SMALL, tmp_path, progress=lines.append)
    assert sum("was stored" not in line for line in lines) == 3
    for found in (again, resumed):
        assert {**found, "seconds": 0} == {**first, "seconds": 0}
    certify(subway, replace(SMALL, seeds=1), tmp_path, progress=lines.append)
    assert len(list(tmp_path.glob("parts-*"))) == 1
    certify(subway, replace(SMALL, seed=1), tmp_path)
    assert len(list(tmp_path.glob("parts-*"))) == 2


def test_jobs_are_computed_in_other_processes_alike(echo, tmp_path):
    config = replace(SMALL, seeds=1, settling=0)
    alone = certify(echo, config, tmp_path / "one")
    together = certify(echo, config, tmp_path / "two", workers=2)
    for found in (alone, together):
        for key in ("seconds", "folder"):
            found.pop(key)
        found["curves"].sort(key=lambda curve: curve["name"])
    assert alone == together


@pytest.mark.learning
def test_a_killed_command_leaves_no_worker_and_goes_on_where_it_was(echo, tmp_path, capsys):
    words = ["certify", str(echo), "--seeds", "1", "--budget", "256", "--validation", "64"]
    words += ["--fresh", "64", "--settling", "0", "--json", "-o"]
    assert calsheq.main([*words, str(tmp_path / "whole"), "--workers", "1"]) == 0
    whole = json.loads(capsys.readouterr().out)
    code = "import sys; from rllib_calsheq.cli.calsheq import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *words, str(tmp_path / "killed"), "--workers", "2"]
    killed = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert killed.stderr is not None
    assert any(line.startswith("1/") for line in killed.stderr)
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    assert len(children) >= 2
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "a worker outlived the command"
        time.sleep(0.2)
    assert calsheq.main([*words, str(tmp_path / "killed"), "--workers", "1"]) == 0
    said = capsys.readouterr()
    assert "was stored" in said.err
    resumed = json.loads(said.out)
    for certificate in (whole, resumed):
        del certificate["seconds"], certificate["folder"]
    assert whole == resumed


def test_a_deviator_learns_from_its_own_steps_only(echo):
    """The reward peaks at a = 0.3, whatever the others do: a deviator finds it."""
    game = FrozenGame(echo, SMALL)
    training = Training(iterations=30, episodes=32, learning_rate=5e-3, measurements=1)
    ((seen, weights),) = train_deviator(
        game.run.config, game.env, game.policy, game.profiles, training, (1,)
    )
    assert seen == 960
    policy = game.module_policy(weights, greedy=True)
    actions = policy.act(np.zeros((1, 2)), np.zeros((1, 1)))
    assert actions == pytest.approx(0.3, abs=0.1)


def test_new_weights_follow_from_the_name_and_given_ones_are_taken(subway):
    game = FrozenGame(subway, SMALL)
    module = "shared_policy"
    one, again, other = (
        get_weights(
            build_learner(game.run.config, game.env, None, *keys).module[module].unwrapped()
        )
        for keys in ((1, 2), (1, 2), (1, 3))
    )
    assert all((one[k] == again[k]).all() for k in one)
    assert any((one[k] != other[k]).any() for k in one)
    comparison = Comparison(
        game.env, game.policy, draw_episodes(game.env, game.profiles, 8, Stream.FRESH, 1)
    )
    same = game.module_policy(game.shared_weights)
    assert not over_roles(comparison.gains(same), game.shares).any()


def test_the_shared_policy_is_the_one_that_the_run_used(subway):
    game = FrozenGame(subway, SMALL)
    module = game.run._runner.module["shared_policy"].unwrapped()
    mine = game.shared_weights
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), mine[name])


def test_everyone_may_be_made_to_take_one_action(echo, tmp_path):
    found = certify(echo, replace(SMALL, action=(-0.2,)), tmp_path)
    assert found["value"] == pytest.approx(-4 * 0.25, rel=1e-5)
    assert found["kinds"]["constant"]["gain"] == pytest.approx(1.0, abs=1e-4)
    assert "shared" not in found["kinds"]
    assert found["lag"] is None
    with pytest.raises(ValueError, match="the action of all agents is"):
        FrozenGame(echo, replace(SMALL, action=(2.0,)))


def test_another_environment_must_suit_the_policy(subway, echo):
    more = FrozenGame(subway, replace(SMALL, env_config={"num_inside": 7}))
    assert len(more.env.agent_supertypes) == 10
    with pytest.raises(ValueError, match="num_insid"):
        FrozenGame(subway, replace(SMALL, env_config={"num_insid": 7}))
    with pytest.raises(ValueError, match=r"parameter is 'only\.x'"):
        FrozenGame(echo, replace(SMALL, parameters={"only.x": 0.2}))
    with pytest.raises(ValueError, match="outside its allowed range"):
        FrozenGame(echo, replace(SMALL, parameters={"only.a": 2.0}))
    moved = FrozenGame(echo, replace(SMALL, parameters={"only.a": 0.9}))
    np.testing.assert_allclose(moved.profiles, [[0.9, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("supertypes", "all"),
        ("seeds", 0),
        ("budget", 10),
        ("fresh", 1),
        ("discount", 0.0),
        ("discount", 1.1),
        ("settling", -1),
    ],
)
def test_a_configuration_is_refused_with_what_is_allowed(field, value):
    with pytest.raises(ValueError, match=f"{field} is .*; allowed: "):
        replace(SMALL, **{field: value})


def test_jobs_of_other_configurations_are_left_alone(tmp_path):
    store = JobStore(tmp_path, {"a": 1})
    store.save("job", {"x": np.arange(3)})
    np.testing.assert_array_equal(store.load("job")["x"], np.arange(3))
    assert store.load("other") is None
    assert JobStore(tmp_path, {"a": 2}).load("job") is None
    assert JobStore(tmp_path, {"a": 1}).load("job") is not None


def test_certificates_of_other_seeds_discounts_and_budgets_leave_each_other_alone(echo, tmp_path):
    tiny = replace(SMALL, seeds=1, budget=16, measurements=1, settling=0)
    asked = [
        tiny,
        replace(tiny, seeds=2),
        replace(tiny, seed=1),
        replace(tiny, discount=0.9),
        replace(tiny, budget=32),
        replace(tiny, env_config={"num_agents": 3}),
    ]
    found = [certify(echo, config, tmp_path) for config in asked]
    files = list(tmp_path.glob("*.json"))
    assert len(files) == len(asked)
    for certificate in found:
        assert json.loads((tmp_path / certificate["file"]).read_text()) == certificate
    assert "_discount=0.9_" in found[3]["file"]
    # The same question again has the same answer at the same place.
    assert certify(echo, tiny, tmp_path)["file"] == found[0]["file"]
    assert len(list(tmp_path.glob("*.json"))) == len(asked)


def test_a_folder_of_many_differences_has_a_name_that_a_file_system_takes(tmp_path):
    start = {f"supertype_1.connection_{k}": 0.123 for k in range(1, 21)}
    folder = default_folder(
        tmp_path / "checkpoint_000003", replace(SMALL, env_config={"supertypes": start})
    )
    folder.mkdir(parents=True)


def test_certificates_of_different_questions_have_folders_of_their_own(tmp_path):
    place = tmp_path / "checkpoint_000003"
    names = {
        default_folder(place, config).name
        for config in (
            SMALL,
            replace(SMALL, supertypes="particles"),
            replace(SMALL, env_config={"num_merchants": 50}),
            replace(SMALL, action=(0.2, 0.2)),
        )
    }
    assert len(names) == 4
    assert default_folder(place, SMALL) == tmp_path / "certificate" / "checkpoint_000003"


def test_the_command_prints_json_or_tables_and_keeps_its_files(subway, tmp_path, capsys):
    words = ["certify", str(subway), "--seeds", "1", "--budget", "16", "--validation", "8"]
    words += ["--fresh", "8", "--settling", "1", "--workers", "1", "-o", str(tmp_path)]
    assert calsheq.main([*words, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert "deviator of suburbs" in said.err
    assert (tmp_path / found["file"]).with_suffix(".png").is_file()
    assert calsheq.main(words) == 0
    said = capsys.readouterr().out
    assert "was stored" in said
    assert "random agent (Definition 1)" in said
    assert f"lag gap {found['lag_gap']:+.3f}" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "seeds is 0"),
        (["--budget", "0"], "--budget is 0"),
        (["--workers", "-1"], "--workers is -1"),
        (["--action", "high"], "--action is 'high'"),
        (["--env-config", "num_merchants"], "--env-config takes KEY=VALUE"),
        (["--discount", "2"], "discount is 2.0"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(words, message, tmp_path, capsys):
    assert calsheq.main(["certify", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_is_none_is_refused(tmp_path, capsys):
    assert calsheq.main(["certify", str(tmp_path / "none")]) == 2
    assert "there is nothing at" in capsys.readouterr().err


def test_names_of_jobs_are_those_of_files():
    job = Job(DEVIATOR, "shared", 1, 2)
    assert job.name == "deviator_supertype_2_shared_2"
    assert Job(FRESH_CHEAP, index=7).name == "fresh_cheap_7"
