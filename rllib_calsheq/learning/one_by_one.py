"""The array form of an environment that has none: its episodes are stepped one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.outcomes import read_outcomes
from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.supertypes import FloatArray

#: Steps after which an episode is taken for one that does not end.
MAX_STEPS = 100_000


def as_arrays(env_class: type, env_config: Mapping[str, Any]) -> ArrayEnv:
    """An environment's array form: its own, or else its episodes `OneByOne`.

    Raises:
        ValueError: If it has none and its episodes cannot be played in arrays.
    """
    if hasattr(env_class, "array_form"):
        own: ArrayEnv = env_class.array_form(env_config)
        return own
    return OneByOne(lambda: env_class(dict(env_config)), env_class.__name__)


class OneByOne:
    """An `ArrayEnv` made of the plain form, at the price of the plain form.

    An episode that is truncated counts as ended: nothing after it has a value. One episode is
    played here with random actions, to see how long it is.

    Args:
        make: Makes one environment of the plain form.
        what: Name of the environment, for messages.

    Raises:
        ValueError: If agents come, leave or do not act in every step, have spaces of their own, or
            observe anything but a `Box`.
    """

    def __init__(self, make: Callable[[], Any], what: str) -> None:
        self._make, self._what = make, what
        env = make()
        self._envs = [env]
        self._agents = list(env.possible_agents)
        self.supertype_space = env.supertype_space
        self.outcomes = env.outcomes
        self.agent_supertypes = tuple(env.agent_supertypes[agent] for agent in self._agents)
        self.observation_space = self._one_space("observation", env.get_observation_space)
        self.action_space = self._one_space("action", env.get_action_space)
        if not isinstance(self.observation_space, gym.spaces.Box):
            self._refuse(f"agents observe a {self.observation_space}, which is no Box of numbers")
        self.episode_length = self._measured_length(env)

    def reset(self, profiles: npt.ArrayLike, seeds: Sequence[int]) -> npt.NDArray:
        """Starts E episodes from profiles (E, d) and seeds (E,); returns (E, n, obs...)."""
        chosen = self.supertype_space.validate(np.atleast_2d(np.asarray(profiles, dtype=float)))
        while len(self._envs) < len(seeds):
            self._envs.append(self._make())
        self._count, self._t = len(seeds), 0
        rows = []
        for env, profile, seed in zip(self._envs, chosen, seeds, strict=False):
            env.set_supertypes(profile)
            observations, _ = env.reset(seed=int(seed))
            rows.append(self._row(observations, "reset()"))
        return np.stack(rows)

    def step(self, actions: npt.ArrayLike) -> tuple[npt.NDArray, npt.NDArray]:
        """Steps with actions (E, n, act...); returns observations and rewards (E, n)."""
        self._t += 1
        rows = list(np.asarray(actions))
        stepped = [
            self._step(env, row) for env, row in zip(self._envs[: self._count], rows, strict=True)
        ]
        observations, rewards = (np.stack(part) for part in zip(*stepped, strict=True))
        return observations, rewards

    def episode_outcomes(self) -> FloatArray:
        """Outcome vectors (E, N) of the finished episodes; NaN for what did not happen."""
        return np.stack([read_outcomes(env) for env in self._envs[: self._count]])

    def _step(self, env: Any, actions: Any) -> tuple[npt.NDArray, npt.NDArray]:
        given = dict(zip(self._agents, actions, strict=True))
        observations, rewards, terminated, truncated, _ = env.step(given)
        ended = _all_ended(terminated, truncated, self._agents)
        if ended != (self._t == self.episode_length):
            self._refuse(
                f"an episode ended after {self._t} steps and another after {self.episode_length}"
                if ended
                else f"an episode goes on after step {self._t}, where another ended"
            )
        if not ended:
            row = self._row(observations, f"step {self._t}")
        else:
            # Nothing depends on what is seen after the end.
            shape = (len(self._agents), *(self.observation_space.shape or ()))
            row = np.zeros(shape, dtype=self.observation_space.dtype)
        return row, np.array([rewards.get(agent, 0.0) for agent in self._agents], dtype=np.float64)

    def _row(self, observations: Mapping[Any, Any], when: str) -> npt.NDArray:
        missing = [agent for agent in self._agents if agent not in observations]
        if missing:
            self._refuse(f"{missing} are not there at {when}")
        return np.stack([np.asarray(observations[agent]) for agent in self._agents])

    def _one_space(self, kind: str, space_of: Callable[[Any], gym.Space]) -> gym.Space:
        spaces = [space_of(agent) for agent in self._agents]
        for agent, space in zip(self._agents, spaces, strict=True):
            if space != spaces[0]:
                self._refuse(
                    f"the {kind} space of {agent!r} is {space}, that of {self._agents[0]!r} is "
                    f"{spaces[0]}"
                )
        return spaces[0]

    def _measured_length(self, env: Any) -> int:
        """Steps of one episode, played with random actions."""
        env.set_supertypes(self.supertype_space.start)
        observations, _ = env.reset(seed=0)
        self._row(observations, "reset()")
        self.action_space.seed(0)
        for t in range(1, MAX_STEPS + 1):
            actions = {agent: self.action_space.sample() for agent in self._agents}
            observations, _, terminated, truncated, _ = env.step(actions)
            if _all_ended(terminated, truncated, self._agents):
                return t
            self._row(observations, f"step {t}")
        self._refuse(f"an episode did not end within {MAX_STEPS} steps")
        raise AssertionError

    def _refuse(self, why: str) -> None:
        raise ValueError(
            f"{self._what} has no array form, and cannot be played in arrays without one: {why}. "
            "Policies are compared on episodes of one length, in which every agent acts in every "
            "step; give the class an array_form() of that kind (rllib_calsheq.ArrayEnv)"
        )


def _all_ended(
    terminated: Mapping[Any, bool], truncated: Mapping[Any, bool], agents: Sequence[Any]
) -> bool:
    if terminated.get("__all__") or truncated.get("__all__"):
        return True
    return all(terminated.get(agent) or truncated.get(agent) for agent in agents)
