"""Errors and help as people read them: one paragraph, no traceback."""

from __future__ import annotations

import logging
import sys
import textwrap
import warnings


def fail(error: BaseException | str) -> int:
    """Prints an error as one paragraph on standard error; returns the exit code 2."""
    text = textwrap.fill(
        f"error: {error}", width=100, break_long_words=False, break_on_hyphens=False
    )
    print(text, file=sys.stderr)
    return 2


def quieten() -> None:
    """Keeps Ray's own warnings off the terminal; its errors, and all our output, stay."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*already in registry.*")


def quieten_rllib() -> None:
    """Keeps RLlib's warnings off the terminal, too; to be called once RLlib is imported.

    Importing Ray sets the levels of its loggers again.
    """
    for name in ("ray", "ray.rllib"):
        logging.getLogger(name).setLevel(logging.ERROR)
