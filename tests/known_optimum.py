"""Targets whose optimum is known: the outcomes are the parameters themselves."""

from __future__ import annotations

import numpy as np

from rllib_calsheq.core.targets import Outcome, TargetSet


def parameter_targets(optimum: np.ndarray, scale: float = 1.0) -> TargetSet:
    """Outcomes are the parameters themselves: r_cal is 1 at ``optimum`` and only there."""
    names = [f"parameter_{i}" for i in range(len(optimum))]
    return TargetSet.from_mapping(
        dict(zip(names, optimum.tolist(), strict=True)), [Outcome(n, scale) for n in names]
    )
