"""Predictions of a fold as rows of a table, and their scores.

Shapes: D draws, N outcomes.
"""

from __future__ import annotations

import enum
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq.backtest.observations import PREDICTED, Lesson
from rllib_calsheq.backtest.rivals import last_period, new_part, pooled_mean, told
from rllib_calsheq.backtest.scores import compare, crps, rmse
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.inference.description import INTERVALS

TARGET, WITHHELD = "target", "withheld"
#: What is compared: the first one with all others.
COLUMNS = (
    "fold", "part", "outcome", "role", "predictor", "observed", "scale", "median",
    "low_50", "high_50", "low_90", "high_90", "error", "crps", "covered_50", "covered_90",
)  # fmt: skip


class Predictor(enum.StrEnum):
    """Who predicts."""

    LEARNING = "learning market"
    CALIBRATED = "calibrated profile"
    FIXED = "fixed quotes"
    LAST = "last period"
    POOLED = "pooled mean"


MEANINGS = {
    Predictor.LEARNING: "the market whose agents learn, over all profiles that explain the targets",
    Predictor.CALIBRATED: "the same market at the calibrated profile alone, on fresh episodes",
    Predictor.FIXED: "the same market, in which everyone quotes the same half-spread and nobody "
    "learns, over all profiles that explain the targets",
    Predictor.LAST: "what the last training period was",
    Predictor.POOLED: "what all training rows together were",
}


def predictions(
    learning: FloatArray,
    fixed: FloatArray,
    calibrated: FloatArray,
    lesson: Lesson,
    part: int,
    ahead: int | None,
    seed: int,
    fold: int,
) -> dict[Predictor, FloatArray]:
    """Draws (D, N) of a new part by each predictor.

    Markets know nothing of outcomes that were withheld, not even how these scatter; the last period
    and the pooled mean do know them, from the training rows.

    Args:
        learning, fixed: Draws (D, N) of mean outcomes.
        calibrated: Mean outcomes (N,) at the calibrated profile.
        lesson: What the training rows say.
        part: Which of the test parts.
        ahead: How many parts after the last training one it is; None without order.
        seed: Seed of the draws.
        fold: Number of the fold.
    """
    scatter = lesson.scatter[part]
    known = told(scatter.deviation, lesson.scales, lesson.is_target)
    D = len(learning)

    def rng(predictor: Predictor) -> np.random.Generator:
        return stream_rng(Stream.BACKTEST_DRAWS, seed, fold, part, list(Predictor).index(predictor))

    def market(who: Predictor, means: FloatArray, deviation: FloatArray) -> FloatArray:
        return new_part(means, deviation, scatter.freedom, rng(who))

    # The draws of an inference hold the error of the targets; a single profile does not.
    unsure = np.hypot(known, told(scatter.mean_error, lesson.scales, lesson.is_target))
    found = {
        Predictor.LEARNING: market(Predictor.LEARNING, learning, known),
        Predictor.CALIBRATED: market(Predictor.CALIBRATED, np.tile(calibrated, (D, 1)), unsure),
        Predictor.FIXED: market(Predictor.FIXED, fixed, known),
    }
    if ahead is not None:
        found[Predictor.LAST] = last_period(lesson.parts, ahead, D, rng(Predictor.LAST))
    found[Predictor.POOLED] = pooled_mean(lesson.pooled, scatter, D, rng(Predictor.POOLED))
    return found


def rows_of(
    found: dict[Predictor, FloatArray], observed: FloatArray, lesson: Lesson, fold: int, part: str
) -> pd.DataFrame:
    """One row for each predictor and outcome, with the columns `COLUMNS`; errors in scales."""
    tables = []
    for predictor, draws in found.items():
        ends = {
            f"{end}_{p:.0%}".removesuffix("%"): np.quantile(draws, level, axis=0)
            for p in INTERVALS
            for end, level in (("low", (1 - p) / 2), ("high", (1 + p) / 2))
        }
        median = np.median(draws, axis=0)
        table = pd.DataFrame(
            {
                "fold": fold,
                "part": part,
                "outcome": PREDICTED,
                "role": np.where(lesson.is_target, TARGET, WITHHELD),
                "predictor": str(predictor),
                "observed": observed,
                "scale": lesson.scales,
                "median": median,
                **ends,
                "error": (median - observed) / lesson.scales,
                "crps": crps(draws, observed) / lesson.scales,
            }
        )
        for p in (50, 90):
            table[f"covered_{p}"] = table[f"low_{p}"].le(observed) & table[f"high_{p}"].ge(observed)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def score(rows: pd.DataFrame) -> dict[str, Any]:
    """Scores of all predictions, as JSON holds them.

    Returns:
        ``scores``: for each role and predictor the number of ``predictions``, ``rmse`` of medians
        and mean ``crps``, both in scales, ``coverage_50``, ``coverage_90`` and the mean
        ``width_90`` in scales. ``versus``: for each role and rival, the learning market's mean
        CRPS less the rival's (see `compare`).
    """
    scores, versus = [], []
    for role in (TARGET, WITHHELD):
        chosen = rows[rows["role"] == role]
        for predictor in Predictor:
            own = chosen[chosen["predictor"] == predictor]
            if len(own):
                scores.append({"role": role, "predictor": str(predictor), **_score(own)})
        for rival in list(Predictor)[1:]:
            pair = [_by_part(chosen, who) for who in (Predictor.LEARNING, rival)]
            if len(pair[1]):
                found = compare(*(series.to_numpy() for series in pair))
                versus.append({"role": role, "rival": str(rival), **asdict(found)})
    return {"scores": scores, "versus": versus}


def _by_part(rows: pd.DataFrame, predictor: Predictor) -> pd.Series:
    """Mean CRPS of a predictor in each part, in their order."""
    own = rows[rows["predictor"] == predictor]
    return own.groupby(["fold", "part"], sort=False)["crps"].mean()


def _score(rows: pd.DataFrame) -> dict[str, Any]:
    width = (rows["high_90"] - rows["low_90"]) / rows["scale"]
    return {
        "predictions": len(rows),
        "rmse": rmse(rows["error"]),
        "crps": float(rows["crps"].mean()),
        "coverage_50": float(rows["covered_50"].mean()),
        "coverage_90": float(rows["covered_90"].mean()),
        "width_90": float(width.mean()),
    }


def in_words(found: dict[str, Any]) -> list[str]:
    """Whether the learning market beats its rivals, in plain sentences."""
    said = []
    for role, what in ((TARGET, "outcomes that were targets"), (WITHHELD, "withheld outcomes")):
        rows = [row for row in found["versus"] if row["role"] == role]
        for verdict, words in (
            ("better", "beats"),
            ("worse", "does NOT beat, and is clearly worse than,"),
            ("no clear difference", "does NOT clearly beat"),
        ):
            rivals = [
                f"{r['rival']} ({r['difference']:+.2g})" for r in rows if r["verdict"] == verdict
            ]
            if rivals:
                said.append(
                    f"On new rows of {what} the learning market {words} {', '.join(rivals)}: "
                    "difference of the mean CRPS in scales, smaller being better."
                )
    for row in found["scores"]:
        if row["predictor"] == Predictor.LEARNING:
            said.append(
                f"Its 90 % bands hold {row['coverage_90']:.0%} of {row['predictions']} observed "
                f"values of {row['role']} outcomes."
            )
    return said
