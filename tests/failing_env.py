"""An environment that fails when its first episode is over."""

from echo_env import ArrayEcho, EchoEnv


class ArrayFailing(ArrayEcho):
    def episode_outcomes(self):
        raise ValueError("the market is closed:\n  no trades today")


class FailingEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayFailing(config)
