"""Deviations that need no training: constants, shifts of the shared policy, the environment's own.

An environment's class may supply more of them, which only it can know, by a class method
``deviations(env_config)`` (`SuppliesDeviations`): the market supplies inventory skews.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rllib_calsheq.certificates.search.values import Policy
from rllib_calsheq.core.actions import check_start, is_bounded
from rllib_calsheq.core.protocol import ArrayEnv

#: From observations (R, obs...) and the shared policy's own actions (R, act...) to actions.
Rule = Callable[[npt.NDArray, npt.NDArray], npt.NDArray]

CONSTANT, SHIFT, MODE, SUPPLIED = "constant", "shift", "mode", "environment"
#: Points of the grid along the diagonal of a Box, and along each axis of one of few dimensions.
DIAGONAL_POINTS, AXIS_POINTS = 21, 5
#: Dimensions up to which all combinations of the axes' points are tried.
MAX_GRID_DIMENSIONS = 2
#: Actions of a Discrete space that are tried as constants.
MAX_ACTIONS = 50
#: Shifts of the shared policy's actions, as fractions of the range of a Box.
SHIFTS = (-0.1, -0.05, -0.025, 0.025, 0.05, 0.1)


@runtime_checkable
class SuppliesDeviations(Protocol):
    """An environment class that knows deviations worth trying."""

    @classmethod
    def deviations(cls, env_config: Mapping[str, Any] | None = None) -> Mapping[str, Rule]:
        """Rules by name, which give the actions of the environment."""


@dataclass(frozen=True)
class ConstantPolicy:
    """Everyone who uses it always takes one action.

    Attributes:
        action: The environment's action, (act...).
    """

    action: npt.NDArray

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray:
        """None is needed: (*shape, 0)."""
        return np.empty((*shape, 0), dtype=np.float32)

    def act(self, observations: npt.NDArray, noise: npt.NDArray) -> npt.NDArray:
        """The action for each row, (R, act...)."""
        return np.repeat(np.asarray(self.action)[None], len(observations), axis=0)


@dataclass(frozen=True)
class RuleDeviation:
    """A rule as a policy.

    Attributes:
        rule: The rule.
        own: The policy whose actions the rule may start from.
    """

    rule: Rule
    own: Policy

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray:
        """None: (*shape, 0)."""
        return np.empty((*shape, 0), dtype=np.float32)

    def act(self, observations: npt.NDArray, noise: npt.NDArray) -> npt.NDArray:
        """What the rule says, (R, act...)."""
        return self.rule(observations, self.own.act(observations, noise))


@dataclass(frozen=True)
class NamedDeviation:
    """A deviation with its name and kind."""

    name: str
    kind: str
    policy: Policy


def cheap_deviations(
    env: ArrayEnv, shared_mode: Policy, supplied: Mapping[str, Rule], *, has_noise: bool
) -> list[NamedDeviation]:
    """All deviations that need no training.

    Args:
        env: The environment.
        shared_mode: The shared policy without noise.
        supplied: The environment's own.
        has_noise: Whether the shared policy has noise, so that its mode is a deviation.
    """
    found = [
        NamedDeviation(name, CONSTANT, ConstantPolicy(action))
        for name, action in constant_actions(env.action_space)
    ]
    if has_noise:
        found.append(NamedDeviation("shared policy without its noise", MODE, shared_mode))
    for kind, rules in ((SHIFT, dict(shifts(env.action_space))), (SUPPLIED, supplied)):
        found += [NamedDeviation(n, kind, RuleDeviation(r, shared_mode)) for n, r in rules.items()]
    return found


def constant_actions(space: gym.Space) -> list[tuple[str, npt.NDArray]]:
    """Actions on a grid, by name: all of a Discrete space; a Box's diagonal and a coarse grid.

    Raises:
        ValueError: If the space is neither, a Box has no bounds, or a Discrete one a start.
    """
    check_start(space)
    if isinstance(space, gym.spaces.Discrete):
        return [(f"always {a}", np.asarray(a)) for a in range(min(int(space.n), MAX_ACTIONS))]
    if not isinstance(space, gym.spaces.Box) or not is_bounded(space):
        raise ValueError(f"constant actions need a bounded Box or a Discrete space, not {space}")
    positions = [np.full(space.shape, u) for u in np.linspace(0.0, 1.0, DIAGONAL_POINTS)]
    size = int(np.prod(space.shape))
    if 1 < size <= MAX_GRID_DIMENSIONS:
        axis = np.linspace(0.0, 1.0, AXIS_POINTS)
        positions += [
            np.reshape(p, space.shape)
            for p in itertools.product(axis, repeat=size)
            if len(set(p)) > 1
        ]
    width = space.high - space.low
    grid = [(space.low + p * width).astype(space.dtype) for p in positions]
    return [(f"always {_text(action)}", action) for action in grid]


def shifts(space: gym.Space) -> list[tuple[str, Rule]]:
    """The shared policy's actions shifted by a part of the range; none for a Discrete space."""
    if not isinstance(space, gym.spaces.Box) or not is_bounded(space):
        return []
    width = space.high - space.low

    def shifted(by: float) -> Rule:
        return lambda observations, own: np.clip(own + by * width, space.low, space.high)

    return [(f"shared policy shifted by {by:+.1%} of the range", shifted(by)) for by in SHIFTS]


def _text(action: npt.NDArray) -> str:
    return "(" + ", ".join(f"{float(x):.3g}" for x in np.ravel(action)) + ")"
