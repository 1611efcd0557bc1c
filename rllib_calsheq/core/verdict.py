"""The judge: which targets a fit meets, which it misses, and by how much.

The calibrator's reward r_cal cannot tell: it is a mean over single, noisy episodes, and a profile
whose market is quieter than that of the hidden profile scores more while it misses a target. So a
target is *met* if the mean outcome of fresh episodes lies within a tolerance of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace
from rllib_calsheq.core.targets import Target, TargetSet

#: How close to a bound a parameter counts as standing at it, as a fraction of its range.
BOUND_MARGIN = 0.01


@dataclass(frozen=True)
class TargetVerdict:
    """What came of one target.

    Attributes:
        target: The target.
        value: Mean outcome, in the outcome's unit; NaN if it never happened.
        stderr: Standard error of the mean.
    """

    target: Target
    value: float
    stderr: float

    @property
    def miss(self) -> float:
        """|value − target| in scales; infinite if the outcome never happened."""
        miss = abs(self.value - self.target.value) / self.target.scale
        return float("inf") if np.isnan(miss) else float(miss)

    @property
    def met(self) -> bool:
        """Whether the miss is within the target's tolerance."""
        return self.miss <= self.target.tolerance

    def __str__(self) -> str:
        if np.isnan(self.value):
            return f"{self.target.outcome} did not happen (target {self.target.value:.4g})"
        return (
            f"{self.target.outcome} is off by {self.miss:.2f} scales "
            f"({self.value:.4g}, target {self.target.value:.4g})"
        )


@dataclass(frozen=True)
class Verdict:
    """What came of all targets of a calibration.

    Attributes:
        targets: A verdict for each target, in their order; at least one.
    """

    targets: tuple[TargetVerdict, ...]

    @cached_property
    def missed(self) -> tuple[TargetVerdict, ...]:
        """Those that are missed, the farthest first."""
        return tuple(sorted((t for t in self.targets if not t.met), key=lambda t: -t.miss))

    @property
    def targets_met(self) -> int:
        """How many targets are met."""
        return len(self.targets) - len(self.missed)

    @property
    def all_met(self) -> bool:
        """Whether every target is met."""
        return not self.missed

    @property
    def worst(self) -> TargetVerdict:
        """The target that is farthest away."""
        return max(self.targets, key=lambda t: t.miss)

    @property
    def rms_miss(self) -> float:
        """Root mean square miss, in scales."""
        return float(np.sqrt(np.mean([t.miss**2 for t in self.targets])))

    def __str__(self) -> str:
        count = f"{self.targets_met} of {len(self.targets)} targets met"
        return "; ".join([count, *map(str, self.missed)])

    def to_mapping(self) -> dict[str, Any]:
        """The numbers, as JSON holds them."""
        return {
            "targets_met": self.targets_met,
            "num_targets": len(self.targets),
            "worst_target": self.worst.target.outcome,
            "worst_miss": self.worst.miss,
            "rms_miss": self.rms_miss,
            "summary": str(self),
        }


def judge(targets: TargetSet, outcomes: FloatArray, stderr: FloatArray) -> Verdict:
    """Judges mean outcomes of several episodes.

    Args:
        targets: The targets, one at least.
        outcomes: Mean outcome vector (N,); NaN for what never happened.
        stderr: Standard error of each, (N,).

    Raises:
        ValueError: If there is no target.
    """
    if not len(targets):
        raise ValueError("there is no target that could be met")
    return Verdict(
        tuple(
            TargetVerdict(target, float(outcomes[i]), float(stderr[i]))
            for i, target in zip(targets.index, targets.targets, strict=True)
        )
    )


def parameters_at_bounds(space: SupertypeSpace, profile: FloatArray) -> Mapping[str, float]:
    """The parameters of a profile (d,), natural units, that stand at a bound, with the bound.

    What the targets do not pin down is pushed there by nothing but noise.
    """
    unit = space.to_unit(profile)
    return {
        name: float(low if at < 0.5 else high)
        for name, at, low, high in zip(space.names, unit, space.low, space.high, strict=True)
        if min(at, 1.0 - at) <= BOUND_MARGIN
    }
