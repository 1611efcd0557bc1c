"""The calibration problem that a configuration describes: spaces, outcomes, agents."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq.core.actions import check_start
from rllib_calsheq.core.importing import not_found_hint
from rllib_calsheq.core.outcomes import OutcomeColumns
from rllib_calsheq.core.supertypes import SupertypeSpace

#: Module ID of the one policy that all agents share.
SHARED_POLICY = "shared_policy"


@dataclass(frozen=True)
class CalibrationProblem:
    """What is calibrated, read off one instance of the environment.

    Attributes:
        space: The supertype space; its start is Λ_0.
        columns: The environment's outcomes, then the mean return of each supertype.
        num_agents: n.
        episode_length: Steps T of every episode, or None where it varies.
        agent_supertypes: Supertype of every agent, by agent ID.
        spaces: Spaces of what every agent observes and does, by agent ID.
        has_array_form: Whether the environment's class has the fast form.
        episode_bytes: Memory that the environment keeps for an episode; 0 where it does not say.
    """

    space: SupertypeSpace
    columns: OutcomeColumns
    num_agents: int
    episode_length: int | None
    agent_supertypes: Mapping[Any, str]
    spaces: Mapping[Any, tuple[gym.Space, gym.Space]]
    has_array_form: bool
    episode_bytes: float = 0.0

    @property
    def observation_space(self) -> gym.Space:
        """Space of one agent's observation, the first one's."""
        return next(iter(self.spaces.values()))[0]

    @property
    def action_space(self) -> gym.Space:
        """Space of one agent's action, the first one's."""
        return next(iter(self.spaces.values()))[1]

    @property
    def sees_vectors(self) -> bool:
        """Whether all agents observe a `Box`."""
        return all(isinstance(seen, gym.spaces.Box) for seen, _ in self.spaces.values())

    @property
    def acts_in_vectors(self) -> bool:
        """Whether all agents' actions are in a `Box`."""
        return all(isinstance(done, gym.spaces.Box) for _, done in self.spaces.values())


def resolve_env(env: Any) -> type[MultiAgentEnv]:
    """The environment class that ``env`` names: a class, or a dotted path to one.

    Raises:
        ValueError: If there is no such class or it is no `MultiAgentEnv`.
    """
    found = env
    if isinstance(env, str):
        module_name, _, class_name = env.rpartition(".")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            hint = not_found_hint(error) if module_name else ""
            raise ValueError(
                f"env {env!r} cannot be imported ({error}); give the dotted path of an environment "
                f"class, e.g. rllib_calsheq.envs.MarketEnv{'; or ' * bool(hint)}{hint}"
            ) from None
    if not (isinstance(found, type) and issubclass(found, MultiAgentEnv)):
        raise ValueError(
            f"env {env!r} is no MultiAgentEnv class; CALSHEQ calibrates RLlib MultiAgentEnvs that "
            "implement rllib_calsheq.CalibratableEnv, e.g. rllib_calsheq.envs.MarketEnv"
        )
    return found


def read_problem(env: Any, env_config: Mapping[str, Any]) -> CalibrationProblem:
    """Makes one environment and reads the problem off it.

    Raises:
        ValueError: If the environment lacks a member of the protocol, its configuration is
            refused, or two of its outcomes and returns have one name.
    """
    env_class = resolve_env(env)
    instance = env_class(dict(env_config))
    missing = [
        name
        for name in (
            "supertype_space",
            "outcomes",
            "agent_supertypes",
            "set_supertypes",
            "episode_outcomes",
        )
        if not hasattr(instance, name)
    ]
    if missing:
        raise ValueError(
            f"{env_class.__name__} cannot be calibrated: it lacks {missing}. Implement "
            "rllib_calsheq.CalibratableEnv (supertype_space, outcomes, agent_supertypes, "
            "set_supertypes, episode_outcomes) and check it with "
            "rllib_calsheq.conformance.plain.check_calibratable_env"
        )
    space: SupertypeSpace = instance.supertype_space
    agents = list(instance.possible_agents)
    for agent in agents:
        check_start(instance.get_action_space(agent))
    instance.close()
    return CalibrationProblem(
        space=space,
        columns=OutcomeColumns.of(instance),
        num_agents=len(agents),
        episode_length=getattr(instance, "episode_length", None),
        agent_supertypes=_supertypes(instance, agents),
        spaces={
            agent: (instance.get_observation_space(agent), instance.get_action_space(agent))
            for agent in agents
        },
        has_array_form=hasattr(env_class, "array_form"),
        episode_bytes=float(getattr(instance, "episode_bytes", 0.0)),
    )


def _supertypes(env: Any, agents: Sequence[Any]) -> dict[Any, str]:
    """The supertype of each agent.

    Raises:
        ValueError: If an agent has none, or one without a parameter.
    """
    named, known = env.agent_supertypes, env.supertype_space.supertypes
    for agent in agents:
        if not isinstance(named, Mapping) or named.get(agent) not in known:
            raise ValueError(
                f"{type(env).__name__}.agent_supertypes must map every one of possible_agents to "
                f"one of the supertypes {list(known)}, but is {named!r}, without agent {agent!r}"
            )
    return {agent: named[agent] for agent in agents}
