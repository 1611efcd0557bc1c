"""What a run leaves on disk: its files by name, finding its checkpoints, reading its history."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_calsheq.core.calibrator import stages_finished
from rllib_calsheq.core.manifest import MANIFEST_FILE, NotWholeError, require_whole
from rllib_calsheq.core.plain_pickle import ForeignCodeError, UnreadableError, load_plain
from rllib_calsheq.core.stages import require_format, require_stated

logger = logging.getLogger(__name__)

#: Tune's note of a run's state, in the run's folder.
TUNER_FILE = "tuner.pkl"
#: Its snapshots of the state of all trials, there, too; the last by name counts.
STATE_FILES = "experiment_state-*.json"
#: What Tune writes into a trial's folder: results, one a line, and the configuration.
TRIAL_FILE = "result.json"
PARAMS_FILE = "params.json"
#: What is written there when a run is judged: at its end, and at each of its checkpoints.
EVALUATION_FILE = "evaluation.json"
RECOVERY_FILE = "recovery.json"
#: Why a trial stopped, as Tune writes it into its folder.
ERROR_FILE = "error.txt"
#: What a run was asked for, in its folder; held there by the process that works in it.
STATED_FILE, LOCK_FILE = "experiment.json", "in_use.lock"
#: The report of a run, in its folder.
REPORT_FILE = "report.html"
#: Which commands made a run, and where, in the run's folder.
PROVENANCE_FILE = "provenance.json"
#: Folder of certificates, beside the checkpoints that they are of.
CERTIFICATES = "certificate"
#: Files that mark a checkpoint's folder.
CHECKPOINT_METADATA = ("metadata.json", "rllib_checkpoint.json")

# A checkpoint's own files, from its folder on.
#: Class and configuration of the algorithm.
ARGUMENTS_FILE = "class_and_ctor_args.pkl"
#: State of the `Calibration`.
CALIBRATION_STATE = Path("calibration") / "state.pkl"
#: State of the shared policy's learner, and in it the module of each policy.
LEARNER = Path("learner_group") / "learner"
MODULES = LEARNER / "rl_module"
#: What RLlib's learner, and each module, keep their state in, in a folder of their own.
LEARNER_STATE, MODULE_STATE = "state.pkl", "module_state.pkl"


def require_no_run_of_tunes(run: Path) -> None:
    """Checks that a folder is no run of `rllib train`, which has notes of its own.

    Raises:
        ValueError: If it is.
    """
    if (run / TUNER_FILE).is_file():
        raise ValueError(
            f"the run at {run} was made by rllib train: go on with it by that command (--resume), "
            "or read it with rllib_calsheq.load"
        )


def find_trials(path: str | Path) -> list[Path]:
    """Trial folders at or below a run's folder, by name.

    Raises:
        ValueError: If there is none.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ValueError(f"there is nothing at {root}")
    if (root / TRIAL_FILE).is_file():
        return [root]
    trials = sorted(p.parent for p in root.glob(f"*/{TRIAL_FILE}"))
    if not trials:
        raise ValueError(
            f"{root} is no run: neither it nor a folder in it has a {TRIAL_FILE}. Give the folder "
            "that `rllib train` printed"
        )
    return trials


def is_starting(path: str | Path) -> bool:
    """Whether a folder is that of a run which has no trial yet."""
    root = Path(path).expanduser()
    names = {entry.name for entry in root.iterdir()} if root.is_dir() else set()
    return names == {LOCK_FILE} or bool(names & {STATED_FILE, PROVENANCE_FILE})


def has_begun(run: Path) -> bool:
    """Whether a run got as far as Tune's first note of its state, from which it can go on."""
    return (run / TUNER_FILE).is_file() and any(run.glob(STATE_FILES))


def drop_torn_results(run: Path) -> None:
    """Drops the last result of each trial if it was not written whole, as after a kill.

    Tune adds to the file when the run goes on, and would put the next result into that line.
    """
    for file in run.glob(f"*/{TRIAL_FILE}"):
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(file, content.rfind(b"\n") + 1)


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint of an algorithm."""
    return any((path / name).is_file() for name in CHECKPOINT_METADATA)


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint at ``path``, or the last one of the run (of one trial) that it is.

    Raises:
        ValueError: If there is none, or the run has several trials.
    """
    root = Path(path).expanduser()
    return root if is_checkpoint(root) else find_checkpoints(root)[-1]


def find_checkpoints(path: str | Path) -> list[Path]:
    """The checkpoints that a run of one trial has kept, oldest first.

    Raises:
        ValueError: If there is none, or the run has several trials.
    """
    root = Path(path).expanduser()
    trials = find_trials(root)
    if len(trials) > 1:
        raise ValueError(
            f"{root} has {len(trials)} trials; give one of them: {[t.name for t in trials]}"
        )
    checkpoints = trial_checkpoints(trials[0])
    if not checkpoints:
        raise ValueError(
            f"{trials[0]} has no checkpoint: let the run go on to its first one "
            "(checkpoint_config.checkpoint_frequency in the experiment's file)"
        )
    return checkpoints


def trial_checkpoints(trial: Path) -> list[Path]:
    """The checkpoints that a trial has kept and that are whole, oldest first.

    A line names those that are not. Where none has a manifest, as in runs of other algorithms, all
    are taken.
    """
    found = [p for p in sorted(trial.glob("checkpoint_*")) if p.is_dir()]
    if not any((p / MANIFEST_FILE).is_file() for p in found):
        return [p for p in found if is_checkpoint(p)]
    return [p for p in found if is_whole(p)]


def is_whole(checkpoint: Path, contents: bool = False) -> bool:
    """Whether a checkpoint has all its files; a line says what is wrong with one that has not.

    Args:
        checkpoint: Its folder.
        contents: Whether to compare what is in the files, too, and not their sizes alone.
    """
    try:
        require_whole(checkpoint, contents)
    except NotWholeError as error:
        logger.warning("skipped: %s", error)
        return False
    return True


def is_sound(checkpoint: Path) -> bool:
    """Whether nothing is known to be wrong with a checkpoint; those of others have no manifest."""
    if checkpoint.is_dir() and not (checkpoint / MANIFEST_FILE).is_file():
        return True
    return is_whole(checkpoint, contents=True)


def require_known(checkpoint: Path, trusted: bool = False) -> None:
    """Checks that a checkpoint is whole and that this version reads it.

    Args:
        checkpoint: Its folder.
        trusted: As `calibration_state` has it.

    Raises:
        ValueError: If it is not; the message says what to do.
    """
    try:
        require_whole(checkpoint)
    except NotWholeError:
        # One without a manifest may be of an earlier version, which is the cause then.
        has_manifest = (checkpoint / MANIFEST_FILE).is_file()
        if not has_manifest and (checkpoint / CALIBRATION_STATE).is_file():
            calibration_state(checkpoint, trusted)
        raise
    calibration_state(checkpoint, trusted)


def calibration_state(checkpoint: Path, trusted: bool = False) -> dict[str, Any]:
    """The state of a checkpoint's calibration, as `Calibration.load_state_dict` takes it.

    Args:
        checkpoint: Its folder.
        trusted: Whether what a calibrator of the user's own saved may run programs to be read.

    Raises:
        NotWholeError: If it cannot be read.
        ForeignCodeError: If it is not trusted and is more than data.
        ValueError: If another version wrote it; the message says what to do.
    """
    try:
        state = load_plain(checkpoint / CALIBRATION_STATE, trusted)
    except (ImportError, AttributeError):
        # It holds objects of classes that are elsewhere by now.
        state = None
    except ForeignCodeError as error:
        if not error.name.startswith("rllib_calsheq."):
            raise
        # So did versions before 0.2.0, of classes of ours.
        state = None
    except UnreadableError as error:
        raise NotWholeError(str(error)) from None
    require_format(state)
    return state


def module_state(checkpoint: Path, policy: str) -> dict[str, Any]:
    """The weights of a policy in a checkpoint, as its module's ``set_state()`` takes them.

    Raises:
        ForeignCodeError: If the file is more than data.
    """
    found: dict[str, Any] = load_plain(checkpoint / MODULES / policy / MODULE_STATE)
    return found


def learner_state(checkpoint: Path, policy: str) -> dict[str, Any]:
    """The state of a policy's learner in a checkpoint, as its ``set_state()`` takes it.

    Raises:
        ForeignCodeError: If a file is more than data.
    """
    own: dict[str, Any] = load_plain(checkpoint / LEARNER / LEARNER_STATE)
    return {**own, MODULES.name: {policy: module_state(checkpoint, policy)}}


def require_readable(run: Path, stated: Sequence[Mapping[str, Any]]) -> None:
    """Checks that the last checkpoints of a run's trials can be gone on with.

    Args:
        run: The run's folder.
        stated: What the user states of the parameters (`ParameterMap.stated`), for each trial that
            there may be; one at least.

    Raises:
        ValueError: If another version wrote one, or it was made with other parameters; the message
            says what to do.
    """
    for trial in sorted(p for p in run.iterdir() if p.is_dir()):
        whole = [p for p in trial_checkpoints(trial) if (p / CALIBRATION_STATE).is_file()]
        if whole:
            then = calibration_state(whole[-1], trusted=True).get("stated", {})
            if then not in stated:
                require_stated(then, stated[0])


def finished_stages(checkpoint: Path) -> int:
    """Stages that were finished when a checkpoint was made; 0 if it is not whole."""
    if not (checkpoint / CALIBRATION_STATE).is_file():
        return 0
    saved = calibration_state(checkpoint)["calibrator"]
    return stages_finished(int(saved["stage"]), bool(saved["answered"]))


def last_stage(trial: Path) -> int:
    """The last stage of which a trial has a result; 0 if it has none."""
    file = trial / TRIAL_FILE
    if not file.is_file():
        return 0
    last = 0
    for line in file.read_bytes().splitlines()[-2:]:
        try:
            last = max(last, int(json.loads(line)["training_iteration"]))
        except (ValueError, KeyError):
            # The last line of a run that was killed while it wrote.
            continue
    return last


def result_rows(trial: Path) -> list[dict[str, Any]]:
    """The results of a trial as they were written, oldest first; those of a stage may repeat."""
    rows = []
    with open(trial / TRIAL_FILE, encoding="utf-8") as lines:
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                # The last line of a run that was killed while it wrote.
                continue
    return rows


def read_history(trial: Path) -> pd.DataFrame:
    """One row a training iteration, nested numbers as columns ``calibration/outcomes/...``.

    Iterations that were run again after a restart count once, in their last form.

    Raises:
        ValueError: If the trial has no result yet.
    """
    rows = result_rows(trial)
    if not rows:
        raise ValueError(f"{trial} has no results yet")
    history = pd.json_normalize(rows, sep="/")
    return history.drop_duplicates("training_iteration", keep="last").sort_values(
        "training_iteration", ignore_index=True
    )
