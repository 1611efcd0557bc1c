"""A `MultiAgentEnv` that is the one-episode view of an `ArrayEnv`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray


class OneEpisodeEnv(MultiAgentEnv):
    """The plain form of any `ArrayEnv`: with the same seed it gives the same numbers.

    A subclass states `array_form`; agents are named ``<agent_name>_1`` .. ``<agent_name>_n``.

    Example:
        >>> from rllib_calsheq import OneEpisodeEnv
        >>> from rllib_calsheq.envs import SubwayEnv
        >>> class City(OneEpisodeEnv):
        ...     agent_name = "person"
        ...
        ...     @classmethod
        ...     def array_form(cls, config=None):
        ...         return SubwayEnv.array_form(config)
        >>> City({"num_suburbs": 1, "num_inside": 1}).possible_agents
        ['person_1', 'person_2']

    Args:
        config: The environment configuration, as `array_form` takes it. Until the first
            `set_supertypes` the profile is the start of the supertype space.
    """

    agent_name: ClassVar[str] = "agent"

    @classmethod
    def array_form(cls, config: Any = None) -> ArrayEnv:
        """The environment's array form for ``config``."""
        raise TypeError(f"{cls.__name__} must define array_form()")

    def __init__(self, config: Mapping[str, Any] | Any = None) -> None:
        super().__init__()
        self._array = self.array_form(config)
        self.supertype_space = self._array.supertype_space
        self.outcomes = self._array.outcomes
        n = len(self._array.agent_supertypes)
        self.possible_agents = [f"{self.agent_name}_{i}" for i in range(1, n + 1)]
        self.agents = list(self.possible_agents)
        self.agent_supertypes = dict(
            zip(self.possible_agents, self._array.agent_supertypes, strict=True)
        )
        self.observation_spaces = dict.fromkeys(self.agents, self._array.observation_space)
        self.action_spaces = dict.fromkeys(self.agents, self._array.action_space)
        self._profile = self.supertype_space.start
        #: Every episode has this many steps, so that any number of them end together.
        self.episode_length = self._array.episode_length
        #: Memory of an episode in bytes, where the array form states it.
        self.episode_bytes = float(getattr(self._array, "episode_bytes", 0.0))
        self._seeder = np.random.default_rng()
        self._t = 0

    def set_supertypes(self, profile: npt.ArrayLike) -> None:
        """Sets the profile (d,), in natural units, from the next `reset` on.

        Raises:
            ValueError: If the profile has the wrong length or is out of bounds.
        """
        self._profile = self.supertype_space.validate_one(profile)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, npt.NDArray], dict[str, dict]]:
        """Starts an episode; a given seed reproduces types, connections and trajectory.

        Without a seed the episodes follow from the last one that was given.
        """
        if seed is None:
            seed = int(self._seeder.integers(2**63))
        else:
            self._seeder = stream_rng(Stream.LATER_EPISODES, int(seed))
        self._t = 0
        observations = self._array.reset(self._profile[None], [int(seed)])
        return self._by_agent(observations[0]), {agent: {} for agent in self.agents}

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Steps with one action for every agent."""
        missing = [agent for agent in self.agents if agent not in action_dict]
        if missing:
            raise ValueError(f"every agent must act in every step; no action from {missing}")
        actions = np.stack([np.asarray(action_dict[agent]) for agent in self.agents])[None]
        observations, rewards = self._array.step(actions)
        self._t += 1
        done = self._t >= self.episode_length
        ends = {agent: done for agent in self.agents} | {"__all__": done}
        stays = {agent: False for agent in self.agents} | {"__all__": False}
        return (
            self._by_agent(observations[0]),
            {agent: float(r) for agent, r in zip(self.agents, rewards[0], strict=True)},
            ends,
            stays,
            {agent: {} for agent in self.agents},
        )

    def episode_outcomes(self) -> FloatArray:
        """Outcome vector (N,) of the episode so far; NaN for what did not happen."""
        return self._array.episode_outcomes()[0]

    def _by_agent(self, rows: npt.NDArray) -> dict[str, npt.NDArray]:
        return dict(zip(self.agents, rows, strict=True))
