"""An environment whose outcomes are its own supertypes: who got whose is plain to see."""

import numpy as np
from gymnasium.spaces import Box

from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome
from rllib_calsheq.envs.one_episode import OneEpisodeEnv

NAMES = ("a", "b", "c")


class ArrayEcho:
    def __init__(self, config=None):
        config = dict(config or {})
        self.supertype_space = SupertypeSpace(tuple(Parameter(name, "only") for name in NAMES))
        self.outcomes = tuple(Outcome(f"only.{name}", 0.1) for name in NAMES)
        self.agent_supertypes = ("only",) * config.get("num_agents", 2)
        self.episode_length = config.get("episode_length", 4)
        self.observation_space = Box(-1, 1, (2,), np.float32)
        self.action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, profiles, seeds):
        self._profiles = self.supertype_space.validate(profiles)
        self._shape = (len(self._profiles), len(self.agent_supertypes))
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        return self._observe()

    def step(self, actions):
        reward = -((np.asarray(actions)[..., 0] - 0.3) ** 2)
        return self._observe(), reward.astype(np.float32)

    def _observe(self):
        return np.stack([rng.uniform(-1, 1, (self._shape[1], 2)) for rng in self._rngs]).astype(
            np.float32
        )

    def episode_outcomes(self):
        return self._profiles.copy()


class EchoEnv(OneEpisodeEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayEcho(config)


def watch(algorithm):
    """Notes which particles answered in each stage; fails if one has another one's outcome."""
    seen = []
    calibrator = algorithm.calibration.calibrator
    learn = calibrator._learn

    def checked(particles, rewards, outcomes):
        own = calibrator.profiles[particles]
        np.testing.assert_allclose(outcomes[:, : len(NAMES)], own, atol=1e-12)
        seen.append(particles.tolist())
        return learn(particles, rewards, outcomes)

    calibrator._learn = checked
    return seen
