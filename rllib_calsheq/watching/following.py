"""What the files of a run say by now, read on from where they were read to.

Nothing but the files is looked at: neither Ray nor the environment is needed, and whoever follows a
run does nothing to it.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllib_calsheq.core.stages import CALIBRATION_RESULTS
from rllib_calsheq.results.checkpoints import PROVENANCE_FILE, TRIAL_FILE, find_trials, is_starting
from rllib_calsheq.results.failures import failure_of
from rllib_calsheq.results.provenance import End, read_starts, run_of

#: Seconds, and times the last stage's, without a new stage after which a run may have been killed.
SILENT_S, SILENT_STAGES = 60.0, 10.0


class NewResults:
    """The results that are added to a trial's file, each once it is written whole.

    Args:
        trial: The trial's folder.
    """

    def __init__(self, trial: Path) -> None:
        self._file = trial / TRIAL_FILE
        self._read = 0
        self._inode: int | None = None

    def take(self) -> list[dict[str, Any]]:
        """The results since the last call, oldest first; all of them again if the file is new."""
        try:
            with open(self._file, "rb") as file:
                now = os.fstat(file.fileno())
                if now.st_ino != self._inode or now.st_size < self._read:
                    self._inode, self._read = now.st_ino, 0
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return []
        # The last line may be one that is being written, or that a kill has cut short.
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                row = json.loads(line)
                found.append({**row, "training_iteration": int(row["training_iteration"])})
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def silent_for(self) -> float:
        """Seconds since the file was last written to, by the clocks of both machines."""
        try:
            return max(0.0, time.time() - self._file.stat().st_mtime)
        except OSError:
            return 0.0


@dataclass(frozen=True)
class TargetNow:
    """A target and how its outcome came to where it is.

    Attributes:
        name: The outcome.
        target: Its target.
        values: The outcome averaged over particles, by stage; NaN where it did not happen.
        met: Whether that met the target, by stage.
        miss: |value − target| in scales, in the last stage.
    """

    name: str
    target: float
    values: list[float]
    met: list[bool]
    miss: float


@dataclass
class TrialNow:
    """A trial as its files have it by now.

    Attributes:
        folder: The trial's folder.
        rows: Its results by stage, oldest first; a stage that was run again counts once.
        fresh: Those of them that the last look found.
        silent_s: Seconds without a new stage.
        failure: What stopped it; None if nothing did.
    """

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    fresh: list[dict[str, Any]] = field(default_factory=list)
    silent_s: float = 0.0
    failure: str | None = None

    def __post_init__(self) -> None:
        self._results = NewResults(self.folder)

    def look(self) -> None:
        """Reads what is new.

        Raises:
            ValueError: If it is a trial of another algorithm.
        """
        self.fresh = self._results.take()
        for row in self.fresh:
            if CALIBRATION_RESULTS not in row:
                raise ValueError(
                    f"{self.folder} is a run of another algorithm than CALSHEQ, which is not "
                    "watched here: TensorBoard shows its curves"
                )
            # After a restart stages are done again: what was there of them is not so any more.
            while self.rows and self.rows[-1]["training_iteration"] >= row["training_iteration"]:
                self.rows.pop()
            self.rows.append(_short(row))
        self.silent_s = self._results.silent_for()
        self.failure = failure_of(self.folder)

    @property
    def may_be_dead(self) -> bool:
        """Whether it has been silent for much longer than a stage takes."""
        seconds = float(self.rows[-1].get("time_this_iter_s") or 0.0) if self.rows else 0.0
        return self.silent_s > max(SILENT_S, SILENT_STAGES * seconds)

    @property
    def rewards(self) -> list[float]:
        """The calibrator's reward of the pooled outcomes, by stage."""
        return [_number(row[CALIBRATION_RESULTS].get("reward_pooled")) for row in self.rows]

    @property
    def targets(self) -> list[TargetNow]:
        """The targets, in their order; [] before the first stage, and where there are none."""
        stages = [row[CALIBRATION_RESULTS] for row in self.rows]
        stages = [stage for stage in stages if stage.get("targets")]
        if not stages:
            return []
        return [
            TargetNow(
                name,
                float(last["value"]),
                [_number(stage["outcomes"].get(name, {}).get("mean")) for stage in stages],
                [bool(stage["targets"].get(name, {}).get("met")) for stage in stages],
                _number(last["miss"]),
            )
            for name, last in stages[-1]["targets"].items()
        ]


class RunNow:
    """A run as its files have it by now; call `look` first.

    Args:
        path: The run's folder, or a trial's.

    Attributes:
        folder: The run's folder.
        trials: The trials that have begun, by name.
        stages: Stages that a trial is to have at its end, at most; None where that is open.
        end: How the command that works on the run ended; None as long as it has not.

    Raises:
        ValueError: If there is no run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.trials: list[TrialNow] = []
        self.stages: int | None = None
        self.end: End | None = None
        if not is_starting(self.path):
            find_trials(self.path)

    def look(self) -> None:
        """Reads what is new.

        Raises:
            ValueError: If it is a run of another algorithm.
        """
        # First: what is written before the end of a run is then read below.
        self._look_whether_it_goes_on()
        try:
            found = find_trials(self.path)
        except ValueError:
            found = []
        known = {trial.folder: trial for trial in self.trials}
        self.trials = [known.get(folder) or TrialNow(folder) for folder in found]
        for trial in self.trials:
            trial.look()

    def _look_whether_it_goes_on(self) -> None:
        folder = self.path if (self.path / PROVENANCE_FILE).is_file() else run_of(self.path)
        starts = read_starts(folder)
        last: Mapping[str, Any] = starts[-1] if starts else {}
        self.stages = int(last["stages"]) if last.get("stages") else None
        if not starts and is_starting(self.path):
            self.end = None
        elif "end" not in last:
            # An earlier version, which did not note it.
            self.end = End.DONE
        else:
            self.end = End(last["end"]) if last["end"] else None


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a result, what is shown; a whole one holds the configuration, too."""
    steps = row.get("env_runners", {}).get("num_agent_steps_sampled", {})
    stage = {
        k: v for k, v in row[CALIBRATION_RESULTS].items() if k not in ("profile", "calibrator")
    }
    return {
        "training_iteration": row["training_iteration"],
        "time_this_iter_s": row.get("time_this_iter_s"),
        "time_total_s": row.get("time_total_s"),
        "env_runners": {"num_agent_steps_sampled": steps},
        CALIBRATION_RESULTS: stage,
    }


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
