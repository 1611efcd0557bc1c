"""Everything that a report says of a run, read from the files in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq.core.configuration import from_mapping
from rllib_calsheq.core.manifest import NotWholeError, read_manifest
from rllib_calsheq.core.parameters import KnownParameters
from rllib_calsheq.core.supertypes import FloatArray, Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome, Target, TargetSet
from rllib_calsheq.results.checkpoints import (
    CERTIFICATES,
    EVALUATION_FILE,
    TRIAL_FILE,
    calibration_state,
    find_trials,
    read_history,
    trial_checkpoints,
)
from rllib_calsheq.results.provenance import read_starts, run_of
from rllib_calsheq.results.reading import PREFIX, params_of, problem_of, target_file_of

#: Files of inferences and certificates beside a checkpoint, as `result_name` names them.
INFERENCES, CERTIFICATE_FILES = "inference_*.json", "certificate_*.json"


@dataclass(frozen=True)
class RunFacts:
    """What is known of one trial of a run.

    Attributes:
        label: What the trial is called in tables and legends; unique in a report.
        trial: Its folder.
        params: The configuration that it was started with, as JSON holds it.
        known: The content of its target file.
        history: One row a stage, see `read_history`.
        ranges: The parameters by full name, with ranges and Λ_0; {} where it is not known.
        targets: The targets, with scales and tolerances; empty where there are none.
        evaluation: The content of ``evaluation.json``; None where there is none.
        manifest: The manifest of the last checkpoint; None without one.
        inference: The newest inference of the last checkpoint that has one.
        certificate: The newest certificate of the last checkpoint that has one.
        starts: Commands that made the run, see `read_starts`.
        particles: Profiles (B, d) of the last checkpoint's particles, in natural units and in the
            order of ``ranges``; None where that is not known.
        targets_hash: Short name of the targets, the same as an inference states; None without.
    """

    label: str
    trial: Path
    params: Mapping[str, Any]
    known: Mapping[str, Any]
    history: pd.DataFrame
    ranges: Mapping[str, Parameter]
    targets: tuple[Target, ...]
    evaluation: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] | None = None
    inference: Mapping[str, Any] | None = None
    certificate: Mapping[str, Any] | None = None
    starts: Sequence[Mapping[str, Any]] = field(default_factory=list)
    particles: FloatArray | None = None
    targets_hash: str | None = None

    @property
    def environment(self) -> str:
        """Dotted path of the environment."""
        return str(self.params.get("env", "an unknown environment"))

    @property
    def calibrator(self) -> str:
        """Name of the calibrator."""
        if self.manifest is not None:
            return str(self.manifest["run"]["calibrator"])
        given = self.params.get("calibrator") or {}
        return str(given.get("name", "ppo") if isinstance(given, Mapping) else given)

    @property
    def stages(self) -> int:
        """Stages that are done."""
        return int(self.history["training_iteration"].iloc[-1])

    @property
    def planned(self) -> int | None:
        """Stages that the run is to have at its end, at most; None where that is not known."""
        stages = self.starts[-1].get("stages") if self.starts else None
        return None if stages is None else int(stages)

    @property
    def num_particles(self) -> int | None:
        """Particles a stage."""
        column = self.history.get("calibration/num_particles")
        return None if column is None else int(column.iloc[-1])

    @property
    def seconds(self) -> float | None:
        """Time that the stages took together, in seconds."""
        return self.last("time_total_s")

    @property
    def profile(self) -> Mapping[str, float]:
        """The calibrated profile; the particles' mean in the last stage where none was "
        "evaluated."""
        if self.evaluation is not None:
            return dict(self.evaluation["profile"])
        means = {name: self.last(f"calibration/profile/{name}/mean") for name in self.ranges}
        return {name: value for name, value in means.items() if value is not None}

    @property
    def supertypes(self) -> list[str]:
        """Names of the supertypes, in order."""
        return list(dict.fromkeys(name.partition(".")[0] for name in self.ranges))

    @property
    def met(self) -> tuple[int, int] | None:
        """Targets met and targets, as the evaluation found them; None without one."""
        rows = self.evaluation["outcomes"] if self.evaluation else []
        return (sum(bool(row["met"]) for row in rows), len(rows)) if rows else None

    @property
    def at_bounds(self) -> Mapping[str, float]:
        """Parameters that the calibration left at a bound, and the bound."""
        # Without targets they stand where they were put.
        found = (self.evaluation or {}).get("at_bounds") if self.targets else None
        return found or {}

    def last(self, column: str) -> float | None:
        """The last value of a column of the history; None where there is none."""
        if column not in self.history:
            return None
        value = pd.to_numeric(self.history[column], errors="coerce").iloc[-1]
        return None if pd.isna(value) else float(value)


def gather(runs: Sequence[str | Path]) -> list[RunFacts]:
    """The facts of all trials of several runs.

    Args:
        runs: Folders of runs or of trials.

    Raises:
        ValueError: If a folder is no run, or no trial in it has a result yet.
    """
    trials: list[Path] = []
    for run in runs:
        found = [trial for trial in find_trials(run) if (trial / TRIAL_FILE).stat().st_size]
        if not found:
            raise ValueError(
                f"{run} has no results yet: wait for the end of its first stage, or look at what "
                "stopped it (error.txt in the trial's folder)"
            )
        trials += [trial.resolve() for trial in found]
    trials = list(dict.fromkeys(trials))
    return [read_run(*both) for both in zip(trials, _labels(trials), strict=True)]


def read_run(trial: Path, label: str) -> RunFacts:
    """The facts of one trial.

    Raises:
        ValueError: If it has no result yet, is of another algorithm, or a file in it is damaged.
    """
    params, history = params_of(trial), read_history(trial)
    if f"{PREFIX}stage" not in history:
        raise ValueError(
            f"{trial} is a run of another algorithm than CALSHEQ, of which there is no report: "
            "TensorBoard shows its curves"
        )
    known = target_file_of(params)
    checkpoints = trial_checkpoints(trial)
    manifest = _manifest(checkpoints[-1]) if checkpoints else None
    space, targets = _problem(params, known, manifest)
    file = trial / EVALUATION_FILE
    evaluation = _read(file) if file.is_file() else None
    if not len(targets) and evaluation is not None:
        targets = _judged(evaluation, known)
    return RunFacts(
        label=label,
        trial=trial,
        params=params,
        known=known,
        history=history,
        ranges={p.full_name: p for p in space.parameters} if space else {},
        targets=targets.targets,
        evaluation=evaluation,
        manifest=manifest,
        inference=_newest(trial, INFERENCES),
        certificate=_newest(trial, CERTIFICATE_FILES),
        starts=read_starts(run_of(trial)),
        particles=_particles(checkpoints[-1], space, params) if checkpoints and space else None,
        targets_hash=targets.fingerprint() if len(targets) else None,
    )


def _labels(trials: Sequence[Path]) -> list[str]:
    """Names of trials that tell them apart: the run's, the trial's, or both."""
    runs = [trial.parent.name for trial in trials]
    own = [trial.name for trial in trials]
    both = [f"{run}/{trial}" for run, trial in zip(runs, own, strict=True)]
    if len(trials) == 1:
        return runs
    for names in (runs, own, both):
        if len(set(names)) == len(names):
            return names
    return [str(trial) for trial in trials]


def _manifest(checkpoint: Path) -> dict[str, Any] | None:
    try:
        return read_manifest(checkpoint)
    except NotWholeError:
        return None


def _problem(
    params: Mapping[str, Any], known: Mapping[str, Any], manifest: Mapping[str, Any] | None
) -> tuple[SupertypeSpace | None, TargetSet]:
    """Parameters and targets: as the checkpoint has them, or else as the environment does."""
    if manifest is None:
        found = problem_of(dict(params))
        if found is None:
            return None, TargetSet((), ())
        return found.problem.space, found.targets or TargetSet((), ())
    run = manifest["run"]
    parameters = []
    for name, row in run["parameters"].items():
        supertype, _, own = name.partition(".")
        low, high, start = (float(row[key]) for key in ("low", "high", "start"))
        parameters.append(Parameter(own, supertype, low, high, start))
    scales = {name: float(row["scale"]) for name, row in run["targets"].items()}
    outcomes = [Outcome(name, scales.get(name, 1.0)) for name in run["outcomes"]]
    # In the order that they were stated in, which JSON of the configuration has lost.
    return SupertypeSpace(tuple(parameters)), _targets(list(run["targets"]), outcomes, known)


def _targets(
    names: Sequence[str], outcomes: Sequence[Outcome], known: Mapping[str, Any]
) -> TargetSet:
    """The targets of these names, as the content of the target file states them."""
    # Tune may write the configuration after the first checkpoint.
    given = known.get("targets") or {}
    spec = {name: given[name] for name in names if name in given}
    return TargetSet.from_mapping(spec, outcomes) if spec else TargetSet((), ())


def _judged(evaluation: Mapping[str, Any], known: Mapping[str, Any]) -> TargetSet:
    """The targets that an evaluation judged: of a run with neither checkpoint nor environment."""
    outcomes = [Outcome(row["name"], float(row["scale"])) for row in evaluation["outcomes"]]
    return _targets([outcome.name for outcome in outcomes], outcomes, known)


def _particles(
    checkpoint: Path, space: SupertypeSpace, params: Mapping[str, Any]
) -> FloatArray | None:
    """The particles of a checkpoint; None where this version does not read it."""
    try:
        state = calibration_state(checkpoint)
        known = from_mapping(KnownParameters, params.get("parameters") or {}, "parameters")
        moved = known.map_of(space)
    except (OSError, ValueError):
        return None
    unit = np.asarray(state["calibrator"]["profiles"])
    return moved.expand(unit) if unit.shape[1:] == (len(moved.free),) else None


def _newest(trial: Path, pattern: str) -> dict[str, Any] | None:
    """The newest result of a kind that is about a checkpoint as it is, the last checkpoint's first.

    Certificates at other parameters or environments lie in folders with longer names.
    """
    for folder in sorted((trial / CERTIFICATES).glob("checkpoint_*"), reverse=True):
        if not folder.name.removeprefix("checkpoint_").isdecimal():
            continue
        files = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime)
        if files:
            return _read(files[-1])
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is damaged ({error}): make it again, or remove it") from None
