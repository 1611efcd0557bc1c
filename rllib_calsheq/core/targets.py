"""Outcomes, targets and the calibrator's reward (section 3).

An *outcome* f_cal is a number that an environment reports at the end of an episode.
A *target* f_* is the value that one outcome should have. The calibrator's reward is
the weighted sum of inverse losses

    r_cal = Σ_k w_k / (1 + ℓ_k),    Σ_k w_k = 1,

so that 1 is a perfect fit. The loss ℓ_k is one of `rllib_calsheq.core.losses`: by default it is
|f_k − f*_k| / s_k, and a miss by one scale s_k halves that target's share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.configuration import (
    NonNegative,
    Positive,
    configuration,
    is_number,
    require,
)
from rllib_calsheq.core.files import fingerprint
from rllib_calsheq.core.losses import Absolute, Array, Loss, losses_of, read_loss
from rllib_calsheq.core.supertypes import FloatArray

#: Percentiles that are outcomes unless others are asked for.
DECILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
#: How far from its target a mean outcome may be and still meet it, in scales.
MET_TOLERANCE = 0.25
#: How many scales a target's value may be: of a larger one, rounding swallows a miss of one scale.
MOST_SCALES = 1e15
#: Keys of a target in its YAML form.
TARGET_KEYS = ("value", "weight", "scale", "loss", "tolerance")
#: How far the sum of given weights may be from 1.
WEIGHT_TOLERANCE = 1e-6


@configuration
class Outcome:
    """A number that an environment reports at the end of an episode.

    Example:
        >>> from rllib_calsheq import Outcome
        >>> Outcome("share", scale=0.05, description="of all trades", low=0.0, high=1.0).bounds
        '[0, 1]'

    Attributes:
        name: Unique name, e.g. ``supertype_1.share``.
        scale: Natural scale s of a miss, in the outcome's unit; a target that gives
            no scale of its own uses it.
        description: One line that says what is measured, and its unit.
        low: Smallest value that an episode can have, in the outcome's unit; None for no bound.
        high: Largest value that an episode can have; None for no bound.
    """

    SUBJECT: ClassVar[str] = "outcome {name!r}"

    name: str
    scale: Positive
    description: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"outcome {self.name!r} has its bounds reversed: {self.bounds}")

    @property
    def bounds(self) -> str:
        """The bounds as people read them, e.g. ``[0, 1]`` or ``[0, ∞)``."""
        low = "(-∞" if self.low is None else f"[{self.low:g}"
        high = "∞)" if self.high is None else f"{self.high:g}]"
        return f"{low}, {high}"

    def contains(self, values: npt.ArrayLike, rounding: float = 0.0) -> npt.NDArray[np.bool_]:
        """Which values (...) lie within the bounds; NaN, which did not happen, does.

        Args:
            values: Values in the outcome's unit.
            rounding: How far outside counts as inside, as a fraction of the value.
        """
        given = np.asarray(values, dtype=np.float64)
        slack = rounding * np.abs(given)
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return ~((given < low - slack) | (given > high + slack))


@configuration
class Target:
    """The value that one outcome should have.

    Example:
        >>> from rllib_calsheq import Target
        >>> Target("share", value=0.3, weight=1.0, scale=0.05).tolerance
        0.25

    Attributes:
        outcome: Name of the outcome.
        value: Target f_*, in the outcome's unit.
        weight: Weight w in the reward; the weights of all targets sum to 1.
        scale: Scale s, in the outcome's unit; positive.
        loss: What a miss costs.
        tolerance: How far the mean outcome may be from the value and still meet the target, in
            scales; see `rllib_calsheq.core.verdict`.
    """

    SUBJECT: ClassVar[str] = "target {outcome!r}"

    outcome: str
    value: float
    weight: NonNegative
    scale: Positive
    loss: Loss = Absolute()
    tolerance: Positive = MET_TOLERANCE

    def __post_init__(self) -> None:
        taken = self.loss.scale_at(self.value)
        require(
            taken in (None, self.scale),
            f"target {self.outcome!r}: scale",
            self.scale,
            f"{taken}, which its loss takes from its value",
        )
        require(
            abs(self.value) <= MOST_SCALES * self.scale,
            f"target {self.outcome!r}: value",
            self.value,
            f"numbers up to {MOST_SCALES:g} times the scale, {self.scale:g}",
        )


@dataclass(frozen=True)
class TargetSet:
    """All targets of one calibration.

    Example:
        >>> from rllib_calsheq import Outcome, TargetSet
        >>> outcomes = (Outcome("share", scale=0.05), Outcome("price", scale=0.1))
        >>> targets = TargetSet.from_mapping({"share": 0.3}, outcomes)
        >>> float(targets.reward([0.3, 7.0]))  # the price is no target
        1.0

    Attributes:
        targets: The targets f_*^(k), k = 1..K.
        outcome_names: Names of all outcomes of the environment, in the order of the
            outcome vectors that `reward` is given.
    """

    targets: tuple[Target, ...]
    outcome_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.targets)

    @classmethod
    def from_mapping(cls, spec: Mapping[str, Any], outcomes: Iterable[Outcome]) -> TargetSet:
        """Builds the targets from their YAML form.

        Args:
            spec: ``{outcome name: value}`` or ``{outcome name: {value, weight, scale, loss,
                tolerance}}``. Either every target has a weight or none has (then all are equal).
            outcomes: All outcomes that the environment reports, in order.

        Raises:
            ValueError: If a name is unknown, a key is unknown, a number is not one, the
                weights do not sum to 1, a scale is not positive, a loss is unknown or cannot be
                used, a value is one that the outcome cannot have, or two outcomes have one name.
        """
        columns = tuple(outcomes)
        known = {o.name: o for o in columns}
        if len(known) != len(columns):
            raise ValueError(f"outcomes must have unique names, not {[o.name for o in columns]}")
        if not isinstance(spec, Mapping) or not spec:
            raise ValueError(
                "no targets given: state at least one as `outcome: {value: ..., weight: ..., "
                f"scale: ...}}`; the environment's outcomes are {list(known)}"
            )
        unknown = [name for name in spec if name not in known]
        if unknown:
            raise ValueError(
                f"target(s) for {unknown}, which the environment does not report; its outcomes "
                f"are {list(known)}"
            )
        entries = {name: _read_entry(name, entry) for name, entry in spec.items()}
        weighted = [name for name, entry in entries.items() if "weight" in entry]
        if weighted and len(weighted) != len(entries):
            raise ValueError(
                f"some targets have a weight ({weighted}) and some have none "
                f"({[n for n in entries if n not in weighted]}): give all or none"
            )
        equal = {"weight": 1.0 / len(entries)}
        targets = tuple(
            Target(outcome=name, **_complete({**equal, **entry}, known[name]))
            for name, entry in entries.items()
        )
        for target in targets:
            outcome = known[target.outcome]
            if not outcome.contains(target.value):
                raise ValueError(
                    f"target {target.outcome!r} has the value {target.value:g}, which is "
                    f"impossible: the outcome lies in {outcome.bounds} ({outcome.description})"
                )
        total = sum(t.weight for t in targets)
        if abs(total - 1.0) > WEIGHT_TOLERANCE:
            raise ValueError(
                f"the weights of the targets sum to {total:.6g}; they must sum to 1 "
                "(or leave all weights out to make them equal)"
            )
        return cls(targets, tuple(known))

    def to_mapping(self) -> dict[str, dict[str, Any]]:
        """The YAML form, as `from_mapping` reads it."""
        return {t.outcome: _entry_of(t) for t in self.targets}

    def fingerprint(self) -> str:
        """A short name of the targets: the same for the same targets."""
        return fingerprint({"targets": self.to_mapping()})

    @cached_property
    def index(self) -> npt.NDArray[np.int64]:
        """Position of each target's outcome in the outcome vector, shape (K,)."""
        return np.array([self.outcome_names.index(t.outcome) for t in self.targets], dtype=np.int64)

    @cached_property
    def values(self) -> FloatArray:
        """Targets f_*, shape (K,)."""
        return np.array([t.value for t in self.targets])

    @cached_property
    def weights(self) -> FloatArray:
        """Weights w, shape (K,), summing to 1."""
        return np.array([t.weight for t in self.targets])

    @cached_property
    def scales(self) -> FloatArray:
        """Scales s, shape (K,)."""
        return np.array([t.scale for t in self.targets])

    def signed_misses(self, outcomes: npt.ArrayLike) -> FloatArray:
        """y = (f − f*) / s of each target, shape (..., K), for outcome vectors (..., N).

        An outcome that is NaN (it did not happen in the episode) gives an infinite miss.

        Raises:
            ValueError: If the vectors have another length than `outcome_names`.
        """
        vectors = np.asarray(outcomes, dtype=np.float64)
        if vectors.shape[-1] != len(self.outcome_names):
            raise ValueError(
                f"outcome vectors of shape {vectors.shape} were given, but an episode has "
                f"{len(self.outcome_names)} outcomes: {list(self.outcome_names)}"
            )
        miss = (vectors[..., self.index] - self.values) / self.scales
        return np.where(np.isnan(miss), np.inf, miss)

    def losses(self, misses: Array) -> Array:
        """Losses ℓ (..., K) of signed misses (..., K), which may be an array of Torch."""
        return losses_of([t.loss for t in self.targets], misses)

    def reward(self, outcomes: npt.ArrayLike) -> FloatArray:
        """The calibrator's reward r_cal (section 3), shape (...), for outcomes (..., N)."""
        losses = self.losses(self.signed_misses(outcomes))
        return np.asarray((self.weights / (1.0 + losses)).sum(axis=-1))


def pool(outcomes: npt.ArrayLike) -> FloatArray:
    """Mean outcome vector (N,) of several episodes (E, N), leaving out NaN.

    An outcome that happened in no episode stays NaN.
    """
    values = np.asarray(outcomes, dtype=np.float64)
    happened = ~np.isnan(values)
    count = happened.sum(axis=0)
    total = np.where(happened, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _read_entry(name: str, entry: Any) -> dict[str, Any]:
    """One target of the YAML form as ``{value, weight?, scale?, loss?, tolerance?}``."""
    fields = dict(entry) if isinstance(entry, Mapping) else {"value": entry}
    unknown = [key for key in fields if key not in TARGET_KEYS]
    if unknown or "value" not in fields:
        raise ValueError(
            f"target {name!r} is given as {entry!r}; allowed keys are value (required), weight, "
            "scale, loss and tolerance"
        )
    return fields


def _complete(entry: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Fields of a target, with the scale that its loss or else its outcome has."""
    what = f"target {outcome.name!r}"
    try:
        loss = read_loss(entry.get("loss", Absolute.name))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    taken = loss.scale_at(entry["value"]) if is_number(entry["value"]) else None
    if taken is not None and "scale" in entry:
        raise ValueError(
            f"{what} has a scale, but the loss {loss.name} takes its scale from the value: leave "
            f"the scale out, and state the fraction as {loss.to_yaml()}"
        )
    if taken == 0:
        raise ValueError(
            f"{what}: the loss {loss.name} needs a value other than 0, since its scale is a "
            f"fraction of it; use the loss {Absolute.name} and a scale"
        )
    return {"scale": taken or outcome.scale, **entry, "loss": loss}


def _entry_of(target: Target) -> dict[str, Any]:
    """The YAML form of a target; what its loss implies is left out."""
    entry: dict[str, Any] = {"value": target.value, "weight": target.weight}
    if target.loss.scale_at(target.value) is None:
        entry["scale"] = target.scale
    if target.loss != Absolute():
        entry["loss"] = target.loss.to_yaml()
    if target.tolerance != MET_TOLERANCE:
        entry["tolerance"] = target.tolerance
    return entry
