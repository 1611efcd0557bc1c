"""What a run of a study came to: the judge first, then distances, rewards and moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq.core.outcomes import return_name
from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace
from rllib_calsheq.core.verdict import parameters_at_bounds
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.experiments.measuring import JUDGED
from rllib_calsheq.results.evaluation import recovered_fraction

KEY = ["setting", "calibrator", "seed"]
#: Columns that `final.csv` begins with.
FINAL_COLUMNS = [
    *KEY, *JUDGED, "stages_to_met", "distance", "distance_start", "relative_distance",
    "at_bounds", "at_bounds_hidden", "recovered_fraction", "reward", "ceiling", "smoothness",
    "largest_move", "seconds",
]  # fmt: skip
#: Columns that `recovery.csv` begins with.
RECOVERY_COLUMNS = [*KEY, "stage", *JUDGED, "distance", "recovered_fraction"]
#: The recovered fraction whose first stage and second are looked for.
GOOD_FRACTION = 0.9
#: The final rewards of the particles are means over this last part of the stages.
FINAL_PART = 0.1
#: The agents have settled after this many stages, or after a quarter of a shorter run.
SETTLED_STAGES, SETTLED_PART = 50, 0.25


def recovery_table(
    measured: Sequence[Mapping[str, Any]],
    reward_start: float | None,
    known: TargetFile,
    space: SupertypeSpace,
) -> pd.DataFrame:
    """One row for each measured stage of a run.

    Args:
        measured: The rows of `recovery.json`.
        reward_start: r(Λ_0).
        known: The targets, and what is known of them.
        space: The supertype space.

    Returns:
        Columns ``stage``, `JUDGED`, ``distance`` of Λ̂ to Λ*, ``recovered_fraction`` and what else
        the rows hold; NaN for what they lack.
    """
    hidden = _profile(known.profile, space)
    rows = []
    for row in measured:
        reward = row["reward"]
        found = {
            "stage": row["stage"],
            **_judged(row),
            "distance": _distance(_profile(row.get("profile"), space), hidden, space),
            "recovered_fraction": _number(recovered_fraction(reward, reward_start, known.ceiling)),
        }
        rows.append(found | {k: v for k, v in row.items() if k not in (*found, "profile")})
    return pd.DataFrame(rows)


def final_figures(
    stages: pd.DataFrame,
    recovery: pd.DataFrame,
    evaluation: Mapping[str, Any],
    known: TargetFile,
    space: SupertypeSpace,
) -> dict[str, Any]:
    """The final figures of a run.

    Returns:
        ``targets_met`` of ``num_targets``, ``worst_miss`` and ``rms_miss`` in scales, at Λ̂ on the
        fresh episodes of the evaluation; ``stages_to_met``, the first measured stage at which
        every target was met, NaN if there is none; ``distance`` of Λ̂ and ``distance_start`` of Λ_0
        from Λ*, root mean squares over parameters in the unit cube, and ``relative_distance``, the
        one over the other; ``at_bounds`` and ``at_bounds_hidden``, how many parameters of Λ̂ and of
        Λ* stand at a bound;
        ``recovered_fraction``, ``reward`` r(Λ̂), ``ceiling``; ``smoothness`` Σ_m |Λ_m − Λ_{m−1}|;
        ``largest_move``, that of any parameter of any particle in any stage, in the unit cube;
        ``seconds`` of training; ``stages``; ``reward_start`` r(Λ_0); ``reward_stderr``;
        ``particle_reward`` and ``pooled_reward``, r_cal as a mean over particles and of the
        pooled outcomes, over the last tenth of the stages; ``stages_to_90`` and
        ``seconds_to_90``, the first measured stage with a recovered fraction of 0.9, NaN if
        there is none; ``area_recovered``, the mean recovered fraction over the stages
        (trapezoids between measured stages, 0 at the start); ``area_reward``, the mean over
        stages of the particles' mean reward; ``spread``, the particles' mean spread over the
        stages; ``lowest_reward``, the lowest mean return in a stage that any supertype fell to
        once the agents had settled (after 50 stages).
    """
    count = len(stages)
    last = stages.tail(max(1, round(count * FINAL_PART)))
    settled = stages[stages["stage"] > min(SETTLED_STAGES, int(count * SETTLED_PART))]
    returns = [return_name(s) for s in space.supertypes if return_name(s) in stages]
    good = recovery[recovery["recovered_fraction"] >= GOOD_FRACTION]
    met = recovery[recovery["targets_met"] == recovery["num_targets"]]
    profile, hidden = _profile(evaluation["profile"], space), _profile(known.profile, space)
    distance = _distance(profile, hidden, space)
    distance_start = _distance(space.start, hidden, space)
    return {
        **_judged(evaluation.get("verdict") or {}),
        "stages_to_met": _first(met, "stage"),
        "distance": distance,
        "distance_start": distance_start,
        "relative_distance": distance / distance_start if distance_start else np.nan,
        # Evaluations of an earlier version do not say.
        "at_bounds": float(len(evaluation["at_bounds"])) if "at_bounds" in evaluation else np.nan,
        "at_bounds_hidden": np.nan if hidden is None else len(parameters_at_bounds(space, hidden)),
        "recovered_fraction": _number(evaluation["recovered_fraction"]),
        "reward": evaluation["reward"],
        "ceiling": _number(evaluation["ceiling"]),
        "smoothness": float(stages["smoothness"].sum()),
        "largest_move": float(stages["largest_move"].max()),
        "seconds": float(stages["seconds"].iloc[-1]),
        "stages": int(stages["stage"].iloc[-1]),
        "reward_start": evaluation["reward_start"],
        "reward_stderr": evaluation["reward_stderr"],
        "particle_reward": float(last["reward_mean"].mean()),
        "pooled_reward": float(last["reward_pooled"].mean()),
        "stages_to_90": _first(good, "stage"),
        "seconds_to_90": _first(good, "seconds"),
        "area_recovered": _area(recovery),
        "area_reward": float(stages["reward_mean"].mean()),
        "spread": float(stages["spread"].mean()),
        "lowest_reward": float(settled[returns].min().min()) if returns else np.nan,
    }


def _judged(row: Mapping[str, Any]) -> dict[str, float]:
    """`JUDGED` as numbers: NaN where nobody judged, infinity for what JSON holds as null."""
    if any(name not in row for name in JUDGED):
        return dict.fromkeys(JUDGED, np.nan)
    return {name: np.inf if row[name] is None else float(row[name]) for name in JUDGED}


def _profile(values: Mapping[str, float] | None, space: SupertypeSpace) -> FloatArray | None:
    return np.array([values[name] for name in space.names]) if values else None


def _distance(
    profile: FloatArray | None, hidden: FloatArray | None, space: SupertypeSpace
) -> float:
    if profile is None or hidden is None:
        return float("nan")
    return float(np.sqrt(np.mean((space.to_unit(profile) - space.to_unit(hidden)) ** 2)))


def _first(rows: pd.DataFrame, column: str) -> float:
    return float(rows[column].iloc[0]) if len(rows) else np.nan


def _area(recovery: pd.DataFrame) -> float:
    x = np.concatenate([[0.0], recovery["stage"].to_numpy(float)])
    y = np.concatenate([[0.0], recovery["recovered_fraction"].to_numpy(float)])
    return float(np.trapezoid(y, x) / x[-1])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
