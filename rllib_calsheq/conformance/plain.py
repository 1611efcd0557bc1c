"""Conformance checks: does an environment keep what `rllib_calsheq.core.protocol` promises?

How to run, in a test of your own environment::

    from rllib_calsheq.conformance.plain import check_environment
    check_environment(MyEnv, {"num_agents": 5})

A check that fails raises `ConformanceError` with a sentence that says what is wrong and
what to do. The checks play a handful of episodes with random actions.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rllib_calsheq.conformance.arrays import (
    HIGH,
    LOW,
    ConformanceError,
    check_actions,
    check_array_env,
    check_refusals,
    check_shared_members,
    check_supertype_names,
    checked_outcomes,
    close,
    equal,
    play_arrays,
    random_actions,
    require,
)
from rllib_calsheq.core.actions import ActionTransform, sample_as_policy
from rllib_calsheq.core.protocol import CalibratableEnv, truncation_message
from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace

__all__ = [
    "ConformanceError",
    "check_array_env",
    "check_calibratable_env",
    "check_environment",
    "check_forms_agree",
]

#: An episode of the plain form that is longer counts as one that never ends.
MAX_STEPS = 100_000
#: What `step()` returns.
STEP = ("observations", "rewards", "terminateds", "truncateds", "infos")
#: Seed of the random actions in the plain form.
ACTION_SEED = 0


def check_environment(
    env_class: Callable[[Any], Any],
    env_config: Mapping[str, Any] | None = None,
    seed: int = 0,
    stochastic: bool = True,
    policy_of: Mapping[str, str] | None = None,
) -> None:
    """All checks that apply: the plain form and, if the class has one, the array form.

    Example:
        >>> from rllib_calsheq import check_environment
        >>> from rllib_calsheq.envs import SubwayEnv
        >>> check_environment(SubwayEnv, {"num_suburbs": 2, "num_inside": 1})

    Args:
        env_class: Environment class, made as ``env_class(env_config)``.
        env_config: Its configuration.
        seed: Seed of the episodes.
        stochastic: Whether different seeds must give different episodes.
        policy_of: The policy that the agents of each supertype share, ``{supertype: policy}``,
            where a run trains several.

    Raises:
        ConformanceError: At the first promise that is broken.
    """
    check_calibratable_env(env_class, env_config, seed, stochastic, policy_of)
    if hasattr(env_class, "array_form"):
        check_array_env(env_class.array_form(dict(env_config or {})), seed)
        check_forms_agree(env_class, env_config, seed)


def check_calibratable_env(
    env_class: Callable[[Any], Any],
    env_config: Mapping[str, Any] | None = None,
    seed: int = 0,
    stochastic: bool = True,
    policy_of: Mapping[str, str] | None = None,
) -> None:
    """Checks an RLlib `MultiAgentEnv` against `CalibratableEnv`; see `check_environment`."""
    env = env_class(dict(env_config or {}))
    _check_plain_members(env, policy_of or {})
    space: SupertypeSpace = env.supertype_space
    low, high = (space.from_unit(np.full(len(space), u)) for u in (LOW, HIGH))
    check_refusals(env.set_supertypes, space, "set_supertypes()", lambda bad: bad)

    at_low = _play(env, low, seed)
    require(
        equal(at_low, _play(env, low, seed)),
        "two episodes with the same seed, profile and actions differ: draw every random number "
        "from a generator that reset(seed=...) makes",
    )
    with _shaken_global_randomness() as shake:
        require(
            equal(at_low, _play(env_class(dict(env_config or {})), low, seed, each_step=shake)),
            "a second instance of the environment, with the same seed, profile and actions, gave "
            "other numbers when somebody else used Python's and NumPy's global random numbers: "
            "give the environment a generator of its own (numpy.random.default_rng(seed))",
        )
    _play(env, high, seed + 1, action_seed=ACTION_SEED + 1)
    require(
        equal(at_low, _play(env, low, seed)),
        "an episode played again after another episode, of another profile, seed and other "
        "actions, gave other observations, rewards or outcomes: clear all that an episode leaves "
        "behind in reset()",
    )
    if stochastic:
        require(
            not equal(at_low, _play(env, low, seed + 1)),
            "episodes with two different seeds are the same: use the seed that reset() is given "
            "(or pass stochastic=False if nothing in the environment is random)",
        )
    at_high = _play(env, high, seed)
    require(
        not equal(at_low, at_high),
        "two very different profiles give the same episode: set_supertypes() must take effect at "
        "the next reset()",
    )
    require(
        equal(at_low, _play(env, low, seed, after_reset=lambda: env.set_supertypes(high))),
        "set_supertypes() in the middle of an episode changed that episode: keep the profile and "
        "use it at the next reset()",
    )
    handed = np.array(low)
    env.set_supertypes(handed)
    handed[:] = high
    require(
        equal(at_low, _play(env, None, seed)),
        "the environment keeps the very array that set_supertypes() was given, and the caller "
        "changed it afterwards: copy the profile",
    )
    env.close()


def _check_plain_members(env: Any, policy_of: Mapping[str, str]) -> None:
    """Members of the protocol and spaces of the plain form."""
    from ray.rllib.env.multi_agent_env import MultiAgentEnv

    name = type(env).__name__
    require(
        isinstance(env, MultiAgentEnv),
        f"{name} is no MultiAgentEnv: derive it from ray.rllib.env.multi_agent_env.MultiAgentEnv",
    )
    check_shared_members(env, CalibratableEnv)
    agents = list(env.possible_agents or ())
    require(bool(agents), f"{name}.possible_agents is empty: list the IDs of all agents")
    named = env.agent_supertypes
    require(
        isinstance(named, Mapping) and set(named) == set(agents),
        f"{name}.agent_supertypes must map every one of possible_agents {agents} to the name of "
        f"its supertype, but is {named!r}",
    )
    check_supertype_names(named.values(), env.supertype_space, name)
    for kind in ("observation", "action"):
        spaces = {agent: getattr(env, f"get_{kind}_space")(agent) for agent in agents}
        first: dict[str, gym.Space] = {}
        for agent, space in spaces.items():
            policy = policy_of.get(named[agent], "")
            require(
                isinstance(space, gym.Space) and space == first.setdefault(policy, space),
                f"the agents of {name} must have one {kind} space, since they share "
                f"{f'the policy {policy!r}' if policy else 'one policy'}, but have {spaces}",
            )
    for agent in agents:
        check_actions(env.get_action_space(agent))


def _play(
    env: Any,
    profile: FloatArray | None,
    seed: int,
    after_reset: Callable[[], None] = lambda: None,
    each_step: Callable[[], None] = lambda: None,
    action_seed: int = ACTION_SEED,
) -> tuple[list[dict], list[dict], FloatArray]:
    """Observations, rewards and outcomes of one episode with seeded random actions, checked."""
    if profile is not None:
        env.set_supertypes(profile)
    transforms = {a: ActionTransform(env.get_action_space(a)) for a in env.possible_agents}
    # Not the episode's seed: two seeds must differ by more than by the actions.
    rng = np.random.default_rng(action_seed)
    each_step()
    began = env.reset(seed=seed)
    _require_dicts("reset", began, ("observations", "infos"))
    observations, _ = began
    after_reset()
    seen: list[dict] = []
    earned: list[dict] = []
    finished: set[Any] = set()
    for _ in range(MAX_STEPS):
        _check_observations(env, observations)
        seen.append(copy.deepcopy(dict(observations)))
        acting = [agent for agent in observations if agent not in finished]
        each_step()
        actions = {a: t(sample_as_policy(t.space, rng, ())) for a, t in transforms.items()}
        result = env.step({agent: actions[agent] for agent in acting})
        _require_dicts("step", result, STEP)
        observations, rewards, terminateds, truncateds, _ = result
        require(
            all(agent in env.possible_agents and np.isfinite(r) for agent, r in rewards.items()),
            f"step() must return a finite reward by agent ID, but returned {rewards}",
        )
        earned.append({agent: float(r) for agent, r in rewards.items()})
        require(
            "__all__" in terminateds and "__all__" in truncateds,
            "the terminateds and truncateds of step() must have the key '__all__'",
        )
        finished |= {a for ends in (terminateds, truncateds) for a, end in ends.items() if end}
        if "__all__" in finished:
            _check_observations(env, observations)
            seen.append(copy.deepcopy(dict(observations)))
            return seen, earned, checked_outcomes(env, (len(env.outcomes),))
    raise ConformanceError(
        f"the episode had not ended after {MAX_STEPS} steps: step() must return terminateds or "
        "truncateds with '__all__' True at its end"
    )


def _require_dicts(method: str, given: Any, names: Sequence[str]) -> None:
    """Checks that a method returned so many dicts, each by agent ID."""
    right = isinstance(given, tuple) and len(given) == len(names)
    if right and all(isinstance(part, Mapping) for part in given):
        return
    kind = type(given).__name__
    if isinstance(given, tuple):
        kind = f"a tuple of ({', '.join(type(part).__name__ for part in given)})"
    raise ConformanceError(
        f"{method}() must return ({', '.join(names)}), {len(names)} dicts by agent ID, but "
        f"returned {kind}"
    )


def _check_observations(env: Any, observations: Mapping[Any, Any]) -> None:
    for agent, observation in observations.items():
        require(agent in env.possible_agents, f"{agent!r} is observed but no possible agent")
        space = env.get_observation_space(agent)
        require(
            space.contains(observation),
            f"an observation of {agent!r}, {observation!r}, is outside its space {space}: mind "
            "the dtype, the shape and the bounds",
        )


@contextmanager
def _shaken_global_randomness() -> Iterator[Callable[[], None]]:
    """A function that draws from the global generators, whose state is restored at the end."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002

    def shake() -> None:
        np.random.random()  # noqa: NPY002
        random.random()

    try:
        yield shake
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


def check_forms_agree(
    env_class: Any, env_config: Mapping[str, Any] | None = None, seed: int = 0
) -> None:
    """Checks that the plain and the array form give the same numbers, up to rounding.

    Args:
        env_class: Environment class with a class method ``array_form(env_config)``.
        env_config: Its configuration.
        seed: Seed of the episode and of the random actions.

    Raises:
        ConformanceError: If observations, rewards, outcomes or the length differ.
    """
    env = env_class(dict(env_config or {}))
    array_env = env_class.array_form(dict(env_config or {}))
    space = env.supertype_space
    agents = list(env.possible_agents)
    for member, plain, array in (
        ("supertype_space", space, array_env.supertype_space),
        ("outcomes", list(env.outcomes), list(array_env.outcomes)),
        (
            "agent_supertypes",
            [env.agent_supertypes[agent] for agent in agents],
            list(array_env.agent_supertypes),
        ),
        ("observation_space", env.get_observation_space(agents[0]), array_env.observation_space),
        ("action_space", env.get_action_space(agents[0]), array_env.action_space),
    ):
        require(
            plain == array,
            f"the plain form's {member} {plain} is not the array form's, {array}: agents must come "
            "in the order of possible_agents",
        )
    profile = space.from_unit(np.full(len(space), HIGH))
    actions = random_actions(array_env, 1, seed)
    observations, rewards, outcomes = play_arrays(array_env, profile[None], [seed], actions)
    env.set_supertypes(profile)
    seen, _ = env.reset(seed=seed)
    for t in range(array_env.episode_length):
        _compare(seen, observations[t, 0], agents, f"observations at step {t}")
        step = env.step(dict(zip(agents, actions[t, 0], strict=True)))
        seen, earned, terminateds, truncateds, _ = step
        _compare(earned, rewards[t, 0], agents, f"rewards of step {t}")
        require(not any(truncateds.values()), truncation_message(env))
        over = bool(terminateds["__all__"])
        require(
            over == (t + 1 == array_env.episode_length),
            f"the plain form's episode ends after another number of steps than the array form's "
            f"episode_length, {array_env.episode_length}",
        )
    _compare(seen, observations[-1, 0], agents, "last observations")
    plain_outcomes = np.asarray(env.episode_outcomes())
    require(
        close(plain_outcomes, outcomes[0, 0]),
        f"the plain form's outcomes {plain_outcomes} are not the array form's, {outcomes[0, 0]}",
    )
    env.close()


def _compare(by_agent: Mapping[Any, Any], rows: npt.NDArray, agents: list, what: str) -> None:
    for agent, row in zip(agents, rows, strict=True):
        require(
            agent in by_agent and close(by_agent[agent], row),
            f"the {what} of {agent!r} differ between the plain form ({by_agent.get(agent)}) and "
            f"the array form ({row}): derive one form from the other, e.g. by OneEpisodeEnv",
        )
