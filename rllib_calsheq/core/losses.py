"""Losses of targets: what a miss costs (section 3).

The reward is a weighted sum of inverse losses, r_cal = Σ_k w_k / (1 + ℓ_k). A loss ℓ is a function
of the signed miss y = (f − f*) / s, with s the target's scale: 0 at the target, growing on both
sides and 1 where half of a target's part of the reward is lost. It is written with operators and
methods that NumPy and Torch share: rewards, critics and Gaussian processes apply one function.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from rllib_calsheq.core.configuration import NonNegative, Positive, configuration, from_mapping

#: An array of NumPy or of Torch.
Array = TypeVar("Array")


@configuration
class Loss(ABC):
    """Base of all losses; a subclass has a ``name``, `of`, and fields as it needs them."""

    name: ClassVar[str] = ""

    @abstractmethod
    def of(self, misses: Array) -> Array:
        """ℓ of signed misses in scales, any shape."""

    def scale_at(self, value: float) -> float | None:
        """The scale that it takes from the target's value; None where the target has its own."""
        return None

    def to_yaml(self) -> str | dict[str, Any]:
        """As `read_loss` reads it."""
        fields = dataclasses.asdict(self)
        return {"name": self.name, **fields} if fields else self.name


@configuration
class Absolute(Loss):
    """|y|: a miss by one scale halves a target's part of the reward, one by three quarters it."""

    name: ClassVar[str] = "absolute"

    def of(self, misses: Array) -> Array:
        miss: Any = misses
        found: Array = abs(miss)
        return found


@configuration
class Squared(Loss):
    """y²: small misses cost little, and far ones more; the reward is smooth at the target."""

    name: ClassVar[str] = "squared"

    def of(self, misses: Array) -> Array:
        miss: Any = misses
        found: Array = miss * miss
        return found


@configuration
class Relative(Absolute):
    """|f − f*| / (fraction · |f*|): the scale is a fraction of the target's value.

    Attributes:
        fraction: The miss that counts as one scale, as a fraction of |f*|.
    """

    name: ClassVar[str] = "relative"

    fraction: Positive = 0.1

    def scale_at(self, value: float) -> float | None:
        return self.fraction * abs(value)


@configuration
class Band(Loss):
    """0 inside a band, where the target counts as met, and outside of it what exceeds it.

    Attributes:
        tolerance: Half of the band's width, in scales.
    """

    name: ClassVar[str] = "band"

    tolerance: NonNegative = 1.0

    def of(self, misses: Array) -> Array:
        miss: Any = misses
        found: Array = (abs(miss) - self.tolerance).clip(min=0.0)
        return found


LOSSES: dict[str, type[Loss]] = {cls.name: cls for cls in (Absolute, Squared, Relative, Band)}


def losses_of(losses: Sequence[Loss], misses: Array) -> Array:
    """ℓ of K targets, each by its own loss.

    Args:
        losses: The loss of each target, K of them.
        misses: Signed misses in scales, shape (..., K), of NumPy or Torch.

    Returns:
        The losses, shape (..., K), of the same kind and type.
    """
    kinds = list(dict.fromkeys(losses))
    if len(kinds) == 1:
        return kinds[0].of(misses)
    given: Any = misses
    found: Any = abs(given)
    for kind in kinds:
        columns = [k for k, loss in enumerate(losses) if loss == kind]
        found[..., columns] = kind.of(given[..., columns])
    made: Array = found
    return made


def read_loss(given: Any) -> Loss:
    """The loss of its YAML form.

    Args:
        given: ``name``, or ``{name: ..., field: ...}``.

    Raises:
        ValueError: If there is no such loss or field, or a value is not allowed.
    """
    fields = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = fields.pop("name", None)
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(
            f"loss is {given!r}; allowed: {sorted(LOSSES)}, or one with its fields as "
            "{name: band, tolerance: 0.5}"
        )
    return from_mapping(LOSSES[name], fields, f"loss {name}")
