"""Reading dataclass configurations from mappings, with errors that help."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def unknown_key_message(
    what: str, key: str, allowed: list[str], unlisted: Iterable[str] = ()
) -> str:
    """One sentence that names an unknown key, the nearest known one, and all of them.

    Args:
        what: What has no such field.
        key: The unknown key.
        allowed: The known ones.
        unlisted: Further known ones, too many to list.
    """
    near = difflib.get_close_matches(str(key), [*allowed, *unlisted], n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{what} has no field {key!r}{hint}; the fields are {sorted(allowed)}"


def from_mapping(cls: type[T], mapping: Mapping[str, Any] | T | None, what: str) -> T:
    """Builds the dataclass ``cls`` from a mapping of its fields.

    Args:
        cls: A dataclass type whose ``__post_init__`` checks its values.
        mapping: Field values; None for all defaults; an instance is returned as it is.
        what: What is being configured, for error messages.

    Raises:
        ValueError: If ``mapping`` is not one or has a key that is no field of ``cls``.
    """
    if mapping is None:
        return cls()
    if isinstance(mapping, cls):
        return mapping
    if not isinstance(mapping, Mapping):
        raise ValueError(f"{what} must be a mapping of its fields, but {mapping!r} was given")
    allowed = [f.name for f in dataclasses.fields(cls) if f.init]  # type: ignore[arg-type]
    for key in mapping:
        if key not in allowed:
            raise ValueError(unknown_key_message(what, key, allowed))
    return cls(**mapping)


def require(condition: bool, what: str, given: Any, allowed: str) -> None:
    """Raises a ValueError that says what was given and what is allowed."""
    if not condition:
        raise ValueError(f"{what} is {given!r}; allowed: {allowed}")


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``: mappings in mappings key by key, all else replaced as a whole.

    So ``{a: {x: 1, y: 2}}`` with ``{a: {y: 3}}`` is ``{a: {x: 1, y: 3}}``, and None in the place
    of a mapping takes it away.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = base.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged
