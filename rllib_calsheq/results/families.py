"""Parameters of one kind on one axis: a family of lines, coloured by their number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rllib_calsheq.results.palette import GOAL, MAIN, ORDERED

NUMBERED = re.compile(r"(?P<kind>.+)_(?P<number>\d+)")
#: Part of the colour map that is dark enough for lines on white.
DARK_ENOUGH = 0.88
#: Bands of several lines lie over each other.
BAND_ALPHA, FAMILY_BAND_ALPHA = 0.2, 0.07
#: Entries of a family's legend; of a larger family, as many are named.
MOST_NAMED = 10
#: Free space beyond the bounds of an axis, as a fraction of the range.
MARGIN = 0.03


#: The least and the largest value that something can have.
Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-np.inf, np.inf)


@dataclass(frozen=True)
class ParameterLine:
    """A parameter over the stages.

    Attributes:
        mean: Its values by stage.
        deviation: Half the width of the band around them; None for no band.
        bounds: What its values can be; the band stays inside.
        goal: Its value in the hidden profile, if that is known.
    """

    mean: pd.Series
    deviation: pd.Series | None = None
    bounds: Bounds = UNBOUNDED
    goal: float | None = None


def families(names: Iterable[str]) -> dict[str, list[str]]:
    """Parameters by kind: the supertype, and the name without a number at its end.

    Args:
        names: Full names, ``<supertype>.<name>``.

    Returns:
        ``{kind: full names}``, kinds in order of first appearance, names by number.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        supertype, _, own = name.partition(".")
        match = NUMBERED.fullmatch(own)
        kind = f"{supertype}.{match['kind']}" if match else name
        found.setdefault(kind, []).append((int(match["number"]) if match else 0, name))
    return {kind: [name for _, name in sorted(members)] for kind, members in found.items()}


def limit_to(axes: Axes, low: float, high: float) -> None:
    """Limits an axis to bounds, with a margin; leaves it as it is where one is infinite."""
    if np.isfinite([low, high]).all():
        axes.set_ylim(low - MARGIN * (high - low), high + MARGIN * (high - low))


def draw_family(axes: Axes, lines: Mapping[str, ParameterLine], legend: bool = True) -> None:
    """Draws parameters of one kind, their bands, and their goals dashed in the same colour.

    Args:
        axes: The axis; its limits are the bounds, where these are known.
        lines: The lines by full name, in the order of their colours; at least one.
        legend: Whether a family's numbers are explained beside the axis.
    """
    many = len(lines) > 1
    shades = mpl.colormaps[ORDERED](np.linspace(0.0, DARK_ENOUGH, len(lines)))
    for shade, (name, line) in zip(shades, lines.items(), strict=True):
        colour = mpl.colors.to_hex(shade) if many else MAIN
        stages = line.mean.index
        label = name.rpartition("_")[2]
        axes.plot(stages, line.mean, color=colour, linewidth=1.4, label=label)
        if line.deviation is not None:
            axes.fill_between(
                stages,
                (line.mean - line.deviation).clip(*line.bounds),
                (line.mean + line.deviation).clip(*line.bounds),
                color=colour, alpha=FAMILY_BAND_ALPHA if many else BAND_ALPHA, linewidth=0,
            )  # fmt: skip
        if line.goal is not None:
            axes.axhline(line.goal, color=colour if many else GOAL, linestyle="--", linewidth=1.0)
    low, high = zip(*(line.bounds for line in lines.values()), strict=True)
    limit_to(axes, min(low), max(high))
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    if many and legend:
        handles, labels = axes.get_legend_handles_labels()
        named = np.unique(np.linspace(0, len(handles) - 1, MOST_NAMED).round().astype(int))
        axes.legend(
            [handles[k] for k in named], [labels[k] for k in named], fontsize=7, frameon=False,
            loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2, borderpad=0.0,
        )  # fmt: skip
