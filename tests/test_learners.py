"""Several learners on the array path: the same data, the same weights, the same learning."""

import numpy as np
import pytest
import torch

from rllib_calsheq.algorithm import SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.rollout import RolloutBlock

from echo_env import EchoEnv


def block(T=3, E=5, n=2):
    """A block whose rewards number its agent steps."""
    rewards = np.arange(T * E * n, dtype=np.float32).reshape(T, E, n)
    column = rewards[..., None]
    return RolloutBlock(column, column, column, rewards, rewards)


@pytest.mark.parametrize("wanted", [1, 6, 7, 15, 30])
def test_a_cut_keeps_whole_episodes_and_loses_none(wanted):
    whole = block()
    head, tail = whole[:wanted], whole.slice(slice(wanted, None))
    assert len(whole) == 30
    assert len(head) + len(tail) == 30
    assert len(head) == max(wanted // 6, 1) * 6
    np.testing.assert_array_equal(
        np.concatenate([head.rewards, tail.rewards], axis=1), whole.rewards
    )


@pytest.mark.parametrize(("episodes", "learners"), [(4, 2), (5, 2), (9, 4), (3, 3)])
def test_rllibs_sharding_gives_every_learner_whole_episodes(episodes, learners):
    from ray.rllib.core.learner.training_data import TrainingData

    shards = TrainingData(episodes=[block(E=episodes)]).shard(
        learners, minibatch_size=4, num_epochs=2
    )
    counts = [sum(len(b) for b in data.episodes) for data, _ in shards]
    assert sum(counts) == episodes * 6
    assert max(counts) - min(counts) <= 6
    steps = {kwargs["num_total_minibatches"] for _, kwargs in shards}
    assert steps == {2 * episodes * 6 // (learners * 4)}


@pytest.mark.learning
@pytest.mark.usefixtures("ray_cluster")
def test_two_learners_learn_as_one_does_and_stay_in_step():
    curves = {}
    for learners in (0, 2):
        config = CALSHEQConfig().environment(
            EchoEnv, env_config={"episode_length": 20, "num_agents": 4}
        )
        config.learners(num_learners=learners)
        config.training(minibatch_size=128 // max(learners, 1), num_epochs=10)
        # An odd number, so that the learners' shards differ.
        config.calibration(targets={"only.a": 0.9}, num_particles=9)
        algorithm = config.build_algo()
        curves[learners] = [
            algorithm.train()["calibration"]["outcomes"]["only.reward"]["mean"] for _ in range(12)
        ]
        if learners:
            group = algorithm.learner_group
            found = group.foreach_learner(
                lambda learner: (
                    learner.module[SHARED_POLICY].state_dict(),
                    learner.get_kl_coefficients(),
                )
            )
            (weights_1, kl_1), (weights_2, kl_2) = (r.get() for r in found.ignore_errors())
            assert kl_1 == kl_2
            for key, value in weights_1.items():
                np.testing.assert_array_equal(value, weights_2[key])
        algorithm.stop()
    one, two = np.array(curves[0]), np.array(curves[2])
    assert one[-1] > 0.6 * one[0]
    np.testing.assert_allclose(two, one, atol=0.08 * abs(one[0]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.usefixtures("ray_cluster")
def test_a_learner_on_a_gpu_learns_what_one_on_the_cpu_does():
    weights = {}
    for gpus in (0, 1):
        config = CALSHEQConfig().environment(
            EchoEnv, env_config={"episode_length": 20, "num_agents": 4}
        )
        config.learners(num_learners=0, num_gpus_per_learner=gpus)
        config.training(minibatch_size=128).debugging(seed=0)
        config.calibration(targets={"only.a": 0.9}, num_particles=8)
        algorithm = config.build_algo()
        algorithm.train()
        module = algorithm.learner_group._learner.module[SHARED_POLICY]
        device = next(module.parameters()).device.type
        assert device == ("cuda" if gpus else "cpu")
        weights[gpus] = {k: v.cpu().numpy() for k, v in module.state_dict().items()}
        algorithm.stop()
    for key, value in weights[0].items():
        np.testing.assert_allclose(weights[1][key], value, atol=2e-3, err_msg=key)
