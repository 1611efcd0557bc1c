"""The recipes of docs/cluster.md, on three hosts with addresses of their own."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import pytest
from cluster_hosts import BARE, PATIENCE_S, Hosts, bare_python, can_make_hosts
from killable_commands import stages
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rllib_calsheq.results.checkpoints import finished_stages, trial_checkpoints

ROOT = Path(__file__).resolve().parent.parent
STAGES = 4
SMALL = [
    "--set", "config.num_env_runners=2", "--set", "config.num_particles=8",
    "--set", "config.minibatch_size=512",
]  # fmt: skip
SETTINGS = [*SMALL, "--set", f"stop.training_iteration={STAGES}"]
#: What a wheel is built with, and what Ray's wheels have but do not say.
BESIDE = ("pyyaml", "setuptools")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not can_make_hosts(), reason="needs root and network namespaces"),
]


def needed():
    """What the package needs beside that which a bare host surely has."""
    stated = [Requirement(text) for text in metadata.requires("rllib-calsheq") or ()]
    names = {canonicalize_name(r.name) for r in stated if r.marker is None}
    return sorted({*names - {Requirement(text).name for text in BARE}, *BESIDE})


@pytest.fixture(scope="module")
def place():
    """A folder with a short path: a bare Python, a checkout, and what all hosts share.

    That is wheels, as a package index would have them: the build system's, and those of what the
    package needs.
    """
    folder = Path(tempfile.mkdtemp(prefix="cq"))
    bare_python(folder / "bare")
    checkout, wheels = folder / "checkout", folder / "shared" / "wheels"
    for name in ("rllib_calsheq", "envs", "callbacks", "tuned_examples"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(wheels), str(checkout)], check=True)
    shutil.rmtree(checkout / "build", ignore_errors=True)
    pins = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "download", "-q", "-d", str(wheels), *pins, *needed()], check=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def installed(place):
    """A bare Python with the project installed."""
    venv = bare_python(place / "installed")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-index"]
    wheels = place / "shared" / "wheels"
    subprocess.run(
        [*pip, "--find-links", str(wheels), *map(str, wheels.glob("rllib_calsheq-*"))], check=True
    )
    return venv


def finished(job, storage, name):
    """Checks that a job ended well, and that all it should leave lies in its storage."""
    assert job.returncode == 0, job.stdout[-6000:]
    trial = storage / name / "trial_00000"
    rows = (trial / "result.json").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["training_iteration"] for row in rows] == list(range(1, STAGES + 1))
    made = {path.name for path in trial.iterdir()}
    assert {"evaluation.json", "reward.png", "outcomes.png", "parameters.png"} <= made
    assert "targets met" in job.stdout
    runners = {json.loads(row)["fault_tolerance"]["num_healthy_workers"] for row in rows}
    assert runners == {2}
    return trial


def recipes(section):
    """The bash blocks of a section of docs/cluster.md."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    text = page.partition(f"## {section}\n")[2]
    return re.findall(r"^```bash\n(.*?)^```$", text.partition("\n## ")[0], re.DOTALL | re.MULTILINE)


def submitted(hosts, place, recipe, storage):
    """Runs a recipe from the checkout on the head, small and to its end; checks what it left."""
    line = recipe.strip().replace("/mnt/shared/runs", f"/mnt/shared/{storage}")
    line = line.replace("config.num_env_runners=16", "config.num_env_runners=2")
    job = hosts.run(0, ["sh", "-ec", f"{line} {shlex.join(SETTINGS)}"], cwd=place / "checkout")
    finished(job, place / "shared" / storage, "calsheq")


def test_a_job_on_hosts_with_the_project_installed(place, installed):
    """The actors of the one trial need all three hosts."""
    environment = {"RAY_AUTH_MODE": "disabled"}
    with Hosts(place / "a", place / "shared", 3, environment, installed) as hosts:
        hosts.start(cpus=1)
        submitted(hosts, place, recipes("Three recipes")[0], "installed")


def test_a_job_that_is_stopped_is_saved_and_says_how_to_go_on(place, installed):
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_JOB_STOP_WAIT_TIME_S": "15"}
    words = ["rllib", "train", "-f", "calsheq.yaml", "--name", "stopped"]
    words += ["--storage-path", "/mnt/shared/stopped", *SMALL]
    words += ["--set", "stop.training_iteration=100000"]
    trial = place / "shared" / "stopped" / "stopped" / "trial_00000"
    with Hosts(place / "c", place / "shared", 1, environment, installed) as hosts:
        hosts.start(cpus=3)
        submit = ["ray", "job", "submit", "--no-wait", "--submission-id", "long"]
        submit += ["--working-dir", "tuned_examples", "--", *words]
        job = hosts.run(0, submit, cwd=place / "checkout")
        assert job.returncode == 0, job.stdout[-6000:]
        deadline = time.monotonic() + PATIENCE_S
        while len(stages(trial)) < 5:
            assert time.monotonic() < deadline, hosts.run(0, ["ray", "job", "logs", "long"]).stdout
            time.sleep(0.5)
        sent = time.monotonic()
        stopped = hosts.run(0, ["ray", "job", "stop", "long"])
        print(f"ray job stop took {time.monotonic() - sent:.1f} s")
        assert "was stopped" in stopped.stdout
        log = hosts.run(0, ["ray", "job", "logs", "long"]).stdout
    assert f"stopped by SIGTERM\ngo on with: {shlex.join(words)} --resume" in log
    done = stages(trial)
    assert done == list(range(1, len(done) + 1))
    assert finished_stages(trial_checkpoints(trial)[-1]) == done[-1]


def test_jobs_that_bring_the_project_along_to_hosts_with_ray_alone(place):
    """As working directory and as a wheel, with a token that all hosts have."""
    _, as_directory, as_wheel = recipes("Three recipes")
    # No host reaches a package index.
    environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/mnt/shared/wheels"}
    environment["RAY_AUTH_MODE"] = "token"
    with Hosts(place / "b", place / "shared", 3, environment, place / "bare" / "venv") as hosts:
        for i in range(3):
            token = hosts.home(i) / ".ray" / "auth_token"
            token.parent.mkdir()
            token.write_text("a" * 32, encoding="utf-8")
        hosts.start(cpus=1)
        bare = hosts.run(1, ["python", "-c", "import ray, torch; import rllib_calsheq"])
        assert "No module named 'rllib_calsheq'" in bare.stdout
        submitted(hosts, place, as_directory, "directory")
        submitted(hosts, place, as_wheel, "wheel")
        refused = hosts.run(0, ["env", f"RAY_AUTH_TOKEN={'b' * 32}", "ray", "job", "list"])
        assert refused.returncode != 0
        assert "token" in refused.stdout.lower()
