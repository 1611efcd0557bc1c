"""From nothing but the wheel to a report: by one command, and by five lines of Python."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from wheels import ROOT, build_wheel

pytestmark = pytest.mark.learning

#: `rllib train -f calsheq.yaml`, cut to seconds.
SHORT = ("stop.training_iteration=2", "config.num_particles=8", "config.minibatch_size=512")
FIVE_LINES = """
from rllib_calsheq import calibrate
city = "rllib_calsheq.envs.SubwayEnv"
targets = {"suburbs.subway_rate": 0.3, "inside.subway_rate": 0.6}
result = calibrate(city, targets, stages=2, num_particles=8, folder="city")
print(result.report())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of the programs of a virtual environment with the wheel, its needs beside it."""
    folder = tmp_path_factory.mktemp("installed")
    venv = folder / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)], folder)
    python = str(venv / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index"]
    run([*pip, "--no-deps", str(build_wheel(folder))], folder)
    # Files of paths in these folders are not read, and so no editable install of this checkout is.
    (own,) = venv.glob("lib/python*/site-packages")
    beside = [path for path in sys.path if Path(path).name == "site-packages"]
    beside = beside or [sysconfig.get_path("purelib")]
    (own / "beside.pth").write_text("\n".join(beside) + "\n", encoding="utf-8")
    where = run([python, "-c", "import rllib_calsheq; print(rllib_calsheq.__file__)"], folder)
    assert Path(where.strip()) == own / "rllib_calsheq" / "__init__.py"
    return venv / "bin"


def run(command, folder):
    """What a command prints that is run in a folder, with nothing known of the checkout."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=folder, env=kept, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(ROOT) not in done.stdout
    return done.stdout


def test_one_command_goes_from_nothing_to_a_report(installed, tmp_path):
    words = [word for value in SHORT for word in ("--set", value)]
    command = [str(installed / "rllib"), "train", "-f", "calsheq.yaml", *words]
    said = run([*command, "--storage-path", "runs"], tmp_path)
    report = tmp_path / "runs" / "calsheq" / "report.html"
    assert f"wrote {report}" in said
    assert "of 10 targets" in report.read_text(encoding="utf-8")


def test_five_lines_go_from_nothing_to_a_report(installed, tmp_path):
    assert len(FIVE_LINES.strip().splitlines()) == 5
    said = run([str(installed / "python"), "-c", FIVE_LINES], tmp_path)
    report = tmp_path / "city" / "report.html"
    assert said.splitlines()[-1] == str(report)
    assert "suburbs.subway_rate" in report.read_text(encoding="utf-8")
