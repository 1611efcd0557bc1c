"""The study of the five settings: what is run, and that nothing is run twice."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.cli import calsheq
from rllib_calsheq.core.version import __version__
from rllib_calsheq.experiments import records, tables
from rllib_calsheq.experiments.final_figures import FINAL_COLUMNS
from rllib_calsheq.experiments.records import differences, record_of, source_hash
from rllib_calsheq.experiments.store import StudyFolder
from rllib_calsheq.experiments.study import (
    Run,
    Study,
    load_settings,
)
from rllib_calsheq.results.checkpoints import EVALUATION_FILE

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


def test_a_study_may_begin_with_another_seed(tiny_examples):
    runs = study_of(tiny_examples, seeds=2, first_seed=3).runs()
    assert {run.seed for run in runs} == {3, 4}


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
        (["1", "--first-seed", "-1"], "--first-seed is -1"),
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


# --- on disk --------------------------------------------------------------------------------


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


# --- what made a run ------------------------------------------------------------------------


def test_a_record_holds_every_field_and_names_no_address(tiny_examples):
    study = study_of(tiny_examples)
    record = record_of(study.config(Run(1, "ppo", 0)))
    assert record["source"] == source_hash()
    assert record["calibrator"]["name"] == "ppo"
    assert "clip_param" in record["calibrator"]
    assert record["configuration"]["lr_cal"]["exponent"] == 0.9
    assert record["configuration"]["gamma"] == 0.95
    assert " at 0x" not in json.dumps(record)
    other = record_of(study.config(Run(1, "ppo", 7)))
    assert differences(record, other) == ["configuration.seed: 0 then, 7 now"]
    assert differences(record, record) == []
    assert differences(None, record) == ["what made it is unknown"]
    # JSON has no infinity, and a record on disk is to equal the one of now.
    assert record["configuration"]["vf_clip_param"] == "inf"


def finished_study(tiny_examples, path, with_record=True):
    """A study with one run that looks as if it were finished."""
    folder = StudyFolder(path)
    folder.begin(study_of(tiny_examples, calibrators=("ppo",)))
    run = Run(1, "ppo", 0)
    number = folder.add_batch([run])
    if with_record:
        folder.note_record(number, run)
    trial = folder.trial(run)
    trial.mkdir(parents=True)
    (trial / EVALUATION_FILE).write_text('{"episodes": 8}', encoding="utf-8")
    (trial / "recovery.json").write_text('[{"stage": 40, "episodes": 8}]', encoding="utf-8")
    return folder


def test_another_default_is_not_mixed_with_what_was_run_before(
    tiny_examples, tmp_path, monkeypatch
):
    study = study_of(tiny_examples, calibrators=("ppo",))
    folder = finished_study(tiny_examples, tmp_path)
    folder.begin(study)
    monkeypatch.setattr(
        records,
        "calibrator_config",
        lambda name, fields: PPOCalibratorConfig(**{**fields, "clip_param": 0.123}),
    )
    with pytest.raises(ValueError, match=r"calibrator\.clip_param: .* then, 0\.123 now") as caught:
        folder.begin(study)
    for word in ("setting_1-ppo-seed_0", "--storage-path", "--accept-mixture", "--report"):
        assert word in str(caught.value)
    folder.begin(study, accept_mixture=True)
    assert folder.made_by() == {f"{__version__}, source {source_hash()}": 1}


def test_other_source_is_not_mixed_with_what_was_run_before(tiny_examples, tmp_path, monkeypatch):
    study = study_of(tiny_examples, calibrators=("ppo",))
    folder = finished_study(tiny_examples, tmp_path)
    before = source_hash()
    monkeypatch.setattr(records, "source_hash", lambda: "0123456789ab")
    with pytest.raises(ValueError, match=f"source: {before} then, 0123456789ab now"):
        folder.begin(study)
    # A run that goes on all the same has both in its record, and stays a mixture.
    folder.note_record(1, Run(1, "ppo", 0))
    assert [r["source"] for r in folder.records(Run(1, "ppo", 0))] == [before, "0123456789ab"]
    with pytest.raises(ValueError, match="--accept-mixture"):
        folder.begin(study)
    assert list(folder.made_by()) == [
        f"{__version__}, source {before} and then {__version__}, source 0123456789ab"
    ]


def test_a_run_of_which_nothing_is_known_is_not_mixed_with_new_ones(tiny_examples, tmp_path):
    folder = finished_study(tiny_examples, tmp_path, with_record=False)
    with pytest.raises(ValueError, match="what made it is unknown"):
        folder.begin(study_of(tiny_examples, calibrators=("ppo",)))
    assert folder.made_by() == {"unknown": 1}


def test_a_measurement_with_other_episodes_is_none(tiny_examples, tmp_path):
    folder = finished_study(tiny_examples, tmp_path)
    run = Run(1, "ppo", 0)
    assert folder.is_measured(run)
    assert folder.is_measured(run, episodes=8, final_episodes=8)
    assert not folder.is_measured(run, episodes=9)
    assert not folder.is_measured(run, final_episodes=9)
    assert folder.episodes(episodes=9, final_episodes=None) == {
        "episodes": 9, "final_episodes": None,
    }  # fmt: skip
    assert StudyFolder(folder.path).episodes(episodes=None, final_episodes=5) == {
        "episodes": 9, "final_episodes": 5,
    }  # fmt: skip
    # A measurement of an earlier version says nothing about its episodes.
    (folder.trial(run) / "recovery.json").write_text('[{"stage": 40}]', encoding="utf-8")
    assert folder.is_measured(run, episodes=None)
    assert not folder.is_measured(run, episodes=8)


def test_a_report_of_other_stages_is_refused(tiny_examples, tmp_path, capsys):
    folder = finished_study(tiny_examples, tmp_path / "study")
    for flag, number, own in (("--stages", 50, 40), ("--measure-every", 7, 10)):
        words = ["experiment", "1", "--report", flag, number, "--examples", tiny_examples]
        words += ["--calibrators", "ppo", "--storage-path", folder.path]
        assert calsheq.main([str(word) for word in words]) == 2
        message = " ".join(capsys.readouterr().err.split())
        assert f"{flag} of a --report is {number}; allowed: the study's own, {own}" in message


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
    assert list(final)[: len(FINAL_COLUMNS)] == FINAL_COLUMNS
    assert len(final) == 4
    assert (final["stages"] == 4).all()
    by_hand = (final["reward"] - 0.2) / (0.7 - 0.2)
    assert final["recovered_fraction"].to_numpy() == pytest.approx(by_hand.to_numpy(), abs=1e-4)
    assert final["num_targets"].eq(2).all()
    stages = pd.read_csv(output / tables.STAGES)
    assert len(stages) == 16
    assert (stages["env_steps"] == stages["stage"] * 8 * 5).all()
    assert stages.loc[stages["calibrator"] == "fixed", "smoothness"].eq(0.0).all()
    assert stages.loc[stages["calibrator"] == "ppo", "largest_move"].between(1e-3, 0.5).all()
    recovery = pd.read_csv(output / tables.RECOVERY)
    assert list(recovery["stage"].unique()) == [2, 4]
    assert recovery["num_targets"].eq(2).all()
    assert (recovery["worst_miss"] >= recovery["rms_miss"]).all()
    assert len(pd.read_csv(output / tables.PARAMETERS).columns) == 4 + 23
    assert {path.name for path in output.glob("*.png")} >= {"figure_1.png", "figure_3.png"}
    assert "All runs have 4 stages" in (output / "summary.md").read_text(encoding="utf-8")

    # Another number of episodes measures again; nothing is trained again.
    (evaluation,) = (tmp_path / "study").glob("batch_1/setting_1-ppo-seed_0/evaluation.json")
    assert json.loads(evaluation.read_text())["episodes"] == 8
    report = [*words[: words.index("--stages")], "--jobs", "1", "--report"]
    assert calsheq.main([*report, "--final-episodes", "12"]) == 0
    assert "measuring 4 runs" in capsys.readouterr().out
    assert json.loads(evaluation.read_text())["episodes"] == 12
    assert calsheq.main(report) == 0
    assert "measuring" not in capsys.readouterr().out
    assert all(file.stat().st_mtime_ns == then for file, then in files.items())
    made_by = (tmp_path / "study" / "results" / "summary.md").read_text(encoding="utf-8")
    assert f"source {source_hash()}: 4 runs." in made_by

    # Each of these runs was the second of its process; they are those of a fresh one.
    config = Study(
        load_settings([1], tiny_examples), ("ppo",), 2, 4, 2, 8, 8
    ).config(Run(1, "ppo", 1))  # fmt: skip
    algorithm = CALSHEQConfig().update_from_dict(config).build_algo()
    alone = [algorithm.train()["calibration"]["reward_mean"] for _ in range(4)]
    algorithm.stop()
    mine = stages[(stages["calibrator"] == "ppo") & (stages["seed"] == 1)]
    # The file holds five significant digits.
    assert mine["reward_mean"].to_numpy() == pytest.approx(alone, rel=5e-5)
