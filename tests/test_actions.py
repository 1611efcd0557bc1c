"""One place makes the environment's actions of sampled ones, and it is equal to RLlib's own."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from ray.rllib.connectors.module_to_env import NormalizeAndClipActions
from ray.rllib.core.columns import Columns

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.certificates.search.policies import check_action_space
from rllib_calsheq.conformance.plain import ConformanceError, check_array_env, check_environment
from rllib_calsheq.core.actions import ActionTransform, sample_as_policy

from echo_env import ArrayEcho, EchoEnv

SPACES = [
    Box(0, 4, (2,), np.int64),
    Box(-3, 9, (2,), np.int32),
    Box(-1, 1, (2,), np.float32),
    Box(np.array([0, -5], np.float32), np.array([10, 5], np.float32)),
    Box(np.array([0, -np.inf], np.float32), np.array([1, np.inf], np.float32)),
    Discrete(4),
    Discrete(4, start=2),
    MultiDiscrete([3, 4]),
]


def as_rllib_does(space, actions, normalize, clip):
    piece = NormalizeAndClipActions(
        None, Dict({"a": space}), normalize_actions=normalize, clip_actions=clip
    )
    batch = {Columns.ACTIONS: {("e", "a", "m"): [np.asarray(a) for a in actions]}}
    batch = piece(rl_module=None, batch=batch, episodes=[])
    found = batch.get(Columns.ACTIONS_FOR_ENV, batch[Columns.ACTIONS])
    return np.stack(found["e", "a", "m"])


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_environment_actions_are_those_that_rllib_plays(space, normalize, clip):
    rng = np.random.default_rng(3)
    if isinstance(space, Box) and space.dtype.kind == "f":
        sampled = 3 * rng.standard_normal((20, 2), dtype=np.float32)
    else:
        sampled = rng.integers(4, size=(20, *space.shape))
    found = ActionTransform(space, normalize, clip)(sampled)
    np.testing.assert_array_equal(found, as_rllib_does(space, sampled, normalize, clip))


def test_an_integer_box_is_counted_from_its_lower_bound():
    transform = ActionTransform(Box(0, 4, (1,), np.int64))
    assert transform(np.array([[0], [1], [2], [4]])).ravel().tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize("space", [SPACES[0], SPACES[2], SPACES[5], SPACES[7]], ids=str)
def test_conformance_plays_what_training_plays(space):
    played = []

    class Array(ArrayEcho):
        def __init__(self, config=None):
            super().__init__(config)
            self.action_space = space

        def step(self, actions):
            played.append(actions)
            rows = np.asarray(actions, dtype=np.float32)
            return super().step(rows.reshape(*rows.shape[:2], -1))

    check_array_env(Array())
    actions = np.concatenate([a.reshape(-1, *space.shape) for a in played])
    assert all(space.contains(a.astype(space.dtype)) for a in actions)
    assert len(np.unique(actions)) > 2


class ArrayFromOne(ArrayEcho):
    def __init__(self, config=None):
        super().__init__(config)
        self.action_space = Discrete(2, start=1)


class FromOneEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayFromOne(config)


def test_actions_that_are_not_counted_from_0_are_refused_everywhere():
    message = "count actions from 0"
    with pytest.raises(ConformanceError, match=message):
        check_environment(FromOneEnv)
    with pytest.raises(ConformanceError, match=message):
        check_array_env(ArrayFromOne())
    config = CALSHEQConfig().environment(FromOneEnv).calibration(targets={"only.a": 0.5})
    with pytest.raises(ValueError, match=message):
        config.validate()
    with pytest.raises(ValueError, match=message):
        check_action_space(Discrete(2, start=1))
    with pytest.raises(ValueError, match=message):
        sample_as_policy(MultiDiscrete([2, 2], start=[0, 1]), np.random.default_rng(0), ())


def test_a_certificate_refuses_a_box_of_integers():
    """Its policies are Gaussian, and would play numbers that are not in the box."""
    with pytest.raises(ValueError, match="a Box of floats or Discrete"):
        check_action_space(Box(0, 4, (2,), np.int64))
    check_action_space(Box(0, 4, (2,), np.float32))
