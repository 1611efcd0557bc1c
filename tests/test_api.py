"""The Python API: one call to a result, whose folder everything else reads."""

import doctest
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import ray

import rllib_calsheq
from rllib_calsheq import calibrate, load
from rllib_calsheq.api import progress as watching
from rllib_calsheq.api.calibrate import configuration_of
from rllib_calsheq.cli import calsheq, rllib
from rllib_calsheq.core.stages import STAGES_UNTIL_DONE
from rllib_calsheq.envs import SubwayEnv
from rllib_calsheq.running import in_process

TARGETS = {"suburbs.subway_rate": 0.3, "inside.subway_rate": 0.6}
SMALL = {
    "env_config": {"num_suburbs": 3, "num_inside": 2, "episode_length": 5},
    "num_particles": 8,
    "seed": 3,
    "progress": False,
}
SUBWAY = "rllib_calsheq.envs.SubwayEnv"


@pytest.fixture(scope="module", autouse=True)
def one_ray():
    """One Ray for the module: each call would start its own."""
    if ray.is_initialized():
        yield
        return
    words = {"log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, include_dashboard=False, **words)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return calibrate(SubwayEnv, TARGETS, stages=3, folder=tmp_path_factory.mktemp("run"), **SMALL)


class TestTables:
    def test_the_profile_is_a_series_by_parameter(self, run):
        space = SubwayEnv(SMALL["env_config"]).supertype_space
        assert list(run.profile.index) == list(space.names)
        assert ((run.profile >= space.low) & (run.profile <= space.high)).all()

    def test_targets_are_those_of_the_evaluation(self, run):
        found = json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))
        assert dict(run.targets["target"]) == TARGETS
        for row in found["outcomes"]:
            mine = run.targets.loc[row["name"]]
            assert (mine["value"], mine["met"]) == (row["value"], row["met"])
            miss = abs(mine["value"] - mine["target"]) / mine["scale"]
            assert mine["miss"] == pytest.approx(miss)
            assert mine["met"] == (miss <= mine["tolerance"])
        assert run.targets["met"].dtype == bool

    def test_history_has_a_row_for_each_stage(self, run):
        assert list(run.history.index) == [1, 2, 3]
        for name in ("reward_mean", "outcomes/inside.subway_rate/mean"):
            assert run.history[name].between(0, 1).all()

    def test_episodes_differ_and_follow_the_profile(self, run):
        near = run.simulate({"inside.mean_distance": 0.1}, episodes=64)
        far = run.simulate(pd.Series({"inside.mean_distance": 2.9}), episodes=64)
        assert near.shape == (64, 4)
        assert near["inside.reward"].nunique() > 1
        # Who lives farther away pays more, whatever the policy.
        assert near["inside.reward"].mean() > far["inside.reward"].mean()
        again = run.simulate({"inside.mean_distance": 0.1}, episodes=64)
        pd.testing.assert_frame_equal(near, again)

    def test_it_says_what_came_out(self, run):
        assert f"{int(run.targets['met'].sum())} of 2 targets met" in str(run)
        assert str(run.path) in str(run)
        assert "<table" in run._repr_html_()


class TestPictures:
    @pytest.mark.parametrize("name", ["reward", "targets", "parameters", "profile"])
    def test_axes_in_axes_out(self, run, name):
        _, ax = plt.subplots()
        assert getattr(run, f"plot_{name}")(ax=ax) is ax
        assert ax.has_data()
        alone = getattr(run, f"plot_{name}")()
        assert alone is not ax
        assert alone.has_data()
        plt.close("all")

    def test_an_outcome_and_its_target(self, run):
        ax = run.plot_outcome("inside.subway_rate")
        line, target = ax.get_lines()
        assert list(line.get_ydata()) == list(run.history["outcomes/inside.subway_rate/mean"])
        assert set(target.get_ydata()) == {0.6}
        plt.close("all")
        with pytest.raises(ValueError, match=r"did you mean 'inside\.subway_rate'"):
            run.plot_outcome("inside.subway_rat")


class TestFolder:
    def test_every_command_reads_it(self, run, tmp_path, capsys):
        assert calsheq.main(["evaluate", str(run.path), "--episodes", "8"]) == 0
        assert calsheq.main(["plot", str(run.path), "-o", str(tmp_path)]) == 0
        assert "outcomes at the calibrated profile, stage 3" in capsys.readouterr().out
        assert {p.name for p in tmp_path.iterdir()} >= {"reward.png", "outcomes.png"}

    def test_its_report_is_one_file(self, run, tmp_path):
        file = run.report(tmp_path / "report.html")
        assert file == tmp_path / "report.html"
        text = file.read_text(encoding="utf-8")
        assert all(name in text for name in run.targets.index)
        with pytest.raises(ValueError, match="is a folder"):
            run.report(tmp_path)

    def test_a_copy_is_the_same_run(self, run, tmp_path):
        copy = load(run.save(tmp_path / "copy"))
        assert copy.path != run.path
        pd.testing.assert_series_equal(copy.profile, run.profile)
        pd.testing.assert_frame_equal(copy.targets, run.targets)
        pd.testing.assert_frame_equal(copy.history, run.history)
        with pytest.raises(ValueError, match="give a new folder"):
            run.save(tmp_path)

    def test_it_goes_on_as_if_it_had_never_stopped(self, run, tmp_path):
        folder = tmp_path / "run"
        calibrate(SubwayEnv, TARGETS, stages=1, folder=folder, **SMALL)
        on = calibrate(SubwayEnv, TARGETS, stages=3, folder=folder, resume=True, **SMALL)
        pd.testing.assert_series_equal(on.profile, run.profile)
        pd.testing.assert_frame_equal(on.targets, run.targets)
        pd.testing.assert_frame_equal(on.history, run.history)
        # What is done is not done again.
        numbers = []
        calibrate(
            SubwayEnv, TARGETS, stages=3, folder=folder, resume=True,
            **{**SMALL, "progress": numbers.append},
        )  # fmt: skip
        assert numbers == []

    def test_stages_that_were_not_saved_are_done_again(self, run, tmp_path, monkeypatch):
        def killed(numbers):
            if numbers["stage"] == 2:
                raise RuntimeError("killed")

        folder = tmp_path / "run"
        monkeypatch.setattr(in_process, "CHECKPOINT_EVERY_S", 0.0)
        calibrate(SubwayEnv, TARGETS, stages=1, folder=folder, **SMALL)
        monkeypatch.undo()
        again = {"folder": folder, "resume": True, "stages": 3}
        with pytest.raises(RuntimeError):
            calibrate(SubwayEnv, TARGETS, **again, **{**SMALL, "progress": killed})
        with open(folder / "result.json", "a", encoding="utf-8") as file:
            file.write('{"training_iteration": 3, "calib')
        on = calibrate(SubwayEnv, TARGETS, **again, **SMALL)
        pd.testing.assert_frame_equal(on.history, run.history)
        pd.testing.assert_series_equal(on.profile, run.profile)

    def test_it_ends_when_targets_have_been_met_for_long(self, tmp_path):
        wide = {"inside.subway_rate": {"value": 0.5, "tolerance": 9.0}}
        again = {"stages": 99, "until_met": True, "folder": tmp_path / "run", **SMALL}
        assert calibrate(SubwayEnv, wide, **again).stage == STAGES_UNTIL_DONE
        # Nor does it go on then.
        assert calibrate(SubwayEnv, wide, resume=True, **again).stage == STAGES_UNTIL_DONE

    def test_checkpoints_by_the_clock_are_dropped_but_for_the_last_three(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(in_process, "CHECKPOINT_EVERY_S", 0.0)
        calibrate(SubwayEnv, TARGETS, stages=5, folder=tmp_path, **SMALL)
        names = sorted(p.name for p in tmp_path.glob("checkpoint_*"))
        assert names == [f"checkpoint_00000{k}" for k in (2, 3, 4)]

    def test_an_interrupt_ends_the_stage_and_saves_it(self, tmp_path, capsys):
        def interrupt(numbers):
            if numbers["stage"] == 1:
                os.kill(os.getpid(), signal.SIGINT)

        folder = tmp_path / "run"
        with pytest.raises(KeyboardInterrupt, match=r"go on with calibrate\(..., folder="):
            calibrate(
                SubwayEnv, TARGETS, stages=50, folder=folder, **{**SMALL, "progress": interrupt}
            )
        assert "the stage is ended and saved" in capsys.readouterr().out
        assert load(folder).stage == 2
        assert list(load(folder).history.index) == [1, 2]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"targets": None}, "targets are None; give"),
            ({"targets": {}}, "targets are {}; give"),
            ({"targets": {"subway": 0.3}}, "which the environment does not report"),
            ({"targets": "none.yaml"}, "there is no target file none.yaml"),
            ({"env": "no.Env"}, "env 'no.Env' cannot be imported"),
            ({"env": None}, "there is no environment"),
            ({"env": {"env": SUBWAY, "targets": TARGETS}}, r"\['targets'\] stand both"),
            ({"stages": 0}, "stages is 0; allowed: integers from 1"),
            ({"stages": True}, "stages is True; allowed"),
            ({"num_particle": 3}, "did you mean 'num_particles'"),
            ({"resume": True}, "resume is True; allowed: True only with a folder"),
        ],
    )
    def test_it_is_said_before_anything_starts(self, arguments, said, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(in_process, "run_in_process", lambda *a: pytest.fail("started"))
        with pytest.raises(ValueError, match=said):
            calibrate(**{"env": SUBWAY, "targets": TARGETS, "progress": False, **arguments})
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_is_in_use_already(self, run):
        with pytest.raises(ValueError, match=r"there is a run at .* already"):
            calibrate(SubwayEnv, TARGETS, folder=run.path, **SMALL)
        other = {**TARGETS, "inside.subway_rate": 0.5}
        for stages in (3, 9):
            with pytest.raises(ValueError, match=r"another configuration.*0.6 then, 0.5 now"):
                calibrate(SubwayEnv, other, stages=stages, folder=run.path, resume=True, **SMALL)
        before = (run.path / "params.json").read_bytes()
        changed = {**SMALL, "gamma": 0.5}
        with pytest.raises(
            ValueError, match=r"another configuration: gamma: not set then, 0.5 now"
        ):
            calibrate(SubwayEnv, TARGETS, stages=9, folder=run.path, resume=True, **changed)
        assert (run.path / "params.json").read_bytes() == before

    def test_runs_of_the_command_and_of_this_call_are_not_mixed(self, run, tmp_path, capsys):
        (tmp_path / "tuner.pkl").touch()
        with pytest.raises(ValueError, match="was made by rllib train"):
            calibrate(SubwayEnv, TARGETS, folder=tmp_path, resume=True, **SMALL)
        file = tmp_path / "city.yaml"
        file.write_text(
            f"city: {{run: CALSHEQ, env: {SUBWAY}, stop: {{training_iteration: 1}}, "
            "config: {targets: {inside.subway_rate: 0.6}, num_particles: 8}}", encoding="utf-8",
        )  # fmt: skip
        words = ["train", "-f", str(file), "--storage-path", str(run.path.parent)]
        assert rllib.main([*words, "--name", run.path.name]) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert "was made by rllib_calsheq.calibrate" in error

    def test_parameters_outside_of_their_bounds(self, run):
        with pytest.raises(ValueError, match="outside its allowed range"):
            run.simulate({"inside.mean_distance": 99.0})
        with pytest.raises(ValueError, match="unknown supertype parameter"):
            run.simulate({"mean_distance": 1.0})
        with pytest.raises(ValueError, match="episodes is 0"):
            run.simulate(episodes=0)


def test_environments_and_targets_in_all_their_forms(tmp_path):
    file = tmp_path / "targets.yaml"
    file.write_text("targets: {inside.subway_rate: 0.6}", encoding="utf-8")
    wanted = {"env": SUBWAY, "targets": {"targets": {"inside.subway_rate": 0.6}}}
    given = {"inside.subway_rate": 0.6}
    for targets in (given, pd.Series(given), file, str(file), {"targets": given}):
        assert configuration_of(SUBWAY, targets, {}) == wanted
    assert configuration_of({"env": SUBWAY, "targets": given}, None, {}) == wanted
    seeded = configuration_of({"env": SUBWAY, "seed": 1}, given, {"num_particles": 4})
    assert seeded == {**wanted, "seed": 1, "num_particles": 4}


class TestProgress:
    def test_a_terminal_gets_lines(self, capsys):
        watching.watcher(True, 9)(stage_result(9))
        heading, line = capsys.readouterr().out.splitlines()
        assert heading.split()[:2] == ["stage", "reward"]
        assert line.split()[:2] == ["9/9", "0.500"]

    def test_a_function_gets_the_numbers_of_each_stage(self):
        seen = []
        watching.watcher(seen.append, 9)(stage_result(4))
        assert [numbers["stage"] for numbers in seen] == [4]

    def test_nothing_is_said_if_nothing_is_wanted(self, capsys):
        watching.watcher(False, 9)(stage_result(9))
        assert capsys.readouterr().out == ""


def stage_result(stage):
    numbers = {"stage": stage, "num_particles": 8, "reward_mean": 0.5, "reward_pooled": 0.6}
    numbers |= {"targets_met": 1, "num_targets": 2, "worst_target": "a", "worst_miss": 1.0}
    return {"calibration": {**numbers, "returns": {}}, "time_this_iter_s": 1.0}


def test_the_first_line_is_not_rays(tmp_path):
    # In a process of its own, which starts Ray by itself.
    code = (
        "import sys\n"
        "from rllib_calsheq import Certificate, Inference, Result, calibrate, load\n"
        "assert not {'ray', 'torch', 'matplotlib'} & set(sys.modules)\n"
        f"calibrate({SUBWAY!r}, {TARGETS!r}, stages=1, num_particles=8, folder={str(tmp_path)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    heading, line, end = done.stdout.splitlines()
    assert heading.split()[0] == "stage"
    assert line.split()[0] == "1/1"
    assert end.endswith(f"results in {tmp_path}")


PUBLIC = [name for name in rllib_calsheq.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_every_public_name_runs(name, run, tmp_path, monkeypatch):
    # What the examples load.
    shutil.copytree(run.path, tmp_path / "my_city")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(getattr(rllib_calsheq, name))
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert test.examples, f"{name} has no example"
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=said.append).failed == 0, "".join(said)
    plt.close("all")
