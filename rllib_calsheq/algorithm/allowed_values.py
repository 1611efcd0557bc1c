"""Sets of allowed values, each with the words that name it in errors and in the documentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from rllib_calsheq.core.configuration import is_number


@dataclass(frozen=True)
class Allowed:
    """A set of values.

    Attributes:
        text: What the values are, in words.
        holds: Whether a value is one of them.
    """

    text: str
    holds: Callable[[Any], bool]

    def __or__(self, other: Allowed) -> Allowed:
        """The values of both sets."""
        return Allowed(
            f"{self.text} or {other.text}", lambda value: self.holds(value) or other.holds(value)
        )


def one_of(*values: Any) -> Allowed:
    """The values themselves; True is not 1 here."""
    words = ", ".join(str(value) for value in values)
    kinds = {(type(value), value) for value in values}
    return Allowed(words, lambda value: _is_hashable(value) and (type(value), value) in kinds)


def integers(least: int) -> Allowed:
    """Integers from ``least``; True and False are none."""
    return Allowed(f"integers from {least}", lambda value: _is_integer(value) and value >= least)


def numbers(
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: bool = False,
    infinite: bool = False,
) -> Allowed:
    """Numbers in [least, most], or in (least, most] if ``above``; True and False are none.

    They are finite, unless ``infinite`` allows infinity.
    """
    if most < math.inf:
        text = f"numbers in [{least:g}, {most:g}]"
    else:
        text = f"numbers {'above' if above else 'from'} {least:g}{', .inf too' * infinite}"

    def holds(value: Any) -> bool:
        if not (is_number(value) or (infinite and value == math.inf)):
            return False
        return bool((value > least if above else value >= least) and value <= most)

    return Allowed(text, holds)


def lists_of(items: Allowed, *, empty: bool = False) -> Allowed:
    """Lists and tuples of allowed items."""

    def holds(value: Any) -> bool:
        if not isinstance(value, Sequence) or isinstance(value, str) or not (value or empty):
            return False
        return all(items.holds(item) for item in value)

    return Allowed(f"lists of {items.text}", holds)


def mappings_to(values: Allowed) -> Allowed:
    """Mappings of names to allowed values."""

    def holds(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            NAMES.holds(name) and values.holds(item) for name, item in value.items()
        )

    return Allowed(f"mappings of names to {values.text}", holds)


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_hashable(value: Any) -> bool:
    return getattr(type(value), "__hash__", None) is not None and not isinstance(value, tuple)


BOOLEANS = one_of(True, False)
NONE = one_of(None)
NAMES = Allowed("names", lambda value: isinstance(value, str) and bool(value))
MAPPINGS = Allowed("mappings", lambda value: isinstance(value, Mapping))
FUNCTIONS = Allowed("functions", callable)
FUNCTION_LISTS = FUNCTIONS | lists_of(FUNCTIONS) | NONE
