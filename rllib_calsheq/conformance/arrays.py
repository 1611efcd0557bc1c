"""Checks of the array form, and what the checks of both forms share.

Import the checks from `rllib_calsheq.conformance.plain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.actions import ActionTransform, sample_as_policy
from rllib_calsheq.core.outcomes import OutcomeColumns
from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace
from rllib_calsheq.core.targets import Outcome

#: The two profiles that are compared, as positions in the unit cube.
LOW, HIGH = 0.25, 0.75
#: Episodes in the batch with which the array form is checked.
BATCH = 3
#: Relative difference that counts as rounding: sums of arrays of another layout differ so.
ROUNDING = 1e-6


class ConformanceError(AssertionError):
    """An environment breaks the protocol; the message says where and what to do."""


def check_array_env(array_env: ArrayEnv, seed: int = 0) -> None:
    """Checks an array form against `ArrayEnv`.

    Args:
        array_env: The array form.
        seed: Seed of the first episode and of the random actions.

    Raises:
        ConformanceError: At the first promise that is broken.
    """
    name = type(array_env).__name__
    check_shared_members(array_env, ArrayEnv)
    n, length = len(array_env.agent_supertypes), array_env.episode_length
    require(n > 0, f"{name}.agent_supertypes is empty: give one supertype an agent")
    check_supertype_names(array_env.agent_supertypes, array_env.supertype_space, name)
    require(
        isinstance(length, (int, np.integer)) and length > 0,
        f"{name}.episode_length is {length!r}: it must be a positive integer",
    )
    check_actions(array_env.action_space)
    space = array_env.supertype_space
    check_refusals(
        lambda bad: array_env.reset(bad, [seed]), space, "reset()", lambda bad: bad[None]
    )
    positions = np.linspace(LOW, HIGH, BATCH)
    profiles = np.stack([space.from_unit(np.full(len(space), u)) for u in positions])
    seeds = [seed + 7 * e for e in range(BATCH)]
    actions = random_actions(array_env, BATCH, seed)
    batch = play_arrays(array_env, profiles, seeds, actions)
    require(
        equal(batch, play_arrays(array_env, profiles, seeds, actions)),
        "a batch played again with the same seeds, profiles and actions gave other numbers: draw "
        "every random number from generators that reset() makes from the seeds, and clear all "
        "state there",
    )
    play_arrays(
        array_env,
        profiles[::-1],
        [s + 1 for s in seeds],
        random_actions(array_env, BATCH, seed + 1),
    )
    require(
        equal(batch, play_arrays(array_env, profiles, seeds, actions)),
        "a batch played again after another batch, of other profiles, seeds and actions, gave "
        "other observations, rewards or outcomes: clear all that episodes leave behind in reset()",
    )
    same_seeds = [seed] * BATCH
    same_actions = np.repeat(actions[:, :1], BATCH, axis=1)
    twins = play_arrays(array_env, profiles, same_seeds, same_actions)
    require(
        not all(equal(part[:, 0], part[:, -1]) for part in twins),
        "two very different profiles give the same episode: reset() must draw the agents' types "
        "from the profiles",
    )
    for e in range(BATCH):
        alone = play_arrays(array_env, profiles[e : e + 1], seeds[e : e + 1], actions[:, e : e + 1])
        require(
            all(close(b[:, e], a[:, 0]) for b, a in zip(batch, alone, strict=True)),
            f"episode {e} of a batch of {BATCH} differs from the same profile, seed and actions "
            "played alone: give every episode a generator of its own, from its own seed",
        )


def random_actions(array_env: ArrayEnv, episodes: int, seed: int) -> npt.NDArray:
    """Seeded random actions of a new policy, as training sends them, (T, E, n, act...)."""
    space = array_env.action_space
    shape = (array_env.episode_length, episodes, len(array_env.agent_supertypes))
    return ActionTransform(space)(sample_as_policy(space, np.random.default_rng(seed), shape))


def check_actions(space: gym.Space) -> None:
    """Whether RLlib's policies can act in a space."""
    try:
        sample_as_policy(space, np.random.default_rng(0), ())
    except ValueError as error:
        raise ConformanceError(str(error)) from None


def play_arrays(
    array_env: ArrayEnv, profiles: FloatArray, seeds: list[int], actions: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray, FloatArray]:
    """Observations (T + 1, E, n, obs...), rewards (T, E, n) and outcomes (1, E, N), checked."""
    E, n = len(seeds), len(array_env.agent_supertypes)
    space = array_env.observation_space
    returned, copies = [], []

    def keep(observations: npt.NDArray) -> None:
        wanted = (E, n, *(space.shape or ()))
        shape, dtype = np.shape(observations), getattr(observations, "dtype", None)
        require(
            shape == wanted and dtype == space.dtype,
            f"observations have shape {shape} and dtype {dtype}; they must have shape "
            f"(episodes, agents, observation...) = {wanted} and dtype {space.dtype}",
        )
        outside = [o for row in observations for o in row if not space.contains(o)]
        require(not outside, f"observations are outside their space {space}, e.g. {outside[:1]}")
        returned.append(observations)
        copies.append(np.array(observations))

    keep(array_env.reset(np.array(profiles), list(seeds)))
    rewards = []
    for action in actions:
        observations, reward = array_env.step(action)
        keep(observations)
        require(
            np.shape(reward) == (E, n) and bool(np.isfinite(reward).all()),
            f"rewards have shape {np.shape(reward)}; they must be finite and of shape "
            f"(episodes, agents) = {(E, n)}",
        )
        rewards.append(np.array(reward))
    require(
        equal(returned, copies),
        "step() changed the observations that an earlier step() or reset() had returned: return "
        "a new array each time",
    )
    outcomes = checked_outcomes(array_env, (E, len(array_env.outcomes)))
    return np.stack(copies), np.stack(rewards), outcomes[None]


def check_shared_members(env: Any, protocol: type) -> None:
    """Members that both forms have, and their types."""
    name = type(env).__name__
    declared = {member for member in vars(protocol) if not member.startswith("_")}
    missing = sorted(member for member in declared if not hasattr(env, member))
    require(
        not missing,
        f"{name} lacks {missing}: implement rllib_calsheq.core.protocol.{protocol.__name__}",
    )
    require(
        isinstance(env.supertype_space, SupertypeSpace),
        f"{name}.supertype_space must be a SupertypeSpace, but is {env.supertype_space!r}",
    )
    outcomes = list(env.outcomes)
    require(
        bool(outcomes) and all(isinstance(o, Outcome) for o in outcomes),
        f"{name}.outcomes must be a non-empty sequence of Outcome, but is {env.outcomes!r}",
    )
    try:
        OutcomeColumns.of(env)
    except ValueError as error:
        raise ConformanceError(str(error)) from None


def check_supertype_names(named: Any, space: SupertypeSpace, name: str) -> None:
    """Every supertype that an agent has must have parameters."""
    unknown = sorted(set(named) - set(space.supertypes))
    require(
        not unknown,
        f"{name}.agent_supertypes names {unknown}, which have no parameter in supertype_space; its "
        f"supertypes are {list(space.supertypes)}",
    )


def check_refusals(
    call: Callable[[Any], Any],
    space: SupertypeSpace,
    what: str,
    form: Callable[[FloatArray], FloatArray],
) -> None:
    """Profiles that ``call`` must refuse with a ValueError."""
    beyond, below, unknown = (np.array(space.start) for _ in range(3))
    beyond[-1] = space.high[-1] + 1.0
    below[0] = space.low[0] - 1.0
    unknown[0] = np.nan
    for bad, why in (
        (beyond, f"{space.names[-1]} = {beyond[-1]:g}, above its range"),
        (below, f"{space.names[0]} = {below[0]:g}, below its range"),
        (unknown, f"{space.names[0]} = NaN"),
        (space.start[:-1], f"{len(space) - 1} entries instead of {len(space)}"),
    ):
        advice = "call supertype_space.validate(profile) first"
        try:
            call(form(bad))
        except ValueError:
            continue
        except Exception as error:
            raise ConformanceError(
                f"{what} with {why} must raise ValueError, but raised {error!r}: {advice}"
            ) from error
        raise ConformanceError(f"{what} took {why} without a ValueError: {advice}")


def checked_outcomes(env: Any, shape: tuple[int, ...]) -> FloatArray:
    """Outcomes of finished episodes, a float array of ``shape``, finite and in their bounds."""
    outcomes = np.asarray(env.episode_outcomes())
    require(
        outcomes.shape == shape
        and np.issubdtype(outcomes.dtype, np.number)
        and not bool(np.isinf(outcomes).any()),
        f"episode_outcomes() returned {outcomes!r}; it must be numbers of shape {shape}, finite or "
        "NaN, in the order of `outcomes`",
    )
    for outcome, values in zip(env.outcomes, np.moveaxis(outcomes, -1, 0), strict=True):
        outside = np.atleast_1d(values)[~np.atleast_1d(outcome.contains(values, ROUNDING))]
        require(
            not len(outside),
            f"episode_outcomes() returned {outside[:1]} for {outcome.name!r}, which lies in "
            f"{outcome.bounds} as it is declared: correct its `low` and `high`, or the outcome",
        )
    return np.array(outcomes, dtype=np.float64)


def require(condition: bool, message: str) -> None:
    """Unlike ``assert`` this also holds under ``python -O``."""
    if not condition:
        raise ConformanceError(message)


def equal(one: Any, other: Any) -> bool:
    """Whether two nested records are equal bit by bit (NaN equals NaN)."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    first, second = np.asarray(one), np.asarray(other)
    numeric = all(np.issubdtype(a.dtype, np.number) for a in (first, second))
    return np.array_equal(first, second, equal_nan=numeric)


def close(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    """Whether two arrays of numbers are equal up to rounding (NaN equals NaN)."""
    first, second = np.asarray(one), np.asarray(other)
    return first.shape == second.shape and np.allclose(
        first, second, rtol=ROUNDING, atol=ROUNDING, equal_nan=True
    )
