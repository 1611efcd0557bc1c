"""Pictures of an inference: intervals of all parameters, predictive bands, pairs of parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rllib_calsheq.core.files import replacing
from rllib_calsheq.inference.description import Knowledge
from rllib_calsheq.results.palette import GOAL, GUIDE, MAIN, OTHER, SECOND, WHOLE

#: Parameters in the picture of pairs, at most.
MAX_PAIRED = 6
#: Draws in it.
MAX_POINTS = 1500
COLOURS = {Knowledge.PINNED: MAIN, Knowledge.FREE: OTHER}


def draw_inference(result: dict[str, Any], draws: pd.DataFrame, folder: Path) -> list[Path]:
    """Draws all pictures; returns the paths of the PNG files."""
    mpl.use("Agg")
    stem = Path(result["file"]).stem
    pictures = {
        "intervals": _intervals_figure(result),
        "predictions": _predictions_figure(result),
        "pairs": _pairs_figure(result, draws),
    }
    paths = []
    for name, figure in pictures.items():
        path = folder / f"{stem}_{name}.png"
        with replacing(path) as unfinished:
            figure.savefig(unfinished, dpi=110)
        paths.append(path)
    return paths


def _footer(figure: Figure, result: dict[str, Any]) -> None:
    """Where the picture comes from, on its last line."""
    figure.supxlabel(
        f"{result['command'] or 'infer'}; seed {result['seed']}, version {result['version']}, "
        f"targets {result['targets_hash']}",
        fontsize=7, color=OTHER,
    )  # fmt: skip


def _intervals_figure(result: dict[str, Any]) -> Figure:
    rows = result["parameters"]
    figure = Figure(figsize=(8.5, 1.6 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(reversed(rows)):
        low, high = row["prior"]
        span = (high - low) or 1.0

        def place(value: float, low: float = low, span: float = span) -> float:
            return 0.05 + 0.9 * (value - low) / span

        colour = COLOURS.get(Knowledge(row["knowledge"]), SECOND)
        axes.plot([0.05, 0.95], [y, y], color=GUIDE, linewidth=6, alpha=0.18, solid_capstyle="butt")
        for (left, right), width in zip(row["intervals"], (6, 2.2), strict=True):
            axes.plot([place(left), place(right)], [y, y], color=colour, linewidth=width,
                      solid_capstyle="butt")  # fmt: skip
        axes.plot(place(row["median"]), y, marker="|", color="white", markersize=9, zorder=4)
        axes.plot(place(row["calibrated"]), y, marker="d", color=WHOLE, markersize=4, zorder=5)
        if row["true"] is not None:
            axes.plot(place(row["true"]), y, marker="*", color=GOAL, markersize=9, zorder=6)
        axes.text(1.02, y, row["knowledge"], va="center", fontsize=8, color=colour)
    axes.set_yticks(range(len(rows)), [r["name"] for r in reversed(rows)], fontsize=8)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-0.8, len(rows) - 0.3)
    axes.set_xticks([0.05, 0.5, 0.95], ["5 % of the prior", "middle", "95 %"], fontsize=8)
    axes.set_title(
        "what is known of each parameter: 50 % (thick) and 90 % interval in the prior's 90 % "
        "(grey),\ncalibrated value (diamond)" + _star(rows),
        fontsize=9, loc="left",
    )  # fmt: skip
    _footer(figure, result)
    return figure


def _star(rows: list[dict[str, Any]]) -> str:
    return ", hidden value (star)" if rows[0]["true"] is not None else ""


def _predictions_figure(result: dict[str, Any]) -> Figure:
    rows = result["predictions"]
    wanted = [r for r in rows if r["target"] is not None]
    others = [r for r in rows if r["target"] is None]
    scales = {t["name"]: t["scale"] for t in result["targets"]}
    tall = 1.8 + 0.28 * max(len(wanted), len(others))
    figure = Figure(figsize=(12, tall), layout="constrained")
    left, right = figure.subplots(1, 2)
    for y, row in enumerate(reversed(wanted)):
        _band(left, y, row, row["target"], scales[row["name"]])
    left.axvline(0.0, color=GOAL, linewidth=1.2)
    left.set_yticks(range(len(wanted)), [r["name"] for r in reversed(wanted)], fontsize=8)
    left.set(xlabel="mean outcome less its target, in scales")
    left.set_title("targets: 50 and 90 % bands of the posterior", fontsize=9, loc="left")
    for y, row in enumerate(reversed(others)):
        _band(right, y, row, 0.0, abs(row["median"]) or 1.0)
        low, high = row["intervals"][-1]
        right.text(1.0, y + 0.18, f"{row['median']:.4g}  ({low:.4g} to {high:.4g})",
                   fontsize=7, ha="center")  # fmt: skip
    right.set_yticks(range(len(others)), [r["name"] for r in reversed(others)], fontsize=8)
    right.set(xlabel="mean outcome as a part of its median")
    right.set_title("outcomes that are no targets: predicted", fontsize=9, loc="left")
    for axes in (left, right):
        axes.grid(alpha=0.3, axis="x")
        axes.margins(y=0.06)
    _footer(figure, result)
    return figure


def _band(axes: Axes, y: int, row: dict[str, Any], zero: float, unit: float) -> None:
    for (low, high), width in zip(row["intervals"], (6, 2.2), strict=True):
        axes.plot([(low - zero) / unit, (high - zero) / unit], [y, y], color=MAIN, linewidth=width,
                  solid_capstyle="butt")  # fmt: skip


def _pairs_figure(result: dict[str, Any], draws: pd.DataFrame) -> Figure:
    """The parameters that the draws say most of, in pairs."""
    rows = sorted(result["parameters"], key=lambda r: r["width"])[:MAX_PAIRED]
    size = len(rows)
    figure = Figure(figsize=(2.0 * size + 0.6, 2.0 * size + 0.6), layout="constrained")
    grid = np.atleast_2d(np.array(figure.subplots(size, size, squeeze=False)))
    shown = draws.iloc[:MAX_POINTS]
    for i, below in enumerate(rows):
        for j, across in enumerate(rows):
            axes = grid[i, j]
            if j > i:
                axes.set_axis_off()
                continue
            if i == j:
                axes.hist(draws[below["name"]], bins=40, color=MAIN, alpha=0.8)
                axes.set_yticks([])
            else:
                axes.plot(shown[across["name"]], shown[below["name"]], ".", color=MAIN,
                          markersize=1.5, alpha=0.4)  # fmt: skip
            if across["true"] is not None:
                axes.axvline(across["true"], color=GOAL, linewidth=1)
                if i != j:
                    axes.axhline(below["true"], color=GOAL, linewidth=1)
            axes.tick_params(labelsize=6)
            if i == size - 1:
                axes.set_xlabel(_broken(across["name"]), fontsize=7)
            if j == 0 and i:
                axes.set_ylabel(_broken(below["name"]), fontsize=7)
    figure.suptitle("the parameters that the targets say most of", fontsize=10)
    _footer(figure, result)
    return figure


def _broken(name: str) -> str:
    return name.replace(".", ".\n")
