"""A study as tables: tidy CSV files of all its runs, and a summary over seeds in Markdown.

| file | one row for each | holds |
|---|---|---|
| `stages.csv` | setting, calibrator, seed, stage | rewards, outcomes, rates, moves |
| `parameters.csv` | setting, calibrator, seed, stage | mean of each parameter over particles |
| `recovery.csv` | setting, calibrator, seed, measured stage | the judge, r(Λ̂), recovered fraction |
| `final.csv` | setting, calibrator, seed | final figures, see `final_figures` |
| `goals.csv` | setting, name | targets, hidden profile and bounds, ceiling, start |

In a study of learning rates, `lr_ratio` and `schedule` belong to the key as well. The judge's
columns are empty for runs that were measured by a version that had no judge: measure them again
(another number of episodes) to fill them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq.core.files import replacing, write_text
from rllib_calsheq.core.supertypes import SupertypeSpace
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.experiments.final_figures import KEY, final_figures, recovery_table
from rllib_calsheq.experiments.store import StudyFolder
from rllib_calsheq.experiments.study import Run
from rllib_calsheq.results.checkpoints import EVALUATION_FILE, RECOVERY_FILE, read_history
from rllib_calsheq.results.stated import stated

STAGES, PARAMETERS, RECOVERY, FINAL, GOALS = (
    f"{name}.csv" for name in ("stages", "parameters", "recovery", "final", "goals")
)
#: Further keys of a study of learning rates.
RATE_KEY = ["lr_ratio", "schedule"]
SUMMARY = "summary.md"
NUMBER_FORMAT = "%.5g"


def write_tables(folder: StudyFolder, output: Path) -> list[Path]:
    """Writes all CSV files of the measured runs of a study, and `summary.md`.

    Args:
        folder: The study.
        output: Where the files go; created.

    Returns:
        Paths of the files.

    Raises:
        ValueError: If no run of it is measured yet.
    """
    from rllib_calsheq.experiments.summary import summary

    frames: dict[str, list[pd.DataFrame]] = {STAGES: [], PARAMETERS: [], RECOVERY: [], FINAL: []}
    known: dict[int, TargetFile] = {}
    spaces: dict[int, SupertypeSpace] = {}
    targets: dict[int, TargetSet] = {}
    for run in folder.runs():
        if not folder.is_measured(run):
            continue
        trial = folder.trial(run)
        if run.setting not in known:
            config = folder.content["settings"][str(run.setting)]
            known[run.setting] = TargetFile.load(config["targets"])
            made = stated(config)
            spaces[run.setting], targets[run.setting] = (
                made.parameter_map().space,
                made.target_set(),
            )
        for name, frame in run_tables(run, trial, known[run.setting], spaces[run.setting]).items():
            frames[name].append(frame)
    if not known:
        raise ValueError(
            f"no run of the study at {folder.path} is finished and measured yet: run "
            "`calsheq experiment` without --report until some are"
        )
    output.mkdir(parents=True, exist_ok=True)
    for name, found in frames.items():
        # All rows of a study without rates to compare lack these keys.
        frame = pd.concat(found, ignore_index=True)
        if frame["lr_ratio"].isna().all():
            frame = frame.drop(columns=RATE_KEY)
        keys = [k for k in (*KEY[:2], *RATE_KEY, KEY[2], "stage") if k in frame]
        frame = frame.sort_values(keys, ignore_index=True, kind="stable")
        _write_csv(frame, output / name)
    goals = pd.concat([goal_table(s, known[s], targets[s], spaces[s]) for s in sorted(known)])
    _write_csv(goals, output / GOALS)
    # From what was written, so that the table is that of the files.
    text = summary(
        pd.read_csv(output / FINAL),
        int(folder.content["stages"]),
        int(folder.content["measure_every"]),
    )
    write_text(output / SUMMARY, text + _origin(folder))
    return [output / name for name in (*frames, GOALS, SUMMARY)]


def run_tables(
    run: Run, trial: Path, known: TargetFile, space: SupertypeSpace
) -> dict[str, pd.DataFrame]:
    """The rows of one run, by the name of the file that they belong to."""
    history = read_history(trial)
    measured = json.loads((trial / RECOVERY_FILE).read_text(encoding="utf-8"))
    evaluation = json.loads((trial / EVALUATION_FILE).read_text(encoding="utf-8"))
    profile = history[[f"calibration/profile/{name}/mean" for name in space.names]]
    profile = profile.set_axis(list(space.names), axis="columns")
    stages = stage_table(history, profile, space)
    recovery = recovery_table(measured, evaluation["reward_start"], known, space)
    final = pd.DataFrame([final_figures(stages, recovery, evaluation, known, space)])
    parameters = pd.concat([stages[["stage"]], profile], axis="columns")
    tables = {STAGES: stages, PARAMETERS: parameters, RECOVERY: recovery, FINAL: final}
    for frame in tables.values():
        for place, key in enumerate(KEY):
            frame.insert(place, key, getattr(run, key))
        for key in RATE_KEY:
            frame[key] = getattr(run, key)
    return tables


def stage_table(
    history: pd.DataFrame, profile: pd.DataFrame, space: SupertypeSpace
) -> pd.DataFrame:
    """One row a stage, from a run's history.

    ``smoothness`` is |Λ_m − Λ_{m−1}|, the Euclidean length in the unit cube of the step that
    the particles' mean took; ``largest_move`` is the largest move of any parameter of any
    particle, in the unit cube; ``spread`` is the length of the particles' standard deviation,
    which that mean hides; ``seconds`` counts from the start of the run; rewards of the
    supertypes and outcomes are means over the stage's episodes.
    """

    def column(name: str) -> pd.Series:
        if name in history:
            return pd.to_numeric(history[name], errors="coerce")
        return pd.Series(np.nan, index=history.index)

    unit = np.vstack([space.to_unit(space.start)[None], space.to_unit(profile.to_numpy(float))])
    spread = pd.DataFrame({n: column(f"calibration/profile/{n}/std") for n in space.names})
    # A stage in which no outcome came back has no profile; nothing is known to have moved.
    unit = pd.DataFrame(unit).ffill().to_numpy()
    columns = {
        "stage": history["training_iteration"].astype(int),
        "seconds": column("time_total_s"),
        "reward_mean": column("calibration/reward_mean"),
        "reward_std": column("calibration/reward_std"),
        "reward_pooled": column("calibration/reward_pooled"),
        "lr_shared": column("calibration/lr_shared"),
        "lr_cal": column("calibration/calibrator/learning_rate"),
        # Rounded, so that a mean of equal numbers does not seem to move.
        "smoothness": np.round(np.linalg.norm(np.diff(unit, axis=0), axis=1), 9),
        "largest_move": column("calibration/largest_move"),
        "spread": np.linalg.norm(spread.to_numpy(float) / (space.high - space.low), axis=1),
        "env_steps": column("num_env_steps_sampled_lifetime"),
    }
    start, end = "calibration/outcomes/", "/mean"
    for name in (str(c) for c in history):
        if name.startswith(start) and name.endswith(end):
            columns[name[len(start) : -len(end)]] = column(name)
    return pd.DataFrame(columns)


def goal_table(
    setting: int, known: TargetFile, targets: TargetSet, space: SupertypeSpace
) -> pd.DataFrame:
    """What a setting aims at, and within which bounds.

    Returns:
        Columns ``setting``, ``kind``, ``name``, ``value``; for a ``target`` its ``scale`` and its
        ``tolerance`` in scales; for a ``parameter``, whose value is that of the hidden profile if
        it is known, its bounds ``low`` and ``high``; the kind ``reward`` has the ceiling and the
        reward at the start.
    """
    rows: list[dict[str, Any]] = [
        {"kind": "target", "name": t.outcome, "value": t.value, "scale": t.scale,
         "tolerance": t.tolerance}
        for t in targets.targets
    ]  # fmt: skip
    hidden = known.profile or {}
    for p in space.parameters:
        name = p.full_name
        rows.append(
            {"kind": "parameter", "name": name, "value": hidden.get(name), "low": p.low,
             "high": p.high}
        )  # fmt: skip
    rows.append({"kind": "reward", "name": "ceiling", "value": known.ceiling})
    rows.append({"kind": "reward", "name": "start", "value": known.reward_start})
    columns = ["kind", "name", "value", "scale", "tolerance", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.insert(0, "setting", setting)
    return frame


def _origin(folder: StudyFolder) -> str:
    """What made the runs, as the summary's last paragraph."""
    made_by = folder.made_by()
    said = "; ".join(f"{name}: {count} runs" for name, count in made_by.items())
    mixture = " These runs are a mixture." if len(made_by) > 1 else ""
    return f"\nMade by rllib-calsheq {said}.{mixture}\n"


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    with replacing(path) as unfinished:
        frame.to_csv(unfinished, index=False, float_format=NUMBER_FORMAT)
