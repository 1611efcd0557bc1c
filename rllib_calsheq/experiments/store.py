"""A study on disk: `study.json`, and one Tune experiment for each batch of runs.

A batch is the runs that were missing when the command was given. A study that was stopped goes
on with its unfinished batches; runs that are asked for later make a new one. Beside each run lies
the record of what made it, `RUN.record.json`: a list, since a run that was stopped may go on with
other code if the user says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rllib_calsheq.core.files import write_json
from rllib_calsheq.experiments.records import (
    UNKNOWN,
    describe_differences,
    differences,
    record_of,
)
from rllib_calsheq.experiments.study import Run, Study, run_config, run_of
from rllib_calsheq.results.checkpoints import (
    EVALUATION_FILE,
    RECOVERY_FILE,
    TRIAL_FILE,
    finished_stages,
    has_begun,
    last_stage,
    trial_checkpoints,
)

STUDY_FILE = "study.json"


class StudyFolder:
    """The folder of a study.

    Args:
        path: The folder; created by `begin`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().resolve()
        self._file = self.path / STUDY_FILE
        self.content: dict[str, Any] = {}
        if self._file.is_file():
            self.content = json.loads(self._file.read_text(encoding="utf-8"))

    def begin(self, study: Study, accept_mixture: bool = False) -> None:
        """Writes down what the study is, or checks that it is the one that is here.

        Args:
            study: The study.
            accept_mixture: Whether runs that were made by another configuration or by other code
                than the present may be in one study with new ones.

        Raises:
            ValueError: If the folder holds a study with other stages or other settings, or runs
                that were made by something else than the present package would use.
        """
        wanted = json.loads(json.dumps(study.to_mapping(), allow_nan=False))
        if not self.content:
            self.path.mkdir(parents=True, exist_ok=True)
            self.content = {**wanted, "batches": []}
            self._save()
            return
        for key in ("stages", "measure_every"):
            if self.content[key] != wanted[key]:
                raise ValueError(
                    f"the study at {self.path} has {key} = {self.content[key]}, not "
                    f"{wanted[key]}: give the same again, or another --storage-path"
                )
        for setting, config in wanted["settings"].items():
            if self.content["settings"].setdefault(setting, config) != config:
                raise ValueError(
                    f"experiment_{setting}.yaml or its targets changed since the study at "
                    f"{self.path} began: put them back, or give another --storage-path"
                )
        if not accept_mixture:
            self._refuse_mixture()
        self._save()

    def _refuse_mixture(self) -> None:
        found = {}
        for run in self.runs():
            trial = self.trial(run)
            if not ((trial / TRIAL_FILE).is_file() or self._is_finished(trial)):
                continue
            try:
                now = record_of(self.config(run))
            except ValueError as error:
                found[run.name] = [f"it could not run now: {error}"]
                continue
            lines = [line for then in self.records(run) for line in differences(then, now)]
            if lines:
                found[run.name] = lines
        if found:
            raise ValueError(
                f"the study at {self.path} has {len(found)} runs that the present package and "
                f"configuration would not make alike: {describe_differences(found)}. Give another "
                "--storage-path to start afresh, or --accept-mixture if you know that this does "
                "not matter; --report shows what is there"
            )

    def config(self, run: Run) -> dict[str, Any]:
        """The configuration of a run of this study."""
        return run_config(self.content["settings"][str(run.setting)], run)

    def note_record(self, number: int, run: Run) -> None:
        """Writes down what makes a run of a batch from now on.

        Raises:
            ValueError: If its configuration cannot run.
        """
        file = self._record_file(self.batch_folder(number) / run.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        now = record_of(self.config(run))
        if now not in found:
            write_json(file, [*found, now])

    def records(self, run: Run) -> list[dict[str, Any] | None]:
        """What made a run; [None] if that is not known."""
        file = self._record_file(self.trial(run))
        if not file.is_file():
            return [None]
        return list(json.loads(file.read_text(encoding="utf-8")))

    @staticmethod
    def _record_file(trial: Path) -> Path:
        return trial.with_name(f"{trial.name}.record.json")

    def add_batch(self, runs: Sequence[Run]) -> int:
        """Notes a new batch of runs; returns its number, from 1."""
        self.content["batches"].append([run.to_mapping() for run in runs])
        self._save()
        return len(self.content["batches"])

    def batches(self) -> dict[int, list[Run]]:
        """Runs of every batch, by number."""
        found = self.content.get("batches", [])
        return {k: [run_of(r) for r in runs] for k, runs in enumerate(found, start=1)}

    def runs(self) -> list[Run]:
        """All runs of all batches, each once."""
        return list(dict.fromkeys(run for batch in self.batches().values() for run in batch))

    def batch_folder(self, number: int) -> Path:
        """The folder of a batch's Tune experiment."""
        return self.path / f"batch_{number}"

    def can_go_on(self, number: int) -> bool:
        """Whether a batch got as far as Tune's first note of its state."""
        return has_begun(self.batch_folder(number))

    def trial(self, run: Run) -> Path:
        """The folder of a run, the finished one if several batches have it; may not exist."""
        batches = self.batches()
        folders = [self.batch_folder(k) / run.name for k, runs in batches.items() if run in runs]
        finished = [folder for folder in folders if self._is_finished(folder)]
        return (finished or folders or [self.path / run.name])[-1]

    def is_finished(self, run: Run) -> bool:
        """Whether a run did all its stages and saved the last one."""
        return self._is_finished(self.trial(run))

    def is_measured(
        self, run: Run, episodes: int | None = None, final_episodes: int | None = None
    ) -> bool:
        """Whether a run is finished and measured, with these numbers of episodes if given."""
        trial = self.trial(run)
        files = [trial / name for name in (EVALUATION_FILE, RECOVERY_FILE)]
        if not all(file.is_file() for file in files):
            return False
        evaluation, recovery = (json.loads(file.read_text(encoding="utf-8")) for file in files)
        return final_episodes in (None, evaluation.get("episodes")) and all(
            episodes in (None, row.get("episodes")) for row in recovery
        )

    def episodes(self, **given: int | None) -> dict[str, int | None]:
        """Notes numbers of episodes that are given, and returns those that hold.

        Args:
            **given: ``episodes`` and ``final_episodes`` of a measurement; None keeps what the
                study has.

        Returns:
            The same keys; None where the study never had a number.
        """
        found = {k: v if v is not None else self.content.get(k) for k, v in given.items()}
        if any(self.content.get(k) != v for k, v in found.items()):
            self.content.update(found)
            self._save()
        return found

    def made_by(self) -> dict[str, int]:
        """What made the runs, ``version, source`` or ``unknown``, and how many it made."""
        found: dict[str, int] = {}
        for run in self.runs():
            if self.is_measured(run):
                records = self.records(run)
                names = [f"{r['version']}, source {r['source']}" if r else UNKNOWN for r in records]
                name = " and then ".join(dict.fromkeys(names))
                found[name] = found.get(name, 0) + 1
        return found

    def unfinished(self, runs: Sequence[Run]) -> list[Run]:
        """Those of the runs that are not finished."""
        return [run for run in runs if not self.is_finished(run)]

    def _is_finished(self, trial: Path) -> bool:
        if (trial / EVALUATION_FILE).is_file():
            return True
        stages = int(self.content["stages"])
        if last_stage(trial) < stages:
            return False
        checkpoints = trial_checkpoints(trial)
        return bool(checkpoints) and finished_stages(checkpoints[-1]) == stages

    def _save(self) -> None:
        write_json(self._file, self.content)
