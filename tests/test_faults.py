"""Env runners that die, all of them too, and what the particles make of it."""

import os
import signal
import time

import pytest
import ray
from slow_env import SlowEnv

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.core.absences import ABSENCES, TOO_SLOW
from rllib_calsheq.core.stages import MAX_EMPTY_STAGES, NoOutcomesError

from echo_env import EchoEnv, watch

pytestmark = pytest.mark.usefixtures("ray_cluster")


def build(restart=True, sampling="arrays", env=EchoEnv, env_config=None, **runners):
    config = (
        CALSHEQConfig()
        .environment(env, env_config=env_config or {})
        .env_runners(num_env_runners=2, **runners)
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
    seen, said = watch(algorithm), []
    algorithm.train()
    kill(algorithm, 1)
    for _ in range(12):
        said += [t for t in [algorithm.train()["calibration"].get(ABSENCES)] if t]
        if seen[-1] == list(range(7)) and len(seen) > 2:
            break
    algorithm.stop()
    assert seen[0] == list(range(7))
    assert any(len(particles) < 7 for particles in seen), "the killed runner was never missed"
    assert "env runner 1 is dead" in said[0]
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


def test_a_slow_env_runner_is_named_and_the_others_results_count():
    algorithm = build(env=SlowEnv, env_config={"delay": 3.0}, sample_timeout_s=0.5)
    seen = watch(algorithm)
    first, second, third = (algorithm.train()["calibration"] for _ in range(3))
    algorithm.stop()
    assert seen == [[4, 5, 6], [4, 5, 6], list(range(7))]
    assert first[ABSENCES] == (
        "env runner 1 is slow, not dead: it was not done within sample_timeout_s = 0.5 s; its 4 "
        f"episodes are left out. {TOO_SLOW}"
    )
    assert "left out and go to the other env runners from now on" in second[ABSENCES]
    assert ABSENCES not in third


def test_an_env_runner_that_hangs_for_good_holds_up_neither_a_stage_nor_the_end():
    algorithm = build(env=SlowEnv, env_config={"delay": 1e6}, sample_timeout_s=0.5)
    start = time.monotonic()
    assert algorithm.train()["calibration"]["num_particles"] == 3
    algorithm.stop()
    assert time.monotonic() - start < 60


def test_all_env_runners_dead_is_a_clear_error_within_three_stages():
    algorithm = build(restart=False)
    algorithm.train()
    for worker in (1, 2):
        kill(algorithm, worker)
    for _ in range(MAX_EMPTY_STAGES - 1):
        algorithm.train()
    dead = "no env runner has reported an outcome .*: env runner 1 is dead.* env runner 2 is dead"
    with pytest.raises(NoOutcomesError, match=dead):
        algorithm.train()
    algorithm.stop()
