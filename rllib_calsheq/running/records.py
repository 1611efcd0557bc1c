"""A run's records, written where they are kept: results at once, and a state that is always whole.

Tune writes both elsewhere first and copies them now and then. A copy that is cut short, by a kill
or a full disk, leaves half a file in the place of a whole one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.logger import JsonLoggerCallback

from rllib_calsheq.core.files import write_text
from rllib_calsheq.learning.ray_private.access import write_results_to
from rllib_calsheq.results.checkpoints import TRIAL_FILE
from rllib_calsheq.running.resuming import KEPT_STATE, is_json, newest_state

#: Bytes; with less a disk is called full, since some files were too large for it.
LEAST_FREE = 2**20


class WritesResultsAtOnce(JsonLoggerCallback):
    """Tune's results, each added to the trial's own file in the stage that it is of."""

    def log_trial_start(self, trial: Any) -> None:
        """Opens a trial's file; Tune's own where the run's folder is not a local one."""
        super().log_trial_start(trial)
        if trial.storage.storage_filesystem.type_name != "local":
            return
        folder = Path(trial.path)
        folder.mkdir(parents=True, exist_ok=True)
        write_results_to(self, trial, folder / TRIAL_FILE)
        # Tune would copy this one over ours.
        Path(trial.local_path, TRIAL_FILE).unlink()


class KeepsWholeState(Callback):
    """Keeps a copy of the run's state, as Tune notes it, whenever that is whole.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._seen = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Looks whether there is a new state."""
        file = newest_state(self._run)
        if file is None or file.stat().st_mtime == self._seen:
            return
        self._seen = file.stat().st_mtime
        text = file.read_text(encoding="utf-8")
        # Where there is no room for a copy, the last one stays.
        with suppress(OSError):
            if is_json(text):
                write_text(self._run / KEPT_STATE, json.dumps({"state": text}))


@contextmanager
def naming_a_full_disk(folder: Path, go_on: str) -> Iterator[None]:
    """A block whose failures, where the disk of a folder is full, are said to be that.

    Args:
        folder: Where the block writes.
        go_on: The command that goes on with what it does.

    Raises:
        OSError: If the block failed and the disk is full.
    """
    try:
        yield
    except Exception as error:
        free = shutil.disk_usage(folder).free
        if free >= LEAST_FREE:
            raise
        raise OSError(
            f"the disk of {folder} is full ({free:,} bytes are free). Free some room and go on "
            f"with: {go_on}"
        ) from error
