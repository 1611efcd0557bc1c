"""Predictions of a fold as rows of a table, and their scores.

Shapes: D draws, N outcomes.
"""

from __future__ import annotations

import enum
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import pandas as pd

from rllib_calsheq.backtest.observations import PREDICTED, Lesson
from rllib_calsheq.backtest.rivals import last_period, new_part, pooled_mean, told
from rllib_calsheq.backtest.scores import compare, crps, rmse
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.inference.description import INTERVALS

TARGET, WITHHELD = "target", "withheld"
#: Columns of the table of all predictions.
COLUMNS = (
    "fold", "part", "outcome", "role", "predictor", "observed", "scale", "median",
    "low_50", "high_50", "low_90", "high_90", "error", "crps", "covered_50", "covered_90",
)  # fmt: skip


class Predictor(enum.StrEnum):
    """Who predicts."""

    LEARNING = "learning, inferred"
    LEARNING_POINT = "learning, calibrated"
    FIXED = "fixed quotes, inferred"
    FIXED_POINT = "fixed quotes, calibrated"
    LAST = "last period"
    POOLED = "pooled mean"


MEANINGS = {
    Predictor.LEARNING: "the market whose agents learn, over all profiles that explain the targets",
    Predictor.LEARNING_POINT: "the same at the calibrated profile alone, on fresh episodes",
    Predictor.FIXED: "the market in which everyone quotes the same and nobody learns, over all "
    "profiles that explain the targets",
    Predictor.FIXED_POINT: "the same at the profile that it was calibrated to, on fresh episodes",
    Predictor.LAST: "what the last training period was",
    Predictor.POOLED: "what all training rows together were",
}
#: What is said of each verdict of `compare`.
VERDICTS = {
    "better": "beats",
    "worse": "does NOT beat, and is clearly worse than,",
    "no clear difference": "does NOT clearly beat",
}
#: Which rivals each form of the learning market has.
RIVALS = {
    Predictor.LEARNING: (Predictor.FIXED, Predictor.LAST, Predictor.POOLED),
    Predictor.LEARNING_POINT: (Predictor.FIXED_POINT, Predictor.LAST, Predictor.POOLED),
}


class MarketSays(Protocol):
    """What a market says of mean outcomes: draws (D, N), and means (N,) at one profile."""

    @property
    def inferred(self) -> FloatArray:
        """Draws (D, N) over all profiles that explain the targets."""

    @property
    def calibrated(self) -> FloatArray:
        """Means (N,) at the calibrated profile."""


def predictions(
    learning: MarketSays,
    fixed: MarketSays,
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
        learning, fixed: What the markets say.
        lesson: What the training rows say.
        part: Which of the test parts.
        ahead: How many parts after the last training one it is; None without order.
        seed: Seed of the draws.
        fold: Number of the fold.
    """
    scatter = lesson.scatter[part]
    known = told(scatter.deviation, lesson.scales, lesson.is_target)
    # The draws of an inference hold the error of the targets; a single profile does not.
    unsure = np.hypot(known, told(scatter.mean_error, lesson.scales, lesson.is_target))
    D = len(learning.inferred)

    def rng(predictor: Predictor) -> np.random.Generator:
        return stream_rng(Stream.BACKTEST_DRAWS, seed, fold, part, list(Predictor).index(predictor))

    found = {}
    for market, inferred, point in (
        (learning, Predictor.LEARNING, Predictor.LEARNING_POINT),
        (fixed, Predictor.FIXED, Predictor.FIXED_POINT),
    ):
        means = np.tile(market.calibrated, (D, 1))
        found[inferred] = new_part(market.inferred, known, scatter.freedom, rng(inferred))
        found[point] = new_part(means, unsure, scatter.freedom, rng(point))
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
        ``width_90`` in scales. ``versus``: for each role, form of the learning market
        and rival, its mean CRPS less the rival's (see `compare`).
    """
    scores, versus = [], []
    for role in (TARGET, WITHHELD):
        chosen = rows[rows["role"] == role]
        for predictor in Predictor:
            own = chosen[chosen["predictor"] == predictor]
            if len(own):
                scores.append({"role": role, "predictor": str(predictor), **_score(own)})
        for predictor, rivals in RIVALS.items():
            own_scores = _by_part(chosen, predictor)
            for rival in rivals:
                others = _by_part(chosen, rival)
                if len(others):
                    found = asdict(compare(own_scores.to_numpy(), others.to_numpy()))
                    who = {"predictor": str(predictor), "rival": str(rival)}
                    versus.append({"role": role, **who, **found})
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
    for role, what in ((TARGET, "targeted outcomes"), (WITHHELD, "withheld outcomes")):
        for predictor in RIVALS:
            rows = [
                row
                for row in found["versus"]
                if row["role"] == role and row["predictor"] == predictor
            ]
            parts = [
                f"{words} {', '.join(rivals)}"
                for verdict, words in VERDICTS.items()
                if (rivals := [_rival(row) for row in rows if row["verdict"] == verdict])
            ]
            if parts:
                said.append(f"On {what} of new rows, {predictor!s} {'; '.join(parts)}.")
    if said:
        said.append("In brackets: the difference of mean CRPS, in scales; below 0 is better.")
    for row in found["scores"]:
        if row["predictor"] in RIVALS:
            said.append(
                f"90 % bands of {row['predictor']} hold {row['coverage_90']:.0%} of "
                f"{row['predictions']} observed values of {row['role']} outcomes."
            )
    return said


def _rival(row: dict[str, Any]) -> str:
    return f"{row['rival']} ({row['difference']:+.2g})"
