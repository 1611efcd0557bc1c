"""What an environment must offer to be calibrated.

`CalibratableEnv` is the plain form: an RLlib `MultiAgentEnv` with three more members.
`ArrayEnv` is the fast form: the same environment as E episodes at once. An environment
class that has the fast form says so with a class method ``array_form(env_config)``.
`rllib_calsheq.conformance.plain` checks both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace
from rllib_calsheq.core.targets import Outcome


@runtime_checkable
class CalibratableEnv(Protocol):
    """A `MultiAgentEnv` whose supertypes can be set and whose outcomes can be read.

    Example:
        >>> from rllib_calsheq import CalibratableEnv
        >>> from rllib_calsheq.envs import SubwayEnv
        >>> isinstance(SubwayEnv(), CalibratableEnv)
        True
    """

    @property
    def supertype_space(self) -> SupertypeSpace:
        """Names and bounds of the profile Λ."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """The N outcomes of an episode, in the order of the outcome vector."""

    @property
    def agent_supertypes(self) -> Mapping[Any, str]:
        """Supertype of every agent, by agent ID."""

    def set_supertypes(self, profile: npt.ArrayLike) -> None:
        """Sets the profile (d,), in natural units, for the next and later episodes."""

    def episode_outcomes(self) -> FloatArray:
        """Outcome vector (N,) of the finished episode; NaN for what did not happen."""


def truncation_message(env: Any) -> str:
    """Why the plain form of an environment with an array form must not truncate episodes."""
    return (
        f"{type(env).__name__} truncates an episode, but has an array form, whose episodes "
        "terminate: the two would be learned from differently, since the value of what comes after "
        "a truncated episode counts. Let step() return terminateds at the end, or take away "
        "array_form() to train on RLlib's own path, where truncated episodes are bootstrapped"
    )


@runtime_checkable
class ArrayEnv(Protocol):
    """E episodes of n agents, stepped at once as arrays.

    All agents act in every step, episodes last ``episode_length`` steps and then terminate:
    nothing after the last step has a value. The plain form must not truncate them.

    Example:
        >>> from rllib_calsheq import ArrayEnv
        >>> from rllib_calsheq.envs import SubwayEnv
        >>> city = SubwayEnv.array_form({"num_suburbs": 3, "num_inside": 2})
        >>> isinstance(city, ArrayEnv)
        True
        >>> city.reset(profiles=[[1.0, 1.0]] * 4, seeds=range(4)).shape[:2]  # episodes, agents
        (4, 5)
    """

    @property
    def supertype_space(self) -> SupertypeSpace:
        """Names and bounds of the profile Λ."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """The N outcomes of an episode, in the order of the outcome vector."""

    @property
    def agent_supertypes(self) -> Sequence[str]:
        """Supertype of each of the n agents."""

    @property
    def observation_space(self) -> gym.Space:
        """Space of one agent's observation."""

    @property
    def action_space(self) -> gym.Space:
        """Space of one agent's action."""

    @property
    def episode_length(self) -> int:
        """Steps T in every episode."""

    def reset(self, profiles: npt.ArrayLike, seeds: Sequence[int]) -> npt.NDArray:
        """Starts E episodes from profiles (E, d) and seeds (E,); returns (E, n, obs...)."""

    def step(self, actions: npt.ArrayLike) -> tuple[npt.NDArray, npt.NDArray]:
        """Steps with actions (E, n, act...); returns observations and rewards (E, n)."""

    def episode_outcomes(self) -> FloatArray:
        """Outcome vectors (E, N) of the finished episodes; NaN for what did not happen."""
