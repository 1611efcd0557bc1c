"""Runs that a signal stops: every trial is saved, the user is told how to go on, and it goes on."""

import json
import os
import pickle
import signal
import threading
import time
from types import SimpleNamespace

import pytest
import ray
import yaml
from killable_commands import calibration_by_stage, finish, stages, start, wait_until
from ray.tune.schedulers import TrialScheduler

from rllib_calsheq.results.checkpoints import (
    TRIAL_FILE,
    finished_stages,
    last_stage,
    trial_checkpoints,
)
from rllib_calsheq.running import stopping
from rllib_calsheq.running.stopping import (
    EndsWhenSaved,
    Stop,
    StopsAtStageEnds,
    command_line,
    stop_signals,
)

#: Stages of a trial, and to how many it goes on after that.
STAGES, MORE_STAGES = 30, 32
#: Two trials, each of which wants all CPUs: one runs and the other one is pending.
GRID = {
    "run": "CALSHEQ",
    "env": "rllib_calsheq.envs.SubwayEnv",
    "stop": {"training_iteration": STAGES},
    "config": {
        "targets": {"suburbs.subway_rate": 0.8},
        "env_config": {"num_suburbs": 3, "num_inside": 2, "episode_length": 5},
        "num_particles": 8,
        "minibatch_size": 64,
        "num_cpus_for_main_process": os.cpu_count(),
        "seed": {"grid_search": [0, 1]},
    },
}


def stop_once(process, ready, number):
    """Sends a signal when the command is ready for it; its output, and how long it took to end."""
    wait_until(ready, process)
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    return out, time.monotonic() - sent


def last_saved(trial):
    return finished_stages(trial_checkpoints(trial)[-1])


@pytest.mark.learning
@pytest.mark.timeout(900)
def test_a_stopped_grid_goes_on_bit_for_bit_every_stage_once(tmp_path, ray_folder):
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump({"grid": GRID}), encoding="utf-8")
    words = ["train", "-f", file, "--storage-path", tmp_path]
    first, second = (tmp_path / "cut" / f"trial_0000{k}_seed={k}" for k in (0, 1))

    more = ["--set", f"stop.training_iteration={MORE_STAGES}"]
    finish(start("rllib", [*words, "--name", "whole", *more], ray_folder))
    # One process has served both trials, one after the other.
    trials = [tmp_path / "whole" / trial.name for trial in (first, second)]
    results = [json.loads((t / TRIAL_FILE).read_text().splitlines()[0]) for t in trials]
    assert len({result["pid"] for result in results}) == 1

    words += ["--name", "cut"]
    out, seconds = stop_once(
        start("rllib", words, ray_folder), lambda: last_stage(first) >= 5, signal.SIGINT
    )
    assert seconds < 15
    resume = f"rllib train -f {file} --storage-path {tmp_path} --name cut --resume"
    assert out.splitlines()[-2:] == ["stopped by SIGINT", f"go on with: {resume}"]
    assert "drew " not in out
    assert 5 <= last_saved(first) == last_stage(first) < STAGES
    assert not stages(second)

    # Ray may take up either of them first: it gives both their place at the same time.
    both = (first, second)
    out, seconds = stop_once(
        start("rllib", [*words, "--resume"], ray_folder),
        lambda: max(map(last_stage, both)) == STAGES and min(map(last_stage, both)) >= 12,
        signal.SIGTERM,
    )
    assert seconds < 15
    assert out.splitlines()[-2:] == ["stopped by SIGTERM", f"go on with: {resume}"]
    saved = sorted(map(last_saved, both))
    assert saved == sorted(map(last_stage, both))
    assert 12 <= saved[0] < saved[1] == STAGES

    # One trial had finished, the other one had not.
    finish(start("rllib", [*words, *more, "--resume"], ray_folder))
    for trial in both:
        assert stages(trial) == list(range(1, MORE_STAGES + 1))
        whole = tmp_path / "whole" / trial.name
        assert calibration_by_stage(trial) == calibration_by_stage(whole)


def stopped(unsaved, since=0.0):
    stop = Stop("rllib train")
    stop.number, stop.unsaved = signal.SIGINT, unsaved
    stop._since = time.monotonic() - since
    return stop


def test_a_stop_is_due_when_all_is_saved_or_has_had_its_time():
    assert not Stop("rllib train").is_due
    assert stopped({}).is_due
    assert not stopped({"trial_00000": 3}).is_due
    assert stopped({"trial_00000": 3}, since=stopping.PATIENCE_S + 1).is_due


def test_trials_pause_and_none_begins_once_there_was_a_signal():
    stop = Stop("rllib train")
    scheduler = StopsAtStageEnds(stop)
    controller = SimpleNamespace(get_trials=lambda: [SimpleNamespace(status="PENDING")])
    assert scheduler.on_trial_result(controller, None, {}) == TrialScheduler.CONTINUE
    assert scheduler.choose_trial_to_run(controller) is not None
    stop.number = signal.SIGTERM
    assert scheduler.on_trial_result(controller, None, {}) == TrialScheduler.PAUSE
    assert scheduler.choose_trial_to_run(controller) is None


@pytest.mark.parametrize("how", ["on_trial_save", "on_trial_complete", "on_trial_error"])
def test_a_stage_is_unsaved_until_its_trial_is_saved_or_over(how):
    stop = Stop("rllib train")
    watcher = EndsWhenSaved(stop)
    watcher.on_trial_result(1, [], "trial_00000", {"training_iteration": 7})
    assert stop.unsaved == {"trial_00000": 7}
    getattr(watcher, how)(1, [], "trial_00000")
    assert stop.unsaved == {}


def test_tune_can_save_what_watches_a_run():
    stop = Stop("rllib train")
    pickle.dumps([EndsWhenSaved(stop), StopsAtStageEnds(stop)])


def test_outside_of_training_a_signal_ends_the_program_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, stop_signals("rllib train"):
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("ray_cluster")
def test_a_signal_while_ray_waits_has_its_code_and_its_words(capfd):
    @ray.remote(num_cpus=0)
    def sleep():
        time.sleep(60)

    task = sleep.remote()
    timer = threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    with pytest.raises(SystemExit) as ended, stop_signals("calsheq experiment"):
        ray.wait([task], timeout=30)
    ray.cancel(task, force=True)
    assert ended.value.code == 143
    assert "stopped by SIGTERM\ngo on with: calsheq experiment" in capfd.readouterr().out


def test_a_second_signal_ends_the_process_at_once(monkeypatch, capfd):
    left = []
    monkeypatch.setattr(stopping.os, "_exit", left.append)

    def twice():
        with stop_signals("rllib train --resume") as stop, stop.training():
            signal.raise_signal(signal.SIGINT)
            assert not left
            signal.raise_signal(signal.SIGINT)
            assert left == [130]

    with pytest.raises(SystemExit):
        twice()
    assert "go on with: rllib train --resume" in capfd.readouterr().out


def test_a_stage_that_was_not_waited_for_is_spoken_of(capfd):

    def in_a_long_stage():
        with stop_signals("rllib train") as stop, stop.training():
            stop.unsaved["trial_00000"] = 7
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(SystemExit):
        in_a_long_stage()
    assert "trial_00000: its stages up to 7 are done again" in capfd.readouterr().out


def test_the_command_is_spelled_as_it_was_called():
    words = ["train", "-f", "my file.yaml"]
    assert command_line("rllib", words, "--resume") == "rllib train -f 'my file.yaml' --resume"
    assert command_line("rllib", [*words, "--resume"], "--resume").count("--resume") == 1
