"""The study of the five settings: what is run, what goes on after a kill, what is written."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.cli import calsheq
from rllib_calsheq.experiments import tables
from rllib_calsheq.experiments.drawing import colours_of, describe
from rllib_calsheq.experiments.figures import (
    StudyTables,
    draw_all,
    outcomes_figure,
    rewards_figure,
)
from rllib_calsheq.experiments.store import StudyFolder, last_stage
from rllib_calsheq.experiments.study import (
    Run,
    Study,
    examples_folder,
    load_settings,
    parse_calibrator,
)
from rllib_calsheq.experiments.summary import interval, summary
from rllib_calsheq.settings import SETTING_PROFILES, SETTINGS, hidden_profile
from rllib_calsheq.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.target_files import TargetFile

EXAMPLES = Path(__file__).resolve().parent.parent / "tuned_examples"
TINY = {
    "run": "CALSHEQ",
    "env": "rllib_calsheq.envs.MarketEnv",
    "config": {
        "targets": {
            "targets": {"supertype_1.share": 0.4, "supertype_1.quantity_p10": 5.0},
            "ceiling": 0.7,
            "reward_start": 0.2,
        },
        "env_config": {"num_merchants": 3, "episode_length": 5},
        "num_particles": 8,
        "minibatch_size": 64,
    },
}
TINY_FLAGS = [
    "--stages", 4, "--measure-every", 2, "--episodes", 8, "--final-episodes", 8, "--jobs", 1
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny_examples(tmp_path_factory):
    """A folder with settings 1 and 3 in a market of seconds."""
    folder = tmp_path_factory.mktemp("examples")
    for setting in (1, 3):
        file = folder / f"experiment_{setting}.yaml"
        file.write_text(yaml.safe_dump({f"experiment_{setting}": TINY}), encoding="utf-8")
    return folder


def study_of(folder, **fields):
    made = {
        "calibrators": ("ppo", "fixed"), "seeds": 2, "stages": 40, "measure_every": 10,
        "episodes": 8, "final_episodes": 8, **fields,
    }  # fmt: skip
    return Study(load_settings([1, 3], folder), **made)


# --- the five settings ----------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_has_a_tuned_example_with_targets_of_its_hidden_profile(setting):
    (experiment,) = load_settings([setting], EXAMPLES).values()
    known = TargetFile.load(experiment.config["targets"])
    assert set(known.targets) == set(SETTINGS[setting].outcomes)
    assert known.env_config == {"num_merchants": SETTINGS[setting].num_merchants}
    assert known.profile == pytest.approx(hidden_profile(SETTING_PROFILES[setting]))
    assert known.source["name"] == SETTING_PROFILES[setting]
    # Far from the start: what there is to recover stands clear of the noise of a measurement.
    assert known.ceiling - known.reward_start > 0.4


def test_the_targets_of_setting_2_hold_the_one_that_the_paper_shows():
    known = TargetFile.load(EXAMPLES / "targets" / "experiment_2.yaml")
    assert known.targets["supertype_1.quantity_p10"]["value"] == pytest.approx(8.0, abs=0.1)


def test_the_targets_of_setting_3_are_those_of_the_main_job():
    names = ("experiment_3", "setting_3_small")
    one, other = (TargetFile.load(EXAMPLES / "targets" / f"{name}.yaml") for name in names)
    assert one == other


# --- what is run ----------------------------------------------------------------------------


def test_a_study_runs_everything_seed_by_seed(tiny_examples):
    runs = study_of(tiny_examples).runs()
    assert [(r.seed, r.setting, r.calibrator) for r in runs] == [
        (seed, setting, calibrator)
        for seed in (0, 1)
        for setting in (1, 3)
        for calibrator in ("ppo", "fixed")
    ]
    assert len({run.name for run in runs}) == len(runs)


def test_runs_differ_in_the_calibrator_and_the_seed_alone(tiny_examples):
    study = study_of(tiny_examples)
    one, other = study.config(Run(1, "ppo", 0)), study.config(Run(1, "fixed", 7))
    assert {key for key in one if one[key] != other[key]} == {"calibrator", "seed"}
    assert (other["calibrator"], other["seed"]) == ({"name": "fixed"}, 7)


def test_a_study_of_learning_rates_has_each_ratio_with_both_schedules(tiny_examples):
    study = study_of(tiny_examples, calibrators=("ppo",), seeds=1, lr_ratios=(1.0, 0.003))
    runs = [run for run in study.runs() if run.setting == 1]
    assert [(r.lr_ratio, r.schedule) for r in runs] == [
        (1.0, "decaying"), (1.0, "constant"), (0.003, "decaying"), (0.003, "constant")
    ]  # fmt: skip
    config = CALSHEQConfig().update_from_dict(study.config(runs[3]))
    shared, cal = config.learning_rates()
    assert cal.at(0) == cal.at(500) == pytest.approx(0.003 * shared.at(0))
    assert shared.at(0) == shared.at(500)
    decaying = CALSHEQConfig().update_from_dict(study.config(runs[2]))
    assert [rate.at(0) for rate in decaying.learning_rates()] == [shared.at(0), cal.at(0)]
    assert decaying.learning_rates()[1].is_robbins_monro


def test_a_calibrator_may_carry_fields():
    assert parse_calibrator("ppo") == {"name": "ppo"}
    label = "ppo:critic=none:hidden_sizes=[8, 8]"
    assert parse_calibrator(label) == {"name": "ppo", "critic": "none", "hidden_sizes": [8, 8]}
    assert Run(1, label, 0).name == "setting_1-ppo-critic-none-hidden_sizes-8-8--seed_0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["7"], "setting is 7; allowed: [1, 2, 3, 4, 5]"),
        (["1", "1"], "[1] are repeated"),
        (["1", "--calibrators", "annealing"], "unknown calibrator 'annealing'"),
        (["1", "--calibrators", "ppo:clip=1"], "has no field 'clip'"),
        (["1", "--calibrators", "ppo:clip_param"], "name:field=value"),
        (["1", "--calibrators", "ppo:clip_param=["], "is not valid YAML"),
        (["1", "--calibrators", "ppo,ppo"], "['ppo'] are repeated"),
        (["1", "--calibrators", ","], "--calibrators"),
        (["1", "--seeds", "0"], "--seeds is 0"),
        (["1", "--stages", "0"], "--stages is 0"),
        (["1", "--stages", "5", "--measure-every", "6"], "--measure-every is 6"),
        (["1", "--jobs", "0"], "--jobs is 0"),
        (["1", "--lr-ratios", "1,fast"], "--lr-ratios is '1,fast'"),
        (["1", "--calibrators", "ppo", "--lr-ratios", "0"], "--lr-ratios is 0"),
        (["1", "--lr-ratios", "1"], "which calibrator 'fixed' does not have"),
        (["1", "--examples", "nowhere"], "--examples is 'nowhere'"),
        (["2"], "there is no experiment file"),
        (["--redraw"], "-o DIR"),
        (["--redraw", "-o", "nowhere"], "there is no stages.csv"),
        (["1", "--report"], "folders of a study"),
    ],
)
def test_a_study_that_cannot_run_is_refused(tiny_examples, tmp_path, capsys, words, said):
    flags = [] if "--examples" in words or "--redraw" in words else ["--examples", tiny_examples]
    flags += ["--storage-path", tmp_path / "study"]
    if "--calibrators" not in words:
        flags += ["--calibrators", "fixed"]
    assert calsheq.main(["experiment", *words, *map(str, flags)]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert message.startswith("error: ")
    assert said in message
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": TINY, "b": TINY}, "must hold one experiment"),
        ({"a": {**TINY, "run": "PPO"}}, "run: CALSHEQ"),
        ({"a": {**TINY, "config": {"seed": {"grid_search": [1, 2]}}}}, "no grid_search"),
        ({"a": {**TINY, "config": {}}}, "has no targets"),
    ],
)
def test_a_tuned_example_that_a_study_cannot_vary_is_refused(tmp_path, content, said):
    (tmp_path / "experiment_1.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_settings([1], tmp_path)


def test_the_tuned_examples_are_found():
    assert examples_folder().name == "tuned_examples"


# --- on disk --------------------------------------------------------------------------------


def test_a_study_is_not_mixed_with_another(tiny_examples, tmp_path):
    folder = StudyFolder(tmp_path / "study")
    folder.begin(study_of(tiny_examples))
    assert folder.add_batch([Run(1, "ppo", 0)]) == 1
    again = StudyFolder(folder.path)
    again.begin(study_of(tiny_examples, seeds=5, calibrators=("ppo",)))
    assert again.batches() == {1: [Run(1, "ppo", 0)]}
    with pytest.raises(ValueError, match="has stages = 40, not 50"):
        again.begin(study_of(tiny_examples, stages=50))
    changed = tmp_path / "changed"
    changed.mkdir()
    for setting in (1, 3):
        config = {**TINY["config"], "num_particles": 4}
        content = {"a": {**TINY, "config": config}}
        (changed / f"experiment_{setting}.yaml").write_text(yaml.safe_dump(content), "utf-8")
    with pytest.raises(ValueError, match=r"experiment_1\.yaml or its targets changed"):
        again.begin(study_of(changed))


def test_the_last_stage_is_that_of_the_last_whole_line(tmp_path):
    assert last_stage(tmp_path) == 0
    lines = [json.dumps({"training_iteration": k}) for k in (1, 2, 3)]
    (tmp_path / "result.json").write_text("\n".join(lines) + '\n{"training_it', encoding="utf-8")
    assert last_stage(tmp_path) == 3


# --- tables ---------------------------------------------------------------------------------

SPACE = SupertypeSpace((Parameter("a", "s", 0.0, 2.0), Parameter("b", "s", 0.0, 1.0)))


def history(profile, rewards, returns):
    return pd.DataFrame(
        {
            "training_iteration": range(1, len(rewards) + 1),
            "time_total_s": np.arange(1, len(rewards) + 1) * 2.0,
            "calibration/reward_mean": rewards,
            "calibration/reward_pooled": np.array(rewards) + 0.1,
            "calibration/outcomes/s.reward/mean": returns,
            "calibration/outcomes/s.share/mean": 0.5,
            "calibration/profile/s.a/std": 0.6,
            "calibration/profile/s.b/std": 0.4,
        }
    ), pd.DataFrame(profile, columns=["s.a", "s.b"])


def test_smoothness_is_the_length_of_each_step_in_the_unit_cube():
    # From the start (1, 0.5) to (1.6, 0.9), unit (0.3, 0.4); then nowhere; then by 0.1 in b.
    frame, profile = history([(1.6, 0.9), (1.6, 0.9), (1.6, 0.8)], [0.1] * 3, [1.0] * 3)
    table = tables.stage_table(frame, profile, SPACE)
    assert table["smoothness"].to_numpy() == pytest.approx([0.5, 0.0, 0.1])
    assert set(table) >= {"s.share", "s.reward", "lr_shared", "lr_cal", "reward_pooled"}
    assert table["lr_cal"].isna().all()
    # Standard deviations of 0.6 of a range of 2, and of 0.4.
    assert table["spread"].to_numpy() == pytest.approx([0.5] * 3)


def test_final_figures_by_hand():
    count = 20
    rewards = [0.2] * 18 + [0.6, 0.8]
    # The fall at stage 3 comes before a quarter of the stages; that at stage 9 counts.
    returns = [5.0] * 2 + [-9.0] + [5.0] * 5 + [-3.0] + [5.0] * 11
    frame, profile = history([(1.0, 0.5)] * count, rewards, returns)
    stages = tables.stage_table(frame, profile, SPACE)
    recovery = pd.DataFrame(
        {"stage": [10, 20], "seconds": [20.0, 40.0], "recovered_fraction": [0.5, 0.9]}
    )
    known = TargetFile(targets={"s.share": 0.4}, ceiling=0.8, profile={"s.a": 1.6, "s.b": 0.5})
    evaluation = {
        "recovered_fraction": 0.95, "reward": 0.78, "ceiling": 0.8, "reward_start": 0.2,
        "reward_stderr": 0.01, "profile": {"s.a": 1.6, "s.b": 0.9},
    }  # fmt: skip
    found = tables.final_figures(stages, recovery, evaluation, known, SPACE)
    assert found["particle_reward"] == pytest.approx(0.7)
    assert found["pooled_reward"] == pytest.approx(0.8)
    assert found["seconds"] == 40.0
    assert (found["stages_to_90"], found["seconds_to_90"]) == (20, 40.0)
    # Trapezoids: 10 · 0.25 + 10 · 0.7 over 20 stages.
    assert found["area_recovered"] == pytest.approx((2.5 + 7.0) / 20)
    assert found["area_reward"] == pytest.approx(np.mean(rewards))
    assert found["lowest_reward"] == -3.0
    # Root mean squares of (0, 0.4) and of (0.3, 0).
    assert found["distance"] == pytest.approx(0.4 / math.sqrt(2))
    assert found["distance_start"] == pytest.approx(0.3 / math.sqrt(2))
    recovery["recovered_fraction"] = 0.89
    found = tables.final_figures(stages, recovery, evaluation, known, SPACE)
    assert math.isnan(found["stages_to_90"])


def test_the_interval_is_students():
    values = pd.Series([0.8, 0.9, 1.0, np.nan])
    mean, half = interval(values)
    assert mean == pytest.approx(0.9)
    # t(0.975, 2) = 4.303; standard error 0.1 / √3.
    assert half == pytest.approx(4.303 * 0.1 / math.sqrt(3), rel=1e-3)
    assert stats.t.ppf(0.975, 2) == pytest.approx(4.303, abs=1e-3)
    assert interval(pd.Series([0.5]))[0] == 0.5
    assert math.isnan(interval(pd.Series([0.5]))[1])


def final_rows(**more):
    rows = []
    for calibrator, fraction in (("random", 0.3), ("ppo", 0.9)):
        for seed in range(3):
            rows.append(
                {
                    "setting": 2, "calibrator": calibrator, "seed": seed,
                    "recovered_fraction": fraction + seed * 0.01, "reward": 0.7, "ceiling": 0.8,
                    "smoothness": 3.0, "seconds": 60.0, "stages": 200, "reward_start": 0.2,
                    "reward_stderr": 0.01, "particle_reward": 0.6, "pooled_reward": 0.65,
                    "stages_to_90": 60.0 if calibrator == "ppo" and seed else np.nan,
                    "seconds_to_90": 20.0 if calibrator == "ppo" and seed else np.nan,
                    "area_recovered": 0.5, "area_reward": 0.5, "lowest_reward": -1.0,
                    "distance": 0.3, "distance_start": 0.4, "spread": 0.2, **more,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_summary_has_a_row_for_each_calibrator():
    text = summary(final_rows(), 200, 20)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines] == ["calibrator", "---", "ppo", "random"]
    assert len({line.count("|") for line in lines}) == 1
    assert "0.910 ± 0.025" in lines[2]
    assert "60 (2 of 3)" in lines[2]
    assert "never (0 of 3)" in lines[3]
    assert "All runs have 200 stages" in text


# --- figures --------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    """CSV files of a small study, and of one of learning rates."""
    rows = []
    for calibrator in ("ppo", "bo:stages_per_trial=5"):
        for seed in range(2):
            for stage in range(1, 6):
                rows.append(
                    {
                        "setting": 2, "calibrator": calibrator, "seed": seed, "stage": stage,
                        "reward_mean": 0.1 * stage + 0.02 * seed, "supertype_1.reward": 5.0,
                        "supertype_2.reward": -stage, "supertype_1.quantity_p10": 10.0 - stage,
                        "supertype_1.connection_1": 0.5, "recovered_fraction": 0.2 * stage,
                        "lr_ratio": np.nan, "schedule": "decaying",
                    }
                )  # fmt: skip
    plain = pd.DataFrame(rows)
    swept = [
        plain[plain["calibrator"] == "ppo"].assign(lr_ratio=ratio, schedule=schedule)
        for ratio in (1.0, 0.1)
        for schedule in ("decaying", "constant")
    ]
    frame = pd.concat([plain, *swept])
    for name in (tables.STAGES, tables.PARAMETERS, tables.RECOVERY, tables.FINAL):
        frame.to_csv(tmp_path / name, index=False)
    goals = [
        (2, "target", "supertype_1.quantity_p10", 8.0, 5.0),
        (2, "parameter", "supertype_1.connection_1", 0.9, np.nan),
        (2, "reward", "ceiling", 0.85, np.nan),
    ]
    columns = ["setting", "kind", "name", "value", "scale"]
    pd.DataFrame(goals, columns=columns).to_csv(tmp_path / tables.GOALS, index=False)
    return tmp_path


def test_every_figure_is_drawn_from_the_csv_files_alone(written, capsys):
    names = {path.stem for path in draw_all(written)}
    assert names == {
        "figure_1", "figure_2", "figure_3", "recovery", "targets_setting_2",
        "parameters_setting_2", "lr_ratios_setting_2",
    }  # fmt: skip
    for path in written.glob("*.png"):
        path.unlink()
    assert calsheq.main(["experiment", "--redraw", "-o", str(written)]) == 0
    assert capsys.readouterr().out.count("drew ") == len(names)
    assert all(path.stat().st_size > 5000 for path in written.glob("*.png"))


def dashed(axes):
    return [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]


def test_lines_are_means_over_seeds_and_goals_are_dashed(written):
    loaded = StudyTables.load(written)
    assert loaded.settings == [2]
    assert len(loaded.stages) == 20
    top = rewards_figure(loaded).get_axes()[0]
    assert dashed(top) == [0.85]
    means = [line.get_ydata() for line in top.get_lines() if line.get_linestyle() == "-"]
    assert len(means) == 2
    for mean in means:
        assert mean == pytest.approx(0.1 * np.arange(1, 6) + 0.01)
    (panel,) = outcomes_figure(loaded, [(2, "supertype_1.quantity_p10")]).get_axes()
    assert dashed(panel) == [8.0]
    assert "10 % percentile" in panel.get_title()


def test_a_calibrator_has_one_colour_in_all_figures():
    alone, together = colours_of(["ppo"]), colours_of(["fixed", "zzz", "ppo", "bo"])
    assert together["ppo"] == alone["ppo"]
    assert len(set(together.values())) == 4
    assert list(together) == ["ppo", "bo", "fixed", "zzz"]


def test_names_are_said_in_words():
    assert describe("supertype_2.connection_10") == "supertype 2: connection to cluster 10"
    assert describe("supertype_1.share") == "supertype 1: market share"
    assert describe("suburbs.rate") == "suburbs: rate"


# --- a study of seconds ---------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_a_study_grows_without_doing_a_run_twice(tiny_examples, tmp_path, capsys, ray_cluster):
    flags = ["--examples", tiny_examples, "--storage-path", tmp_path / "study", *TINY_FLAGS]
    words = ["experiment", "1", "--calibrators", "fixed,ppo", *map(str, flags)]
    assert calsheq.main([*words, "--seeds", "1"]) == 0
    first = capsys.readouterr().out
    assert "2 runs of 4 stages, 1 at a time; 2 to do" in first
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "study").glob("batch_1/*/result.json")}
    assert len(files) == 2

    output = tmp_path / "out"
    assert calsheq.main([*words, "--seeds", "2", "-o", str(output)]) == 0
    assert "4 runs of 4 stages, 1 at a time; 2 to do" in capsys.readouterr().out
    assert all(file.stat().st_mtime_ns == then for file, then in files.items())
    assert len(list((tmp_path / "study").glob("batch_2/*/result.json"))) == 2

    final = pd.read_csv(output / tables.FINAL)
    assert list(final)[:8] == tables.FINAL_COLUMNS
    assert len(final) == 4
    assert (final["stages"] == 4).all()
    by_hand = (final["reward"] - 0.2) / (0.7 - 0.2)
    assert final["recovered_fraction"].to_numpy() == pytest.approx(by_hand.to_numpy(), abs=1e-4)
    stages = pd.read_csv(output / tables.STAGES)
    assert len(stages) == 16
    assert (stages["env_steps"] == stages["stage"] * 8 * 5).all()
    assert stages.loc[stages["calibrator"] == "fixed", "smoothness"].eq(0.0).all()
    assert list(pd.read_csv(output / tables.RECOVERY)["stage"].unique()) == [2, 4]
    assert len(pd.read_csv(output / tables.PARAMETERS).columns) == 4 + 23
    assert {path.name for path in output.glob("*.png")} >= {"figure_1.png", "figure_3.png"}
    assert "All runs have 4 stages" in (output / "summary.md").read_text(encoding="utf-8")

    # Each of these runs was the second of its process; they are those of a fresh one.
    config = Study(
        load_settings([1], tiny_examples), ("ppo",), 2, 4, 2, 8, 8
    ).config(Run(1, "ppo", 1))  # fmt: skip
    algorithm = CALSHEQConfig().update_from_dict(config).build_algo()
    alone = [algorithm.train()["calibration"]["reward_mean"] for _ in range(4)]
    algorithm.stop()
    mine = stages[(stages["calibrator"] == "ppo") & (stages["seed"] == 1)]
    assert mine["reward_mean"].to_numpy() == pytest.approx(alone, rel=1e-5)


# --- the quick slice, killed and gone on with -----------------------------------------------

PATIENCE_S = 400


@pytest.fixture
def ray_folder():
    """A short path of its own for the Ray sessions of a test; none of their processes is left."""
    folder = tempfile.mkdtemp(prefix="cq")
    yield folder
    for pid in processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def processes_of(folder):
    """Processes whose command line names a folder: Ray's own, of sessions that live there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(folder.encode() in word for word in words) and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def stages_written(trial):
    file = trial / "result.json"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line)["training_iteration"] for line in lines if line.endswith("\n")]


@pytest.mark.learning
@pytest.mark.timeout(900)
def test_a_killed_study_goes_on_and_recovers_the_share(tmp_path, ray_folder):
    study = tmp_path / "study"
    words = ["experiment", "1", "--quick", "--calibrators", "fixed,ppo", "--jobs", "1"]
    line = [sys.executable, "-m", "rllib_calsheq.cli.calsheq", *words, "--storage-path", study]
    environment = {
        **os.environ,
        "RAY_TMPDIR": ray_folder,
        "OMP_NUM_THREADS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1",
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    fixed, ppo = (study / "batch_1" / f"setting_1-{name}-seed_0" for name in ("fixed", "ppo"))

    process = subprocess.Popen(line, env=environment, cwd=ray_folder, **pipes)
    deadline = time.monotonic() + PATIENCE_S
    # Until the second run has a checkpoint that Tune knows of, and some stages beyond it.
    while not (list(ppo.glob("checkpoint_*")) and max(stages_written(ppo), default=0) > 11):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    while processes_of(ray_folder) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert max(stages_written(ppo)) < 30
    finished = (fixed / "result.json").stat().st_mtime_ns

    process = subprocess.Popen(line, env=environment, cwd=ray_folder, **pipes)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "2 runs of 30 stages, 1 at a time; 1 to do" in out
    # The finished run was left alone; the other went on from its checkpoint.
    assert stages_written(fixed) == list(range(1, 31))
    assert (fixed / "result.json").stat().st_mtime_ns == finished
    assert sorted(set(stages_written(ppo))) == list(range(1, 31))
    assert stages_written(ppo).count(1) == 1

    final = pd.read_csv(study / "results" / tables.FINAL).set_index("calibrator")
    # Without calibration nothing is recovered; 30 stages find most of a market share.
    assert abs(final.loc["fixed", "recovered_fraction"]) < 0.05
    assert final.loc["ppo", "recovered_fraction"] > 0.4
