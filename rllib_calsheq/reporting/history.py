"""Fit, rewards, outcomes and parameters over the stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from rllib_calsheq.reporting.document import Cell, Choice, Figure, Section, Table, Text, number
from rllib_calsheq.reporting.facts import RunFacts
from rllib_calsheq.reporting.figures import (
    BAND,
    DASHES,
    Trace,
    band,
    level,
    line,
    lines_layout,
    run_colour,
    run_dash,
    thinned,
)
from rllib_calsheq.reporting.particles import particles_figures
from rllib_calsheq.results.families import DARK_ENOUGH, families
from rllib_calsheq.results.palette import GOAL, GOAL_AMONG_MANY, MAIN, ORDERED, SECOND
from rllib_calsheq.results.reading import OUTCOMES, PROFILE, RETURNS, column, names_of, stages

#: Stages in the table of numbers.
STAGES_IN_TABLE = 10
#: The axis of misses shows the last part of a run; early misses may be many times as large.
SETTLED, ROOM = 0.3, 1.6
#: Opacity of bands where several lie over each other.
FAINT = 0.07


@dataclass
class _Views:
    """Traces of a figure and the views that show some of them."""

    data: list[Trace] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)

    def add(self, label: str, traces: Sequence[Trace], **layout: Any) -> None:
        first = len(self.data)
        self.data += traces
        self.choices.append(Choice(label, tuple(range(first, len(self.data))), layout))


def history_section(runs: Sequence[RunFacts]) -> Section:
    """The section of everything that is known by stage."""
    figures = [_fit(runs), _outcomes(runs), _parameters(runs), _returns(runs)]
    note = (
        "Each stage is one training iteration: one episode for each particle, that is for each "
        "variant of the profile that the calibrator tries. Drag over a figure to enlarge a part, "
        "double-click to go back, point at a line for its numbers, click a name in the legend to "
        "hide or show it, double-click to see it alone."
    )
    figures += particles_figures(runs)
    return Section.of("history", "How it came about", Text((note,)), *figures, _numbers(runs))


def _rows(runs: Sequence[RunFacts]) -> Iterator[tuple[int, RunFacts, pd.DataFrame]]:
    for k, run in enumerate(runs):
        yield k, run, thinned(run.history, len(runs))


def _mean_and_band(
    rows: pd.DataFrame, name: str, label: str, colour: str, opacity: float | None, **more: Any
) -> list[Trace]:
    """A series with ±1 standard deviation over particles; none where there is no such series.

    Without an opacity it has no band: those of several runs would hide the lines.
    """
    mean = column(rows, f"{name}/mean")
    if mean is None:
        return []
    deviation = column(rows, f"{name}/std")
    x = stages(rows)
    found = [line(x, mean, label, colour, **more)]
    if deviation is not None and opacity is not None:
        low, high = more.pop("bounds", (-np.inf, np.inf))
        ends = (mean - deviation).clip(low, high), (mean + deviation).clip(low, high)
        found.insert(0, band(x, *ends, colour, opacity=opacity, **more))
    return found


def _fit(runs: Sequence[RunFacts]) -> Figure | None:
    data: list[Trace] = []
    several = len(runs) > 1
    for k, run, rows in _rows(runs):
        mean, pooled = column(rows, "reward_mean"), column(rows, "reward_pooled")
        if mean is None or pooled is None or not run.targets:
            continue
        x, own = stages(rows), {"run": run.label, "group": run.label}
        if several:
            data.append(line(x, pooled, run.label, run_colour(k), dash=run_dash(k), **own))
            continue
        deviation = column(rows, "reward_std")
        if deviation is not None:
            ends = (mean - deviation).clip(0, 1), (mean + deviation).clip(0, 1)
            data.append(band(x, *ends, MAIN, group="mean"))
        data.append(line(x, mean, "mean over particles ± 1 sd", MAIN, group="mean"))
        data.append(line(x, pooled, "of the pooled outcomes", SECOND))
        if run.known.get("ceiling") is not None:
            data.append(level(x, run.known["ceiling"], "ceiling (mean over episodes)"))
    if not data:
        return None
    what = "of the outcomes averaged over particles" if several else ""
    return Figure(
        "fit", "Fit: the calibrator's reward",
        f"The calibrator's reward {what} by stage; 1 is a perfect fit. Single episodes are "
        f"noisy, so "
        "that the mean over particles stays below 1 even where every mean outcome is on its target."
        .replace("  ", " "),
        tuple(data), lines_layout("reward of the calibrator", range=[0, 1.02], unified=not several),
        picture=runs[0].trial / "reward.png",
    )  # fmt: skip


def _outcomes(runs: Sequence[RunFacts]) -> Figure | None:
    """Distance of all targets, then each outcome in its own unit."""
    views = _Views()
    wanted = list(dict.fromkeys(t.outcome for run in runs for t in run.targets))
    if not wanted:
        return None
    misses, highest = _misses(runs)
    if not misses:
        return None
    views.add(
        "all targets, distance in scales", misses,
        yaxis={"title": {"text": "outcome less target, in scales"}, "range": [-highest, highest]},
    )  # fmt: skip
    for name in wanted:
        traces: list[Trace] = []
        for k, run, rows in _rows(runs):
            colour = run_colour(k) if len(runs) > 1 else MAIN
            target = next((t for t in run.targets if t.outcome == name), None)
            own = {"run": run.label, "group": run.label, "dash": run_dash(k)}
            label = run.label if len(runs) > 1 else "mean over particles ± 1 sd"
            alone = BAND if len(runs) == 1 else None
            found = _mean_and_band(rows, f"{OUTCOMES}/{name}", label, colour, alone, **own)
            if target is not None and found:
                x, within = stages(rows), target.tolerance * target.scale
                low, high = target.value - within, target.value + within
                ends = np.asarray(x, float)[[0, -1]]
                if not traces:
                    goal = {"opacity": 0.2, "run": run.label}
                    found.append(band(ends, [low] * 2, [high] * 2, GOAL, **goal))
                    found.append(level(x, target.value, "target and tolerance", run=run.label))
            traces += found
        if traces:
            views.add(name, traces, yaxis={"title": {"text": name}, "autorange": True})
    return Figure(
        "outcomes", "Outcomes and targets",
        "The outcomes averaged over particles. A target is met within the green strip. Choose one "
        "target to see it in its own unit.",
        tuple(views.data), lines_layout("outcome less target, in scales"), tuple(views.choices),
        picture=runs[0].trial / "outcomes.png",
    )  # fmt: skip


def _misses(runs: Sequence[RunFacts]) -> tuple[list[Trace], float]:
    """Lines of all targets, in scales, and how far the axis must reach to show how a run ends."""
    found: list[Trace] = []
    highest, several = 0.0, len(runs) > 1
    for k, run, rows in _rows(runs):
        shades = _shades(len(run.targets))
        x = stages(rows)
        for shade, target in zip(shades, run.targets, strict=True):
            mean = column(rows, f"{OUTCOMES}/{target.outcome}/mean")
            if mean is None:
                continue
            miss = (mean - target.value) / target.scale
            if several:
                more = {"dash": run_dash(k), "shown": target is run.targets[0]}
                trace = line(x, miss, f"{run.label}: {target.outcome}", run_colour(k),
                             run=run.label, group=run.label, **more)  # fmt: skip
                trace["name"] = run.label
                trace["line"]["width"] = 1.2
            else:
                trace = line(x, miss, _short(target.outcome, run), shade, run=run.label)
            found.append(trace)
            late = miss[x >= SETTLED * x.max()].abs()
            highest = max(highest, float(late.max()), target.tolerance)
    if found:
        first = next(run for run in runs if run.targets)
        x = stages(first.history)
        ends, within = [float(x.iloc[0]), float(x.iloc[-1])], first.targets[0].tolerance
        found.insert(0, band(ends, [-within] * 2, [within] * 2, GOAL, opacity=0.15))
    return found, ROOM * highest


def _short(name: str, run: RunFacts) -> str:
    """The name of an outcome without its supertype, where all targets have the same one."""
    owners = {t.outcome.rpartition(".")[0] for t in run.targets}
    return name.rpartition(".")[2] if len(owners) == 1 else name


def _shades(count: int) -> list[str]:
    at = [0.25] if count == 1 else np.linspace(0.0, DARK_ENOUGH, count)
    return [mpl.colors.to_hex(c) for c in mpl.colormaps[ORDERED](at)]


def _parameters(runs: Sequence[RunFacts]) -> Figure | None:
    names = list(dict.fromkeys(n for run in runs for n in names_of(run.history, PROFILE)))
    if not names:
        return None
    views = _Views()
    groups = families(names) if len(runs) == 1 else {name: [name] for name in names}
    for kind, members in groups.items():
        traces: list[Trace] = []
        for k, run, rows in _rows(runs):
            shades = _shades(len(members))
            for shade, name in zip(shades, members, strict=True):
                traces += _parameter(k, run, rows, name, shade, len(members), len(runs))
        ends = [runs[0].ranges[n] for n in members if n in runs[0].ranges]
        margin = 0.03 * (max(r.high for r in ends) - min(r.low for r in ends)) if ends else 0.0
        axis: dict[str, Any] = {"title": {"text": kind}, "autorange": not ends}
        if ends:
            low, high = min(r.low for r in ends), max(r.high for r in ends)
            axis["range"] = [low - margin, high + margin]
        views.add(kind, traces, yaxis=axis)
    hidden = any(run.known.get("profile") for run in runs)
    return Figure(
        "parameters", "Parameters of the supertypes",
        "Line: mean over particles."
        + ("" if len(runs) > 1 else " Shaded: ± 1 standard deviation of the particles, which is "
        "how widely the calibrator tries and not how sure it is.")
        + (" Dashed: the hidden profile that the targets were made from." if hidden else ""),
        tuple(views.data), lines_layout(next(iter(groups))), tuple(views.choices),
        picture=runs[0].trial / "parameters.png",
    )  # fmt: skip


def _parameter(
    k: int, run: RunFacts, rows: pd.DataFrame, name: str, shade: str, members: int, runs: int
) -> list[Trace]:
    """Line, band and hidden value of one parameter in one run."""
    several = runs > 1
    colour = run_colour(k) if several else (shade if members > 1 else MAIN)
    label = run.label if several else name.rpartition(".")[2]
    own = {"run": run.label, "group": label, "dash": run_dash(k) if several else "solid"}
    bounds = run.ranges.get(name)
    more = {"bounds": (bounds.low, bounds.high)} if bounds else {}
    opacity = None if several else FAINT if members > 1 else BAND
    found = _mean_and_band(rows, f"{PROFILE}/{name}", label, colour, opacity, **own, **more)
    goal = (run.known.get("profile") or {}).get(name)
    if goal is not None and found and (not several or k == 0):
        dark = colour if members > 1 and not several else GOAL_AMONG_MANY
        found.append(
            level(stages(rows), goal, f"{label}, hidden value" if not several else "hidden value",
                  dark, run=run.label, group=label, shown=members == 1)
        )  # fmt: skip
        found[-1]["line"]["width"] = 1.2
    return found


def _returns(runs: Sequence[RunFacts]) -> Figure | None:
    names = list(dict.fromkeys(n for run in runs for n in names_of(run.history, RETURNS)))
    if not names:
        return None
    several = len(runs) > 1
    data: list[Trace] = []
    for k, run, rows in _rows(runs):
        for j, name in enumerate(names_of(run.history, RETURNS)):
            colour = run_colour(k if several else j)
            label = f"{run.label}: {name}" if several else name
            own = {"run": run.label, "group": label, "dash": DASHES[j % 4] if several else "solid"}
            alone = None if several else BAND
            data += _mean_and_band(rows, f"{RETURNS}/{name}", label, colour, alone, **own)
    return Figure(
        "rewards", "Rewards of the agents",
        "Mean return of an agent of each supertype in an episode"
        + ("" if several else ", ± 1 standard deviation over particles")
        + ". Where it is flat, the agents have stopped getting better at what they do.",
        tuple(data), lines_layout("return an episode"),
        picture=runs[0].trial / "supertype_rewards.png",
    )  # fmt: skip


def _numbers(runs: Sequence[RunFacts]) -> Table | None:
    """Some stages in numbers, for those who cannot see the figures or want to copy them."""
    rows: list[list[str | Cell]] = []
    for run in runs:
        few = run.history
        at = np.unique(np.linspace(0, len(few) - 1, STAGES_IN_TABLE).round().astype(int))
        for _, row in few.iloc[at].iterrows():
            cells = [f"{row['calibration/stage']:.0f}"]
            for name in ("reward_mean", "reward_pooled", "worst_miss"):
                cells.append(number(_float(row.get(f"calibration/{name}"))))
            met = _float(row.get("calibration/targets_met"))
            cells.append("–" if met is None else f"{met:.0f} of {len(run.targets)}")
            rows.append([Cell(f"{run.label}, stage {cells[0]}"), *cells[1:]])
    if not rows:
        return None
    heads = ("run and stage", "reward, mean", "reward, pooled", "worst miss / scale", "targets met")
    return Table.of("Some stages in numbers", heads, rows, folded=True)


def _float(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
