"""Nodes that come and go: particles of lost runners are masked, dealt out, and never mistaken."""

import time

import pytest
import ray
from ray.cluster_utils import Cluster

from rllib_calsheq.algorithm import CALSHEQConfig

from echo_env import EchoEnv, watch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PARTICLES, RUNNERS = 24, 6


@pytest.fixture
def cluster():
    """A head without room for an env runner; tests add the nodes."""
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def build():
    config = (
        CALSHEQConfig()
        .environment(EchoEnv)
        .env_runners(num_env_runners=RUNNERS, sample_timeout_s=5)
        .training(minibatch_size=64, num_epochs=1)
        .calibration(targets={"only.a": 0.9}, num_particles=PARTICLES)
        .debugging(seed=5)
    )
    config.fault_tolerance(restart_failed_env_runners=True, ignore_env_runner_failures=True)
    return config.build_algo()


def nodes_of_runners(algorithm):
    """The node of each env runner that answers."""
    found = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: ray.get_runtime_context().get_node_id(),
        local_env_runner=False,
        timeout_seconds=5,
    )
    return list(found)


def train_until(algorithm, ready, seconds=120):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        algorithm.train()


def test_a_run_outlives_a_node_and_uses_the_one_that_comes(cluster):
    first, second = (cluster.add_node(num_cpus=3) for _ in range(2))
    cluster.wait_for_nodes()
    algorithm = build()
    seen = watch(algorithm)
    everyone = list(range(PARTICLES))
    algorithm.train()
    assert seen == [everyone]
    assert len(set(nodes_of_runners(algorithm))) == 2

    cluster.remove_node(second, allow_graceful=False)
    # Processes of a node that is gone may answer once more before they notice.
    train_until(algorithm, lambda: seen[-1] != everyone)
    # After two stages without them, the others have the particles of the node that went.
    train_until(algorithm, lambda: seen[-1] == everyone)
    assert set(nodes_of_runners(algorithm)) == {first.node_id}

    third = cluster.add_node(num_cpus=3)
    train_until(algorithm, lambda: third.node_id in nodes_of_runners(algorithm))
    train_until(algorithm, lambda: len(nodes_of_runners(algorithm)) == RUNNERS)
    algorithm.train()
    assert seen[-1] == everyone
    assert algorithm.calibration.assignment.lost() == []
    algorithm.stop()
