"""Ray's own words, kept off the screen: they say nothing of a calibration."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Loggers of Ray whose levels are its own, once it is imported.
LOGGERS = ("ray", "ray.rllib", "ray.tune")


def quieten() -> None:
    """Keeps Ray's own warnings off the terminal; its errors, and all our output, stay."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    _filter_warnings()


def quieten_rllib() -> None:
    """Keeps RLlib's warnings off the terminal, too; to be called once RLlib is imported.

    Importing Ray sets the levels of its loggers again.
    """
    for name in ("ray", "ray.rllib"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def quiet(verbose: bool = False) -> Iterator[None]:
    """A block without Ray's warnings; afterwards all levels and filters are as they were.

    Args:
        verbose: Whether Ray's words are shown all the same.
    """
    if verbose:
        yield
        return
    _import_rllib()
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    with warnings.catch_warnings():
        _filter_warnings()
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


def _import_rllib() -> None:
    """Imports RLlib without a word; it sets the levels of its loggers while it is imported."""
    before = logging.root.manager.disable
    # There is no logger of Ray's yet whose level would stay: in notebooks it asks for widgets.
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            _filter_warnings()
            import ray.rllib
            import ray.tune  # noqa: F401
    finally:
        logging.disable(before)


def _filter_warnings() -> None:
    warnings.filterwarnings("ignore", message="IProgress not found")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
