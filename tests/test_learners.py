"""Several learners on the array path: the same data, the same weights, the same learning."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.algorithm import SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.learning.rollout import ActionTransform, RolloutBlock, rollout
from rllib_calsheq.learning.seeding import torch_stream

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
    shards = TrainingData(episodes=[block(E=episodes)]).shard(
        learners, minibatch_size=4, num_epochs=2
    )
    counts = [sum(len(b) for b in data.episodes) for data, _ in shards]
    assert sum(counts) == episodes * 6
    assert max(counts) - min(counts) <= 6
    steps = {kwargs["num_total_minibatches"] for _, kwargs in shards}
    assert steps == {2 * episodes * 6 // (learners * 4)}


class Together:
    """`torch.distributed.all_reduce` among threads that stand for learners."""

    def __init__(self, learners):
        self._barrier = threading.Barrier(learners, timeout=60)
        self._given = {}

    def all_reduce(self, tensor):
        self._given[threading.get_ident()] = tensor.clone()
        self._barrier.wait()
        total = sum(self._given[key] for key in sorted(self._given))
        self._barrier.wait()
        self._given.pop(threading.get_ident())
        self._barrier.wait()
        tensor.copy_(total)


def side_by_side(monkeypatch, functions):
    """Results of functions that run as learners of one group."""
    monkeypatch.setattr(torch.distributed, "all_reduce", Together(len(functions)).all_reduce)
    with ThreadPoolExecutor(len(functions)) as pool:
        return [f.result(timeout=120) for f in [pool.submit(f) for f in functions]]


def learner(num_learners=0):
    """A learner of the array path; of several, they are told so once they are built."""
    config = CALSHEQConfig().environment(EchoEnv).training(num_epochs=3, minibatch_size=None)
    config.calibration(calibrator={"name": "fixed"}, num_particles=9)
    config.validate()
    array_env = EchoEnv.array_form({})
    spaces = (array_env.observation_space, array_env.action_space)
    with torch_stream(Stream.ACTIONS, 1):
        made = config.build_learner(
            spaces={"__env__": spaces, "__env_single__": spaces, SHARED_POLICY: spaces}
        )
    if num_learners > 1:
        made.config = made.config.copy(copy_frozen=False)
        made.config.num_learners = num_learners
        made._learner_connector[0].one_of_several = True
    return made


def sampled(made, episodes=9):
    """A block whose later episodes have larger rewards, so that parts of it differ."""
    env = EchoEnv.array_form({})
    with torch_stream(Stream.ACTIONS, 2):
        block, *_ = rollout(
            made.module[SHARED_POLICY].unwrapped(),
            env,
            np.tile(env.supertype_space.start, (episodes, 1)),
            range(episodes),
            transform=ActionTransform(env.action_space),
        )
    block.rewards += np.arange(episodes, dtype=np.float32)[:, None]
    return block


def parts(block, *cuts):
    """Some of a block's episodes each."""
    ends = [0, *cuts, block.rewards.shape[1]]
    return [block.episodes(slice(a, b)) for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize("cuts", [(2,), (0,), (4, 6)])
def test_learners_with_parts_of_the_episodes_have_the_advantages_of_one_with_all(monkeypatch, cuts):
    one = learner()
    whole = sampled(one)
    expected = one._make_batch_if_necessary(TrainingData(episodes=[whole]))[SHARED_POLICY]
    several = [learner(len(cuts) + 1) for _ in range(len(cuts) + 1)]
    found = side_by_side(
        monkeypatch,
        [
            partial(made._make_batch_if_necessary, TrainingData(episodes=[part] if part else []))
            for made, part in zip(several, parts(whole, *cuts), strict=True)
        ],
    )
    for name in (Postprocessing.ADVANTAGES, Postprocessing.VALUE_TARGETS):
        together = np.concatenate(
            [
                np.asarray(batch[SHARED_POLICY][name]).reshape(4, -1, 2)
                for batch, part in zip(found, parts(whole, *cuts), strict=True)
                if part
            ],
            axis=1,
        )
        np.testing.assert_allclose(
            together.ravel(), np.asarray(expected[name]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("cuts", [(2,), (0,), (4, 6)])
def test_learners_with_parts_of_the_episodes_take_the_steps_of_one_with_all(monkeypatch, cuts):
    one = learner()
    whole = sampled(one)
    one.update(episodes=[whole], timesteps={}, num_epochs=3)
    several = [learner(len(cuts) + 1) for _ in range(len(cuts) + 1)]
    side_by_side(
        monkeypatch,
        [
            partial(made.update, episodes=[part] if part else [], timesteps={}, num_epochs=3)
            for made, part in zip(several, parts(whole, *cuts), strict=True)
        ],
    )
    expected = one.module[SHARED_POLICY].state_dict()
    for made in several:
        assert made.get_kl_coefficients() == one.get_kl_coefficients()
        for key, value in made.module[SHARED_POLICY].state_dict().items():
            np.testing.assert_allclose(value, expected[key], atol=2e-4, err_msg=key)


def test_several_learners_are_refused_on_rllibs_own_path():
    config = CALSHEQConfig().environment(EchoEnv).learners(num_learners=2)
    config.calibration(targets={"only.a": 0.9}, num_particles=4, sampling="episodes")
    with pytest.raises(ValueError, match="num_learners is 2, but on RLlib's own path"):
        config.validate()


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
