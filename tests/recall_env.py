"""A bit that is shown once and asked for later: what a policy without a memory cannot know."""

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq import Outcome, Parameter, SupertypeSpace


class RecallEnv(MultiAgentEnv):
    episode_length = 3

    def __init__(self, config=None):
        super().__init__()
        self.supertype_space = SupertypeSpace((Parameter("heads", "player"),))
        self.outcomes = (Outcome("right", 0.1, low=0.0, high=1.0),)
        self.agents = self.possible_agents = [f"player_{i}" for i in range(4)]
        self.agent_supertypes = dict.fromkeys(self.agents, "player")
        self.observation_spaces = dict.fromkeys(self.agents, Box(-1, 1, (2,), np.float32))
        self.action_spaces = dict.fromkeys(self.agents, Discrete(2))
        self.set_supertypes(self.supertype_space.start)

    def set_supertypes(self, profile):
        self._profile = self.supertype_space.validate(profile)

    def reset(self, *, seed=None, options=None):
        rng = np.random.default_rng(seed)
        self._bits = {agent: int(rng.random() < self._profile[0]) for agent in self.agents}
        self._t, self._right = 0, np.nan
        return self._observe(), {}

    def step(self, action_dict):
        self._t += 1
        over = self._t == self.episode_length
        rewards = {a: float(over and action_dict[a] == bit) for a, bit in self._bits.items()}
        self._right = np.mean(list(rewards.values()))
        ends = dict.fromkeys([*self.agents, "__all__"], over)
        return self._observe(), rewards, ends, dict.fromkeys(ends, False), {}

    def episode_outcomes(self):
        return np.array([self._right])

    def _observe(self):
        shown = {a: 2 * bit - 1 if self._t == 0 else 0 for a, bit in self._bits.items()}
        return {a: np.array([s, self._t / 3], np.float32) for a, s in shown.items()}
