"""The judge's picture and the paper's figures, drawn from a study's CSV files alone.

Lines are means over seeds, shaded ±1 standard deviation over seeds (the judge's are medians, from
the smallest to the largest); targets, the hidden profile and the ceiling are dashed.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rllib_calsheq.core.files import replacing
from rllib_calsheq.core.outcomes import return_name
from rllib_calsheq.experiments.drawing import (
    Look,
    describe,
    draw_curve,
    draw_curves,
    draw_goal,
    draw_misses,
    finish,
    grid_of,
    label_of,
    panels_of,
)
from rllib_calsheq.experiments.study_tables import StudyTables
from rllib_calsheq.experiments.summary import calibrator_order
from rllib_calsheq.results.families import ParameterLine, draw_family, families
from rllib_calsheq.results.palette import GOAL_AMONG_MANY, GUIDE, ORDERED, PAIR

#: Panels of figure 2, as in the paper: settings 2-2-2-3 and 3-4-5-5.
FIGURE_2 = (
    (2, "supertype_1.quantity_p10"),
    (2, "supertype_1.quantity_p50"),
    (2, "supertype_1.quantity_p90"),
    (3, "supertype_1.quantity_p10"),
    (3, "supertype_1.share"),
    (4, "supertype_1.quantity_p10"),
    (5, "supertype_2.quantity_p10"),
    (5, "supertype_1.share"),
)
#: Rows of figure 3: connectivity to small and to large customers, and inventory tolerance.
FIGURE_3 = (
    "supertype_1.connection_1",
    "supertype_1.connection_10",
    "supertype_1.tolerance",
    "supertype_2.connection_1",
    "supertype_2.connection_10",
    "supertype_2.tolerance_mean",
)
#: In the paper, rewards are shown for settings 1-2-3-4 and parameters for 1-2-4-5; here for all.
DPI = 120
REWARD_LIMITS = (0.0, 1.02)
#: Panels side by side, at most.
MOST_COLUMNS = 4
#: Characters in a line of a panel's title.
TITLE_WIDTH = 50


def draw_all(folder: Path) -> list[Path]:
    """Draws every figure that a folder's CSV files have the numbers for, into that folder.

    Raises:
        ValueError: If a CSV file is missing.
    """
    mpl.use("Agg")
    tables = StudyTables.load(folder)
    figures: dict[str, Figure] = {}
    if tables.settings:
        figures["figure_1"] = rewards_figure(tables)
        figures["figure_2"] = outcomes_figure(tables, _panels_of_figure_2(tables))
        figures["figure_3"] = parameters_figure(tables)
        if tables.is_judged:
            figures["judge"] = judge_figure(tables)
        figures["recovery"] = recovery_figure(tables)
    for setting in tables.settings:
        panels = [(setting, name) for name in tables.names(setting, "target")]
        figures[f"targets_setting_{setting}"] = outcomes_figure(tables, panels)
        figures[f"parameters_setting_{setting}"] = all_parameters_figure(tables, setting)
    for setting in sorted(tables.rates["setting"].unique()):
        figures[f"lr_ratios_setting_{setting}"] = ratios_figure(tables, int(setting))
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        with replacing(paths[-1]) as unfinished:
            figure.savefig(unfinished, dpi=DPI)
    return paths


# --- figures ----------------------------------------------------------------------------


def rewards_figure(tables: StudyTables) -> Figure:
    """Figure 1: rewards of the calibrator and of both supertypes, one column a setting."""
    rows = ("reward_mean", *map(return_name, ("supertype_1", "supertype_2")))
    labels = ("calibrator's reward", "reward of supertype 1", "reward of supertype 2")
    figure, grid = grid_of(len(rows), len(tables.settings))
    for j, setting in enumerate(tables.settings):
        part = tables.stages[tables.stages["setting"] == setting]
        for i, column in enumerate(rows):
            axes = grid[i][j]
            draw_curves(axes, part, column, tables.looks)
            if i == 0:
                axes.set_title(f"setting {setting}", fontsize=11)
                draw_goal(axes, tables.goal(setting, "reward", "ceiling"))
                axes.set_ylim(*REWARD_LIMITS)
            else:
                axes.axhline(0.0, color=GUIDE, linewidth=0.7)
            if j == 0:
                axes.set_ylabel(labels[i])
    finish(figure, tables.stages, tables.looks, "ceiling")
    return figure


def outcomes_figure(tables: StudyTables, panels: Sequence[tuple[int, str]]) -> Figure:
    """Figure 2, and the panels of all sub-targets: outcomes against their targets."""
    figure, axes_list = panels_of(len(panels))
    for axes, (setting, name) in zip(axes_list, panels, strict=True):
        draw_curves(axes, tables.stages[tables.stages["setting"] == setting], name, tables.looks)
        draw_goal(axes, tables.goal(setting, "target", name), tables.within(setting, name))
        axes.set_title(f"setting {setting}: {describe(name)}", fontsize=9)
    shown = tables.stages[tables.stages["setting"].isin([s for s, _ in panels])]
    finish(figure, shown, tables.looks, "target (green: met)")
    return figure


def parameters_figure(tables: StudyTables) -> Figure:
    """Figure 3: connectivity and inventory tolerance of both supertypes, a column a setting."""
    rows = [name for name in FIGURE_3 if name in tables.parameters]
    figure, grid = grid_of(len(rows), len(tables.settings), height=1.75)
    for j, setting in enumerate(tables.settings):
        part = tables.parameters[tables.parameters["setting"] == setting]
        for i, name in enumerate(rows):
            bounds = tables.bounds(setting, name)
            draw_curves(grid[i][j], part, name, tables.looks, bounds=bounds)
            draw_goal(grid[i][j], tables.goal(setting, "parameter", name))
            if i == 0:
                grid[i][j].set_title(f"setting {setting}", fontsize=11)
            if j == 0:
                grid[i][j].set_ylabel(describe(name).replace(": ", ":\n"), fontsize=8)
    finish(figure, tables.parameters, tables.looks, "hidden profile")
    return figure


def all_parameters_figure(tables: StudyTables, setting: int) -> Figure:
    """All parameters of a setting.

    Parameters of one kind share a panel for each calibrator, coloured by their number; of a kind
    with one parameter there is one panel with all calibrators.
    """
    part = tables.parameters[tables.parameters["setting"] == setting]
    labels = [label for label in tables.looks if (part["calibrator"] == label).any()]
    # Goals of an earlier version hold parameters only where the hidden profile is known.
    known = tables.names(setting, "parameter") or [str(c) for c in part if "." in str(c)]
    kinds = families(known)
    alone = [name for names in kinds.values() if len(names) == 1 for name in names]
    rows = [(kind, names) for kind, names in kinds.items() if len(names) > 1]
    columns = max(3, min(len(labels), MOST_COLUMNS))
    depth = math.ceil(len(labels) / columns)
    count = columns * depth * len(rows) + len(alone)
    figure, panels = panels_of(count, columns=columns, width=3.2, height=2.2)
    for k, (kind, names) in enumerate(rows):
        first = columns * depth * k
        for axes, label in zip_longest(panels[first : first + columns * depth], labels):
            axes.set_visible(label is not None)
            if label is None:
                continue
            mine = part[part["calibrator"] == label]
            lines = {name: _line_of(tables, setting, mine, name) for name in names}
            draw_family(axes, lines, legend=label == labels[-1])
            axes.set_title(f"{label_of(label)}\n{describe(kind)}", fontsize=8)
    for axes, name in zip(panels[count - len(alone) :], alone, strict=True):
        draw_curves(axes, part, name, tables.looks, bounds=tables.bounds(setting, name))
        draw_goal(axes, tables.goal(setting, "parameter", name))
        axes.set_title(describe(name), fontsize=8)
    finish(figure, part, tables.looks, "hidden profile", title=f"setting {setting}")
    return figure


def _line_of(tables: StudyTables, setting: int, rows: pd.DataFrame, name: str) -> ParameterLine:
    """A calibrator's parameter: mean and standard deviation over seeds."""
    found = rows.groupby("stage")[name].agg(["mean", "std"])
    return ParameterLine(
        mean=found["mean"],
        deviation=found["std"].fillna(0.0),
        bounds=tables.bounds(setting, name),
        goal=tables.goal(setting, "parameter", name),
    )


def judge_figure(tables: StudyTables) -> Figure:
    """The worst miss of the calibrated profile by measured stage, one panel a setting."""
    figure, panels = panels_of(len(tables.settings), columns=3, width=4.0, height=2.9)
    for axes, setting in zip(panels, tables.settings, strict=True):
        part = tables.recovery[tables.recovery["setting"] == setting]
        draw_misses(axes, part, tables.looks)
        for tolerance in tables.tolerances(setting):
            draw_goal(axes, tolerance)
        count = len(tables.names(setting, "target"))
        title = f"setting {setting}: {count} target{'s' if count > 1 else ''}"
        axes.set_title(title, fontsize=11)
        axes.set_ylabel("worst miss (scales)", fontsize=9)
    finish(
        figure, tables.recovery, tables.looks, "tolerance: below it, every target is met",
        lines="median over {} seeds, shaded from the smallest to the largest",
    )  # fmt: skip
    return figure


def recovery_figure(tables: StudyTables) -> Figure:
    """Recovered fraction of the calibrated profile by stage, one column a setting."""
    figure, grid = grid_of(1, len(tables.settings), height=2.6)
    for axes, setting in zip(grid[0], tables.settings, strict=True):
        part = tables.recovery[tables.recovery["setting"] == setting]
        draw_curves(axes, part, "recovered_fraction", tables.looks, marker="o")
        draw_goal(axes, 1.0)
        axes.set_title(f"setting {setting}", fontsize=11)
        axes.set_ylim(min(-0.05, axes.get_ylim()[0]), max(1.1, axes.get_ylim()[1]))
    grid[0][0].set_ylabel("recovered fraction")
    finish(figure, tables.recovery, tables.looks, "as good as the hidden profile")
    return figure


def ratios_figure(tables: StudyTables, setting: int) -> Figure:
    """Recovered fraction against the ratio of learning rates, and the reward curves."""
    final = tables.rates[tables.rates["setting"] == setting]
    stages = tables.rate_stages[tables.rate_stages["setting"] == setting]
    calibrators = sorted(final["calibrator"].unique(), key=calibrator_order)
    schedules = sorted(final["schedule"].unique(), reverse=True)
    figure = Figure(
        figsize=(4.2 * (1 + len(schedules)), 3.4 * len(calibrators)), layout="constrained"
    )
    grid = figure.subplots(len(calibrators), 1 + len(schedules), squeeze=False)
    ratios = sorted(final["lr_ratio"].unique())
    colours = mpl.colormaps[ORDERED](np.linspace(0.9, 0.05, len(ratios)))
    looks = {ratio: Look(mpl.colors.to_hex(c)) for ratio, c in zip(ratios, colours, strict=True)}
    for row, calibrator in zip(grid, calibrators, strict=True):
        for k, schedule in enumerate(schedules):
            mine = final[(final["calibrator"] == calibrator) & (final["schedule"] == schedule)]
            found = mine.groupby("lr_ratio")["recovered_fraction"].agg(["mean", "std"])
            row[0].errorbar(
                found.index, found["mean"], yerr=found["std"].fillna(0.0), marker="os"[k % 2],
                capsize=3, label=f"{schedule} rates", color=PAIR[k % 2],
            )  # fmt: skip
            curves = stages[(stages["calibrator"] == calibrator) & (stages["schedule"] == schedule)]
            for ratio in reversed(ratios):
                draw_curve(
                    row[k + 1], curves[curves["lr_ratio"] == ratio], "reward_mean",
                    look=looks[ratio], label=f"{ratio:g}",
                )  # fmt: skip
            draw_goal(row[k + 1], tables.goal(setting, "reward", "ceiling"))
            row[k + 1].set(
                title=f"{schedule} rates", xlabel="stage", ylim=REWARD_LIMITS,
                ylabel="calibrator's reward (particle mean)",
            )  # fmt: skip
            row[k + 1].grid(alpha=0.3)
            row[k + 1].legend(
                title="ratio", fontsize=8, title_fontsize=8, loc="lower right", ncols=2
            )
        row[0].set(
            xscale="log", xlabel="initial ratio of learning rates (cal / shared)",
            ylabel="recovered fraction",
        )  # fmt: skip
        label = f"setting {setting}, {label_of(calibrator)}"
        # A calibrator with many fields has a label of many lines.
        row[0].set_title(textwrap.fill(label.replace(":", ", "), TITLE_WIDTH), fontsize=10)
        row[0].axhline(1.0, color=GOAL_AMONG_MANY, linestyle="--", linewidth=1.0)
        row[0].set_ylim(bottom=min(0.0, row[0].get_ylim()[0]))
        row[0].grid(alpha=0.3)
        row[0].legend(fontsize=9)
    return figure


def _panels_of_figure_2(tables: StudyTables) -> list[tuple[int, str]]:
    """The paper's choice where the study has these settings, else some of what it has."""
    known = [
        (s, name) for s, name in FIGURE_2
        if s in tables.settings and name in tables.names(s, "target")
    ]  # fmt: skip
    return known or [(s, tables.names(s, "target")[0]) for s in tables.settings]
