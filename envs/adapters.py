"""Environments that were written without a calibration in mind, made calibratable.

`from_pettingzoo` takes a PettingZoo `ParallelEnv`, `from_multi_agent_env` a plain RLlib
`MultiAgentEnv`. What such an environment lacks is stated in four arguments: how one is made, which
parameters it has, how agents get their types from them, and what is measured of an episode.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome
from rllib_calsheq.envs.adapted import (
    AdaptedEnv,
    AdaptedParallelEnv,
    Measure,
    PlayedEpisode,
    Recipe,
    SetTypes,
)

__all__ = ["PlayedEpisode", "from_multi_agent_env", "from_pettingzoo"]


def from_pettingzoo(
    env: Callable[..., Any],
    space: SupertypeSpace | Sequence[Parameter],
    set_types: SetTypes,
    outcomes: Mapping[Outcome, Measure],
    *,
    supertype_of: Callable[[Any], str] | Mapping[Any, str] | None = None,
    episode_length: int | Callable[[Any], int] | None = None,
) -> type[AdaptedEnv]:
    """Makes a PettingZoo `ParallelEnv` calibratable.

    The result is a class like any other environment's: give it a name in a module, and ``env``
    is that name, in Python or as a dotted path in an experiment file. The fields of ``env_config``
    are the arguments of ``env``; one more, ``supertypes``, states the start Λ_0 by parameter.

    Agents may leave early, and come late if they are among the possible agents. Observations that
    are no `Box` are flattened to one.

    Example:
        >>> import numpy as np
        >>> from mpe2 import simple_spread_v3
        >>> from rllib_calsheq import Outcome, Parameter, check_environment, from_pettingzoo
        >>> def set_thrust(env, profile, rng):
        ...     for agent in env.unwrapped.world.agents:
        ...         agent.accel = rng.uniform(0.9, 1.1) * profile["agent.thrust"]
        >>> def speed(episode):
        ...     return np.mean([np.hypot(*seen[:2]) for seen in episode.observations[-1].values()])
        >>> Spread = from_pettingzoo(
        ...     simple_spread_v3.parallel_env,
        ...     [Parameter("thrust", "agent", low=1.0, high=9.0)],
        ...     set_thrust,
        ...     {Outcome("speed", scale=0.2, low=0.0): speed},
        ... )
        >>> check_environment(Spread, {"N": 2, "max_cycles": 10})

    Args:
        env: Makes an environment from keyword arguments, as ``parallel_env`` of PettingZoo's
            modules does, or the class of your own.
        space: The parameters, ``<supertype>.<name>`` each, with their bounds.
        set_types: Called before each reset as ``set_types(env, profile, rng)``: draws the agents'
            types and puts them into the environment. ``profile`` is ``{full parameter name:
            value}``; all randomness must come from ``rng``, which the episode's seed makes. What an
            agent may know of its own type it returns as ``{agent: numbers}`` for all possible
            agents; they are put behind what the agent observes. None where agents see no more than
            the environment shows.
        outcomes: What is measured, and how: a function of the `PlayedEpisode` for each `Outcome`,
            that returns a number, or NaN for what did not happen.
        supertype_of: The supertype of each possible agent, by agent or as a function of the agent.
            When None, agent ``buyer_0`` is a ``buyer``, unless there is one supertype for all.
        episode_length: Steps of every episode, or a function of the environment that says so; it
            makes sampling faster. None where episodes end as they please.

    Returns:
        An environment class (`CalibratableEnv`).

    Raises:
        ValueError: If an argument is not of its kind. What is wrong with the environment itself is
            said when one is made.
    """
    return _adapted(
        AdaptedParallelEnv, env, space, set_types, outcomes, supertype_of, episode_length
    )


def from_multi_agent_env(
    env: Callable[[Any], Any],
    space: SupertypeSpace | Sequence[Parameter],
    set_types: SetTypes,
    outcomes: Mapping[Outcome, Measure],
    *,
    supertype_of: Callable[[Any], str] | Mapping[Any, str] | None = None,
    episode_length: int | Callable[[Any], int] | None = None,
) -> type[AdaptedEnv]:
    """Makes a plain RLlib `MultiAgentEnv` calibratable.

    Example:
        >>> from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole
        >>> from rllib_calsheq import Outcome, Parameter, from_multi_agent_env
        >>> def set_gravity(env, profile, rng):
        ...     for pole in env.envs:
        ...         pole.unwrapped.gravity = profile["pole.gravity"]
        >>> Poles = from_multi_agent_env(
        ...     MultiAgentCartPole,
        ...     [Parameter("gravity", "pole", low=1.0, high=20.0)],
        ...     set_gravity,
        ...     {Outcome("steps", scale=5.0): lambda episode: len(episode.actions)},
        ... )
        >>> Poles({"num_agents": 2}).agent_supertypes
        {0: 'pole', 1: 'pole'}

    Args:
        env: Makes an environment from its ``env_config``, a mapping, as RLlib does: its class.
        space: As for `from_pettingzoo`, and so are all others.
        set_types: See there.
        outcomes: See there.
        supertype_of: See there.
        episode_length: See there.

    Returns:
        An environment class (`CalibratableEnv`).

    Raises:
        ValueError: As for `from_pettingzoo`.
    """
    return _adapted(AdaptedEnv, env, space, set_types, outcomes, supertype_of, episode_length)


def _adapted(
    base: type[AdaptedEnv],
    env: Any,
    space: Any,
    set_types: Any,
    outcomes: Any,
    supertype_of: Any,
    episode_length: Any,
) -> type[AdaptedEnv]:
    """A class of the caller's caller's module, its arguments checked."""
    made = "functions or classes that make an environment, e.g. parallel_env of a PettingZoo module"
    # Each particle has an environment of its own.
    require(callable(env), "env", env, made)
    if not isinstance(space, SupertypeSpace):
        fits = isinstance(space, Sequence) and all(isinstance(p, Parameter) for p in space)
        require(fits, "space", space, "a SupertypeSpace, or the Parameters of one")
        space = SupertypeSpace(tuple(space))
    require(callable(set_types), "set_types", set_types, "functions set_types(env, profile, rng)")
    fits = isinstance(outcomes, Mapping) and bool(outcomes) and all(
        isinstance(o, Outcome) and callable(measure) for o, measure in outcomes.items()
    )  # fmt: skip
    require(
        fits, "outcomes", outcomes,
        "{Outcome(name, scale): function of the played episode}, one or more",
    )  # fmt: skip
    recipe = Recipe(env, space, set_types, dict(outcomes), supertype_of, episode_length)
    # As collections.namedtuple does it: the class belongs to the module that asked for it.
    module = sys._getframe(2).f_globals.get("__name__", __name__)
    return type(base.__name__, (base,), {"_recipe": recipe, "__module__": module})
