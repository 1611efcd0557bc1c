"""What a run writes about itself: nothing that was finished is lost to a kill or a full disk."""

import json
import os
import pickle
import shutil
import subprocess
from types import SimpleNamespace

import pytest
import yaml
from killable_commands import PATIENCE_S, finish, stages, start, trial_of

from rllib_calsheq.results.checkpoints import TRIAL_FILE, TUNER_FILE
from rllib_calsheq.running import records
from rllib_calsheq.running.records import KeepsWholeState, naming_a_full_disk
from rllib_calsheq.running.resuming import KEPT_STATE, mend, require_all

NAME = "experiment_state-2026-01-01_00-00-00.json"
SEARCH = "basic-variant-state-2026-01-01_00-00-00.json"
STAGES = 40
EXPERIMENT = {
    "run": "CALSHEQ",
    "env": "rllib_calsheq.envs.SubwayEnv",
    "stop": {"training_iteration": STAGES},
    "checkpoint_config": {"checkpoint_frequency": 1},
    "config": {
        "targets": {"suburbs.subway_rate": 0.8},
        "env_config": {"num_suburbs": 3, "num_inside": 2, "episode_length": 5},
        "num_particles": 8,
        "minibatch_size": 64,
    },
}


def state_of(trials):
    return json.dumps({"trial_data": trials})


@pytest.fixture
def begun(tmp_path):
    """A run's folder, that which Tune copies from, and a trial that says where it is."""
    run, staged = tmp_path / "run", tmp_path / "staged"
    run.mkdir()
    staged.mkdir()
    (run / TUNER_FILE).write_bytes(b"tuner")
    return run, staged, SimpleNamespace(local_experiment_path=str(staged))


def note(staged, trials, at=NAME):
    """Tune's note of a state, and of what searches for trials."""
    (staged / at).write_text(state_of(trials), encoding="utf-8")
    (staged / SEARCH).write_bytes(pickle.dumps({"searched": len(trials)}))


def test_a_state_that_is_cut_off_is_put_back_with_all_that_belongs_to_it(begun):
    run, staged, trial = begun
    keeper, clock = KeepsWholeState(run), 1e9
    keeper.on_step_begin(0, [])
    for trials in (["a"], ["a", "b"]):
        note(staged, trials)
        # Whatever the clock says: it may be set back.
        os.utime(staged / NAME, (clock := clock - 3600, clock))
        keeper.on_step_end(1, [trial])
    expected = {file.name: file.read_bytes() for file in staged.iterdir()}
    # What a kill can leave: nothing of one file, half of another, states of earlier processes.
    (run / NAME).write_text(state_of(["a"])[:10], encoding="utf-8")
    (run / SEARCH).write_bytes(b"")
    (run / NAME.replace("2026", "2027")).write_text(state_of([]), encoding="utf-8")
    (run / TUNER_FILE).write_bytes(b"")
    mend(run)
    found = {file.name: file.read_bytes() for file in run.iterdir() if file.name != KEPT_STATE}
    assert found == expected | {TUNER_FILE: b"tuner"}


def test_what_tune_took_from_the_folder_to_go_on_is_not_written_back(begun):
    run, staged, trial = begun
    for name in (NAME, SEARCH, TUNER_FILE, "experiment.json", "events.log"):
        (staged / name).write_bytes(b"of before")
    keeper = KeepsWholeState(run)
    keeper.on_step_begin(0, [trial])
    assert [file.name for file in staged.iterdir()] == ["events.log"]
    note(staged, ["a"])
    keeper.on_step_begin(1, [trial])
    assert (staged / NAME).is_file()


def test_a_run_is_not_over_when_tune_went_on_without_its_trials(begun):
    run, staged, trial = begun
    keeper = KeepsWholeState(run)
    keeper.end(0)
    note(staged, ["a", "b"])
    keeper.on_step_end(0, [trial])
    with pytest.raises(ValueError, match="has 2 trials, and Ray Tune went on with 0"):
        keeper.end(0)
    note(staged, ["a", "b", "c"])
    keeper.end(3)
    with pytest.raises(ValueError, match="has 3 trials"):
        require_all(run, 2)


@pytest.mark.parametrize("name", [NAME, SEARCH])
def test_a_run_whose_only_state_is_damaged_is_not_begun_anew(begun, name):
    run, _, _ = begun
    mend(run)
    note(run, ["a"])
    mend(run)
    (run / name).write_bytes((run / name).read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{name} is damaged, and there is no earlier one"):
        mend(run)


def test_a_full_disk_is_named_and_nothing_else_is_taken_for_one(tmp_path, monkeypatch):
    with pytest.raises(EOFError), naming_a_full_disk(tmp_path, "rllib train"):
        raise EOFError
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(records.shutil, "disk_usage", lambda folder: usage)
    with (
        pytest.raises(OSError, match=r"is full .* go on with: rllib train"),
        naming_a_full_disk(tmp_path, "rllib train"),
    ):
        raise EOFError


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a few megabytes, and what makes it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", disk], check=True)

    try:
        mount("size=5m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small disk")
    yield disk, lambda: mount("remount", "size=60m")
    subprocess.run(["umount", disk], check=True)


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_a_full_disk_costs_the_checkpoint_under_way_and_no_result(tmp_path, ray_folder, small_disk):
    disk, enlarge = small_disk
    file = tmp_path / "city.yaml"
    file.write_text(yaml.safe_dump({"city": EXPERIMENT}), encoding="utf-8")
    words = ["train", "-f", file, "--storage-path", disk]
    command = start("rllib", words, ray_folder)
    out, err = command.communicate(timeout=PATIENCE_S)
    assert command.returncode == 2, out + err
    assert f"the disk of {disk / 'city'} is full" in " ".join(err.split())
    before = stages(trial_of(disk / "city"))
    assert 0 < len(before) < STAGES
    enlarge()
    finish(start("rllib", [*words, "--resume"], ray_folder))
    after = stages(trial_of(disk / "city"))
    assert after[: len(before)] == before
    assert sorted(set(after)) == list(range(1, STAGES + 1))
    # What is done again is the stage whose checkpoint was not written, and one before it at most.
    assert after[len(before)] >= before[-1] - 1
    assert (trial_of(disk / "city") / TRIAL_FILE).stat().st_size > 0
