"""Configurations: frozen dataclasses that check their fields, with errors that help.

How to declare one::

    @configuration
    class Speed:
        limit: Positive = 50.0
        lanes: Annotated[int, Field(ge=1, le=8)] = 2

What is not allowed is a `ValueError` of one sentence, however the class is made:
``lanes is 9; allowed: integers from 1 to 8``. A class of which there are many says which one it
is about: ``SUBJECT: ClassVar[str] = "road {name!r}"``, filled from its fields, goes in front.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import numbers
import types
from collections.abc import Iterable, Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

T = TypeVar("T")

# Types of fields. A bool is no number, a text neither, and numbers are finite.
Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
#: A fraction that is not nothing.
Fraction = Annotated[float, Field(gt=0, le=1)]

#: Nothing is converted but an int to a float, so that a typing error does not pass as a value.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
#: What values of a type are called.
KINDS = {
    int: "integers",
    float: "numbers",
    str: "text",
    bool: "true or false",
    types.NoneType: "null",
    Any: "anything",
}


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def configuration(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass whose fields are checked against their type hints.

    What concerns several fields stays in a ``__post_init__``, which is called with good ones.

    Raises:
        ValueError: From the class, if a field is not allowed: what was given, what is allowed.
    """
    made: Any = checked_dataclass(cls, frozen=True, config=STRICT)
    check = made.__init__

    @functools.wraps(check)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:  # noqa: N807
        try:
            check(self, *args, **fields)
        except ValidationError as error:
            names = (f.name for f in dataclasses.fields(made) if f.init)
            given = {**dict(zip(names, args, strict=False)), **fields}
            raise ValueError(_explain(error, made, given)) from None

    made.__init__ = __init__
    return made


def _explain(error: ValidationError, cls: Any, given: Mapping[str, Any]) -> str:
    """Says of each field that is not allowed what was given and what is allowed."""
    hints = get_type_hints(cls, include_extras=True)
    names = [f.name for f in dataclasses.fields(cls) if f.init]
    sentences: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        if problem["type"] in ("value_error", "assertion_error"):
            # Raised by the class's own __post_init__.
            return str(problem["ctx"]["error"])
        where = problem["loc"][0]
        name = names[where] if isinstance(where, int) else where
        if name not in names:
            sentences[name] = unknown_key_message(cls.__name__, name, names)
        elif name not in given:
            sentences[name] = f"{name} is missing; allowed: {allowed_values(hints[name])}"
        elif problem["loc"][-1] == "[key]":
            wrong = [key for key in given[name] if not isinstance(key, str)]
            sentences[name] = f"{name} has the keys {wrong!r}; allowed: text"
        else:
            sentences[name] = _sentence(name, given[name], allowed_values(hints[name]))
    subject = getattr(cls, "SUBJECT", "").format_map({**dict.fromkeys(names), **given})
    return f"{subject}: " * bool(subject) + ". ".join(sentences.values())


def allowed_values(hint: Any) -> str:
    """The values that a type hint allows, in words, e.g. ``integers from 1``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = [bound for field in hint.__metadata__ for bound in getattr(field, "metadata", ())]
        bounds = {
            key: getattr(bound, key)
            for bound in found
            for key in ("ge", "gt", "le", "lt")
            if hasattr(bound, key)
        }
        return f"{allowed_values(args[0])}{_range(bounds, whole=args[0] is int)}"
    if origin in (Union, types.UnionType):
        return " or ".join(allowed_values(arg) for arg in args)
    if origin is Literal:
        return " or ".join(repr(arg) for arg in args)
    kind = origin or hint
    if kind in KINDS:
        return KINDS[kind]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return f"{kind.__name__} objects"
    if issubclass(kind, Mapping):
        of = "" if args in ((), (str, Any)) else f" of names to {allowed_values(args[1])}"
        return f"a mapping{of}"
    return f"a list of {allowed_values(args[0])}" if args else "a list"


def _range(bounds: Mapping[str, float], whole: bool) -> str:
    """Bounds in words: `` from 1``, `` > 0``, `` in (0, 1]``."""
    if whole:
        words = {"ge": " from {}", "le": " to {}", "gt": " above {}", "lt": " below {}"}
        return "".join(words[key].format(value) for key, value in bounds.items())
    if len(bounds) == 2:
        (low, first), (high, last) = sorted(bounds.items())
        return f" in {'[' if low == 'ge' else '('}{first:g}, {last:g}{']' if high == 'le' else ')'}"
    signs = {"ge": ">=", "le": "<=", "gt": ">", "lt": "<"}
    return "".join(f" {signs[key]} {value:g}" for key, value in bounds.items())


def is_number(value: object) -> bool:
    """Whether a value is a finite real number, one of NumPy's included; a bool is none.

    Neither is an integer that no float is as large as.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


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
        cls: A dataclass type that checks its values.
        mapping: Field values; None for all defaults; an instance is returned as it is.
        what: What is being configured, for error messages.

    Raises:
        ValueError: If ``mapping`` is not one, has a key that is no field of ``cls`` or a value
            that ``cls`` refuses.
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
    try:
        return cls(**mapping)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def require(condition: bool, what: str, given: Any, allowed: str) -> None:
    """Raises a ValueError that says what was given and what is allowed."""
    if not condition:
        raise ValueError(_sentence(what, given, allowed))


def _sentence(what: str, given: Any, allowed: str) -> str:
    """What was given and what is allowed; says so where YAML made a text of a number."""
    hint = ""
    if isinstance(given, str) and _is_numeric(given):
        hint = ", and that is text (YAML reads 1e-3 as text, and 1.0e-3 as a number)"
    return f"{what} is {given!r}{hint}; allowed: {allowed}"


def _is_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
