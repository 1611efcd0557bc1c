"""The calibration problem that a configuration describes: spaces, outcomes, agents."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
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
        observation_space: Space of one agent's observation.
        action_space: Space of one agent's action.
        has_array_form: Whether the environment's class has the fast form.
        episode_bytes: Memory that the environment keeps for an episode; 0 where it does not say.
    """

    space: SupertypeSpace
    columns: OutcomeColumns
    num_agents: int
    episode_length: int | None
    observation_space: gym.Space
    action_space: gym.Space
    has_array_form: bool
    episode_bytes: float = 0.0


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
    check_start(instance.get_action_space(next(iter(instance.possible_agents))))
    agents = list(instance.possible_agents)
    instance.close()
    return CalibrationProblem(
        space=space,
        columns=OutcomeColumns.of(instance),
        num_agents=len(agents),
        episode_length=getattr(instance, "episode_length", None),
        observation_space=instance.get_observation_space(agents[0]),
        action_space=instance.get_action_space(agents[0]),
        has_array_form=hasattr(env_class, "array_form"),
        episode_bytes=float(getattr(instance, "episode_bytes", 0.0)),
    )
