"""Checks of a configuration against the table `rllib_fields.FIELDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.utils.serialization import deserialize_type

from rllib_calsheq.algorithm.misplaced_keys import where_it_belongs
from rllib_calsheq.algorithm.rllib_fields import FIELDS
from rllib_calsheq.algorithm.stated_config import StatedConfig
from rllib_calsheq.core.configuration import require, unknown_key_message
from rllib_calsheq.learning.ray_private.access import field_name

#: Keys that RLlib puts into configurations and that are no fields, besides Tune's own, which
#: begin with two underscores.
OTHER_KEYS = ("multiagent", "class")


def stored_value(config: StatedConfig, name: str) -> Any:
    """The value of a field of the table."""
    return getattr(config, FIELDS[name].stored_as or name)


def check_value(name: str, value: Any, *harmless: Any, given_as: str = "") -> None:
    """Checks one field of the table.

    Args:
        name: Its name.
        value: Its value.
        *harmless: Values of a derived or refused field that change nothing: its default, what
            CALSHEQ sets.
        given_as: The key that it was given under, where that is an older one.

    Raises:
        ValueError: If the value is not allowed, or would have no effect.
    """
    field = FIELDS[name]
    fits = field.allowed is not None and field.allowed.holds(value)
    if field.treatment == "honoured":
        require(fits, given_as or name, value, field.allowed.text if field.allowed else "")
    elif not fits and not any(_same(value, other) for other in harmless):
        raise ValueError(field.objection(given_as or name, value))


def check_rllib_fields(config: StatedConfig, defaults: StatedConfig) -> None:
    """Checks all fields but the derived ones.

    Raises:
        ValueError: If one has a value that is not allowed, or would have no effect.
    """
    for name, field in FIELDS.items():
        if field.treatment != "derived":
            own = [config._derived[name]] if name in config._derived else []
            check_value(name, stored_value(config, name), stored_value(defaults, name), *own)


def check_derived(
    config: StatedConfig, defaults: StatedConfig, *derived: Mapping[str, Any]
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


def checked_keys(config: StatedConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a mapping as the names that a configuration keeps them under, all checked.

    Args:
        config: The configuration that the mapping is to change.
        given: Fields by name, as in an experiment file; ``model_config`` is none of them.

    Raises:
        ValueError: If a key is no field, or its value is not allowed or would have no effect.
    """
    # A configuration that was written out carries what CALSHEQ set in it.
    derived = given.get("_derived", config._derived)
    found: dict[str, Any] = {}
    for key, value in given.items():
        require(isinstance(key, str), "a key of the CALSHEQ configuration", key, "text")
        name = field_name(config, key)
        if name == "callbacks_class" and isinstance(value, str):
            value = deserialize_type(value, error=True)
        if name in FIELDS:
            stored = FIELDS[name].stored_as or name
            check_value(name, value, getattr(config, stored), derived.get(name), given_as=key)
            found[stored] = value
        elif name in vars(config) or key in OTHER_KEYS or key.startswith("__"):
            found[key] = value
        else:
            raise ValueError(_unknown(config, key, value))
    return found


def _unknown(config: StatedConfig, key: str, value: Any) -> str:
    """What to say about a key that is no field."""
    if callable(getattr(type(config), key, None)):
        arguments = value if isinstance(value, Mapping) else {}
        # What such an argument does is more to the point than where it belongs.
        for name in arguments:
            if name in FIELDS and name != "model_config":
                check_value(name, arguments[name], stored_value(config, name))
        named = f" {list(arguments)}" if arguments else ""
        return (
            f"{key} is a method of RLlib's configuration in Python; in an experiment file write "
            f"its arguments{named} as keys of `config` itself"
        )
    if (instead := where_it_belongs(key, value)) is not None:
        return f"the CALSHEQ configuration has no field {key!r}: {instead}"
    own = [name for name in vars(config) if name not in FIELDS and not name.startswith("_")]
    message = unknown_key_message("the CALSHEQ configuration", key, own, FIELDS)
    return f"{message}, and RLlib's of docs/configuration.md"


def check_kept(config: StatedConfig, given: Mapping[str, Any]) -> None:
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


def changed_for_episodes(config: StatedConfig, defaults: StatedConfig) -> list[str]:
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
