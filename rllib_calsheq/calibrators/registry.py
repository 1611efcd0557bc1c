"""All calibrators: those of this package by name, any other by the dotted path of its class.

A module or package beside this one that has ``ENTRIES`` is a calibrator's; there is no list of
them. Looking at the entries imports nothing heavy.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy.typing as npt

from rllib_calsheq.calibrators.entry import Entry
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.configuration import from_mapping
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.targets import TargetSet

#: The calibrator of a configuration that names none.
DEFAULT_CALIBRATOR = "ppo"


@cache
def entries() -> dict[str, Entry]:
    """The calibrators of this package by name, in the order of tables and legends."""
    package = import_module(__name__.rpartition(".")[0])
    found: list[Entry] = []
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        found += getattr(import_module(module.name), "ENTRIES", ())
    return {entry.name: entry for entry in sorted(found, key=lambda e: (e.order, e.name))}


def find_entry(name: str) -> Entry:
    """The calibrator of a name, or of a dotted path, whose class is then loaded.

    Raises:
        ValueError: If there is none.
    """
    known = entries()
    if name in known:
        return known[name]
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(
            f"unknown calibrator {name!r}; there are {list(known)}, and any subclass of "
            "rllib_calsheq.Calibrator by its dotted path, e.g. my_package.MyCalibrator"
        )
    by_path = {entry.path: entry for entry in known.values()}
    return by_path.get(name) or Entry.of_class(name)


def entry_or_none(name: str) -> Entry | None:
    """As `find_entry`, and None where there is none: a table may outlive its calibrators."""
    try:
        return find_entry(name)
    except ValueError:
        return None


def calibrator_config(name: str, fields: Mapping[str, Any]) -> Any:
    """The checked configuration of a calibrator; None for one without fields.

    Raises:
        ValueError: If the name or a field is unknown, a value is not allowed, or the
            calibrator needs a package that is not installed.
    """
    entry = find_entry(name)
    what = f"calibrator {name!r}"
    config: Any = None
    if entry.config_class is not None:
        config = from_mapping(entry.config_class, fields, what)
    elif fields:
        raise ValueError(f"{what} has no fields, but {sorted(fields)} were given")
    entry.require_package()
    return config


def pulls_to_prior(name: str, fields: Mapping[str, Any] | None = None) -> bool:
    """Whether a calibrator with these fields pulls to a prior; those without fields do not.

    Raises:
        ValueError: If the name is unknown or a field is not allowed.
    """
    entry = find_entry(name)
    if entry.config_class is None:
        return False
    config: Any = from_mapping(entry.config_class, fields or {}, f"calibrator {name!r}")
    return bool(getattr(config, "uses_prior", False))


def make_calibrator(
    name: str,
    *,
    start: npt.ArrayLike,
    num_particles: int,
    targets: TargetSet,
    seed: int,
    prior: Prior | None = None,
    **fields: Any,
) -> Calibrator:
    """Builds a calibrator.

    Args:
        name: A name of `entries`, or the dotted path of a subclass of `Calibrator`.
        start: Initial profile Λ_0 in the unit cube, shape (d,).
        num_particles: B, one particle an episode slot.
        targets: The targets.
        seed: Seed of all its random numbers.
        prior: What the user expects of the parameters, if anything.
        **fields: Fields of that calibrator's configuration.

    Raises:
        ValueError: If the name or a field is unknown, a value is not allowed, or the
            calibrator needs a package that is not installed.
    """
    config = calibrator_config(name, fields)
    calibrator: Any = find_entry(name).load()
    own = () if config is None else (config,)
    made: Calibrator = calibrator(start, num_particles, targets, seed, *own)
    if prior is not None:
        made.set_prior(prior)
    return made
