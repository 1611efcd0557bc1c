"""Going on with a run: from the last state and the last checkpoints that are whole."""

from __future__ import annotations

import fcntl
import json
import pickletools
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from rllib_calsheq.core.files import replacing
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
    TUNER_FILE,
    drop_torn_results,
    is_sound,
    is_whole,
    result_rows,
)

#: The last state of Tune's that was whole, all files of it, in the run's folder; by a name that
#: Tune does not copy.
KEPT_STATE = "last_state.zip"
#: Tune's files of a state: trials, what searches for more of them, callbacks.
STATE_PARTS = (
    STATE_FILES,
    "basic-variant-state-*.json",
    "search_gen_state-*.json",
    "searcher-state-*.pkl",
    "callback-states-*.pkl",
)


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
    put_state_back(run)
    drop_torn_results(run)


def keep_state(run: Path, staged: Path) -> None:
    """Keeps the state of a run, whole, as Tune has it in a folder from which it copies it.

    A copy of Tune's that a kill cuts off leaves half a file, or files of two states.

    Args:
        run: The run's folder.
        staged: The folder that Tune copies from.
    """
    files = [*_parts(staged), *run.glob(TUNER_FILE)]
    with replacing(run / KEPT_STATE) as unfinished, ZipFile(unfinished, "w", ZIP_DEFLATED) as kept:
        for file in files:
            kept.write(file, file.name)


def put_state_back(run: Path) -> None:
    """Makes the last state of a run that was kept whole the only one that Tune finds.

    Tune takes the last by name, which is by the wall clock; that may have been set back meanwhile.

    Raises:
        ValueError: If none was kept and Tune's is damaged: Tune would begin the run anew.
    """
    if (run / KEPT_STATE).is_file():
        # In this order the folder holds a state, and counts as begun, at every moment.
        with ZipFile(run / KEPT_STATE) as kept:
            kept.extractall(run)
            names = kept.namelist()
        for file in _parts(run):
            if file.name not in names:
                file.unlink()
        return
    damaged = [file for file in _parts(run) if not _is_whole(file)]
    if damaged:
        raise ValueError(
            f"{damaged[0]} is damaged, and there is no earlier one: the run cannot be gone on "
            f"with. Its checkpoints may be whole (calsheq evaluate {run}); start again under "
            "another --name"
        )


def require_all(run: Path, trials: int) -> None:
    """Checks that Tune went on with all trials of a run.

    Args:
        run: The run's folder.
        trials: How many there are now.

    Raises:
        ValueError: If there were more: Tune begins without a word where it cannot read a state.
    """
    noted = _noted_trials(run)
    if trials < noted:
        raise ValueError(
            f"{run} has {noted} trials, and Ray Tune went on with {trials}, since it could not "
            "read its own state (its words are above). All results and checkpoints are there, and "
            f"so is the last whole state ({KEPT_STATE}): try the same command again"
        )


def _noted_trials(run: Path) -> int:
    """Trials in the state that was kept last; 0 if none was."""
    if not (run / KEPT_STATE).is_file():
        return 0
    with ZipFile(run / KEPT_STATE) as kept:
        name = max(name for name in kept.namelist() if fnmatch(name, STATE_FILES))
        return len(json.loads(kept.read(name))["trial_data"])


def _parts(folder: Path) -> list[Path]:
    """Tune's files of states in a folder."""
    return sorted(file for pattern in STATE_PARTS for file in folder.glob(pattern))


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


def _is_whole(part: Path) -> bool:
    """Whether a file of a state ends where it should; Tune's names do not say what is in it."""
    content = part.read_bytes()
    try:
        if fnmatch(part.name, STATE_FILES):
            json.loads(content)
            return True
        # Nothing is executed. Raises for one that is cut off.
        (*_, (_, _, end)) = pickletools.genops(content)
        return end == len(content) - 1
    except ValueError:
        return False


def _rows(trial: Path) -> list[dict[str, Any]]:
    return result_rows(trial) if (trial / TRIAL_FILE).is_file() else []
