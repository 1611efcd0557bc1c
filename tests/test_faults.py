"""Env runners that die, all of them too, and what the particles make of it."""

import os
import signal

import pytest
import ray

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.core.stages import MAX_EMPTY_STAGES, NoOutcomesError

from echo_env import EchoEnv, watch

pytestmark = pytest.mark.usefixtures("ray_cluster")


def build(restart=True, sampling="arrays"):
    config = (
        CALSHEQConfig()
        .environment(EchoEnv)
        .env_runners(num_env_runners=2)
        .training(minibatch_size=16)
        .calibration(targets={"only.a": 0.9}, num_particles=7, sampling=sampling)
    )
    config.fault_tolerance(restart_failed_env_runners=restart, ignore_env_runner_failures=True)
    return config.build_algo()


def kill(algorithm, worker):
    """SIGKILL to an env runner's process, as a machine that runs out of memory would."""
    actor = algorithm.env_runner_group._worker_manager.actors()[worker]
    pid = ray.get(actor.apply.remote(lambda runner: os.getpid()))
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("sampling", ["arrays", "episodes"])
def test_particles_keep_their_identity_over_two_env_runners(sampling):
    algorithm = build(sampling=sampling)
    seen = watch(algorithm)
    for _ in range(3):
        algorithm.train()
    algorithm.stop()
    assert seen == [list(range(7))] * 3


def test_a_killed_env_runner_is_masked_then_comes_back():
    algorithm = build()
    seen = watch(algorithm)
    algorithm.train()
    kill(algorithm, 1)
    for _ in range(12):
        algorithm.train()
        if seen[-1] == list(range(7)) and len(seen) > 2:
            break
    algorithm.stop()
    assert seen[0] == list(range(7))
    assert any(len(particles) < 7 for particles in seen), "the killed runner was never missed"
    assert seen[-1] == list(range(7)), "the killed runner's particles were lost for good"


def test_a_runner_that_stays_dead_leaves_its_particles_to_the_other():
    algorithm = build(restart=False)
    seen = watch(algorithm)
    algorithm.train()
    kill(algorithm, 2)
    for _ in range(5):
        algorithm.train()
    algorithm.stop()
    assert seen[-1] == list(range(7))
    assert any(len(particles) < 7 for particles in seen)


def test_all_env_runners_dead_is_a_clear_error_within_three_stages():
    algorithm = build(restart=False)
    algorithm.train()
    for worker in (1, 2):
        kill(algorithm, worker)
    for _ in range(MAX_EMPTY_STAGES - 1):
        algorithm.train()
    with pytest.raises(NoOutcomesError, match="no env runner has reported an outcome"):
        algorithm.train()
    algorithm.stop()
