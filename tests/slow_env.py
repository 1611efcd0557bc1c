"""An environment that sleeps in its last step, on the env runner that has four episodes."""

import time

from echo_env import ArrayEcho, EchoEnv

SLOW_EPISODES = 4


class ArraySlow(ArrayEcho):
    def __init__(self, config=None):
        super().__init__(config)
        self._delay = dict(config or {})["delay"]

    def episode_outcomes(self):
        if len(self._profiles) == SLOW_EPISODES:
            time.sleep(self._delay)
        return super().episode_outcomes()


class SlowEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArraySlow(config)
