"""Values as JSON holds them, and what differs between two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: Stands for what is not known.
UNKNOWN = "unknown"
#: What stands in the text of an object before its place in memory.
ADDRESS = " at 0x"
#: Longest value in a message.
MOST_CHARACTERS = 60


def plain(value: Any) -> Any:
    """A value without what changes from process to process: addresses of functions."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(plain(v)) for v in value)
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no infinity, and null is another value.
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "tolist"):
        # NumPy's numbers and arrays.
        return plain(value.tolist())
    if not hasattr(value, "__qualname__") and ADDRESS not in (text := repr(value)):
        return text
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "", missing: str = UNKNOWN
) -> list[str]:
    """What differs between two mappings, one line for each field; [] if nothing does.

    Args:
        then: The earlier one.
        now: The present one.
        prefix: What the names of fields begin with.
        missing: What is said in the place of a field that one of them has not.
    """
    found: list[str] = []
    for key in dict.fromkeys([*then, *now]):
        one, other = then.get(key, missing), now.get(key, missing)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{prefix}{key}.", missing)
        elif one != other:
            found.append(f"{prefix}{key}: {_short(one)} then, {_short(other)} now")
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
