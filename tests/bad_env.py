"""An environment that is well behaved but for one fault, in the episodes of some seeds."""

import numpy as np

from echo_env import ArrayEcho, EchoEnv

#: A fault shows in episodes whose seed can be divided by this, agent 1, step 2.
EVERY, AGENT, STEP = 5, 1, 2


class ArrayBad(ArrayEcho):
    def __init__(self, config=None):
        super().__init__(config)
        self._fault = dict(config or {}).get("fault", "")
        self._every = dict(config or {}).get("every", EVERY)

    def reset(self, profiles, seeds):
        self._bad = np.array([seed % self._every == 0 for seed in seeds])
        self._step = 1
        return super().reset(profiles, seeds)

    def step(self, actions):
        observations, rewards = super().step(actions)
        now = self._step == STEP and bool(self._bad.any())
        if now and self._fault == "inf reward":
            rewards[self._bad, AGENT] = np.inf
        if now and self._fault == "nan observation":
            observations[self._bad, AGENT] = np.nan
        if now and self._fault == "raises":
            raise KeyError("no price:\n  the book is empty")
        if now and self._fault == "reward shape":
            rewards = rewards[:, :1]
        if now and self._fault == "observation shape":
            observations = observations[..., :1]
        if now and self._fault == "text":
            rewards = rewards.astype(str)
        self._step += 1
        return observations, rewards

    def episode_outcomes(self):
        outcomes = super().episode_outcomes()
        if self._fault == "inf outcome":
            outcomes[self._bad, 1] = -np.inf
        if self._fault == "nan outcomes":
            outcomes[:] = np.nan
        return outcomes


class BadEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayBad(config)
