"""A study as tables: tidy CSV files of all its runs, and a summary over seeds in Markdown.

| file | one row for each | holds |
|---|---|---|
| `stages.csv` | setting, calibrator, seed, stage | rewards, outcomes, rates, smoothness |
| `parameters.csv` | setting, calibrator, seed, stage | mean of each parameter over particles |
| `recovery.csv` | setting, calibrator, seed, measured stage | r(Λ̂) and recovered fraction |
| `final.csv` | setting, calibrator, seed | final figures, see `final_figures` |
| `goals.csv` | setting, name | targets, hidden profile, ceiling, start |

In a study of learning rates, `lr_ratio` and `schedule` belong to the key as well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq.core.files import replacing, write_text
from rllib_calsheq.core.outcomes import return_name
from rllib_calsheq.core.supertypes import SupertypeSpace
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.experiments.store import StudyFolder
from rllib_calsheq.experiments.study import Run
from rllib_calsheq.results.checkpoints import EVALUATION_FILE, RECOVERY_FILE, read_history
from rllib_calsheq.results.evaluation import recovered_fraction

STAGES, PARAMETERS, RECOVERY, FINAL, GOALS = (
    f"{name}.csv" for name in ("stages", "parameters", "recovery", "final", "goals")
)
KEY = ["setting", "calibrator", "seed"]
#: Further keys of a study of learning rates.
RATE_KEY = ["lr_ratio", "schedule"]
SUMMARY = "summary.md"
#: Columns that `final.csv` begins with.
FINAL_COLUMNS = [*KEY, "recovered_fraction", "reward", "ceiling", "smoothness", "seconds"]
#: The recovered fraction whose first stage and second are looked for.
GOOD_FRACTION = 0.9
#: The final rewards of the particles are means over this last part of the stages.
FINAL_PART = 0.1
#: The agents have settled after this many stages, or after a quarter of a shorter run.
SETTLED_STAGES, SETTLED_PART = 50, 0.25
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
    for run in folder.runs():
        if not folder.is_measured(run):
            continue
        trial = folder.trial(run)
        if run.setting not in known:
            config = folder.content["settings"][str(run.setting)]
            known[run.setting] = TargetFile.load(config["targets"])
            spaces[run.setting] = space_of(config)
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
    goals = pd.concat([goal_table(s, known[s], spaces[s]) for s in sorted(known)])
    _write_csv(goals, output / GOALS)
    # From what was written, so that the table is that of the files.
    text = summary(
        pd.read_csv(output / FINAL),
        int(folder.content["stages"]),
        int(folder.content["measure_every"]),
    )
    write_text(output / SUMMARY, text + _origin(folder))
    return [output / name for name in (*frames, GOALS, SUMMARY)]


def space_of(config: dict[str, Any]) -> SupertypeSpace:
    """The supertype space of a configuration."""
    from rllib_calsheq.algorithm import CALSHEQConfig

    made = CALSHEQConfig().update_from_dict(config)
    made.environment(made.env, env_config=made.effective_env_config())
    return made.problem().space


def run_tables(
    run: Run, trial: Path, known: TargetFile, space: SupertypeSpace
) -> dict[str, pd.DataFrame]:
    """The rows of one run, by the name of the file that they belong to."""
    history = read_history(trial)
    recovery = pd.DataFrame(json.loads((trial / RECOVERY_FILE).read_text(encoding="utf-8")))
    evaluation = json.loads((trial / EVALUATION_FILE).read_text(encoding="utf-8"))
    profile = history[[f"calibration/profile/{name}/mean" for name in space.names]]
    profile = profile.set_axis(list(space.names), axis="columns")
    stages = stage_table(history, profile, space)
    start = evaluation["reward_start"]
    recovery["recovered_fraction"] = [
        _number(recovered_fraction(reward, start, known.ceiling)) for reward in recovery["reward"]
    ]
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
    the particles' mean took; ``spread`` is the length of the particles' standard deviation,
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
        "spread": np.linalg.norm(spread.to_numpy(float) / (space.high - space.low), axis=1),
        "env_steps": column("num_env_steps_sampled_lifetime"),
    }
    start, end = "calibration/outcomes/", "/mean"
    for name in (str(c) for c in history):
        if name.startswith(start) and name.endswith(end):
            columns[name[len(start) : -len(end)]] = column(name)
    return pd.DataFrame(columns)


def final_figures(
    stages: pd.DataFrame,
    recovery: pd.DataFrame,
    evaluation: dict[str, Any],
    known: TargetFile,
    space: SupertypeSpace,
) -> dict[str, Any]:
    """The final figures of a run.

    Returns:
        ``recovered_fraction``, ``reward`` r(Λ̂), ``ceiling``; ``smoothness`` Σ_m |Λ_m − Λ_{m−1}|;
        ``spread``, the particles' mean spread over the stages;
        ``seconds`` of training; ``stages``; ``reward_start`` r(Λ_0); ``reward_stderr``;
        ``particle_reward`` and ``pooled_reward``, r_cal as a mean over particles and of the
        pooled outcomes, over the last tenth of the stages; ``stages_to_90`` and
        ``seconds_to_90``, the first measured stage with a recovered fraction of 0.9, NaN if
        there is none; ``area_recovered``, the mean recovered fraction over the stages
        (trapezoids between measured stages, 0 at the start); ``area_reward``, the mean over
        stages of the particles' mean reward; ``lowest_reward``, the lowest mean return in a
        stage that any supertype fell to once the agents had settled (after 50 stages);
        ``distance`` of Λ̂ and ``distance_start`` of Λ_0 from Λ*, root mean squares over
        parameters in the unit cube.
    """
    count = len(stages)
    last = stages.tail(max(1, round(count * FINAL_PART)))
    settled = stages[stages["stage"] > min(SETTLED_STAGES, int(count * SETTLED_PART))]
    returns = [return_name(s) for s in space.supertypes if return_name(s) in stages]
    good = recovery[recovery["recovered_fraction"] >= GOOD_FRACTION]
    profile = np.array([evaluation["profile"][name] for name in space.names])
    hidden = None
    if known.profile:
        hidden = np.array([known.profile[name] for name in space.names])
    return {
        "recovered_fraction": _number(evaluation["recovered_fraction"]),
        "reward": evaluation["reward"],
        "ceiling": _number(evaluation["ceiling"]),
        "smoothness": float(stages["smoothness"].sum()),
        "seconds": float(stages["seconds"].iloc[-1]),
        "stages": int(stages["stage"].iloc[-1]),
        "reward_start": evaluation["reward_start"],
        "reward_stderr": evaluation["reward_stderr"],
        "particle_reward": float(last["reward_mean"].mean()),
        "pooled_reward": float(last["reward_pooled"].mean()),
        "stages_to_90": float(good["stage"].iloc[0]) if len(good) else np.nan,
        "seconds_to_90": float(good["seconds"].iloc[0]) if len(good) else np.nan,
        "area_recovered": _area(recovery),
        "area_reward": float(stages["reward_mean"].mean()),
        "spread": float(stages["spread"].mean()),
        "lowest_reward": float(settled[returns].min().min()) if returns else np.nan,
        "distance": _distance(profile, hidden, space),
        "distance_start": _distance(space.start, hidden, space),
    }


def goal_table(setting: int, known: TargetFile, space: SupertypeSpace) -> pd.DataFrame:
    """What a setting aims at: columns ``setting``, ``kind``, ``name``, ``value``, ``scale``.

    ``kind`` is ``target``, ``parameter`` (the hidden profile), or ``reward`` (the ceiling and
    the reward at the start).
    """
    rows: list[tuple[str, str, float | None, float | None]] = []
    for name, target in known.targets.items():
        entry = target if isinstance(target, dict) else {"value": target}
        rows.append(("target", name, entry["value"], entry.get("scale")))
    for name in space.names:
        if known.profile:
            rows.append(("parameter", name, known.profile[name], None))
    rows.append(("reward", "ceiling", known.ceiling, None))
    rows.append(("reward", "start", known.reward_start, None))
    frame = pd.DataFrame(rows, columns=["kind", "name", "value", "scale"])
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


def _area(recovery: pd.DataFrame) -> float:
    x = np.concatenate([[0.0], recovery["stage"].to_numpy(float)])
    y = np.concatenate([[0.0], recovery["recovered_fraction"].to_numpy(float)])
    return float(np.trapezoid(y, x) / x[-1])


def _distance(profile: Any, hidden: Any, space: SupertypeSpace) -> float:
    if hidden is None:
        return float("nan")
    return float(np.sqrt(np.mean((space.to_unit(profile) - space.to_unit(hidden)) ** 2)))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
