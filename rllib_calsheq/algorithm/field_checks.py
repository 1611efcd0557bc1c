"""Checks of a configuration against the table `rllib_fields.FIELDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rllib_calsheq.algorithm.rllib_fields import FIELDS
from rllib_calsheq.configuration import require

if TYPE_CHECKING:
    from rllib_calsheq.algorithm.config import CALSHEQConfig


def stored_value(config: CALSHEQConfig, name: str) -> Any:
    """The value of a field of the table."""
    return getattr(config, FIELDS[name].stored_as or name)


def check_value(name: str, value: Any, *harmless: Any) -> None:
    """Checks one field of the table.

    Args:
        name: Its name.
        value: Its value.
        *harmless: Values of a derived or refused field that change nothing: its default, what
            CALSHEQ sets.

    Raises:
        ValueError: If the value is not allowed, or would have no effect.
    """
    field = FIELDS[name]
    fits = field.allowed is not None and field.allowed.holds(value)
    if field.treatment == "honoured":
        require(fits, name, value, field.allowed.text if field.allowed else "")
    elif not fits and not any(_same(value, other) for other in harmless):
        raise ValueError(field.objection(name, value))


def check_rllib_fields(config: CALSHEQConfig, defaults: CALSHEQConfig) -> None:
    """Checks all fields but the derived ones.

    Raises:
        ValueError: If one has a value that is not allowed, or would have no effect.
    """
    for name, field in FIELDS.items():
        if field.treatment != "derived":
            check_value(name, stored_value(config, name), stored_value(defaults, name))


def check_derived(
    config: CALSHEQConfig, defaults: CALSHEQConfig, *derived: Mapping[str, Any]
) -> None:
    """Checks the derived fields.

    Args:
        config: The configuration.
        defaults: One in which nothing was changed.
        *derived: Values that CALSHEQ set itself, or is about to set.

    Raises:
        ValueError: If the user changed one.
    """
    for name, field in FIELDS.items():
        if field.treatment == "derived":
            own = [values[name] for values in derived if name in values]
            check_value(name, stored_value(config, name), stored_value(defaults, name), *own)


def check_kept(config: CALSHEQConfig, given: Mapping[str, Any]) -> None:
    """Checks that no field that was given was replaced by a derived one.

    Args:
        config: A validated configuration.
        given: What the user set, by name: also values that equal RLlib's default.

    Raises:
        ValueError: If the configuration has another value of one.
    """
    for name, value in given.items():
        if name in FIELDS and FIELDS[name].treatment == "derived":
            check_value(name, value, stored_value(config, name))


def changed_for_episodes(config: CALSHEQConfig, defaults: CALSHEQConfig) -> list[str]:
    """Sentences about the fields that only the episode path honours, where they were changed."""
    return [
        f"{name} is set, but {field.reason}"
        for name, field in FIELDS.items()
        if not field.arrays and not _same(stored_value(config, name), stored_value(defaults, name))
    ]


def _same(one: Any, other: Any) -> bool:
    """Equality in which True is not 1."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    try:
        return bool(one == other)
    except (AttributeError, TypeError, ValueError):  # e.g. arrays, RLlib's PolicySpec
        return False
