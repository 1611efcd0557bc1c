"""What a run did, drawn on one axis each: the parts of its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rllib_calsheq.core.outcomes import return_name
from rllib_calsheq.core.supertypes import SupertypeSpace
from rllib_calsheq.core.targets import Target
from rllib_calsheq.results.families import UNBOUNDED, ParameterLine, draw_family
from rllib_calsheq.results.palette import GOAL, GUIDE, MAIN, SECOND
from rllib_calsheq.results.reading import OUTCOMES, PROFILE, RETURNS, column, stages

#: Half the width of a 95 % interval, in standard errors.
NINETY_FIVE = 1.96


def band(
    axes: Axes, x: pd.Series, mean: pd.Series, deviation: pd.Series | None, **style: Any
) -> None:
    """A line with ±1 standard deviation shaded."""
    (line,) = axes.plot(x, mean, linewidth=1.4, **style)
    if deviation is not None:
        axes.fill_between(
            x, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2, linewidth=0
        )


def draw_reward(axes: Axes, history: pd.DataFrame, ceiling: float | None) -> bool:
    """Draws the calibrator's reward; False if the run has none."""
    mean, pooled = column(history, "reward_mean"), column(history, "reward_pooled")
    if mean is None or pooled is None:
        return False
    x, deviation = stages(history), column(history, "reward_std")
    band(axes, x, mean, deviation, color=MAIN, label="mean over particles ± 1 sd")
    axes.plot(x, pooled, color=SECOND, linewidth=1.2, label="of the pooled outcomes")
    if ceiling is not None:
        axes.axhline(ceiling, color=GOAL, linestyle="--", label="ceiling (mean over episodes)")
    axes.set(xlabel="stage", ylabel="reward of the calibrator", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return True


def draw_return(axes: Axes, history: pd.DataFrame, supertype: str) -> None:
    """Draws the mean return of a supertype's agents."""
    draw_series(axes, history, RETURNS, supertype)
    axes.axhline(0.0, color=GUIDE, linewidth=0.8)
    axes.set(xlabel="stage", ylabel=f"{return_name(supertype)} an episode")


def draw_series(axes: Axes, history: pd.DataFrame, group: str, name: str) -> None:
    """Draws one of a group of numbers, mean ± 1 standard deviation over particles."""
    mean = column(history, f"{group}/{name}/mean")
    assert mean is not None
    band(axes, stages(history), mean, column(history, f"{group}/{name}/std"), color=MAIN)
    axes.grid(alpha=0.3)


def draw_outcome(
    axes: Axes, history: pd.DataFrame, name: str, value: float, complete: Target | None
) -> None:
    """Draws an outcome against its target, green where it is met if the scale is known."""
    draw_series(axes, history, OUTCOMES, name)
    axes.axhline(value, color=GOAL, linestyle="--", linewidth=1.2)
    if complete is not None:
        within = complete.tolerance * complete.scale
        axes.axhspan(value - within, value + within, color=GOAL, alpha=0.15, linewidth=0)


def draw_parameters(
    axes: Axes,
    history: pd.DataFrame,
    members: Sequence[str],
    hidden: Mapping[str, float],
    space: SupertypeSpace | None,
) -> None:
    """Draws the parameters of one kind, by their full names."""
    bounds = {p.full_name: (p.low, p.high) for p in space.parameters} if space else {}

    def line_of(name: str) -> ParameterLine:
        mean, deviation = (_by_stage(history, f"{PROFILE}/{name}/{of}") for of in ("mean", "std"))
        assert mean is not None
        return ParameterLine(mean, deviation, bounds.get(name, UNBOUNDED), hidden.get(name))

    draw_family(axes, {name: line_of(name) for name in members})


def draw_misses(axes: Axes, targets: pd.DataFrame) -> None:
    """Draws how far each target is missed, in scales, with 95 % intervals.

    Args:
        axes: The axis.
        targets: A row for each: ``value``, ``stderr``, ``target``, ``scale``, ``tolerance``.
    """
    places = np.arange(len(targets))[::-1]
    misses = (targets["value"] - targets["target"]) / targets["scale"]
    errors = NINETY_FIVE * targets["stderr"] / targets["scale"]
    for place, tolerance in zip(places, targets["tolerance"], strict=True):
        axes.fill_betweenx(
            [place - 0.4, place + 0.4], -tolerance, tolerance, color=GOAL, alpha=0.15, linewidth=0
        )
    axes.axvline(0.0, color=GOAL, linestyle="--", linewidth=1.2)
    for met, colour in ((True, MAIN), (False, SECOND)):
        chosen = (targets["met"] == met).to_numpy()
        if chosen.any():
            axes.errorbar(
                misses[chosen], places[chosen], xerr=errors[chosen], fmt="o", color=colour,
                markersize=5, linewidth=1.4, label="met" if met else "missed",
            )  # fmt: skip
    axes.set_yticks(places, list(targets.index), fontsize=8)
    axes.set(xlabel="outcome − target, in scales (95 % interval)")
    # Room on both sides of what is met.
    widest = max(2 * float(targets["tolerance"].max()), float((misses.abs() + errors).max()) * 1.15)
    if np.isfinite(widest):
        axes.set_xlim(-widest, widest)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="best", fontsize=8)


def draw_profile(axes: Axes, profile: pd.Series, space: SupertypeSpace) -> None:
    """Draws where each parameter of a profile stands between its bounds.

    Args:
        axes: The axis.
        profile: Values in natural units, one for each parameter of the space.
        space: The parameters and their bounds.
    """
    places = np.arange(len(space))[::-1]
    axes.hlines(places, 0.0, 1.0, color=GUIDE, linewidth=0.8, alpha=0.6)
    axes.plot(space.to_unit(space.start), places, "|", color=GUIDE, markersize=10, label="start")
    axes.plot(space.to_unit(profile.to_numpy()), places, "o", color=MAIN, label="calibrated")
    for place, value in zip(places, profile, strict=True):
        axes.annotate(f"{value:.3g}", (1.03, place), fontsize=8, va="center")
    labels = [f"{p.full_name}  [{p.low:g}, {p.high:g}]" for p in space.parameters]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set(xlabel="place between the bounds", xlim=(-0.03, 1.18), xticks=(0.0, 0.5, 1.0))
    axes.set_ylim(-0.6, len(space) - 0.4)
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, 1.12), ncols=2, fontsize=8, frameon=False)


def _by_stage(history: pd.DataFrame, name: str) -> pd.Series | None:
    found = column(history, name)
    return None if found is None else found.set_axis(stages(history))
