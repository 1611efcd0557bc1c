"""Pictures of a run over its stages: rewards, outcomes against targets, parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rllib_calsheq.core.files import replacing
from rllib_calsheq.core.supertypes import SupertypeSpace
from rllib_calsheq.core.targets import Target
from rllib_calsheq.results.checkpoints import read_history
from rllib_calsheq.results.families import families
from rllib_calsheq.results.reading import (
    OUTCOMES,
    PROFILE,
    RETURNS,
    names_of,
    params_of,
    problem_of,
    target_file_of,
)
from rllib_calsheq.results.run_axes import (
    draw_outcome,
    draw_parameters,
    draw_return,
    draw_reward,
)

COLUMNS = 4
#: Pixels an inch.
DPI = 110
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
            # Not `savefig`, which draws all of it once more, unseen, to lay it out.
            FigureCanvasAgg(figure).print_png(unfinished)
        drawn.append(path)
    return drawn


def _reward_figure(history: pd.DataFrame, known: dict[str, Any]) -> Figure | None:
    if not known.get("targets"):
        return None
    figure = Figure(figsize=(7, 4.2), layout="constrained", dpi=DPI)
    return figure if draw_reward(figure.subplots(), history, known.get("ceiling")) else None


def _supertype_figure(history: pd.DataFrame) -> Figure | None:
    names = names_of(history, RETURNS)
    if not names:
        return None
    figure = Figure(figsize=(7, 2.8 * len(names)), layout="constrained", dpi=DPI)
    for axes, name in zip(figure.subplots(len(names), squeeze=False).flat, names, strict=True):
        draw_return(axes, history, name)
    return figure


def _panels(
    count: int, columns: int = COLUMNS, width: float = 3.0, height: float = 2.2
) -> tuple[Figure, list[Axes]]:
    rows = math.ceil(count / columns)
    # A figure of one panel is as wide as its title all the same.
    columns = min(columns, count)
    size = (max(TITLE_WIDTH, width * columns), height * rows + TITLE_HEIGHT)
    figure = Figure(figsize=size, layout="constrained", dpi=DPI)
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
        value = targets[name]["value"] if isinstance(targets[name], dict) else targets[name]
        draw_outcome(axes, history, name, value, complete.get(name))
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
    hidden = known.get(PROFILE) or {}
    kinds = families(names)
    figure, panels = _panels(len(kinds), columns=3, width=4.2, height=2.6)
    for axes, (kind, members) in zip(panels, kinds.items(), strict=True):
        draw_parameters(axes, history, members, hidden, space)
        axes.set_title(kind, fontsize=9)
    figure.supxlabel("stage")
    title = (
        "supertype parameters (line; band: ± 1 sd of the particles, exploration and not certainty)"
    )
    end = "\nand the hidden profile (dashed)" if hidden else ""
    figure.suptitle(title + end, fontsize=11)
    return figure
