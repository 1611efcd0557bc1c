"""Going on with a run: from the last state and the last checkpoints that are whole."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rllib_calsheq.core.files import write_text
from rllib_calsheq.core.manifest import MANIFEST_FILE, read_manifest
from rllib_calsheq.learning.ray_private.access import (
    add_checkpoint,
    keep_checkpoints,
    number_after,
)
from rllib_calsheq.results.checkpoints import (
    LOCK_FILE,
    STATE_FILES,
    TRIAL_FILE,
    drop_torn_results,
    is_sound,
    is_whole,
    result_rows,
)

#: The last state of Tune's that was whole, in the run's folder.
KEPT_STATE = "last_whole_state.json"


@contextmanager
def sole_use(folder: Path, elsewhere: str = "--name or --storage-path") -> Iterator[None]:
    """A block in which no other process works in a run's or a study's folder, which is made.

    Args:
        folder: The folder.
        elsewhere: What would name another folder, for the error.

    Raises:
        ValueError: If one does.
        OSError: If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK_FILE, "w", encoding="utf-8") as file:
        try:
            # Released when the process ends, however it does.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another process works in {folder}: wait for it or stop it, or give another "
                f"{elsewhere}"
            ) from None
        yield


def mend(run: Path) -> None:
    """Makes the records of a run that was cut off such that Tune goes on with them.

    Raises:
        ValueError: If it would begin the run anew.
    """
    mend_state(run)
    put_first(run)
    drop_torn_results(run)


def mend_state(run: Path) -> None:
    """Puts the last whole state of a run in the place of one that is not.

    Raises:
        ValueError: If there is none: Tune would begin the run anew.
    """
    file = newest_state(run)
    if file is None or is_json(file.read_text(encoding="utf-8", errors="replace")):
        return
    kept = run / KEPT_STATE
    if not kept.is_file():
        raise ValueError(
            f"{file} is damaged, and there is no earlier one: the run cannot be gone on with. Its "
            f"checkpoints may be whole (calsheq evaluate {run}); start again under another --name"
        )
    write_text(file, json.loads(kept.read_text(encoding="utf-8"))["state"])
    print(f"{file.name} is damaged: going on from the one before", flush=True)


def put_first(run: Path) -> None:
    """Makes a run's last state the only one, under a name that is before those to come.

    Tune names them by the wall clock, which may have been set back meanwhile, and takes the last.
    """
    states = sorted(run.glob(STATE_FILES))
    for earlier in states[:-1]:
        earlier.unlink()
    if states:
        os.replace(states[-1], run / STATE_FILES.replace("*", "0"))


def take_up(trial: Any) -> None:
    """Lets a trial of a resumed run go on from the last whole checkpoint in its folder.

    Tune's note of it may be some seconds old, and what it knows may be damaged. A checkpoint that
    was cut off keeps its folder: Tune would write the next one over it, and with a second kill amid
    that its files would be of two checkpoints.

    Args:
        trial: Tune's trial, which has not started yet.
    """
    storage = trial.storage
    if trial.is_finished() or storage.storage_filesystem.type_name != "local":
        return
    if not storage.trial_dir_name:
        # A new trial, which has no folder yet.
        return
    keep_checkpoints(trial, is_sound)
    folders = sorted(Path(trial.path).glob("checkpoint_*"))
    known = Path(trial.checkpoint.path).name if trial.has_checkpoint() else ""
    later = [p for p in folders if p.name > known]
    rows = {row["training_iteration"]: row for row in _rows(Path(trial.path))} if later else {}
    for checkpoint in later:
        if not ((checkpoint / MANIFEST_FILE).is_file() and is_whole(checkpoint, contents=True)):
            continue
        row = rows.get(read_manifest(checkpoint)["stage"])
        if row is not None:
            add_checkpoint(trial, checkpoint, row)
    number_after(trial, folders)


def newest_state(run: Path) -> Path | None:
    """Tune's last note of a run's state, as it chooses it; None if there is none."""
    return max(run.glob(STATE_FILES), default=None)


def is_json(text: str) -> bool:
    """Whether a text is JSON, whole."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _rows(trial: Path) -> list[dict[str, Any]]:
    return result_rows(trial) if (trial / TRIAL_FILE).is_file() else []
