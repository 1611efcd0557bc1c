"""`calsheq report`, and the report at a run's end: where it is written, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from rllib_calsheq.cli.calsheq import main
from rllib_calsheq.cli.reports import finish_run
from rllib_calsheq.reporting.writing import write_report

from run_folders import add_particles, full_run, make_run, write


@pytest.fixture
def full(tmp_path):
    return full_run(tmp_path / "full")


def test_the_command_writes_beside_the_run_or_where_it_is_told(full, tmp_path, capsys):
    assert main(["report", str(full), "--markdown"]) == 0
    assert (full / "report.html").is_file()
    assert (full / "report.md").is_file()
    assert capsys.readouterr().out.count("wrote ") == 2
    assert main(["report", str(full), "-o", str(tmp_path / "deep" / "my.html")]) == 0
    assert "calsheq report" in (tmp_path / "deep" / "my.html").read_text()
    with pytest.raises(ValueError, match="is a folder; give the name of a file"):
        write_report([full], tmp_path)
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "there is nothing at" in capsys.readouterr().err


def test_a_run_ends_with_a_report_unless_none_is_wanted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rllib_calsheq.results.plots.draw_trial", lambda trial: [])
    trial, report = make_run(tmp_path / "r"), tmp_path / "r" / "report.html"
    finish_run(tmp_path / "r", evaluate=False, report=False)
    assert not report.exists()
    finish_run(tmp_path / "r", evaluate=False, report=True)
    assert report.is_file()
    assert f"wrote {report}" in capsys.readouterr().out
    # What is wrong with a report is no fault of the run's.
    (trial / "evaluation.json").write_text("{")
    assert finish_run(tmp_path / "r", evaluate=False, report=True) == []
    assert "no report was written: " in capsys.readouterr().out
    for k in range(1, 13):
        make_run(tmp_path / "more").rename(tmp_path / "r" / f"trial_{k:05d}")
    finish_run(tmp_path / "r", evaluate=False, report=True)
    assert "no report of 13 trials side by side" in capsys.readouterr().out


def test_what_has_no_evaluation_of_its_last_checkpoint_is_evaluated_if_asked(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("rllib_calsheq.cli.reports._evaluate_trial", done.append)
    trials = [make_run(tmp_path / name) for name in "abc"]
    for trial in trials:
        add_particles(trial, np.zeros((1, 3)))
    (trials[1] / "evaluation.json").unlink()
    found = json.loads((trials[2] / "evaluation.json").read_text())
    write(trials[2] / "evaluation.json", found | {"stage": 20})
    runs = [str(trial.parent) for trial in trials]
    output = ["-o", str(tmp_path / "out.html")]
    assert main(["report", *runs, *output]) == 0
    assert done == []
    assert main(["report", *runs, "--evaluate", *output]) == 0
    assert done == trials[1:]


def test_a_run_of_another_algorithm_is_refused(tmp_path, capsys):
    trial = make_run(tmp_path / "r")
    write(trial / "result.json", {"training_iteration": 1})
    assert main(["report", str(tmp_path / "r")]) == 2
    assert "another algorithm" in capsys.readouterr().err


def test_a_damaged_file_is_named(full, capsys):
    (full / "trial_00000" / "evaluation.json").write_text("{")
    assert main(["report", str(full)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "evaluation.json is damaged" in said
    assert "make it again" in said


def test_a_report_is_written_without_loading_ray_or_torch(full):
    code = (
        "import sys; from rllib_calsheq.reporting.writing import write_report\n"
        f"write_report([{str(full)!r}])\n"
        "print(sorted({'ray', 'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "[]", run.stderr
