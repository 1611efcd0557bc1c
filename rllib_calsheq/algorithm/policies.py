"""Which policy an agent uses: the one that all share, or that of its class of supertypes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec

from rllib_calsheq.algorithm.problem import SHARED_POLICY, CalibrationProblem
from rllib_calsheq.algorithm.stated_config import StatedConfig, map_to_shared_policy
from rllib_calsheq.core.configuration import require
from rllib_calsheq.learning.ray_private.access import stored

#: Names of policies, which are those of folders in a checkpoint, too.
NAMES = r"[A-Za-z][\w-]*"


@dataclass(frozen=True)
class PolicyOfAgent:
    """RLlib's policy mapping, by agent ID.

    Attributes:
        policies: ``{agent ID: policy}``.
    """

    policies: Mapping[Any, str]

    def __call__(self, agent_id: Any, episode: Any = None, **kwargs: Any) -> str:
        """The policy of an agent."""
        return self.policies[agent_id]


def policies_of_agents(config: StatedConfig, problem: CalibrationProblem) -> dict[Any, str]:
    """The policy that each agent uses, ``{agent ID: policy}``.

    Raises:
        ValueError: If ``policy_of`` does not name a policy for each supertype, or agents of one
            policy have different spaces.
    """
    stated = config.policy_of
    if stated is None:
        found = dict.fromkeys(problem.agent_supertypes, SHARED_POLICY)
    else:
        _check_stated(config, problem)
        found = {a: stated[supertype] for a, supertype in problem.agent_supertypes.items()}
    _check_spaces(found, problem)
    return found


def policy_fields(config: StatedConfig, policies: Mapping[Any, str]) -> dict[str, Any]:
    """RLlib's fields that say the same."""
    one = config.policy_of is None
    return {
        # RLlib reads their spaces off the environment.
        "policies": tuple(config.policy_names),
        "policy_mapping_fn": map_to_shared_policy if one else PolicyOfAgent(dict(policies)),
    }


def _check_stated(config: StatedConfig, problem: CalibrationProblem) -> None:
    supertypes, stated = problem.space.supertypes, config.policy_of
    allowed = (
        f"mappings of every supertype, which are {list(supertypes)}, to the policy that its agents "
        "share; leave it out where all share one"
    )
    fits = isinstance(stated, Mapping) and set(stated) == set(supertypes)
    require(fits, "policy_of", stated, allowed)
    assert stated is not None
    for name in stated.values():
        named = isinstance(name, str) and bool(re.fullmatch(NAMES, name))
        require(named, "a policy in policy_of", name, "letters, digits, _ and -, a letter first")
    require(len(config.policy_names) > 1, "policy_of", stated, f"two policies or more: {allowed}")
    spec = stored(config, "rl_module_spec")
    if isinstance(spec, MultiRLModuleSpec):
        raise ValueError(
            "policy_of makes several policies, which an rl_module_spec for the one shared policy "
            "says nothing about: give an RLModuleSpec, which is that of all of them"
        )


def _check_spaces(policies: Mapping[Any, str], problem: CalibrationProblem) -> None:
    """Checks that agents of one policy see and do the same kind of thing."""
    first: dict[str, Any] = {}
    for agent, policy in policies.items():
        other = first.setdefault(policy, agent)
        for kind, mine, its in zip(
            ("observation", "action"), problem.spaces[agent], problem.spaces[other], strict=True
        ):
            # The same object first: there may be a million agents.
            if mine is not its and mine != its:
                raise ValueError(
                    f"agents {other!r} and {agent!r} share the policy {policy!r}, but the {kind} "
                    f"space of {other!r} is {its} and that of {agent!r} is {mine}: make them "
                    "alike, or give each class of supertypes a policy of its own by "
                    "`policy_of: {supertype: policy}`"
                )
