"""Commands in processes of their own, with a Ray of their own, that a test may end midway."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

#: Seconds that a part of a command may take.
PATIENCE_S = 400


#: Ray's processes that do nothing for anyone once their node is gone, and stay for minutes.
LINGERING = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")


def processes_of(folder, left_out=()):
    """Processes of the Ray sessions that live in a folder: Ray's own, and its workers.

    A worker's command line is a title; all of them have the folder from the command's environment.
    """
    given = f"RAY_TMPDIR={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
            title = (entry / "cmdline").read_bytes().rstrip(b"\0 ")
        except OSError:
            continue
        if given in words and title not in left_out and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def start(module, words, ray_folder, before=""):
    """Starts a command; ``before`` are statements that its process executes first."""
    environment = {
        **os.environ,
        "RAY_TMPDIR": ray_folder,
        "OMP_NUM_THREADS": "1",
        # Snapshots that are fresh when the kill comes.
        "TUNE_GLOBAL_CHECKPOINT_S": "1",
    }
    if before:
        program = f"{before}\nfrom rllib_calsheq.cli import {module}\n{module}.main()"
        line = [sys.executable, "-c", program, *map(str, words)]
    else:
        line = [sys.executable, "-m", f"rllib_calsheq.cli.{module}", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=environment, cwd=ray_folder, **pipes)


def wait_until(ready, process):
    """Waits until a command is where a test wants it."""
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finish(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    return out


def kill_once(process, ready, ray_folder):
    """SIGKILL to a command as soon as it is ready for it; waits until its Ray has gone, too."""
    wait_until(ready, process)
    deadline = time.monotonic() + PATIENCE_S
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    while processes_of(ray_folder, LINGERING) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not processes_of(ray_folder, LINGERING), "Ray outlived the driver that started it"


def rows(trial):
    """Complete rows of a trial's result.json, in the order in which they were written."""
    file = trial / "result.json"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def stages(trial):
    return [row["training_iteration"] for row in rows(trial)]


def trial_of(run):
    (found,) = (path for path in run.glob("*") if path.is_dir())
    return found


def calibration_by_stage(trial):
    """``{stage: everything that was logged of it}``, as text, since NaN differs from itself."""
    return {
        row["training_iteration"]: json.dumps(row["calibration"], sort_keys=True)
        for row in rows(trial)
    }
