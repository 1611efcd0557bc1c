"""What the commands say to help: versions, what comes next, what is wrong with the machine."""

import json
import shlex

import pytest

from rllib_calsheq.cli import calsheq, reports, rllib
from rllib_calsheq.core.version import __version__
from rllib_calsheq.results.checkpoints import CHECKPOINT_METADATA, TRIAL_FILE


def trial_of(run, name="trial_00000", checkpoint=True):
    """A trial's folder as Tune leaves it, of a run that is not of this package."""
    trial = run / name
    trial.mkdir(parents=True)
    (trial / TRIAL_FILE).write_text(json.dumps({"training_iteration": 1}) + "\n", encoding="utf-8")
    if checkpoint:
        folder = trial / "checkpoint_000000"
        folder.mkdir()
        (folder / CHECKPOINT_METADATA[0]).write_text("{}", encoding="utf-8")
    return trial


@pytest.mark.parametrize("command", [calsheq, rllib])
def test_the_version_is_said(capsys, command):
    with pytest.raises(SystemExit) as done:
        command.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"rllib-calsheq {__version__}\n"


# --- what comes next ------------------------------------------------------------------------


def test_the_end_of_a_run_names_commands_that_exist(tmp_path):
    run = tmp_path / "my run"
    trial_of(run)
    heading, *lines = reports.next_lines(run)
    assert heading == "what to ask next:"
    parsed = [calsheq._parser().parse_args(shlex.split(line, comments=True)[1:]) for line in lines]
    assert [args.command for args in parsed] == ["infer", "certify"]
    assert {args.run for args in parsed} == {str(run)}


def test_of_several_trials_one_is_named(tmp_path):
    trial_of(tmp_path, "trial_00000", checkpoint=False)
    trial = trial_of(tmp_path, "trial_00001")
    assert all(str(trial) in line for line in reports.next_lines(tmp_path)[1:])


def test_a_run_without_a_checkpoint_has_nothing_to_ask(tmp_path):
    assert reports.next_lines(tmp_path) == []
    trial_of(tmp_path, checkpoint=False)
    assert reports.next_lines(tmp_path) == []
