"""Weights of targets that grow while a target stays missed, as multipliers of constraints do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool

#: Part of a stage's pooled misses in the smoothed ones.
SMOOTHING = 0.3
#: A target within this many scales is met; a multiplier answers to what is beyond, up to
#: `LARGEST_EXCESS` scales.
MET = 0.1
LARGEST_EXCESS = 1.0
#: Part of a log-multiplier that is lost in a stage.
LEAK = 0.02
#: Largest multiplier.
LARGEST_MULTIPLIER = 4.0
#: Stages before the first rise: far from all targets, none is the one given up.
FIRST_STAGE = 20


class DualWeights:
    """The targets' weights, multiplied for those that the calibration would give up.

    Args:
        targets: The K targets.
        rate: Rise of a log-multiplier in a stage, for each scale of a miss; 0 for none.
    """

    def __init__(self, targets: TargetSet, rate: float) -> None:
        self._targets = targets
        self._rate = rate
        self._misses: FloatArray = np.zeros(len(targets))
        self._log_multipliers: FloatArray = np.zeros(len(targets))

    @property
    def weights(self) -> FloatArray:
        """Weights (K,), summing to 1."""
        weights = self._targets.weights * np.exp(self._log_multipliers)
        return np.asarray(weights / weights.sum())

    def update(self, outcomes: npt.NDArray[np.floating], stage: int) -> None:
        """Takes the outcome vectors (M, N) of a stage; a target without outcomes stays as it is."""
        pooled = pool(outcomes)[self._targets.index]
        signed = (pooled - self._targets.values) / self._targets.scales
        part = 1.0 if stage == 1 else SMOOTHING
        self._misses += np.where(np.isnan(signed), 0.0, part * (signed - self._misses))
        if stage < FIRST_STAGE:
            return
        excess = np.minimum(np.abs(self._misses) - MET, LARGEST_EXCESS)
        risen = (1.0 - LEAK) * self._log_multipliers + self._rate * excess
        self._log_multipliers = np.clip(risen, 0.0, np.log(LARGEST_MULTIPLIER))

    def state_dict(self) -> dict[str, FloatArray]:
        """Smoothed misses and log-multipliers."""
        return {"misses": self._misses.copy(), "log_multipliers": self._log_multipliers.copy()}

    def load_state_dict(self, state: dict[str, FloatArray]) -> None:
        """Restores what `state_dict` gave."""
        self._misses = np.array(state["misses"])
        self._log_multipliers = np.array(state["log_multipliers"])
