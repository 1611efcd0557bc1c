"""Errors as people read them: one paragraph, no traceback."""

from __future__ import annotations

import sys
import textwrap


def fail(error: BaseException | str) -> int:
    """Prints an error as one paragraph on standard error; returns the exit code 2."""
    text = textwrap.fill(
        f"error: {error}", width=100, break_long_words=False, break_on_hyphens=False
    )
    print(text, file=sys.stderr)
    return 2
