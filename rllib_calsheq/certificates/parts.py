"""Finished parts of a certificate on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray]


def fingerprint(settings: Mapping[str, Any]) -> str:
    """A short name of settings that can be written as JSON: the same for the same settings."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class PartStore:
    """A folder with one file for each finished part.

    Args:
        folder: The certificate's folder.
        settings: Everything that the parts depend on. Parts of other settings lie in folders of
            their own and are left alone.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder / f"parts-{fingerprint(settings)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(settings, indent=2, sort_keys=True, default=str)
        (self.folder / "settings.json").write_text(text, encoding="utf-8")

    def path(self, name: str) -> Path:
        """File of a part."""
        return self.folder / f"{name}.npz"

    def load(self, name: str) -> Arrays | None:
        """A finished part; None if there is none."""
        path = self.path(name)
        if not path.is_file():
            return None
        with np.load(path) as file:
            return {key: file[key] for key in file.files}

    def save(self, name: str, arrays: Arrays) -> None:
        """Stores a part; whoever kills the process finds it whole or not at all."""
        unfinished = self.folder / f".{name}.{os.getpid()}.npz"
        np.savez_compressed(unfinished, **arrays)  # type: ignore[arg-type]
        os.replace(unfinished, self.path(name))
