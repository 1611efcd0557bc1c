"""A calibration in this process, in a folder that all commands read, saved as it goes on.

The folder is what Tune makes of a trial: `result.json` with a line a stage, `params.json`, and
checkpoints. So whatever reads runs reads these, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from rllib_calsheq.algorithm import CALSHEQ, CALSHEQConfig
from rllib_calsheq.algorithm.local_ray import cpus_for, local_ray
from rllib_calsheq.core.comparing import differences, plain
from rllib_calsheq.core.files import write_json, write_text
from rllib_calsheq.core.stages import CALIBRATION_RESULTS, STAGES_UNTIL_DONE
from rllib_calsheq.data.experiment_files import TIMED_CHECKPOINTS
from rllib_calsheq.results.checkpoints import (
    PARAMS_FILE,
    TRIAL_FILE,
    finished_stages,
    is_sound,
    require_no_run_of_tunes,
    result_rows,
    trial_checkpoints,
)
from rllib_calsheq.results.provenance import recorded
from rllib_calsheq.running.checkpoints import CHECKPOINT_EVERY_S
from rllib_calsheq.running.records import naming_a_full_disk
from rllib_calsheq.running.resuming import sole_use
from rllib_calsheq.running.stopping import PATIENCE_S

#: What goes on with such a run.
GO_ON = "calibrate(..., folder={folder!r}, resume=True)"
#: What begins one, for whoever reads where it comes from.
STARTS = "rllib_calsheq.calibrate(...)"
CHECKPOINT_NAME = "checkpoint_{:06d}"
CHECKPOINTS = "checkpoint_" + 6 * "[0-9]"

OnStage = Callable[[Mapping[str, Any]], None]
Found = TypeVar("Found")


def require_free(folder: Path, resume: bool) -> None:
    """Checks that a run can begin in a folder, or go on in it.

    Raises:
        ValueError: If there is a run already, or one that is not gone on with like this.
    """
    require_no_run_of_tunes(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which is a file: give the path of a folder")
    if (folder / TRIAL_FILE).is_file() and not resume:
        raise ValueError(
            f"there is a run at {folder} already: go on with it (resume=True), or give another "
            "folder"
        )


def run_in_process(
    config: CALSHEQConfig,
    given: Mapping[str, Any],
    folder: Path,
    stages: int,
    until_met: bool,
    on_stage: OnStage,
    judge: Callable[[], Found],
    verbose: bool = False,
) -> Found:
    """Trains until a number of stages is finished, from where the folder's last checkpoint is.

    Args:
        config: The checked configuration.
        given: What it was made of, for `params.json`.
        folder: The run's folder; see `require_free`.
        stages: Stages of the whole run.
        until_met: Whether it ends once all targets have been met for some stages in a row.
        on_stage: Called with each stage's result.
        judge: Called after the last stage, as the last part of the run.
        verbose: Whether Ray's own words are shown.

    Returns:
        What `judge` does.

    Raises:
        ValueError: If another process works there, or its checkpoint is one of another run.
        KeyboardInterrupt: At the end of the stage in which it came; the run is saved first.
    """
    go_on = GO_ON.format(folder=str(folder))
    cpus = cpus_for([CALSHEQ.default_resource_request(config)])
    with sole_use(folder, elsewhere="folder"), naming_a_full_disk(folder, go_on):
        checkpoints = [path for path in trial_checkpoints(folder) if is_sound(path)]
        last = checkpoints[-1] if checkpoints else None
        made_of = json.loads(json.dumps(plain(given)))
        if last is not None:
            _require_same(folder, made_of)
        met = _keep_results(folder, 0 if last is None else finished_stages(last))
        with recorded(folder, go_on if last else STARTS, stages):
            write_json(folder / PARAMS_FILE, made_of)
            with noting_interrupts() as interrupted:
                with local_ray(cpus, verbose):
                    algorithm: Any = config.build_algo()
                    try:
                        # Ray makes it beside all runs, for nothing.
                        with suppress(OSError):
                            os.rmdir(algorithm.logdir)
                        if last is not None:
                            algorithm.restore(str(last))
                        if not (until_met and met):
                            _train(algorithm, folder, stages, until_met, on_stage, interrupted)
                    finally:
                        algorithm.stop()
                if interrupted():
                    raise KeyboardInterrupt(f"stopped after a whole stage; go on with {go_on}")
            return judge()


def _require_same(folder: Path, made_of: Mapping[str, Any]) -> None:
    """Checks that a run is gone on with as it was begun; a file that is lost is no other run's."""
    file = folder / PARAMS_FILE
    then = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else made_of
    other = differences(then, made_of, missing="not set")
    if other:
        raise ValueError(
            f"the run at {folder} was begun with another configuration: {'; '.join(other)}. Go on "
            "with the same one, or give another folder"
        )


def _train(
    algorithm: Any,
    folder: Path,
    stages: int,
    until_met: bool,
    on_stage: OnStage,
    interrupted: Callable[[], bool],
) -> None:
    saved_at = time.monotonic()
    ends = algorithm.iteration >= stages
    while not ends:
        result = algorithm.train()
        # In that stage, so that whoever looks at the folder sees it.
        _add_result(folder, result)
        ends = algorithm.iteration >= stages or (until_met and _is_met(result)) or interrupted()
        due = time.monotonic() - saved_at >= CHECKPOINT_EVERY_S
        if ends or due or result["time_this_iter_s"] >= PATIENCE_S:
            _save(algorithm, folder)
            saved_at = time.monotonic()
        on_stage(result)


def _save(algorithm: Any, folder: Path) -> None:
    """Writes a checkpoint, whole or not at all, and drops the oldest."""
    there = [int(p.name.rpartition("_")[2]) for p in folder.glob(CHECKPOINTS)]
    name = CHECKPOINT_NAME.format(max(there, default=-1) + 1)
    unfinished = folder / f".{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    algorithm.save(str(unfinished))
    os.replace(unfinished, folder / name)
    for old in sorted(folder.glob(CHECKPOINTS))[: -TIMED_CHECKPOINTS["num_to_keep"]]:
        shutil.rmtree(old)


def _add_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Adds a stage's result to the folder's file; the configuration stands in another."""
    row = {key: value for key, value in result.items() if key != "config"}
    with open(folder / TRIAL_FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(_json(row)) + "\n")


def _keep_results(folder: Path, stage: int) -> bool:
    """Drops the results of stages that will be done again, and a torn last line.

    Returns:
        Whether the targets have been met long enough in what is left.
    """
    file = folder / TRIAL_FILE
    if not file.is_file():
        return False
    rows = [row for row in result_rows(folder) if row["training_iteration"] <= stage]
    write_text(file, "".join(json.dumps(row) + "\n" for row in rows))
    return bool(rows) and _is_met(rows[-1])


def _is_met(result: Mapping[str, Any]) -> bool:
    """Whether all targets have been met in as many stages in a row as end a run."""
    return int(result[CALIBRATION_RESULTS].get("stages_all_met", 0)) >= STAGES_UNTIL_DONE


def _json(value: Any) -> Any:
    """A result with Python's own numbers; what is not finite stays, as in Tune's file."""
    if isinstance(value, Mapping):
        return {str(key): _json(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v) for v in value]
    if hasattr(value, "tolist"):
        return _json(value.tolist())
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


@contextmanager
def noting_interrupts() -> Iterator[Callable[[], bool]]:
    """A block in which the first Ctrl-C, or a notebook's, is only noted; gives what asks for it.

    A second one interrupts at once. Outside of the main thread nothing is changed.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()
        print("stopping: the stage is ended and saved; again stops at once", flush=True)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, before)
