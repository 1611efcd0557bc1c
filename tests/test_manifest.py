"""Checkpoints know what they are: whole or not, of this run or of another one."""

import hashlib
import json
import logging
import os
import pickle
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray import cloudpickle
from ray.train import Checkpoint, CheckpointConfig
from ray.train._internal.checkpoint_manager import _CheckpointManager
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial

from rllib_calsheq.algorithm import CALSHEQ, SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.core.comparing import plain
from rllib_calsheq.core.manifest import MANIFEST_FILE, NotWholeError, read_manifest, require_whole
from rllib_calsheq.core.plain_pickle import TRUST, ForeignCodeError
from rllib_calsheq.core.version import __version__
from rllib_calsheq.envs import MarketEnv
from rllib_calsheq.learning.ray_private.access import keep_checkpoints
from rllib_calsheq.results.checkpoints import (
    ARGUMENTS_FILE,
    TRIAL_FILE,
    find_checkpoint,
    is_sound,
    learner_state,
    trial_checkpoints,
)
from rllib_calsheq.results.evaluation import FrozenRun
from rllib_calsheq.results.saved_config import read_config
from rllib_calsheq.running.resuming import take_up

from echo_env import EchoEnv

pytestmark = pytest.mark.usefixtures("ray_cluster")

STATE = "calibration/state.pkl"
WEIGHTS = "learner_group/learner/rl_module/shared_policy/module_state.pkl"
LEARNER_FILE = "learner_group/learner/state.pkl"


def echo(targets=None, num_particles=4, hidden=16, num_env_runners=0, lr_ratio=None, **calibrator):
    return (
        CALSHEQConfig()
        .environment(EchoEnv)
        .env_runners(num_env_runners=num_env_runners)
        .training(minibatch_size=8, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [hidden]})
        .calibration(
            targets=targets or {"only.a": 0.9},
            num_particles=num_particles,
            calibrator={"name": "ppo", **calibrator},
            lr_ratio=lr_ratio,
        )
        .debugging(seed=3)
    )


def market(merchants):
    return (
        CALSHEQConfig()
        .environment(MarketEnv, env_config={"num_merchants": merchants, "episode_length": 3})
        .training(minibatch_size=8, num_epochs=1)
        .calibration(targets={"supertype_1.share": 0.3}, num_particles=4)
    )


def saved(config, folder):
    algorithm = config.build_algo()
    algorithm.train()
    path = algorithm.save_to_path(str(folder))
    algorithm.stop()
    return path


@pytest.fixture(scope="module")
def checkpoint(ray_cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoint_000000"
    saved(echo(), folder)
    return folder


@pytest.fixture
def copy(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "trial" / checkpoint.name)


def refusal(config, folder):
    algorithm = config.build_algo()
    try:
        with pytest.raises(ValueError, match=str(folder)) as refused:
            algorithm.restore_from_path(str(folder))
        return str(refused.value)
    finally:
        algorithm.stop()


def truncate(folder, name):
    os.truncate(folder / name, (folder / name).stat().st_size // 2)


def test_the_manifest_says_what_made_it_of_which_run_and_has_a_hash_of_every_file(checkpoint):
    manifest = read_manifest(checkpoint)
    assert manifest["made_by"]["rllib-calsheq"] == __version__
    assert {"ray", "torch", "python"} <= set(manifest["made_by"])
    assert manifest["stage"] == 1
    run = manifest["run"]
    assert run["environment"] == "echo_env.EchoEnv"
    assert run["targets"]["only.a"]["value"] == 0.9
    assert (run["calibrator"], run["num_particles"]) == ("ppo", 4)
    assert [16] in run["network"].values()
    assert manifest["settings"]["kl_limit"] > 0
    there = {p.relative_to(checkpoint).as_posix() for p in checkpoint.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == there - {MANIFEST_FILE}
    assert {STATE, WEIGHTS} <= there


@pytest.mark.parametrize("name", [STATE, WEIGHTS, "class_and_ctor_args.pkl"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "{} has "),
        (lambda folder, name: (folder / name).write_bytes(b""), "{} has 0 bytes, not "),
        (lambda folder, name: (folder / name).unlink(), "it lacks {}"),
        (
            lambda folder, name: (folder / name).write_bytes(
                bytes(b ^ 1 for b in (folder / name).read_bytes())
            ),
            "{} is not what was written",
        ),
    ],
)
def test_a_damaged_file_is_named(copy, name, damage, words):
    damage(copy, name)
    with pytest.raises(NotWholeError, match="is no whole checkpoint") as refused:
        require_whole(copy)
    assert words.format(name) in str(refused.value)
    with pytest.raises(NotWholeError):
        FrozenRun(copy)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"format": 99}'])
def test_a_folder_without_a_manifest_that_can_be_read_is_not_whole(copy, content):
    (copy / MANIFEST_FILE).unlink()
    if content is not None:
        (copy / MANIFEST_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(NotWholeError, match=MANIFEST_FILE):
        require_whole(copy)


def test_a_damaged_checkpoint_changes_nothing_in_the_algorithm(copy):
    truncate(copy, STATE)
    algorithm = echo().build_algo()
    algorithm.train()
    before = algorithm.calibration.calibrator.profiles.copy()
    with pytest.raises(NotWholeError, match=STATE):
        algorithm.restore_from_path(str(copy))
    assert (algorithm.calibration.calibrator.profiles == before).all()
    assert algorithm.train()["calibration"]["stage"] == 2
    algorithm.stop()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"targets": {"only.a": 0.8}}, "targets.only.a.value: 0.9 then, 0.8 now"),
        ({"targets": {"only.b": 0.9}}, "targets.only.b: unknown then, {"),
        ({"num_particles": 6}, "num_particles: 4 then, 6 now"),
        ({"hidden": 8}, "network."),
        ({"hidden_sizes": [8, 8]}, "hidden_sizes: "),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(checkpoint, changed, words):
    said = refusal(echo(**changed), checkpoint)
    assert words in said
    assert str(checkpoint) in said


def test_a_checkpoint_of_another_number_of_merchants_is_refused(tmp_path):
    path = saved(market(3), tmp_path / "checkpoint")
    said = refusal(market(5), path)
    assert f"{tmp_path / 'checkpoint' / MANIFEST_FILE}: this checkpoint is of another run" in said
    assert "env_config.num_merchants: 3 then, 5 now" in said


def test_what_may_change_on_the_way_is_only_spoken_of(checkpoint, caplog):
    config = echo(num_env_runners=2, lr_ratio=0.5, kl_limit=0.7)
    algorithm = config.build_algo()
    with caplog.at_level(logging.WARNING):
        algorithm.restore_from_path(str(checkpoint))
    assert "kl_limit: " in caplog.text
    assert algorithm.train()["calibration"]["stage"] == 2
    algorithm.stop()


def test_what_was_written_by_other_versions_is_spoken_of(copy, caplog):
    manifest = read_manifest(copy)
    manifest["made_by"]["ray"] = "2.1.0"
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")
    algorithm = echo().build_algo()
    with caplog.at_level(logging.WARNING):
        algorithm.restore_from_path(str(copy))
    assert "ray: 2.1.0 then" in caplog.text
    algorithm.stop()


def test_a_half_written_checkpoint_is_skipped_with_a_line(copy, caplog):
    trial = copy.parent
    (trial / "result.json").write_text("{}\n", encoding="utf-8")
    half = shutil.copytree(copy, trial / "checkpoint_000001")
    (half / MANIFEST_FILE).unlink()
    (half / STATE).unlink()
    with caplog.at_level(logging.WARNING):
        assert trial_checkpoints(trial) == [copy]
        assert find_checkpoint(trial) == copy
    assert f"skipped: {half} is no whole checkpoint: it lacks {MANIFEST_FILE}" in caplog.text


def test_a_resumed_trial_forgets_damaged_checkpoints(copy):
    manager = _CheckpointManager(CheckpointConfig())
    folders = [copy, *(shutil.copytree(copy, copy.with_name(f"checkpoint_{k}")) for k in "23")]
    for stage, folder in enumerate(folders):
        result = {"training_iteration": stage}
        manager.register_checkpoint(_TrainingResult(Checkpoint(str(folder)), result))
    trial = SimpleNamespace(run_metadata=SimpleNamespace(checkpoint_manager=manager))
    keep_checkpoints(trial, is_sound)
    assert manager.latest_checkpoint_result.metrics == {"training_iteration": 2}
    for expected, folder in ((1, folders[2]), (0, folders[1])):
        truncate(folder, STATE)
        keep_checkpoints(trial, is_sound)
        assert manager.latest_checkpoint_result.metrics == {"training_iteration": expected}
    truncate(copy, STATE)
    keep_checkpoints(trial, is_sound)
    assert manager.latest_checkpoint_result is None


def test_a_resumed_trial_writes_over_no_checkpoint_that_was_cut_off(copy):
    """With another kill amid that its files would be of two: no stage of either could be used."""
    run = copy.parent / "run"
    storage = StorageContext(run.parent, experiment_dir_name=run.name, trial_dir_name="trial")
    trial = Trial("PPO", stub=True, storage=storage)
    whole, torn = (shutil.copytree(copy, Path(trial.path) / f"checkpoint_{k:06d}") for k in (4, 5))
    (torn / STATE).unlink()
    stage = read_manifest(copy)["stage"]
    (whole.parent / TRIAL_FILE).write_text(f'{{"training_iteration": {stage}}}\n')
    take_up(trial)
    assert Path(trial.checkpoint.path) == whole
    # Its process counts on by one before it writes.
    trial.storage._update_checkpoint_index({})
    assert Path(trial.storage.checkpoint_fs_path).name == "checkpoint_000006"


def test_what_is_compared_does_not_change_from_process_to_process():
    given = {
        "partial": partial(json.dumps, indent=1), "generator": np.random.default_rng(0),
        "set": {2, 1}, "array": np.arange(3), "inf": float("inf"), "class": EchoEnv,
        "path": Path("a"),
    }  # fmt: skip
    found = plain(given)
    assert " at 0x" not in json.dumps(found)
    assert found["partial"] == "functools.partial"
    assert (found["array"], found["inf"]) == ([0, 1, 2], "inf")
    assert found["class"] == "echo_env.EchoEnv"


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def rewrite(folder, name, change):
    """Puts something into a file of a checkpoint, and into its manifest, as its author may."""
    file = folder / name
    content = pickle.loads(file.read_bytes())
    file.write_bytes(cloudpickle.dumps(change(content)))
    manifest = read_manifest(folder)
    hashed = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest["files"][name] = {"bytes": file.stat().st_size, "sha256": hashed}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")


def within(**fields):
    """Changes fields of the configuration in a file of an algorithm's arguments."""

    def change(content):
        content["ctor_args_and_kwargs"][0][0].update(fields)
        return content

    return change


def by_value():
    """An environment's class that is pickled with its code, as one of a notebook is."""

    class NotebookEnv(EchoEnv):
        pass

    NotebookEnv.__module__ = "__main__"
    return NotebookEnv


def read_weights(folder):
    FrozenRun(folder)


def read_learner(folder):
    learner_state(folder, SHARED_POLICY)


@pytest.mark.parametrize(
    ("name", "change", "read"),
    [
        (STATE, lambda content: content | {"more": Calls(os.mkdir, "made")}, read_weights),
        (WEIGHTS, lambda content: content | {"more": Calls(os.mkdir, "made")}, read_weights),
        (LEARNER_FILE, lambda content: content | {"more": Calls(os.mkdir, "made")}, read_learner),
        (ARGUMENTS_FILE, lambda content: Calls(os.mkdir, "made"), read_weights),
        (ARGUMENTS_FILE, within(env_config={"a": [Calls(os.mkdir, "made")]}), read_weights),
        (ARGUMENTS_FILE, within(env=subprocess.Popen, env_config={"args": "a"}), read_weights),
        (ARGUMENTS_FILE, within(policy_mapping_fn=os.mkdir), read_weights),
        (ARGUMENTS_FILE, within(env=by_value()), read_weights),
    ],
)
def test_what_a_checkpoint_brings_along_is_not_run_to_evaluate_it(
    copy, monkeypatch, tmp_path, name, change, read
):
    monkeypatch.chdir(tmp_path)
    rewrite(copy, name, change)
    with pytest.raises(ForeignCodeError, match=str(copy / name)) as refused:
        read(copy)
    assert re.search(r"mkdir|Popen|_make_skeleton_class", str(refused.value))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("rllib_calsheq.core.files", "os.remove"),
        ("rllib_calsheq.results.saved_config", "importlib.import_module"),
        ("ray.rllib.utils.checkpoints", "pathlib.Path"),
        ("os", "remove"),
    ],
)
def test_names_do_not_lead_out_of_a_package_by_way_of_what_it_imports(tmp_path, module, name):
    named = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    fields = b"\x80\x04}\x8c\x14ctor_args_and_kwargs}\x8c\x03env" + named + b"\x93s\x85}\x86s."
    file = tmp_path / ARGUMENTS_FILE
    file.write_bytes(fields)
    with pytest.raises(ForeignCodeError, match=re.escape(f"{file} holds {module}.{name}, ")):
        read_config(file)


def test_its_class_is_not_looked_at(copy, monkeypatch, tmp_path):
    """RLlib pickles the algorithm's class with its code."""
    monkeypatch.chdir(tmp_path)
    rewrite(copy, ARGUMENTS_FILE, lambda content: content | {"class": Calls(os.mkdir, "made")})
    assert FrozenRun(copy).measure([0.5] * 3, 8, 0).reward > 0
    assert not (tmp_path / "made").exists()


def test_a_frozen_run_is_the_same_whether_it_is_trusted_or_not(checkpoint, monkeypatch):
    frozen = [FrozenRun(checkpoint), FrozenRun(checkpoint, trusted=True)]
    one, other = ({k: plain(v) for k, v in vars(run.config).items()} for run in frozen)
    assert one == other
    assert (frozen[0].sample([0.5] * 3, 4, 1) == frozen[1].sample([0.5] * 3, 4, 1)).all()


def test_an_environment_of_a_notebook_is_evaluated_where_its_author_is_trusted(copy, monkeypatch):
    rewrite(copy, ARGUMENTS_FILE, within(env=by_value()))
    monkeypatch.setenv(TRUST, "1")
    assert FrozenRun(copy).config.env.__name__ == "NotebookEnv"


def test_from_checkpoint_builds_what_was_saved(checkpoint):
    algorithm = CALSHEQ.from_checkpoint(str(checkpoint))
    assert algorithm.train()["calibration"]["stage"] == 2
    algorithm.stop()
