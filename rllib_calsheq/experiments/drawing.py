"""Parts of a study's figures: colours, labels, lines over seeds, panels and legends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rllib_calsheq.calibrators.registry import entry_or_none
from rllib_calsheq.experiments.summary import calibrator_order
from rllib_calsheq.results.families import UNBOUNDED, Bounds, limit_to
from rllib_calsheq.results.palette import FURTHER, GOAL, GOAL_AMONG_MANY

Style = Literal["-", ":", "-."]
#: Lines of all others: solid first and then, when the colours are used up, dotted.
OTHER_STYLES: tuple[Style, ...] = ("-", ":", "-.")
COLUMNS = 4
#: Width of one column of a legend, in inches.
LEGEND_WIDTH = 2.4
#: Inches that a character of a legend takes; a column is as wide as its longest entry.
LEGEND_CHARACTER = 0.085
#: Height of a line of the legend, in inches, and as many as a figure has room for.
LEGEND_LINE = 0.2
USUAL_LEGEND_LINES = 2
#: Misses in scales: the smallest that is drawn as it is, and the least end of the axis.
SMALLEST_MISS, LEAST_TOP = 0.01, 2.0
#: Where on the axis infinite misses are drawn, as a part of its end.
BELOW_TOP = 0.9


def describe(name: str) -> str:
    """A parameter's or an outcome's name as an axis says it."""
    supertype, _, rest = name.partition(".")
    number = supertype.rpartition("_")[2]
    what = rest.replace("_", " ")
    if rest.startswith("quantity_p"):
        what = f"{rest.removeprefix('quantity_p')} % percentile (lots)"
    elif rest.startswith("connection_"):
        what = f"connection to cluster {rest.removeprefix('connection_')}"
    elif rest == "share":
        what = "market share"
    return f"supertype {number}: {what}" if number.isdigit() else f"{supertype}: {what}"


class Look(NamedTuple):
    """How a calibrator's line is drawn."""

    colour: str
    style: Style = "-"


def label_of(calibrator: str) -> str:
    """What a legend calls a calibrator; one with fields by its name and these."""
    entry = entry_or_none(calibrator)
    return calibrator if entry is None else entry.label


def looks_of(calibrators: Iterable[str]) -> dict[str, Look]:
    """A look for each calibrator, no two alike, in the order of legends."""
    ordered = sorted(set(calibrators), key=calibrator_order)
    looks: dict[str, Look] = {}
    for label in ordered:
        entry = entry_or_none(label)
        own = Look(entry.colour) if entry and entry.colour else None
        if own and own not in looks.values():
            looks[label] = own
    spare = (Look(colour, style) for style in OTHER_STYLES for colour in FURTHER)
    free = cycle([look for look in spare if look not in looks.values()])
    return {label: looks.get(label) or next(free) for label in ordered}


def draw_curves(
    axes: Axes,
    part: pd.DataFrame,
    column: str,
    looks: Mapping[str, Look],
    marker: str | None = None,
    bounds: Bounds = UNBOUNDED,
) -> None:
    """One line for each calibrator, with the look that ``looks`` gives it.

    Args:
        axes: The axis; its limits are the bounds, where these are known.
        part: Rows of a setting.
        column: What is drawn.
        looks: Calibrators and how their lines are drawn.
        marker: Marks the values.
        bounds: What the values can be; bands stay inside.
    """
    if column in part:
        for label, look in reversed(list(looks.items())):
            rows = part[part["calibrator"] == label]
            if len(rows):
                draw_curve(axes, rows, column, look=look, marker=marker, bounds=bounds)
    limit_to(axes, *bounds)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)


def draw_curve(
    axes: Axes, rows: pd.DataFrame, column: str, *, look: Look,
    label: str | None = None, marker: str | None = None, bounds: Bounds = UNBOUNDED,
) -> None:  # fmt: skip
    """Mean over seeds by stage, ±1 standard deviation shaded inside of the bounds."""
    found = rows.groupby("stage")[column].agg(["mean", "std"])
    axes.plot(
        found.index, found["mean"], color=look.colour, linestyle=look.style, linewidth=1.3,
        label=label, marker=marker, markersize=3,
    )  # fmt: skip
    spread = found["std"].fillna(0.0)
    axes.fill_between(
        found.index, (found["mean"] - spread).clip(*bounds), (found["mean"] + spread).clip(*bounds),
        color=look.colour, alpha=0.2, linewidth=0,
    )  # fmt: skip


def draw_goal(axes: Axes, value: float | None, within: float | None = None) -> None:
    """A dashed line at the value to be reached, if there is one; shaded where it counts as met.

    Args:
        axes: The axis.
        value: The value.
        within: How far from it is met.
    """
    if value is not None:
        axes.axhline(value, color=GOAL_AMONG_MANY, linestyle="--", linewidth=1.1)
        if within is not None:
            axes.axhspan(value - within, value + within, color=GOAL, alpha=0.12, linewidth=0)


def draw_misses(axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Worst misses by measured stage: median over seeds, smallest to largest shaded.

    The axis is logarithmic. An infinite miss (an outcome that never happened) is drawn above all
    finite ones; where that is on the axis has no effect on the median of the other seeds.
    """
    finite = part["worst_miss"][np.isfinite(part["worst_miss"])]
    top = LEAST_TOP if finite.empty else max(LEAST_TOP, 1.5 * finite.max())
    bottom = SMALLEST_MISS if finite.empty else min(0.1, max(SMALLEST_MISS, 0.7 * finite.min()))
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    misses = part["worst_miss"].clip(bottom, BELOW_TOP * top)
    drawn = part.assign(worst_miss=misses).dropna(subset="worst_miss")
    for label, look in reversed(list(looks.items())):
        rows = drawn[drawn["calibrator"] == label]
        found = rows.groupby("stage")["worst_miss"].agg(["median", "min", "max"])
        axes.plot(
            found.index, found["median"], color=look.colour, linestyle=look.style, linewidth=1.4,
            marker="o", markersize=3,
        )  # fmt: skip
        axes.fill_between(
            found.index, found["min"], found["max"], color=look.colour, alpha=0.1, linewidth=0
        )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)


def grid_of(rows: int, columns: int, height: float = 2.2) -> tuple[Figure, list[list[Axes]]]:
    """A figure of rows and columns that share the axis of stages."""
    width = max(7.0, 2.9 * columns)
    figure = Figure(figsize=(width, height * rows + 1.0), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid[-1]:
        axes.set_xlabel("stage")
    return figure, [list(row) for row in grid]


def panels_of(
    count: int, columns: int = COLUMNS, width: float = 3.2, height: float = 2.2
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels, row by row."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    size = (max(7.0, width * columns), height * rows + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    grid = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for k, axes in enumerate(grid):
        axes.set_visible(k < count)
        if k >= columns * (rows - 1):
            axes.set_xlabel("stage", fontsize=9)
    return figure, grid[:count]


def finish(
    figure: Figure,
    rows: pd.DataFrame,
    looks: Mapping[str, Look],
    goal: str,
    title: str | None = None,
    lines: str = "mean over {} seeds, shaded ± 1 sd",
) -> None:
    """The legend of the whole figure, and how many seeds the lines are of, in these words."""
    handles = [
        Line2D(
            [], [], color=look.colour, linestyle=look.style, linewidth=2,
            label=label_of(label),
        )
        for label, look in looks.items()
        if (rows["calibrator"] == label).any()
    ]  # fmt: skip
    handles.append(Line2D([], [], color=GOAL_AMONG_MANY, linestyle="--", label=goal))
    longest = max(len(str(handle.get_label())) for handle in handles)
    width = max(LEGEND_WIDTH, 0.6 + LEGEND_CHARACTER * longest)
    columns = min(len(handles), max(1, int(figure.get_figwidth() / width)))
    # The figure grows with its legend, and the panels keep their height.
    height = -(-len(handles) // columns)
    extra = LEGEND_LINE * max(0, height - USUAL_LEGEND_LINES)
    figure.set_figheight(figure.get_figheight() + extra)
    figure.legend(
        handles=handles, loc="outside lower center", frameon=False, fontsize=9, ncols=columns
    )
    seeds = rows.groupby(["setting", "calibrator"])["seed"].nunique()
    least, most = int(seeds.min()), int(seeds.max())
    count = f"{most}" if least == most else f"{least} to {most}"
    note = lines.format(count) if most > 1 else "one seed"
    figure.suptitle(f"{title}, {note}" if title else note, fontsize=10)
