"""Runs that are saved by the clock, and runs that wait for resources and say so."""

import itertools
import os
import socket
import time
from types import SimpleNamespace

import pytest
import ray
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.stopper import Stopper

from rllib_calsheq.algorithm import CALSHEQConfig, local_ray
from rllib_calsheq.cli import calsheq, rllib
from rllib_calsheq.data.experiment_files import TIMED_CHECKPOINTS, load_experiments
from rllib_calsheq.running import checkpoints, waiting
from rllib_calsheq.running.checkpoints import CHECKPOINT_EVERY_S, TimedCheckpoints
from rllib_calsheq.running.resuming import sole_use
from rllib_calsheq.running.stage_lines import StageLines
from rllib_calsheq.running.waiting import SaysWhatIsWaitedFor, waiting_line

from echo_env import EchoEnv

EXPERIMENT = """
one:
  run: CALSHEQ
  env: rllib_calsheq.envs.SubwayEnv
  stop: {{training_iteration: 3}}
  {checkpoints}
  config: {{targets: {{suburbs.subway_rate: 0.8}}}}
"""


class UntilGone(Stopper):
    """Stops when a file is gone, or after a minute; Tune pickles it."""

    def __init__(self, file):
        self.file, self.began = file, time.monotonic()

    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        return not self.file.exists() or time.monotonic() - self.began > 60


def never_begins(config):
    raise AssertionError("there is no place for it")


class TestSavedByTheClock:
    @pytest.mark.parametrize(
        ("given", "timed", "kept"),
        [
            ("", True, TIMED_CHECKPOINTS),
            ("checkpoint_config: {num_to_keep: 7}", True, TIMED_CHECKPOINTS | {"num_to_keep": 7}),
            ("checkpoint_config: {checkpoint_frequency: 5}", False, {"checkpoint_frequency": 5}),
            ("checkpoint_config: {checkpoint_frequency: 0}", False, {"checkpoint_frequency": 0}),
        ],
    )
    def test_only_where_no_frequency_is_stated(self, tmp_path, given, timed, kept):
        file = tmp_path / "one.yaml"
        file.write_text(EXPERIMENT.format(checkpoints=given), encoding="utf-8")
        (experiment,) = load_experiments(file)
        assert experiment.is_saved_by_the_clock is timed
        assert experiment.checkpoint == kept

    def test_two_minutes_after_the_last_one_and_at_each_stage_of_a_slow_run(self, monkeypatch):
        now = [1000.0]
        monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: now[0]))
        clock, trial = TimedCheckpoints(), SimpleNamespace(trial_id="a")

        def is_due(seconds, took=1.0):
            now[0] += seconds
            result = {"time_this_iter_s": took}
            clock.on_trial_result(1, [], trial, result)
            return SHOULD_CHECKPOINT in result

        assert not is_due(1)
        assert not is_due(CHECKPOINT_EVERY_S - 5)
        assert is_due(5)
        clock.on_trial_save(1, [], trial)
        assert not is_due(1)
        assert is_due(1, took=checkpoints.PATIENCE_S)

    def test_two_minutes_after_the_start_though_the_clock_was_set_back(self, monkeypatch):
        now = [1000.0]
        monkeypatch.setattr(checkpoints, "time", SimpleNamespace(monotonic=lambda: now[0]))
        clock, trial = TimedCheckpoints(), SimpleNamespace(trial_id="a")
        results = [{"time_this_iter_s": -3600.0}, {"time_this_iter_s": 1.0}]
        for result in results:
            clock.on_trial_result(1, [], trial, result)
            now[0] += CHECKPOINT_EVERY_S
        assert [SHOULD_CHECKPOINT in result for result in results] == [False, True]


class TestWaiting:
    def test_the_line_says_what_is_wanted_what_there_is_and_what_to_do(self):
        line = waiting_line({"CPU": 3}, {"CPU": 2}, {"CPU": 2}, {"num_env_runners": 2})
        assert line == (
            "waiting for resources: a trial wants 3 CPUs; the cluster has 2 in all, 2 free: add "
            "nodes, or set config.num_env_runners to 1"
        )

    def test_what_is_only_in_use_is_waited_for(self):
        line = waiting_line({"CPU": 3}, {"CPU": 4}, {"CPU": 1}, {"num_env_runners": 2})
        assert "4 in all, 1 free: it starts when others that use them are done" in line

    def test_what_is_free_on_no_node_at_once_is_not_waited_for(self):
        line = waiting_line({"CPU": 3}, {"CPU": 4}, {"CPU": 4}, {})
        assert line.endswith(
            "no node has room for one of its processes: add larger nodes, or wait for one"
        )

    def test_a_missing_gpu_is_named(self):
        line = waiting_line({"CPU": 1, "GPU": 1}, {"CPU": 4}, {"CPU": 4}, {})
        assert line.endswith("a trial wants 1 GPU; the cluster has 0 in all, 0 free: add nodes")

    @pytest.mark.usefixtures("ray_cluster")
    def test_a_run_without_a_place_says_so(self, tmp_path, monkeypatch):
        said = []
        monkeypatch.setattr(waiting, "SAY_AFTER_S", 1.0)
        monkeypatch.setattr(
            waiting,
            "print",
            lambda line, flush: said.append(line) or os.remove(flag),
            raising=False,
        )
        flag = tmp_path / "waits"
        flag.touch()
        tune.Tuner(
            tune.with_resources(never_begins, {"CPU": 100}),
            run_config=tune.RunConfig(
                storage_path=str(tmp_path), callbacks=[SaysWhatIsWaitedFor()],
                stop=UntilGone(flag), verbose=0,
            ),
        ).fit()  # fmt: skip
        (line,) = said
        assert "a trial wants 100 CPUs; the cluster has 6 in all, 6 free: add nodes" in line


class TestSoleUse:
    def test_a_second_process_is_refused_until_the_first_is_gone(self, tmp_path):
        folder = tmp_path / "run"
        refused = pytest.raises(ValueError, match="another process works in")
        with sole_use(folder), refused, sole_use(folder):
            pass
        with sole_use(folder):
            assert folder.is_dir()

    @pytest.mark.parametrize("command", ["train", "experiment"])
    def test_a_run_and_a_study_are_refused_before_anything_starts(self, tmp_path, capsys, command):
        file = tmp_path / "one.yaml"
        file.write_text(EXPERIMENT.format(checkpoints=""), encoding="utf-8")
        words = {
            "train": ["train", "-f", str(file), "--storage-path", str(tmp_path)],
            "experiment": ["experiment", "1", "--quick", "--storage-path", str(tmp_path / "one")],
        }[command]
        main = {"train": rllib.main, "experiment": calsheq.main}[command]
        with sole_use(tmp_path / "one"):
            assert main(words) == 2
        assert "another process works in" in " ".join(capsys.readouterr().err.split())
        assert [path.name for path in (tmp_path / "one").iterdir()] == ["in_use.lock"]

    def test_a_folder_that_cannot_be_written_to_is_refused(self, tmp_path, capsys):
        (tmp_path / "file").touch()
        file = tmp_path / "one.yaml"
        file.write_text(EXPERIMENT.format(checkpoints=""), encoding="utf-8")
        words = ["train", "-f", str(file), "--storage-path", str(tmp_path / "file")]
        assert rllib.main(words) == 2
        assert str(tmp_path / "file") in " ".join(capsys.readouterr().err.split())


def test_a_cluster_is_joined_where_the_environment_names_one_and_nowhere_else(monkeypatch):
    """Left to itself Ray joins any that was started on this machine, and refuses our CPUs."""
    asked = []
    monkeypatch.setattr(local_ray.ray, "init", lambda **words: asked.append(words))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    local_ray.start_ray(3)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    local_ray.start_ray(3)
    assert [(words["address"], words["num_cpus"]) for words in asked] == [
        ("local", 3),
        (None, None),
    ]


def test_a_cluster_that_does_not_answer_is_named_at_once(tmp_path, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}/session", "auto", "local"):
            monkeypatch.setenv("RAY_ADDRESS", address)
            assert local_ray.on_cluster()
    monkeypatch.delenv("RAY_ADDRESS")
    assert not local_ray.on_cluster()
    # Nobody listens there any more.
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    file = tmp_path / "one.yaml"
    file.write_text(EXPERIMENT.format(checkpoints=""), encoding="utf-8")
    began = time.monotonic()
    assert rllib.main(["train", "-f", str(file), "--storage-path", str(tmp_path)]) == 2
    assert time.monotonic() - began < 30
    said = " ".join(capsys.readouterr().err.split())
    assert f"no Ray cluster answers at 127.0.0.1:{port} (RAY_ADDRESS)" in said


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_stage_times_and_the_time_left_when_the_clock_is_set(monkeypatch, jump):
    config = CALSHEQConfig().environment(EchoEnv).training(minibatch_size=64)
    config.calibration(targets={"only.a": 0.9}, num_particles=8)
    algorithm = config.build_algo()
    wall, jumps = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: wall() + jump * next(jumps))
    for _ in range(2):
        result = algorithm.train()
    monkeypatch.undo()
    algorithm.stop()
    assert next(jumps) > 2, "nobody asked for the time"
    assert 0 < result["time_this_iter_s"] < result["time_total_s"] < 600
    cells = StageLines(10).cells(result["calibration"], result, "")
    assert not cells["left"].startswith("-")
    assert float(cells["steps/s"].replace(",", "")) > 1
