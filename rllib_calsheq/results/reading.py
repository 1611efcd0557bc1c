"""What a trial's folder says of its run: configuration, problem, series over the stages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rllib_calsheq.core.stages import CALIBRATION_RESULTS
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.results.checkpoints import PARAMS_FILE
from rllib_calsheq.results.stated import stated

if TYPE_CHECKING:
    from rllib_calsheq.algorithm.problem import CalibrationProblem

#: What the calibration's columns of a history begin with.
PREFIX = f"{CALIBRATION_RESULTS}/"
#: Groups of them, each with a mean and a standard deviation over particles by name.
OUTCOMES, RETURNS, PROFILE = "outcomes", "returns", "profile"


@dataclass(frozen=True)
class StatedProblem:
    """What a run calibrates, as its configuration states it.

    Attributes:
        problem: The environment's side: parameters, outcomes, agents.
        targets: The targets with the scales that their outcomes have; None without targets.
    """

    problem: CalibrationProblem
    targets: TargetSet | None


def params_of(trial: Path) -> dict[str, Any]:
    """The configuration that a run was started with, as JSON holds it; {} if it is not there."""
    file = trial / PARAMS_FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def target_file_of(params: dict[str, Any]) -> dict[str, Any]:
    """The content of a run's target file, as its saved configuration holds it."""
    targets = params.get("targets") or {}
    if not isinstance(targets, dict):
        return {}
    return targets if "targets" in targets else {"targets": targets}


def problem_of(params: dict[str, Any]) -> StatedProblem | None:
    """What a run of this configuration calibrates.

    None where the environment is not at hand: what is known without it is shown all the same.
    """
    try:
        made = stated(params)
        return StatedProblem(made.problem(), made.target_set() if params.get("targets") else None)
    except Exception:  # Whatever an environment raises that is not what the run had.
        return None


def column(history: pd.DataFrame, name: str) -> pd.Series | None:
    """A series of the calibration over the stages, by its name without the prefix."""
    full = PREFIX + name
    return pd.to_numeric(history[full], errors="coerce") if full in history else None


def stages(history: pd.DataFrame) -> pd.Series:
    """The stage of each row of a history."""
    return history[PREFIX + "stage"]


def names_of(history: pd.DataFrame, group: str) -> list[str]:
    """Names in a group of series, in the order of the columns."""
    start, end = f"{PREFIX}{group}/", "/mean"
    columns = [str(c) for c in history]
    return [c[len(start) : -len(end)] for c in columns if c.startswith(start) and c.endswith(end)]
