"""A guard on a plain environment, which looks at all that it gives on its way to RLlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_calsheq.core.faults import BadEnvironmentError, EpisodeWatch


class EnvGuard:
    """Stands in an environment's `reset` and `step`.

    Args:
        env: The environment; its two methods are replaced by guarded ones.
    """

    def __init__(self, env: Any) -> None:
        self._name = type(env).__name__
        self._reset, self._step = env.reset, env.step
        env.reset, env.step = self.reset, self.step
        self._watch: EpisodeWatch | None = None
        self._episode = self._steps = 0

    def begin(self, watch: EpisodeWatch, episode: int) -> None:
        """The episode that the next reset begins is one of a watch's."""
        self._watch, self._episode, self._steps = watch, episode, 0

    def end(self) -> None:
        """The episode is over; what RLlib begins after it is nobody's."""
        self._watch = None

    def reset(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """The environment's `reset`."""
        observations, infos = self._reset(*args, **kwargs)
        return self._looked_at("an observation before step 1", observations), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Any]:
        """The environment's `step`."""
        observations, rewards, terminateds, truncateds, infos = self._step(actions)
        self._steps += 1
        for agent, reward in rewards.items():
            if np.ndim(reward):
                raise BadEnvironmentError(
                    f"{self._name}: the reward of an agent must be one number, and that of agent "
                    f"{agent} is an array of shape {np.shape(reward)}"
                )
        rewards = self._looked_at(f"the reward of step {self._steps}", rewards)
        observations = self._looked_at(
            f"an observation before step {self._steps + 1}", observations
        )
        return observations, rewards, terminateds, _ends_for_rllib(truncateds), infos

    def _looked_at(self, what: str, values: Any) -> Any:
        if self._watch is None:
            return values
        return self._watch.by_agent(self._episode, what, values)


def _ends_for_rllib(truncateds: Any) -> Any:
    """The truncations of a step, as RLlib must be told them.

    Agents that are all done count as terminated there, also where they are all truncated, and then
    nothing after the end has a value; truncated as a whole, an episode is only that.
    """
    return {"__all__": True} if truncateds.get("__all__") else truncateds
