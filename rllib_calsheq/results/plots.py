"""Pictures of a run over its stages: rewards, outcomes against targets, parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rllib_calsheq.core.files import replacing
from rllib_calsheq.core.outcomes import return_name
from rllib_calsheq.core.supertypes import SupertypeSpace
from rllib_calsheq.core.targets import Target
from rllib_calsheq.results.checkpoints import read_history
from rllib_calsheq.results.families import UNBOUNDED, ParameterLine, draw_family, families
from rllib_calsheq.results.palette import GOAL, GUIDE, MAIN, SECOND
from rllib_calsheq.results.reading import (
    OUTCOMES,
    PROFILE,
    RETURNS,
    column,
    names_of,
    params_of,
    problem_of,
    stages,
    target_file_of,
)

COLUMNS = 4
#: Room for the title of a whole figure, in inches.
TITLE_WIDTH, TITLE_HEIGHT = 7.5, 0.6


def draw_trial(trial: Path, folder: Path | None = None) -> list[Path]:
    """Draws all pictures of a trial.

    Args:
        trial: The trial's folder.
        folder: Where the PNG files go; the trial's own folder when None.

    Returns:
        Paths of the files. Pictures for which the run has no numbers are left out.
    """
    mpl.use("Agg")
    history = read_history(trial)
    params = params_of(trial)
    known, found = target_file_of(params), problem_of(params)
    space = found.problem.space if found else None
    wanted = found.targets.targets if found and found.targets else ()
    targets = {target.outcome: target for target in wanted}
    target_folder = folder or trial
    target_folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, figure in (
        ("reward", _reward_figure(history, known)),
        ("supertype_rewards", _supertype_figure(history)),
        ("outcomes", _outcome_figure(history, known, targets)),
        ("parameters", _parameter_figure(history, known, space)),
    ):
        if figure is None:
            continue
        path = target_folder / f"{name}.png"
        with replacing(path) as unfinished:
            figure.savefig(unfinished, dpi=110)
        drawn.append(path)
    return drawn


def _band(
    axes: Axes, x: pd.Series, mean: pd.Series, deviation: pd.Series | None, **style: Any
) -> None:
    """A line with ±1 standard deviation shaded."""
    (line,) = axes.plot(x, mean, linewidth=1.4, **style)
    if deviation is not None:
        axes.fill_between(
            x, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2, linewidth=0
        )


def _reward_figure(history: pd.DataFrame, known: dict[str, Any]) -> Figure | None:
    mean, pooled = column(history, "reward_mean"), column(history, "reward_pooled")
    if mean is None or pooled is None or not known.get("targets"):
        return None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    x = stages(history)
    _band(
        axes,
        x,
        mean,
        column(history, "reward_std"),
        color=MAIN,
        label="mean over particles ± 1 sd",
    )
    axes.plot(x, pooled, color=SECOND, linewidth=1.2, label="of the pooled outcomes")
    if known.get("ceiling") is not None:
        axes.axhline(
            known["ceiling"], color=GOAL, linestyle="--", label="ceiling (mean over episodes)"
        )
    axes.set(xlabel="stage", ylabel="reward of the calibrator", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def _supertype_figure(history: pd.DataFrame) -> Figure | None:
    names = names_of(history, RETURNS)
    if not names:
        return None
    figure = Figure(figsize=(7, 2.8 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), squeeze=False).flat, names, strict=True):
        _draw_series(axes, history, RETURNS, name)
        axes.axhline(0.0, color=GUIDE, linewidth=0.8)
        axes.set(xlabel="stage", ylabel=f"{return_name(name)} an episode")
    return figure


def _draw_series(axes: Axes, history: pd.DataFrame, group: str, name: str) -> None:
    mean = column(history, f"{group}/{name}/mean")
    assert mean is not None
    _band(axes, stages(history), mean, column(history, f"{group}/{name}/std"), color=MAIN)
    axes.grid(alpha=0.3)


def _panels(
    count: int, columns: int = COLUMNS, width: float = 3.0, height: float = 2.2
) -> tuple[Figure, list[Axes]]:
    rows = math.ceil(count / columns)
    # A figure of one panel is as wide as its title all the same.
    columns = min(columns, count)
    size = (max(TITLE_WIDTH, width * columns), height * rows + TITLE_HEIGHT)
    figure = Figure(figsize=size, layout="constrained")
    grid = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid[:count]


def _outcome_figure(
    history: pd.DataFrame, known: dict[str, Any], complete: Mapping[str, Target]
) -> Figure | None:
    targets = known.get("targets") or {}
    names = [n for n in names_of(history, OUTCOMES) if n in targets]
    if not names:
        return None
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names, strict=True):
        _draw_series(axes, history, OUTCOMES, name)
        value = targets[name]["value"] if isinstance(targets[name], dict) else targets[name]
        axes.axhline(value, color=GOAL, linestyle="--", linewidth=1.2)
        if name in complete:
            within = complete[name].tolerance * complete[name].scale
            axes.axhspan(value - within, value + within, color=GOAL, alpha=0.15, linewidth=0)
        axes.set_title(name, fontsize=9)
    figure.supxlabel("stage")
    title = "outcomes (line, ± 1 sd over particles) and targets (dashed"
    met = ", green where they are met)" if complete else ")"
    figure.suptitle(title + met, fontsize=11)
    return figure


def _parameter_figure(
    history: pd.DataFrame, known: dict[str, Any], space: SupertypeSpace | None
) -> Figure | None:
    names = names_of(history, PROFILE)
    if not names:
        return None
    hidden = known.get("profile") or {}
    bounds = {p.full_name: (p.low, p.high) for p in space.parameters} if space else {}

    def line_of(name: str) -> ParameterLine:
        mean, deviation = (_by_stage(history, f"{PROFILE}/{name}/{of}") for of in ("mean", "std"))
        assert mean is not None
        return ParameterLine(mean, deviation, bounds.get(name, UNBOUNDED), hidden.get(name))

    kinds = families(names)
    figure, panels = _panels(len(kinds), columns=3, width=4.2, height=2.6)
    for axes, (kind, members) in zip(panels, kinds.items(), strict=True):
        draw_family(axes, {name: line_of(name) for name in members})
        axes.set_title(kind, fontsize=9)
    figure.supxlabel("stage")
    title = (
        "supertype parameters (line; band: ± 1 sd of the particles, exploration and not certainty)"
    )
    end = "\nand the hidden profile (dashed)" if hidden else ""
    figure.suptitle(title + end, fontsize=11)
    return figure


def _by_stage(history: pd.DataFrame, name: str) -> pd.Series | None:
    found = column(history, name)
    return None if found is None else found.set_axis(stages(history))
