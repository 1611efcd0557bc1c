"""Policies with paired noise, made from RLlib's modules."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.core.columns import Columns

from rllib_calsheq.core.actions import ActionTransform, check_start, holds_integers
from rllib_calsheq.learning.ray_private.access import sampling_pass


def check_action_space(space: gym.Space) -> None:
    """Raises a ValueError unless the noise of a policy's actions can be made explicit."""
    if holds_integers(space) or not isinstance(space, (gym.spaces.Box, gym.spaces.Discrete)):
        raise ValueError(
            f"the action space is {space}; a certificate pairs the noise of Gaussian and of "
            "categorical policies: make the action space a Box of floats or Discrete"
        )
    check_start(space)


class ModulePolicy:
    """A policy network: Gaussian for a Box, categorical for a Discrete action space.

    Args:
        module: RLlib's module of one policy.
        transform: From the module's actions to the environment's.
        greedy: Take the distribution's mode; noise is then left alone.
    """

    def __init__(self, module: Any, transform: ActionTransform, greedy: bool = False) -> None:
        check_action_space(transform.space)
        self.module = module
        self.transform = transform
        self.greedy = greedy
        self._is_box = isinstance(transform.space, gym.spaces.Box)

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray:
        """Standard normal for a Gaussian policy, Gumbel for a categorical one."""
        space = self.transform.space
        if isinstance(space, gym.spaces.Discrete):
            return rng.gumbel(size=(*shape, int(space.n))).astype(np.float32)
        return rng.standard_normal((*shape, int(np.prod(space.shape or (1,)))), dtype=np.float32)

    def logits(self, observations: npt.NDArray) -> npt.NDArray[np.float32]:
        """The distribution's inputs (R, ...) for observations (R, obs...)."""
        rows = torch.from_numpy(np.ascontiguousarray(observations, dtype=np.float32))
        # Learners switch to training mode by themselves before an update.
        if self.module.training:
            self.module.eval()
        with torch.no_grad():
            out = sampling_pass(self.module)({Columns.OBS: rows.reshape(len(rows), -1)})
        found: npt.NDArray[np.float32] = out[Columns.ACTION_DIST_INPUTS].numpy()
        return found

    def choose(self, logits: npt.NDArray, noise: npt.NDArray | None) -> npt.NDArray:
        """The module's actions (R, act...); the distributions' modes without noise."""
        if not self._is_box:
            return np.asarray((logits if noise is None else logits + noise).argmax(axis=-1))
        mean, log_std = np.split(logits, 2, axis=-1)
        actions = mean if noise is None else mean + np.exp(log_std) * noise
        return actions.reshape(len(logits), *(self.transform.space.shape or ()))

    def act(self, observations: npt.NDArray, noise: npt.NDArray) -> npt.NDArray:
        """The environment's actions (R, act...)."""
        return self.transform(
            self.choose(self.logits(observations), None if self.greedy else noise)
        )

    def mode(self) -> ModulePolicy:
        """The same policy without noise."""
        return ModulePolicy(self.module, self.transform, greedy=True)
