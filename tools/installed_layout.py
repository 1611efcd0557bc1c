"""The checkout as it is when it is installed, for tools that read folders.

The folders `envs/` and `callbacks/` stand at the top level of a checkout, and are subpackages of
`rllib_calsheq`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUBPACKAGES = ("envs", "callbacks")


@contextmanager
def installed_layout() -> Iterator[Path]:
    """A temporary folder that holds the package `rllib_calsheq`, whole, as links."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "rllib_calsheq"
        package.mkdir()
        for entry in (ROOT / "rllib_calsheq").iterdir():
            if entry.name != "__pycache__":
                (package / entry.name).symlink_to(entry)
        for name in SUBPACKAGES:
            (package / name).symlink_to(ROOT / name)
        yield Path(folder)
