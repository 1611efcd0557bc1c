"""A picture of what the targets say of the calibrated profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rllib_calsheq.certificates.sensitivity.analysis import HARDLY, MOSTLY
from rllib_calsheq.core.files import replacing
from rllib_calsheq.results.palette import MAIN, ON_DARK, ON_LIGHT, OTHER, SECOND, SIGNED

#: Standard errors from which an effect is written into its cell.
SEEN = 2.0
#: Least width of the effects, in inches.
LEAST_WIDTH = 3.8
#: Part of the largest effect from which writing is on a dark ground.
DARK = 0.6


def draw_sensitivity(found: dict[str, Any], path: Path) -> Path:
    """Draws what `measure_sensitivity` found; returns the path of the PNG file.

    Effects of every parameter on every outcome, how far each parameter is pinned down, and the
    strength of each direction against the threshold.
    """
    mpl.use("Agg")
    d, K = len(found["parameters"]), len(found["outcomes"])
    # Of few parameters, wide enough for the titles.
    width = max(0.42 * d, LEAST_WIDTH)
    figure = Figure(figsize=(4.5 + width, 4.2 + 0.34 * K), layout="constrained")
    rows = figure.subplots(2, 2, width_ratios=[width, 3.0], height_ratios=[0.34 * K + 0.6, 2.0])
    _effects(rows[0, 0], found)
    _directions(rows[0, 1], found)
    _knowledge(rows[1, 0], found)
    rows[1, 1].axis("off")
    rows[1, 1].text(0, 1, _legend(found), va="top", fontsize=8, transform=rows[1, 1].transAxes)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    return path


def _effects(axes: Axes, found: dict[str, Any]) -> None:
    effects, errors = np.array(found["jacobian"]), np.array(found["stderr"])
    limit = max(np.abs(effects).max(), 1e-12)
    axes.imshow(effects, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto")
    for i, j in np.argwhere(np.abs(effects) > SEEN * errors):
        dark = abs(effects[i, j]) > DARK * limit
        axes.text(
            j, i, f"{effects[i, j]:.2g}", ha="center", va="center", fontsize=6,
            color=ON_DARK if dark else ON_LIGHT,
        )  # fmt: skip
    axes.set_yticks(range(len(found["outcomes"])), found["outcomes"], fontsize=8)
    axes.set_xticks([])
    axes.set_title("effect of a parameter's whole range, in scales", fontsize=9)


def _knowledge(axes: Axes, found: dict[str, Any]) -> None:
    rows = found["parameters"]
    pinned = np.array([row["pinned"] for row in rows.values()])
    colours = [MAIN if p >= MOSTLY else SECOND if p > HARDLY else OTHER for p in pinned]
    axes.bar(range(len(rows)), pinned, color=colours)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.set_ylim(0, 1)
    axes.set_xticks(range(len(rows)), list(rows), rotation=90, fontsize=8)
    axes.set_ylabel("part in pinned-\ndown directions", fontsize=8)


def _directions(axes: Axes, found: dict[str, Any]) -> None:
    values = np.array(found["singular_values"])
    colours = [MAIN if value > found["threshold"] else OTHER for value in values]
    axes.barh(range(len(values)), values, color=colours)
    axes.axvline(found["threshold"], color=ON_LIGHT, linewidth=1, linestyle="--")
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=max(found["threshold"], 1e-12))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks(range(len(values)), [str(j + 1) for j in range(len(values))], fontsize=6)
    axes.set_xlabel("scales per range", fontsize=8)
    axes.set_title("directions, strongest first", fontsize=9)


def _legend(found: dict[str, Any]) -> str:
    held = sum(value > found["threshold"] for value in found["singular_values"])
    return (
        f"{held} of {len(found['parameters'])} directions\nare pinned down.\n"
        "Dashed: what noise alone,\nor less than one scale, gives.\n"
        f"Numbers: effects of more\nthan {SEEN:g} standard errors.\n"
        "Bars: blue pinned down,\norange with others, grey open."
    )
