"""Torch's threads: one where stages run, unless somebody says otherwise, and nowhere else."""

import json
import os
import subprocess
import sys

import pytest

from rllib_calsheq.algorithm import CALSHEQConfig

from echo_env import EchoEnv

#: A user's program. Threads are recorded by the environment, a stage's callback and the calibrator.
PROGRAM = """
import json, tempfile, torch
from ray.rllib.callbacks.callbacks import RLlibCallback
import rllib_calsheq.results.evaluation
from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.calibrators.fixed import FixedCalibrator
from echo_env import ArrayEcho, EchoEnv

seen, phase = {}, "check"
torch.set_num_threads(3)

class Recording(ArrayEcho):
    def step(self, actions):
        seen[phase] = torch.get_num_threads()
        return super().step(actions)

class RecordingEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return Recording(config)

class Callback(RLlibCallback):
    def on_train_result(self, **kwargs):
        seen["callback"] = torch.get_num_threads()

def learn(self, *args):
    seen["calibrator"] = torch.get_num_threads()
    return {}

FixedCalibrator._learn = learn
config = CALSHEQConfig().environment(RecordingEnv).callbacks(Callback)
config.calibration(calibrator={"name": "fixed"}, num_particles=2)
algorithm = config.build_algo()
phase = "sampling"
algorithm.train()
seen["between"] = torch.get_num_threads()
phase = "evaluation"
rllib_calsheq.results.evaluation.evaluate(algorithm.save_to_path(tempfile.mkdtemp()), episodes=2)
seen["after"] = torch.get_num_threads()
algorithm.stop()
print("seen", json.dumps(seen))
"""
INSIDE = ("sampling", "callback", "calibrator", "evaluation")


def run(folder, variables):
    """What the program saw in a process with these variables, and without others of the kind."""
    # A module, so that the checkpoint names its classes instead of holding copies.
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | variables
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), environment["PYTHONPATH"]])
    command = [sys.executable, "-c", "import program"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout.rpartition("seen ")[2])


@pytest.mark.parametrize(
    ("variables", "inside"),
    [
        ({}, 1),
        ({"CALSHEQ_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}, 2),
        # Somebody has chosen: what the process has is left as it is.
        ({"OMP_NUM_THREADS": "2"}, 3),
    ],
)
def test_stages_and_evaluations_run_on_one_thread_and_the_process_keeps_its_own(
    tmp_path, variables, inside
):
    seen = run(tmp_path, variables)
    assert {seen[name] for name in INSIDE} == {inside}, seen
    assert seen["between"] == seen["after"] == 3


@pytest.mark.parametrize("given", ["0", "-1", "many", ""])
def test_a_number_of_threads_that_is_none_is_refused_before_anything_starts(monkeypatch, given):
    monkeypatch.setenv("CALSHEQ_NUM_THREADS", given)
    config = CALSHEQConfig().environment(EchoEnv)
    config.calibration(targets={"only.a": 0.9}, num_particles=4)
    with pytest.raises(ValueError, match=r"CALSHEQ_NUM_THREADS is .* integers from 1"):
        config.validate()


def test_parts_of_a_certificate_are_computed_on_one_thread(monkeypatch, tmp_path):
    import numpy as np
    import torch

    from rllib_calsheq.certificates.jobs.certificate_jobs import Job
    from rllib_calsheq.certificates.jobs.processes import run_jobs
    from rllib_calsheq.certificates.jobs.store import JobStore

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = run_jobs(
            [Job("cheap")],
            JobStore(tmp_path, {}),
            lambda part: {"threads": np.array(torch.get_num_threads())},
            lambda: None,
            1,
            lambda part, seconds: None,
        )
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert int(found[Job("cheap")]["threads"]) == 1
