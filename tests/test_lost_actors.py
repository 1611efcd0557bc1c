"""Learners that are killed, and an object store that is too small."""

import os
import signal
import subprocess

import numpy as np
import pytest
import ray
from gymnasium.spaces import Box

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.core.stages import MAX_EMPTY_STAGES, NoOutcomesError
from rllib_calsheq.learning.learner import DeadLearnerError, NotFiniteError

from echo_env import ArrayEcho, EchoEnv


def build(env=EchoEnv, runners=0, learners=0, env_config=None, **training):
    config = (
        CALSHEQConfig()
        .environment(env, env_config=env_config or {})
        .env_runners(num_env_runners=runners)
        .learners(num_learners=learners)
        .training(minibatch_size=4096, num_epochs=1, **training)
        .calibration(targets={"only.a": 0.9}, num_particles=4)
    )
    return config.build_algo()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("learners", [1, 2])
def test_a_killed_learner_is_named_and_the_last_checkpoint_can_be_gone_on_with(tmp_path, learners):
    algorithm = build(learners=learners)
    algorithm.train()
    algorithm.save_to_path(tmp_path)
    *_, pid = algorithm.learner_group.foreach_learner(lambda learner: os.getpid())
    os.kill(pid.get(), signal.SIGKILL)
    # Whoever tries again is told the same.
    for _ in range(2):
        said = rf"1 of {learners} learners .* died in stage 2 \(\w+: The actor .*--resume"
        with pytest.raises(DeadLearnerError, match=said):
            algorithm.train()
    algorithm.stop()
    again = build()
    again.restore_from_path(tmp_path)
    assert again.train()["calibration"]["stage"] == 2
    again.stop()


@pytest.mark.usefixtures("ray_cluster")
def test_a_learner_that_raises_an_error_is_not_called_dead():
    algorithm = build(learners=1)
    algorithm.learner_group.foreach_learner(
        lambda learner: next(learner.module["shared_policy"].parameters()).data.fill_(np.nan)
    )
    with pytest.raises(NotFiniteError):
        algorithm.train()
    algorithm.stop()


STORE_BYTES = 78 * 2**20
WIDTH = 1024


class ArrayWide(ArrayEcho):
    """Observations of 4 KiB, so that a stage is larger than the object store."""

    def __init__(self, config=None):
        super().__init__(config)
        self.observation_space = Box(-1, 1, (WIDTH,), np.float32)

    def _observe(self):
        return np.repeat(super()._observe(), WIDTH // 2, axis=-1)


class WideEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayWide(config)


@pytest.fixture
def small_store(tmp_path):
    """Starts a Ray with a small object store that spills to a folder."""
    ray.shutdown()
    yield lambda: ray.init(
        "local",
        num_cpus=6,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=STORE_BYTES,
        object_spilling_directory=str(tmp_path),
    )
    ray.shutdown()


@pytest.fixture
def small_disk(tmp_path):
    """Makes the folder a disk of 16 MiB."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", tmp_path], check=False)
    if made.returncode:
        pytest.skip("needs root, to mount a small disk")
    yield
    subprocess.run(["umount", "-l", tmp_path], check=True)


def build_wide():
    size = {"num_agents": 120, "episode_length": 100}
    assert 4 // 2 * 120 * 100 * WIDTH * 4 > STORE_BYTES, "the part of one env runner"
    return build(WideEnv, runners=2, env_config=size)


@pytest.mark.cluster
def test_a_stage_that_is_larger_than_the_object_store_is_spilled(small_store):
    small_store()
    algorithm = build_wide()
    for _ in range(2):
        assert algorithm.train()["calibration"]["num_particles"] == 4
    algorithm.stop()


@pytest.mark.cluster
def test_a_full_disk_behind_a_full_object_store_is_named(small_disk, small_store):
    small_store()
    algorithm = build_wide()
    full = r"env runner 1 failed \(OutOfDiskError: .*disk is full.*env runner 2 failed"
    for _ in range(MAX_EMPTY_STAGES - 1):
        algorithm.train()
    with pytest.raises(NoOutcomesError, match=full):
        algorithm.train()
    algorithm.stop()
