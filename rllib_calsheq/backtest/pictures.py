"""The picture of a backtest: scores of all predictors, and predictions against what came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rllib_calsheq.backtest.predictions import TARGET, WITHHELD, Predictor
from rllib_calsheq.core.files import replacing
from rllib_calsheq.results.palette import FURTHER, GUIDE, MAIN, OTHER, SECOND, WHOLE

PICTURE_FILE = "backtest.png"
COLOURS = {
    Predictor.LEARNING: MAIN,
    Predictor.LEARNING_POINT: FURTHER[3],
    Predictor.FIXED: SECOND,
    Predictor.FIXED_POINT: FURTHER[2],
    Predictor.LAST: FURTHER[1],
    Predictor.POOLED: OTHER,
}
#: Outcomes of each role that are drawn part by part, and parts that are named below them.
SHOWN, NAMED = 3, 16
SCORES = (
    ("rmse", "RMSE of medians, scales"),
    ("crps", "mean CRPS, scales"),
    ("coverage_90", "held by 90 % bands"),
)


def draw_backtest(result: dict[str, Any], rows: pd.DataFrame, folder: Path) -> Path:
    """Draws the picture; returns the path of the PNG file.

    Args:
        result: The findings.
        rows: Every prediction.
        folder: Where it goes.
    """
    mpl.use("Agg")
    roles = [role for role in (TARGET, WITHHELD) if (rows["role"] == role).any()]
    figure = Figure(figsize=(13, 3.4 + 3.0 * len(roles)), layout="constrained")
    grid = np.array(figure.subplots(1 + len(roles), SHOWN, squeeze=False))
    for axes, (key, label) in zip(grid[0], SCORES, strict=True):
        _scores(axes, result["scores"], roles, key, label)
    for line, role in zip(grid[1:], roles, strict=True):
        names = _chosen(rows, role)
        for axes, name in zip(line, names, strict=False):
            _outcome(axes, rows[rows["outcome"] == name], name, role)
        for axes in line[len(names) :]:
            axes.set_axis_off()
    handles: list[Any] = [
        Patch(color=colour, label=str(predictor))
        for predictor, colour in COLOURS.items()
        if (rows["predictor"] == predictor).any()
    ]
    handles.append(Line2D([], [], color=WHOLE, label="observed"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=9)
    figure.supxlabel(
        f"{result['command'] or 'backtest'}; seed {result['seed']}, version {result['version']}, "
        f"data {result['data_hash']}",
        fontsize=7, color=OTHER, wrap=True,
    )  # fmt: skip
    path = folder / PICTURE_FILE
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    return path


def _scores(
    axes: Axes, scores: list[dict[str, Any]], roles: list[str], key: str, label: str
) -> None:
    """Bars of one score: a group for each role, a bar for each predictor."""
    present = [p for p in Predictor if any(row["predictor"] == p for row in scores)]
    width = 0.8 / len(present)
    for g, role in enumerate(roles):
        for k, predictor in enumerate(present):
            value = next(
                r[key] for r in scores if r["role"] == role and r["predictor"] == predictor
            )
            at = g + (k - (len(present) - 1) / 2) * width
            axes.bar(at, value, 0.9 * width, color=COLOURS[predictor])
            axes.annotate(f"{value:.2f}", (at, value), (0, 4), textcoords="offset points",
                          ha="center", fontsize=7,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3})  # fmt: skip
    if key == "coverage_90":
        axes.axhline(0.9, color=WHOLE, linewidth=1, linestyle="--")
    axes.set_xticks(range(len(roles)), [f"{role} outcomes" for role in roles], fontsize=9)
    axes.set_title(label, fontsize=9, loc="left")
    axes.margins(y=0.12)


def _chosen(rows: pd.DataFrame, role: str) -> list[str]:
    """Outcomes of a role, evenly from the first to the last."""
    names = list(dict.fromkeys(rows.loc[rows["role"] == role, "outcome"]))
    at = np.unique(np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int))
    return [names[i] for i in at]


def _outcome(axes: Axes, rows: pd.DataFrame, name: str, role: str) -> None:
    """What came of one outcome in each part, and what was predicted: bands and medians."""
    parts = list(dict.fromkeys(zip(rows["fold"], rows["part"], strict=True)))
    present = [p for p in Predictor if (rows["predictor"] == p).any()]
    # Lines of many parts must not hide one another.
    thin = min(1.0, NAMED / len(parts))
    for k, predictor in enumerate(present):
        own = rows[rows["predictor"] == predictor]
        at = np.arange(len(own)) + 0.13 * (k - (len(present) - 1) / 2)
        axes.vlines(
            at, own["low_90"], own["high_90"], color=COLOURS[predictor], linewidth=1.2 * thin
        )
        axes.vlines(
            at, own["low_50"], own["high_50"], color=COLOURS[predictor], linewidth=3.5 * thin
        )
        axes.plot(at, own["median"], ".", color=COLOURS[predictor], markersize=5 * thin)
    seen = rows[rows["predictor"] == present[0]]["observed"].to_numpy()
    middles = np.arange(len(parts))
    axes.hlines(seen, middles - 0.42, middles + 0.42, color=WHOLE, linewidth=1.4)
    low, high = rows["low_90"].quantile(0.1), rows["high_90"].quantile(0.9)
    medians = rows["median"]
    reach = [min(seen.min(), medians.min(), low), max(seen.max(), medians.max(), high)]
    room = 0.08 * ((reach[1] - reach[0]) or 1.0)
    axes.set_ylim(reach[0] - room, reach[1] + room)
    for k in range(1, len(parts)):
        if parts[k][0] != parts[k - 1][0]:
            axes.axvline(k - 0.5, color=GUIDE, linewidth=0.8, linestyle=":")
    if len(parts) <= NAMED:
        axes.set_xticks(middles, [part for _, part in parts], fontsize=8)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(parts)} parts", fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title(f"{name} ({role})", fontsize=9, loc="left")
