"""What the commands say to help: versions, what comes next, what is wrong with the machine."""

import json
import pickle
import shlex
import shutil
import subprocess
import sys
import types

import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.cli import calsheq, reports, rllib
from rllib_calsheq.core.manifest import write_manifest
from rllib_calsheq.core.plain_pickle import TRUST
from rllib_calsheq.core.stages import STATE_FORMAT
from rllib_calsheq.core.version import __version__
from rllib_calsheq.results.checkpoints import (
    ARGUMENTS_FILE,
    CALIBRATION_STATE,
    CHECKPOINT_METADATA,
    TRIAL_FILE,
)

from experiment_specs import refusal, spec, write


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


@pytest.mark.parametrize(
    "params", [{"policy_of": {"a": "x", "b": "y"}}, {"model_config": {"use_lstm": True}}]
)
def test_what_a_run_would_be_refused_is_not_suggested(tmp_path, params):
    (trial_of(tmp_path) / "params.json").write_text(json.dumps(params), encoding="utf-8")
    assert [line.split()[1] for line in reports.next_lines(tmp_path)[1:]] == ["infer"]


def test_of_several_trials_one_is_named(tmp_path):
    trial_of(tmp_path, "trial_00000", checkpoint=False)
    trial = trial_of(tmp_path, "trial_00001")
    assert all(str(trial) in line for line in reports.next_lines(tmp_path)[1:])


def test_a_run_without_a_checkpoint_has_nothing_to_ask(tmp_path):
    assert reports.next_lines(tmp_path) == []
    trial_of(tmp_path, checkpoint=False)
    assert reports.next_lines(tmp_path) == []


# --- modules that are not found -------------------------------------------------------------


def checkpoint_of(folder, module, name="MyEnv"):
    """A whole checkpoint of this version, made with an environment in ``module``."""
    (folder / "calibration").mkdir(parents=True)
    (folder / CALIBRATION_STATE).write_bytes(pickle.dumps({"format": STATE_FORMAT}))
    # The class is pickled by its name, as of a module that is there at that moment.
    stand_in = types.ModuleType("stand_in")
    env = type(name, (), {"__module__": "stand_in"})
    setattr(stand_in, name, env)
    sys.modules["stand_in"] = stand_in
    state = {"class": CALSHEQConfig, "env": env}
    saved = pickle.dumps({"ctor_args_and_kwargs": ((state,), {})}, protocol=0)
    del sys.modules["stand_in"]
    (folder / ARGUMENTS_FILE).write_bytes(saved.replace(b"stand_in", module.encode()))
    (folder / CHECKPOINT_METADATA[0]).write_text("{}", encoding="utf-8")
    write_manifest(folder, made_by={}, stage=1, run={}, settings={})
    return folder


@pytest.mark.parametrize("command", [rllib, calsheq])
def test_a_checkpoint_of_a_module_that_is_not_found_is_one_sentence(tmp_path, capsys, command):
    folder = checkpoint_of(tmp_path / "checkpoint_000000", "my_missing_module")
    said = refusal(capsys, command.main, ["evaluate", folder])
    assert "was made with code that is not found here (No module named 'my_missing_module')" in said
    assert "write PYTHONPATH=FOLDER in front of the command" in said


def test_the_same_is_said_where_checkpoints_are_trusted(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(TRUST, "1")
    folder = checkpoint_of(tmp_path / "checkpoint_000000", "my_missing_module")
    said = refusal(capsys, calsheq.main, ["evaluate", folder])
    assert "is not found here (No module named 'my_missing_module')" in said


def test_a_module_in_the_current_folder_is_pointed_at(tmp_path, capsys, monkeypatch):
    (tmp_path / "my_lonely_module.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    folder = checkpoint_of(tmp_path / "checkpoint_000000", "my_lonely_module")
    assert "PYTHONPATH=. in front of" in refusal(capsys, calsheq.main, ["evaluate", folder])
    file = write(tmp_path, spec(env="my_lonely_module.MyEnv"))
    assert "PYTHONPATH=. in front of" in refusal(capsys, rllib.main, ["train", "-f", file])


def test_a_class_that_is_not_in_its_module_is_a_matter_of_versions(tmp_path, capsys):
    folder = checkpoint_of(tmp_path / "checkpoint_000000", "json")
    said = refusal(capsys, calsheq.main, ["evaluate", folder])
    assert "use the version of the code that the run was made with" in said


# --- completion -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words", "offered"),
    [
        (calsheq, ["infe"], ["infer"]),
        (calsheq, ["backtest", "--dec"], ["--decimal"]),
        (calsheq, ["targets", "--share-by", "c"], ["count"]),
        (rllib, ["train", "--ov"], ["--overwrite"]),
        (rllib, ["train", "--file", "mine"], ["mine.yaml"]),
    ],
)
def test_bash_completes_what_is_begun(tmp_path, capsys, command, words, offered):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    with pytest.raises(SystemExit):
        command.main(["--print-completion", "bash"])
    program = command._parser().prog
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    typed = shlex.join([program, *words])
    ask = (
        f"source ./script; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; "
        f'COMP_LINE="{typed}"; _shtab_{program}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    run = subprocess.run(
        ["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout.split() == offered, run.stderr
