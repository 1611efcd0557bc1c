"""The classes behind `rllib_calsheq.envs.adapters`: a foreign environment under our protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.spaces.utils import flatten, flatten_space
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace
from rllib_calsheq.core.targets import Outcome

#: Below this are the seeds that every random generator accepts.
SEEDS = 2**32


@dataclass(eq=False)
class PlayedEpisode:
    """An episode of T steps, for the functions that measure its outcomes.

    Example:
        >>> from rllib_calsheq import PlayedEpisode
        >>> def welfare(episode):
        ...     return sum(sum(by_agent.values()) for by_agent in episode.rewards)
        >>> welfare(PlayedEpisode(env=None, rewards=[{"a": 1.0, "b": 0.5}, {"b": 0.5}]))
        2.0

    Attributes:
        env: The environment, as it is at the end.
        observations: By agent, as the environment gave them: at the start, then after each step;
            T + 1 mappings.
        actions: By agent, what each one did in each step; T mappings.
        rewards: By agent, what each one got for each step; T mappings.
        infos: By agent, what else the environment said, as ``observations``.
    """

    env: Any
    observations: list[Mapping[Any, Any]] = field(default_factory=list)
    actions: list[Mapping[Any, Any]] = field(default_factory=list)
    rewards: list[Mapping[Any, float]] = field(default_factory=list)
    infos: list[Mapping[Any, Any]] = field(default_factory=list)


SetTypes = Callable[[Any, dict[str, float], np.random.Generator], Mapping[Any, Any] | None]
Measure = Callable[[PlayedEpisode], Any]


@dataclass(frozen=True, eq=False)
class Recipe:
    """What an adapted environment is made of; see `from_pettingzoo`."""

    make: Callable[..., Any]
    space: SupertypeSpace
    set_types: SetTypes
    outcomes: Mapping[Outcome, Measure]
    supertype_of: Callable[[Any], str] | Mapping[Any, str] | None
    episode_length: int | Callable[[Any], int] | None


class AdaptedEnv(MultiAgentEnv):
    """A `MultiAgentEnv` made calibratable; what `from_multi_agent_env` derives classes from.

    Args:
        config: The environment's own configuration; ``supertypes``, ``{parameter: value}``, is
            taken out of it as the start Λ_0.

    Raises:
        ValueError: If the environment or a function of the recipe is not what it must be.
    """

    _recipe: ClassVar[Recipe]

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        _take_name(type(self))
        fields, recipe = dict(config or {}), self._recipe
        self.supertype_space = recipe.space.with_start(fields.pop("supertypes", None))
        self.outcomes = tuple(recipe.outcomes)
        self._env = self._make(fields)
        self.possible_agents = list(getattr(self._env, "possible_agents", None) or ())
        if not self.possible_agents:
            raise ValueError(
                f"{self._name}: the environment has no possible_agents, and all agents that can "
                "ever take part must be known: let it list their IDs there"
            )
        self.agents = list(self.possible_agents)
        self.agent_supertypes = {a: self._supertype(a) for a in self.possible_agents}
        self._profile = self.supertype_space.start
        self._seeder = np.random.default_rng()
        self._types = self._draw_types(0)
        self._widths = {a: np.size(shown) for a, shown in self._types.items()}
        self._shown = {a: self._space("observation", a) for a in self.possible_agents}
        self.observation_spaces = {a: self._seen_space(a) for a in self.possible_agents}
        self.action_spaces = {a: self._space("action", a) for a in self.possible_agents}
        length = recipe.episode_length
        if length is not None:
            self.episode_length = int(length(self._env) if callable(length) else length)
        self._episode = PlayedEpisode(self._env)

    # --- the calibration's side -------------------------------------------------------

    def set_supertypes(self, profile: npt.ArrayLike) -> None:
        """Sets the profile (d,), in natural units, from the next `reset` on.

        Raises:
            ValueError: If the profile has the wrong length or is out of bounds.
        """
        self._profile = self.supertype_space.validate_one(profile)

    def episode_outcomes(self) -> FloatArray:
        """Outcome vector (N,) of the episode so far; NaN for what did not happen.

        Raises:
            ValueError: If a function of an outcome returns no number.
        """
        found = []
        for outcome, measure in self._recipe.outcomes.items():
            value = measure(self._episode)
            if np.ndim(value) or np.asarray(value).dtype.kind not in "fiub":
                raise ValueError(
                    f"{self._name}: the function of outcome {outcome.name!r} must return one "
                    f"number, or NaN, but returned {value!r}"
                )
            found.append(float(value))
        return np.array(found)

    # --- RLlib's side -----------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Starts an episode; a given seed reproduces types and trajectory.

        Without a seed the episodes follow from the last one that was given.
        """
        if seed is None:
            seed = int(self._seeder.integers(SEEDS))
        else:
            self._seeder = stream_rng(Stream.LATER_EPISODES, int(seed))
        self._types = self._draw_types(int(seed))
        observations, infos = self._env.reset(seed=int(seed), options=options)
        self._episode = PlayedEpisode(self._env, [observations], infos=[infos or {}])
        self._there = self.agents = [a for a in self.possible_agents if a in observations]
        return self._seen(observations), {}

    def step(self, action_dict: Mapping[Any, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Steps with the actions of all agents that are there."""
        observations, rewards, ends, stays, infos = self._step(action_dict)
        played = self._episode
        played.observations.append(observations)
        played.actions.append(dict(action_dict))
        played.rewards.append(rewards)
        played.infos.append(infos or {})
        over = bool(ends.get("__all__") or stays.get("__all__"))
        self._check_length(len(played.actions), over)
        return self._seen(observations), dict(rewards), ends, stays, {}

    def close(self) -> None:
        """Closes the environment."""
        self._env.close()

    # --- what PettingZoo does in another way --------------------------------------------

    def _make(self, fields: dict[str, Any]) -> Any:
        env = self._recipe.make(fields)
        if not isinstance(env, MultiAgentEnv):
            raise ValueError(
                f"{self._name}: from_multi_agent_env() needs an RLlib MultiAgentEnv, but `env` "
                f"made a {type(env).__name__}; a PettingZoo ParallelEnv goes into from_pettingzoo()"
            )
        return env

    def _space(self, kind: str, agent: Any) -> gym.Space:
        space: gym.Space = getattr(self._env, f"get_{kind}_space")(agent)
        return space

    def _step(self, actions: Mapping[Any, Any]) -> tuple[dict, dict, dict, dict, dict]:
        return self._env.step(dict(actions))

    # --- the rest ---------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _supertype(self, agent: Any) -> str:
        """The supertype of an agent, by what the user says or by its name."""
        known, said = self.supertype_space.supertypes, self._recipe.supertype_of
        found: str | None
        if said is None:
            found = known[0] if len(known) == 1 else str(agent).rpartition("_")[0]
        else:
            found = said(agent) if callable(said) else said.get(agent)
        if found not in known:
            raise ValueError(
                f"{self._name}: agent {agent!r} has the supertype {found!r}, and the parameters "
                f"are of {list(known)}: say which agent has which one by supertype_of, a mapping "
                "or a function of the agent"
            )
        return str(found)

    def _draw_types(self, seed: int) -> dict[Any, npt.NDArray[np.float32]]:
        """Sets the types of an episode; returns what each agent sees of its own, {} for nothing."""
        named = self.supertype_space.to_mapping(self._profile)
        try:
            types = self._recipe.set_types(self._env, named, stream_rng(Stream.TYPES, seed))
        except Exception as error:
            raise ValueError(
                f"{self._name}: set_types(env, profile, rng) raised {type(error).__name__}: "
                f"{error}, with the profile {named}"
            ) from error
        if types is None:
            return {}
        if not isinstance(types, Mapping) or set(types) != set(self.possible_agents):
            raise ValueError(
                f"{self._name}: set_types() must return None, or what each of the agents "
                f"{self.possible_agents} sees of its type, {{agent: numbers}}, but returned "
                f"{types!r}"
            )
        return {a: np.ravel(np.asarray(types[a], np.float32)) for a in self.possible_agents}

    def _seen_space(self, agent: Any) -> gym.Space:
        """What an agent's policy sees: what is shown, flattened where it is no Box, and types."""
        shown, width = self._shown[agent], self._widths.get(agent, 0)
        if isinstance(shown, gym.spaces.Box) and not width:
            return shown
        flat = flatten_space(shown)
        if not isinstance(flat, gym.spaces.Box):
            raise ValueError(
                f"{self._name}: agent {agent!r} observes a {shown}, which cannot be made a vector "
                "of numbers: let the environment show a Box, or a Dict or Tuple of such spaces"
            )
        edge = np.full(width, np.inf)
        low, high = np.concatenate([flat.low, -edge]), np.concatenate([flat.high, edge])
        return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

    def _seen(self, observations: Mapping[Any, Any]) -> dict[Any, Any]:
        found = {}
        for agent, shown in observations.items():
            space = self.observation_spaces[agent]
            if space is not self._shown[agent]:
                flat = np.asarray(flatten(self._shown[agent], shown), np.float32)
                shown = np.concatenate([flat, self._types[agent]]) if self._types else flat
            found[agent] = shown
        return found

    def _check_length(self, steps: int, over: bool) -> None:
        length = getattr(self, "episode_length", None)
        if length is not None and over != (steps == length):
            raise ValueError(
                f"{self._name}: an episode {'ended' if over else 'goes on'} after step {steps}, "
                f"but episode_length says {length}: leave it out where episodes vary in length"
            )


class AdaptedParallelEnv(AdaptedEnv):
    """A PettingZoo `ParallelEnv` made calibratable; `from_pettingzoo` derives classes from it."""

    def _make(self, fields: dict[str, Any]) -> Any:
        env = self._recipe.make(**fields)
        if hasattr(env, "agent_iter"):
            raise ValueError(
                f"{self._name}: `env` made an AECEnv, whose agents take turns: give the module's "
                "parallel_env instead, or a function that returns "
                "pettingzoo.utils.aec_to_parallel(...) of it"
            )
        lacks = [n for n in ("reset", "step", "observation_space", "action_space")
                 if not callable(getattr(env, n, None))]  # fmt: skip
        if lacks:
            raise ValueError(
                f"{self._name}: from_pettingzoo() needs a ParallelEnv, but `env` made a "
                f"{type(env).__name__} without the method(s) {lacks}"
            )
        return env

    def _space(self, kind: str, agent: Any) -> gym.Space:
        space: gym.Space = getattr(self._env, f"{kind}_space")(agent)
        return space

    def _step(self, actions: Mapping[Any, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """PettingZoo's step, its ends in RLlib's form."""
        there = self._there
        seen, rewards, terminated, truncated, infos = self._env.step(dict(actions))
        gone = {a for ends in (terminated, truncated) for a, end in ends.items() if end}
        came = [a for a in self._env.agents if a not in there and a not in gone]
        # RLlib counts those that have just left, PettingZoo does not.
        self.agents = known = [*there, *came]
        self._there = [a for a in known if a not in gone]
        over = not self._there or not self._env.agents
        # Whoever is there when time is up could have gone on.
        out_of_time = over and any(truncated.get(a) and not terminated.get(a) for a in there)
        ends = {a: bool(terminated.get(a)) for a in known} | {"__all__": over and not out_of_time}
        stays = {a: bool(truncated.get(a)) for a in known} | {"__all__": out_of_time}
        return (
            {a: seen[a] for a in known if a in seen},
            {a: float(rewards.get(a, 0.0)) for a in there},
            ends,
            stays,
            {a: infos[a] for a in known if a in infos},
        )


def _take_name(cls: type) -> None:
    """Calls a class what its module calls it: checkpoints and other processes find it by that."""
    module = sys.modules.get(cls.__module__)
    if "_recipe" not in vars(cls) or module is None:
        return
    for name, value in list(vars(module).items()):
        if value is cls:
            cls.__name__ = cls.__qualname__ = name
            return
