"""What a run writes about itself: nothing that was finished is lost to a kill or a full disk."""

import os
import shutil
import subprocess

import pytest
import yaml
from killable_commands import PATIENCE_S, finish, stages, start, trial_of

from rllib_calsheq.results.checkpoints import STATE_FILES, TRIAL_FILE
from rllib_calsheq.running import records
from rllib_calsheq.running.records import KeepsWholeState, naming_a_full_disk
from rllib_calsheq.running.resuming import mend, mend_state, newest_state

NAME = "experiment_state-2026-01-01_00-00-00.json"
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


def test_a_damaged_state_is_replaced_by_the_last_whole_one(tmp_path, capsys):
    keeper, clock = KeepsWholeState(tmp_path), 1e9
    keeper.on_step_end(0, [])
    for text in ('{"trials": 1}', '{"trials": 2}', '{"tri'):
        (tmp_path / NAME).write_text(text, encoding="utf-8")
        # Whatever the clock says: it may be set back.
        os.utime(tmp_path / NAME, (clock := clock - 3600, clock))
        keeper.on_step_end(0, [])
    mend_state(tmp_path)
    assert (tmp_path / NAME).read_text(encoding="utf-8") == '{"trials": 2}'
    assert "is damaged: going on from the one before" in capsys.readouterr().out
    mend_state(tmp_path)
    assert not capsys.readouterr().out


def test_a_run_goes_on_from_its_last_state_though_the_clock_was_set_back_meanwhile(tmp_path):
    for hour, text in ((10, "1"), (12, "2"), (11, "3")):
        (tmp_path / NAME.replace("00-00-00", f"{hour}-00-00")).write_text(text, encoding="utf-8")
        mend(tmp_path)
        assert newest_state(tmp_path).read_text(encoding="utf-8") == text
    assert len(list(tmp_path.glob(STATE_FILES))) == 1


def test_a_run_whose_only_state_is_damaged_is_not_begun_anew(tmp_path):
    mend_state(tmp_path)
    (tmp_path / NAME).write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged, and there is no earlier one"):
        mend_state(tmp_path)


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
