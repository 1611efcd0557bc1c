"""From the actions that a policy samples to those of the environment, as RLlib does it.

This is the only place that converts: training, certificates and the conformance checks go
through `ActionTransform`. On RLlib's own path `NormalizeAndClipActions` does the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ActionTransform:
    """How sampled actions become the environment's: RLlib's unsquashing and clipping.

    A bounded Box of floats is mapped from [-1, 1]; a bounded Box of integers is counted from its
    lower bounds; actions of Discrete and MultiDiscrete spaces, which policies count from 0, stay
    as they are, whatever the space's ``start``.

    Attributes:
        space: The agents' action space.
        normalize: Map to the bounds of a Box, if it has any.
        clip: Clip to the bounds of a Box; only if ``normalize`` is off.
    """

    space: gym.Space
    normalize: bool = True
    clip: bool = False

    def __call__(self, actions: npt.NDArray) -> npt.NDArray:
        """Environment actions of sampled ones, same shape (..., act...)."""
        if not isinstance(self.space, gym.spaces.Box):
            return actions
        low, high = self._bounds
        if not self.normalize:
            return np.clip(actions, low, high) if self.clip else actions
        if not self._maps:
            return actions
        if holds_integers(self.space):
            return low + actions
        return np.clip(low + (actions + 1.0) * (high - low) / 2.0, low, high)

    @cached_property
    def _bounds(self) -> tuple[Any, Any]:
        """The Box's bounds; numbers where all entries have the same, which NumPy is faster with."""
        assert isinstance(self.space, gym.spaces.Box)
        low, high = self.space.low, self.space.high
        alike = low.size > 0 and bool((low == low.flat[0]).all() and (high == high.flat[0]).all())
        return (low.flat[0], high.flat[0]) if alike else (low, high)

    @cached_property
    def _maps(self) -> bool:
        return is_bounded(self.space)


def is_bounded(space: gym.Space) -> bool:
    """Whether a space is a Box with bounds on all sides."""
    return isinstance(space, gym.spaces.Box) and bool(
        space.bounded_below.all() and space.bounded_above.all()
    )


def holds_integers(space: gym.Space) -> bool:
    """Whether a space is a Box of integers."""
    return isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.integer)


def check_start(space: gym.Space) -> None:
    """Raises a ValueError if actions are counted from elsewhere than 0.

    RLlib's policies play 0 to n − 1 whatever a space's ``start`` is, so that the environment would
    be sent actions from outside its space.
    """
    start = getattr(space, "start", 0)
    if np.any(np.asarray(start) != 0):
        raise ValueError(
            f"the action space is {space}, but RLlib's policies count actions from 0 whatever the "
            "start: leave `start` out and add it to the action in step()"
        )


def sample_as_policy(
    space: gym.Space, rng: np.random.Generator, shape: tuple[int, ...]
) -> npt.NDArray:
    """Random actions (*shape, act...) as a new policy of RLlib would sample them.

    Raises:
        ValueError: If RLlib's policies cannot act in the space.
    """
    check_start(space)
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(int(space.n), size=shape)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return rng.integers(space.nvec, size=(*shape, *space.nvec.shape))
    if isinstance(space, gym.spaces.Box):
        if holds_integers(space):
            width = space.high.astype(np.int64) - space.low.astype(np.int64)
            return rng.integers(width + 1, size=(*shape, *space.shape))
        return rng.standard_normal((*shape, *space.shape), dtype=np.float32)
    raise ValueError(
        f"the action space is {space}: make it a Box, Discrete or MultiDiscrete, which all agents "
        "share one policy for"
    )
