"""Finding runs and checkpoints on disk, and reading a run's history."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_calsheq.core.stages import require_format

#: Files that mark a trial's folder and a checkpoint's.
TRIAL_FILE = "result.json"
CHECKPOINT_FILE = "rllib_checkpoint.json"
CALIBRATION_STATE = Path("calibration") / "state.pkl"
CHECKPOINT_METADATA = ("metadata.json", CHECKPOINT_FILE)


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
    checkpoints = [p for p in sorted(trials[0].glob("checkpoint_*")) if is_checkpoint(p)]
    if not checkpoints:
        raise ValueError(
            f"{trials[0]} has no checkpoint: let the run go on to its first one "
            "(checkpoint_config.checkpoint_frequency in the experiment's file)"
        )
    return checkpoints


def read_calibration_state(checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint's calibration, as `Calibration.load_state_dict` takes it.

    Raises:
        ValueError: If another version wrote it; the message says what to do.
    """
    try:
        with open(checkpoint / CALIBRATION_STATE, "rb") as file:
            state = pickle.load(file)
    except (ImportError, AttributeError):
        # It holds objects of classes that are elsewhere by now.
        state = None
    require_format(state)
    return state


def require_readable(run: Path) -> None:
    """Checks that the last checkpoints of a run's trials can be gone on with.

    Raises:
        ValueError: If another version wrote one; the message says what to do.
    """
    for trial in sorted(p for p in run.iterdir() if p.is_dir()):
        whole = [p for p in sorted(trial.glob("checkpoint_*")) if (p / CALIBRATION_STATE).is_file()]
        if whole:
            read_calibration_state(whole[-1])


def read_history(trial: Path) -> pd.DataFrame:
    """One row a training iteration, nested numbers as columns ``calibration/outcomes/...``.

    Iterations that were run again after a restart count once, in their last form.

    Raises:
        ValueError: If the trial has no result yet.
    """
    rows = []
    with open(trial / TRIAL_FILE, encoding="utf-8") as lines:
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                # The last line of a run that was killed while it wrote.
                continue
    if not rows:
        raise ValueError(f"{trial} has no results yet")
    history = pd.json_normalize(rows, sep="/")
    return history.drop_duplicates("training_iteration", keep="last").sort_values(
        "training_iteration", ignore_index=True
    )
