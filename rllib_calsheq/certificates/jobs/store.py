"""Finished jobs of a certificate on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.core.files import fingerprint, replacing, write_json
from rllib_calsheq.results.checkpoints import CERTIFICATES

#: Longest name of a certificate's folder.
MAX_NAME_LENGTH = 100

Arrays = dict[str, npt.NDArray]


class JobStore:
    """A folder with one file for each finished job.

    Args:
        folder: The certificate's folder.
        determined_by: Everything that the jobs depend on. Those that depend on other things lie
            in folders of their own and are left alone.
    """

    def __init__(self, folder: Path, determined_by: Mapping[str, Any]) -> None:
        # The name that these folders have always had.
        self.folder = folder / f"parts-{fingerprint(determined_by)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "settings.json", determined_by)

    def path(self, name: str) -> Path:
        """File of a job."""
        return self.folder / f"{name}.npz"

    def load(self, name: str) -> Arrays | None:
        """A finished job; None if there is none."""
        path = self.path(name)
        if not path.is_file():
            return None
        with np.load(path) as file:
            return {key: file[key] for key in file.files}

    def save(self, name: str, arrays: Arrays) -> None:
        """Stores a job; whoever kills the process finds it whole or not at all."""
        with replacing(self.path(name)) as unfinished:
            np.savez_compressed(unfinished, **arrays)  # type: ignore[arg-type]


def result_name(kind: str, marks: Mapping[str, Any], determined_by: Mapping[str, Any]) -> str:
    """File name of a result that no other answer in the same folder has.

    Args:
        kind: What it is, e.g. ``certificate``.
        marks: What a reader should see at once: numbers that are not the default ones.
        determined_by: Everything that it depends on, as JSON could hold it.

    Returns:
        ``kind_key=value_..._fingerprint.json``.
    """
    words = [kind, *(f"{key}={value}" for key, value in marks.items()), fingerprint(determined_by)]
    return "_".join(words) + ".json"


def default_folder(checkpoint: Path, config: CertificateConfig) -> Path:
    """Where a certificate goes: beside the checkpoint, named after it and what is different.

    Certificates of other seeds, budgets and the like share it: their files have names of their own.
    """
    marks = [checkpoint.name]
    if config.supertypes != "profile":
        marks.append(config.supertypes)
    marks += [f"{k}={v}" for k, v in {**config.env_config, **config.parameters}.items()]
    if config.action is not None:
        marks.append("action=" + ",".join(f"{a:g}" for a in config.action))
    name = "_".join(marks).replace("/", "-")[:MAX_NAME_LENGTH]
    return checkpoint.absolute().parent / CERTIFICATES / name
