"""Finished parts of a certificate on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.files import fingerprint, replacing, write_json

Arrays = dict[str, npt.NDArray]


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
        write_json(self.folder / "settings.json", settings)

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
        with replacing(self.path(name)) as unfinished:
            np.savez_compressed(unfinished, **arrays)  # type: ignore[arg-type]


def document_name(kind: str, marks: Mapping[str, Any], determined_by: Mapping[str, Any]) -> str:
    """File name of a document that no other answer in the same folder has.

    Args:
        kind: What it is, e.g. ``certificate``.
        marks: What a reader should see at once: settings that are not the default ones.
        determined_by: Everything that it depends on, as JSON could hold it.

    Returns:
        ``kind_key=value_..._fingerprint.json``.
    """
    words = [kind, *(f"{key}={value}" for key, value in marks.items()), fingerprint(determined_by)]
    return "_".join(words) + ".json"
