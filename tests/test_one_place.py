"""Each fact stands in one place: colours, names of files, and what recovered means."""

import json
import pickle
import re
from pathlib import Path

import pytest

from rllib_calsheq.core.calibrator import stages_finished
from rllib_calsheq.core.stages import STATE_FORMAT
from rllib_calsheq.results import palette
from rllib_calsheq.results.checkpoints import (
    CALIBRATION_STATE,
    TRIAL_FILE,
    drop_torn_results,
    finished_stages,
    last_stage,
    read_history,
)
from rllib_calsheq.results.evaluation import recovered_fraction

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    path
    for folder in ("rllib_calsheq", "envs", "callbacks")
    for path in (ROOT / folder).rglob("*.py")
]


def files_with(pattern):
    return {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }


def test_colours_stand_in_the_palette_and_with_the_calibrators():
    found = files_with(r"[\"']#[0-9a-fA-F]{6}[\"']") - {"rllib_calsheq/results/palette.py"}
    # An entry of the registry states its calibrator's colour.
    assert found == files_with(r"colour=[\"']#[0-9a-fA-F]{6}[\"']")
    assert all(file.startswith("rllib_calsheq/calibrators/") for file in found)
    names = [value for name, value in vars(palette).items() if name.isupper()]
    colours = [c for value in names for c in ((value,) if isinstance(value, str) else value)]
    assert len({c for c in colours if c.startswith("#")}) == 13


@pytest.mark.parametrize(
    "name",
    [
        "result.json", "params.json", "evaluation.json", "recovery.json", "tuner.pkl", "state.pkl",
        "rllib_checkpoint.json", "class_and_ctor_args.pkl", "learner_group", "rl_module",
    ],
)  # fmt: skip
def test_names_of_a_runs_files_stand_with_its_checkpoints(name):
    assert files_with(rf"[\"']{re.escape(name)}[\"']") == {"rllib_calsheq/results/checkpoints.py"}


def test_shared_defaults_stand_in_one_place():
    assert files_with("~/ray_results") == {"rllib_calsheq/core/defaults.py"}
    assert files_with(r"(?m)^(CONFIDENCE|EVALUATION_EPISODES) = ") == {
        "rllib_calsheq/core/defaults.py"
    }
    assert files_with(r"confidence: float = (?!CONFIDENCE)") == set()


@pytest.mark.parametrize(
    ("reward", "start", "ceiling", "found"),
    [
        (0.7, 0.2, 0.8, 5 / 6),
        (0.9, 0.2, 0.8, 7 / 6),
        (0.7, 0.2, None, None),
        (0.7, None, 0.8, None),
        (None, 0.2, 0.8, None),
        (0.7, 0.8, 0.8, None),
        (0.7, 0.9, 0.8, None),
    ],
)
def test_the_recovered_fraction_needs_all_three_and_something_to_gain(
    reward, start, ceiling, found
):
    assert recovered_fraction(reward, start, ceiling) == pytest.approx(found)


def test_a_stage_is_finished_when_it_is_answered():
    assert [stages_finished(*asked) for asked in ((0, True), (1, False), (1, True))] == [0, 0, 1]


def test_a_checkpoint_says_how_many_stages_were_finished(tmp_path):
    assert finished_stages(tmp_path) == 0
    file = tmp_path / CALIBRATION_STATE
    file.parent.mkdir()
    for answered, stages in ((False, 6), (True, 7)):
        state = {"format": STATE_FORMAT, "calibrator": {"stage": 7, "answered": answered}}
        file.write_bytes(pickle.dumps(state))
        assert finished_stages(tmp_path) == stages


def test_the_last_stage_is_that_of_the_last_whole_result(tmp_path):
    assert last_stage(tmp_path) == 0
    lines = [json.dumps({"training_iteration": k}) for k in (1, 2, 3)]
    (tmp_path / TRIAL_FILE).write_text("\n".join(lines) + '\n{"training_it')
    assert last_stage(tmp_path) == 3


def test_a_result_that_was_not_written_whole_is_dropped_before_others_follow_it(tmp_path):
    (tmp_path / "trial").mkdir()
    file = tmp_path / "trial" / TRIAL_FILE
    for torn in ("", '{"training_iteration": 3, "calibration": '):
        file.write_text('{"training_iteration": 1}\n{"training_iteration": 2}\n' + torn)
        drop_torn_results(tmp_path)
        with open(file, "a") as results:
            results.write('{"training_iteration": 3}\n')
        assert list(read_history(tmp_path / "trial")["training_iteration"]) == [1, 2, 3]
    file.write_text('{"training_it')
    drop_torn_results(tmp_path)
    assert file.read_text() == ""
