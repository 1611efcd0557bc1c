"""What a checkpoint is, in a file of its own that is written last.

The manifest says which versions wrote the checkpoint, what run it is of, and the size and hash of
each of its files. A folder without one, or whose files are others, is not whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_calsheq.core.comparing import differences, plain
from rllib_calsheq.core.files import write_json

MANIFEST_FILE = "manifest.json"
#: Form of the file.
MANIFEST_FORMAT = 1
#: Differences that a message names.
MOST_DIFFERENCES = 5


class NotWholeError(ValueError):
    """A checkpoint lacks a file, or has one that is not what was written."""


def write_manifest(
    folder: Path,
    *,
    made_by: Mapping[str, str],
    stage: int,
    run: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Writes the manifest of a checkpoint whose other files are all written.

    Args:
        folder: The checkpoint.
        made_by: Versions by package.
        stage: Stages that were finished.
        run: What the run is, by section: what a run must be, too, that goes on from it.
        settings: Fields of the calibrator, which may change on the way.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size, "sha256": _sha256(path)
        }
        for path in found
        if path.name != MANIFEST_FILE
    }  # fmt: skip
    content = {"format": MANIFEST_FORMAT, "made_by": dict(made_by), "stage": stage}
    content |= {"run": plain(run), "settings": plain(settings), "files": files}
    write_json(folder / MANIFEST_FILE, content)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint.

    Raises:
        NotWholeError: If there is none, or none that can be read.
    """
    file = folder / MANIFEST_FILE
    if not file.is_file():
        raise _not_whole(
            folder,
            f"it lacks {MANIFEST_FILE}, which is written last (versions before 0.2.0: never)",
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != MANIFEST_FORMAT:
            raise _not_whole(folder, f"{MANIFEST_FILE} has form {content['format']!r}")
        return dict(content)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise _not_whole(folder, f"{MANIFEST_FILE} is damaged") from None


def require_whole(folder: Path, contents: bool = True) -> dict[str, Any]:
    """Checks that a checkpoint has all its files; returns its manifest.

    Args:
        folder: The checkpoint.
        contents: Whether to compare what is in the files, too, and not their sizes alone.

    Raises:
        NotWholeError: If a file is missing or not what was written; the message names it.
    """
    manifest = read_manifest(folder)
    for name, written in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise _not_whole(folder, f"it lacks {name}")
        size = file.stat().st_size
        if size != written["bytes"]:
            raise _not_whole(folder, f"{name} has {size} bytes, not {written['bytes']}")
        if contents and _sha256(file) != written["sha256"]:
            raise _not_whole(folder, f"{name} is not what was written (its SHA-256 differs)")
    return manifest


def require_same_run(folder: Path, manifest: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Checks that a checkpoint is of the run that is to go on from it.

    Args:
        folder: The checkpoint.
        manifest: Its manifest.
        now: What the present run is, by section, as `write_manifest` takes it.

    Raises:
        ValueError: If it is of another one; the message says what differs.
    """
    found = differences(manifest["run"], json.loads(json.dumps(plain(now))))
    if found:
        more = len(found) - MOST_DIFFERENCES
        said = found[:MOST_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
        raise ValueError(
            f"{folder / MANIFEST_FILE}: this checkpoint is of another run: {'; '.join(said)}. Go "
            "on with the configuration that it was made with, or start the run again under "
            "another name"
        )


def _not_whole(folder: Path, why: str) -> NotWholeError:
    return NotWholeError(
        f"{folder} is no whole checkpoint: {why}. Give another of the run's checkpoint_* folders, "
        "or the run's folder"
    )


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
