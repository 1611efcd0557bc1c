"""Errors as people read them: one paragraph, no traceback."""

from __future__ import annotations

import sys
import textwrap

#: Exit code after Ctrl-C.
INTERRUPTED = 130
#: Seconds in a day.
DAY_S = 86400.0


def fail(error: BaseException | str) -> int:
    """Prints an error as one paragraph on standard error; returns the exit code 2."""
    text = textwrap.fill(
        f"error: {error}", width=100, break_long_words=False, break_on_hyphens=False
    )
    print(text, file=sys.stderr)
    return 2


def seconds(flag: str, given: float, least: float) -> float:
    """A number of seconds that a flag gives, checked.

    Raises:
        ValueError: If it is less than ``least``, or more than a day.
    """
    if not least <= given <= DAY_S:
        raise ValueError(f"{flag} is {given:g}; allowed: seconds from {least:g} to {DAY_S:g}")
    return given
