"""Files that are written whole or not at all, and short names for what determines them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Hexadecimal digits of a `fingerprint`.
FINGERPRINT_LENGTH = 12


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives the block a new file to write, which takes the place of ``path`` when it ends well.

    Whoever reads ``path`` at any time, or after the process was killed, finds the old content or
    the new, never a part of it. A link is followed. What is no file (a pipe, a terminal) is
    written to as it is.

    Args:
        path: The file; its folder exists.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    place = Path(os.path.realpath(path))
    # The ending stays: NumPy and Matplotlib read it.
    unfinished = place.with_name(f".{place.stem}.{uuid.uuid4().hex[:8]}{place.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, place)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def json_text(content: Any) -> str:
    """A value as JSON: null for NaN and infinity, a string for what else JSON does not know."""
    return json.dumps(_finite(content), indent=2, default=str, allow_nan=False)


def write_json(path: str | Path, content: Any) -> None:
    """Writes a JSON file (see `json_text`), whole or not at all."""
    write_text(path, json_text(content))


def _finite(value: Any) -> Any:
    """A value with None in the place of every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fingerprint(content: Mapping[str, Any]) -> str:
    """A short name of what can be written as JSON: the same for the same content."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]
