"""A run's records, written where they are kept: results at once, and a state that is always whole.

Tune writes both elsewhere first and copies them now and then. A copy that is cut short, by a kill
or a full disk, leaves half a file in the place of a whole one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.logger import JsonLoggerCallback

from rllib_calsheq.learning.ray_private.access import write_results_to
from rllib_calsheq.results.checkpoints import TRIAL_FILE
from rllib_calsheq.running.resuming import keep_state, newest_state, require_all

#: What Tune takes from the run's folder before it goes on.
TAKEN = (".json", ".pkl")
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
    """Keeps the run's state, whenever Tune notes it, where no copying of Tune's reaches.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._seen = 0.0
        self._begun = False
        # Where Tune has its files before it copies them.
        self._staged: Path | None = None

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Drops what Tune took from the run's folder to go on.

        It would write all that back, notes of ours and states of earlier processes, each time that
        it notes a state, and a kill amid that would cut off any of it.
        """
        if not self._begun and trials:
            # A run that does not go on has no trial yet.
            for file in Path(trials[0].local_experiment_path).iterdir():
                if file.suffix in TAKEN:
                    file.unlink()
        self._begun = True

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Looks whether there is a new state."""
        if not trials:
            return
        self._staged = Path(trials[0].local_experiment_path)
        file = newest_state(self._staged)
        if file is None or file.stat().st_mtime == self._seen:
            return
        self._seen = file.stat().st_mtime
        # Where there is no room for a copy, the last one stays.
        with suppress(OSError):
            keep_state(self._run, self._staged)

    def end(self, trials: int) -> None:
        """Keeps the state in which the run has ended for now.

        Args:
            trials: How many trials there are.

        Raises:
            ValueError: If there were more before, as `require_all` has it.
        """
        require_all(self._run, trials)
        if self._staged is not None:
            keep_state(self._run, self._staged)


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
