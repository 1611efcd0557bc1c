"""Trials: profiles that all particles sat at for some stages, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray

#: A trial's variance is shrunk towards that of all trials, as if by this many episodes.
VARIANCE_PRIOR_EPISODES = 8.0


class Trials:
    """Sums over the episodes of every trial.

    Args:
        dim: d, number of parameters.
        num_values: V, numbers that an episode has.
    """

    def __init__(self, dim: int, num_values: int) -> None:
        #: Profile of each trial, unit cube, shape (n, d).
        self.profiles: FloatArray = np.zeros((0, dim))
        #: Stage of the last episodes of each trial, or of its start; shape (n,).
        self.stages: FloatArray = np.zeros(0)
        # Of each trial and value: how many episodes have it, their sum, their sum of squares.
        self._counts = np.zeros((0, num_values))
        self._sums = np.zeros((0, num_values))
        self._squares = np.zeros((0, num_values))

    def __len__(self) -> int:
        return len(self.profiles)

    def open(self, profile: FloatArray, stage: int) -> None:
        """Starts the next trial, at ``profile`` (d,)."""
        self.profiles = np.concatenate([self.profiles, profile[None]])
        self.stages = np.append(self.stages, float(stage))
        for name in ("_counts", "_sums", "_squares"):
            rows = getattr(self, name)
            setattr(
                self, name, np.concatenate([rows, np.zeros_like(rows, shape=(1, rows.shape[1]))])
            )

    def add(self, values: FloatArray, stage: int) -> None:
        """Adds episodes of ``stage`` to the last trial: values (M, V), NaN for none."""
        known = np.isfinite(values)
        values = np.where(known, values, 0.0)
        self._counts[-1] += known.sum(axis=0)
        self._sums[-1] += values.sum(axis=0)
        self._squares[-1] += np.square(values).sum(axis=0)
        self.stages[-1] = stage

    def observed(self) -> npt.NDArray[np.intp]:
        """Indices of the trials that have episodes."""
        return np.flatnonzero(self._counts.max(axis=1) > 0)

    def observations(self) -> tuple[FloatArray, FloatArray]:
        """Mean of each trial and value and its squared standard error, each (n, V).

        The mean is NaN where a trial has no such value.
        """
        counts = np.maximum(self._counts, 1.0)
        mean = self._sums / counts
        scatter = np.maximum(self._squares - self._sums * mean, 0.0)
        pooled = scatter.sum(axis=0) / np.maximum((self._counts - 1.0).clip(0.0).sum(axis=0), 1.0)
        prior = VARIANCE_PRIOR_EPISODES
        variance = (scatter + prior * pooled) / ((counts - 1.0) + prior)
        return np.where(self._counts > 0, mean, np.nan), variance / counts

    def state_dict(self) -> dict[str, npt.NDArray]:
        """All trials, as arrays."""
        return {name: getattr(self, name).copy() for name in self._STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        for name in self._STATE:
            setattr(self, name, np.array(state[name], dtype=np.float64))

    _STATE = ("profiles", "stages", "_counts", "_sums", "_squares")
