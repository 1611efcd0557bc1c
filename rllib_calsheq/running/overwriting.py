"""Setting a run of the same name aside, for those who edit a file and run it again."""

from __future__ import annotations

import shutil
from pathlib import Path

from rllib_calsheq.results.checkpoints import LOCK_FILE, has_begun
from rllib_calsheq.running.resuming import sole_use

#: What a run that was set aside is called: its own name with this behind.
SET_ASIDE = ".before"


def is_own_run(folder: Path) -> bool:
    """Whether a folder is one of `rllib train`: Tune's note of a run, and this package's lock."""
    return has_begun(folder) and (folder / LOCK_FILE).is_file()


def set_aside(folder: Path) -> Path | None:
    """Moves a run out of the way of the next one of its name; the one before it is removed.

    Args:
        folder: The run's.

    Returns:
        Where it is now; None if there was none.

    Raises:
        ValueError: If there is something else at ``folder`` or where it would go, or another
            process works in it. Nothing was moved or removed then.
    """
    if not folder.exists() or (folder.is_dir() and _is_empty(folder)):
        return None
    kept = folder.with_name(f"{folder.name}{SET_ASIDE}")
    for path in (folder, kept):
        if path.exists() and not is_own_run(path):
            raise ValueError(
                f"--overwrite replaces runs of `rllib train`, and {path} is none: move it away "
                "yourself, or give another --name or --storage-path"
            )
    with sole_use(folder):
        if kept.exists():
            shutil.rmtree(kept)
        folder.rename(kept)
    return kept


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but the lock of a run that never began."""
    return all(entry.name == LOCK_FILE for entry in folder.iterdir())
