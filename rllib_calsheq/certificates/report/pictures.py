"""Pictures of one page: a certificate, and the payoffs between a run's snapshots."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rllib_calsheq.certificates.config import FROM_SCRATCH, FROM_SHARED
from rllib_calsheq.certificates.report.transitivity import percent
from rllib_calsheq.core.files import replacing
from rllib_calsheq.results.palette import (
    GOAL,
    MAIN,
    ON_DARK,
    ON_LIGHT,
    OTHER,
    SECOND,
    SIGNED,
    WHOLE,
)

#: Colours of deviators that are trained; all others have the palette's `OTHER`.
COLOURS = {FROM_SHARED: MAIN, FROM_SCRATCH: SECOND}
#: Outcomes that are shown where there are no targets.
MAX_OUTCOMES = 12
STATEMENT_WIDTH = 150
#: Least range of the axis of gains, in its unit.
LEAST_RANGE = 0.2


def draw_certificate(certificate: dict[str, Any], path: Path) -> Path:
    """Draws a certificate; returns the path of the PNG file."""
    mpl.use("Agg")
    figure = Figure(figsize=(12, 9.4), layout="constrained")
    figure.suptitle(
        textwrap.fill(certificate["statement"], STATEMENT_WIDTH), fontsize=10, ha="left", x=0.01
    )
    upper, lower = figure.subplots(2, 2)
    _curves(upper[0], certificate)
    _kinds(upper[1], certificate)
    _supertypes(lower[0], certificate)
    _outcomes(lower[1], certificate)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    return path


def _scale(certificate: dict[str, Any]) -> tuple[float, str]:
    """What gains are multiplied by, and the unit that they then have."""
    value = abs(certificate["value"])
    return (100.0 / value, "% of |V̂(π, π)|") if value else (1.0, "reward an episode")


def _curves(axes: Axes, certificate: dict[str, Any]) -> None:
    scale, unit = _scale(certificate)
    named: set[str] = set()
    lowest = 0.0
    for curve in certificate["curves"]:
        if curve["supertype"] is not None:
            continue
        warm = curve["kind"] == FROM_SHARED
        label = "from the shared policy" if warm else "from scratch"
        axes.errorbar(
            curve["episodes"],
            np.array(curve["means"]) * scale,
            yerr=np.array(curve["errors"]) * scale,
            color=COLOURS[curve["kind"]],
            marker="o",
            markersize=3,
            linewidth=1.2,
            label=None if label in named else label,
        )
        named.add(label)
        lowest = min(lowest, curve["means"][-1] * scale)
    axes.axhline(0.0, color=WHOLE, linewidth=0.8)
    # What a deviator does before it has learned anything would hide all else.
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 1.5 * lowest - 0.2 * max(top, 0.0)), top)
    axes.set(xlabel="training episodes", ylabel=f"gain on validation episodes, {unit}")
    axes.set_title("budget: deviators of any role, one line a seed", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)


def _kinds(axes: Axes, certificate: dict[str, Any]) -> None:
    scale, unit = _scale(certificate)
    rows = [
        (row["name"], row, COLOURS.get(kind, OTHER)) for kind, row in certificate["kinds"].items()
    ]
    rows.append(("best of all (Definition 1)", certificate, WHOLE))
    # Deviations that lose a lot would hide what the others gain.
    right = 1.25 * max([row["high"] * scale for _, row, _ in rows] + [LEAST_RANGE])
    for y, (_, row, colour) in enumerate(rows):
        low, gain, high = (row[key] * scale for key in ("low", "gain", "high"))
        if gain < -right:
            axes.text(-0.98 * right, y, f"◂ {gain:+.2f}", color=colour, fontsize=8, va="center")
            continue
        axes.plot([low, high], [y, y], color=colour, linewidth=2)
        axes.plot([gain], [y], marker="o", color=colour)
        axes.annotate(
            f"{gain:+.2f}", (gain, y), fontsize=8,
            xytext=(0, 5), textcoords="offset points", ha="center",
        )  # fmt: skip
    axes.set_xlim(-right, right)
    axes.set_ylim(-0.5, len(rows) - 0.4)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8)
    axes.axvline(0.0, color=WHOLE, linewidth=0.8)
    axes.set(xlabel=f"gain on fresh episodes, {unit}, 95 % interval")
    axes.set_title("one deviating agent of random role", fontsize=10)
    axes.grid(alpha=0.3, axis="x")


def _supertypes(axes: Axes, certificate: dict[str, Any]) -> None:
    rows = certificate["per_supertype"]
    for x, row in enumerate(rows.values()):
        scale = 100.0 / abs(row["value"]) if row["value"] else 1.0
        height = row["epsilon"] * scale
        axes.bar(x, height, width=0.5, color=MAIN, alpha=0.8)
        axes.plot(
            [x, x],
            [row["epsilon_low"] * scale, row["epsilon_high"] * scale],
            color=WHOLE,
            linewidth=1.5,
        )
        axes.annotate(
            f"{height:.2f} %\n({row['epsilon']:.3g} of {row['value']:.4g})",
            (x + 0.03, max(height, row["epsilon_high"] * scale)),
            fontsize=8, ha="center", va="bottom",
        )  # fmt: skip
    labels = [
        f"{name}\n{row['agents']} agent{'s' if row['agents'] > 1 else ''}"
        for name, row in rows.items()
    ]
    axes.set_xticks(range(len(rows)), labels)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.margins(y=0.25)
    axes.set(ylabel="ε, % of the supertype's own value")
    axes.set_title("one deviating agent of each supertype", fontsize=10)
    axes.grid(alpha=0.3, axis="y")


def _outcomes(axes: Axes, certificate: dict[str, Any]) -> None:
    lag = certificate["lag"]
    if lag is None:
        axes.text(0.5, 0.5, "the lag gap was not measured", ha="center", va="center")
        axes.set_axis_off()
        return
    targets = [row for row in lag["outcomes"] if row["target"] is not None]
    rows = targets or lag["outcomes"][:MAX_OUTCOMES]
    for y, row in enumerate(reversed(rows)):
        # Against the target in units of its scale; without one, against the value before.
        centre = row["target"] if targets else row["before"]
        unit = row["scale"] if targets else (abs(row["before"] or 0.0) or 1.0) / 100.0
        before, after = ((row[k] or np.nan) - centre for k in ("before", "after"))
        axes.annotate(
            "", (after / unit, y), (before / unit, y), arrowprops={"arrowstyle": "->", "lw": 0.8}
        )
        axes.plot(before / unit, y, "o", color=OTHER, label="at the checkpoint" if not y else None)
        axes.plot(after / unit, y, "o", color=MAIN, label="after settling" if not y else None)
    axes.axvline(0.0, color=GOAL, linestyle="--", label="target" if targets else None)
    axes.set_yticks(range(len(rows)), [row["name"] for row in reversed(rows)], fontsize=8)
    axes.set(xlabel="miss, in scales of the target" if targets else "change, %")
    title = "lag gap: outcomes before and after"
    if lag["gap"] is not None:
        title += (
            f"\nfit {lag['reward_before']:.3f} → {lag['reward_after']:.3f}: "
            f"gap {lag['gap']:+.3f} ± {lag['gap_stderr']:.3f}"
        )
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="best")


def draw_transitivity(found: dict[str, Any], path: Path) -> Path:
    """Draws payoffs between snapshots; returns the path of the PNG file."""
    mpl.use("Agg")
    figure = Figure(figsize=(12, 9.4), layout="constrained")
    figure.suptitle(
        textwrap.fill(found["statement"], STATEMENT_WIDTH), fontsize=10, ha="left", x=0.01
    )
    upper, lower = figure.subplots(2, 2)
    scale = 100.0 / abs(found["values"][-1]) if found["values"][-1] else 1.0
    gains, cyclic = np.array(found["gains"]) * scale, np.array(found["cyclic"]) * scale
    stages = found["stages"]
    _matrix(upper[0], gains, stages, "gain V̂(π_y, π_x) − V̂(π_x, π_x), % of the last value")
    share = found["shares"]["cyclic"]
    _matrix(upper[1], cyclic, stages, f"its cyclic part, {percent(share)} of the squared norm")
    _skill(lower[0], found, scale)
    _steps(lower[1], found, scale)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    return path


def _matrix(axes: Axes, matrix: Any, stages: list[int], title: str) -> None:
    """A matrix of gains, red for losses; the policy that deviates in rows."""
    limit = max(float(np.abs(matrix).max()), 1e-12)
    image = axes.imshow(matrix, cmap=SIGNED, vmin=-limit, vmax=limit, origin="lower")
    if len(stages) <= MAX_OUTCOMES:
        for y, row in enumerate(matrix):
            for x, entry in enumerate(row):
                axes.text(
                    x, y, f"{entry:.{1 if limit > 2 else 2}f}", ha="center", va="center",
                    fontsize=7, color=ON_DARK if abs(entry) > 0.6 * limit else ON_LIGHT,
                )  # fmt: skip
    axes.set_xticks(range(len(stages)), [str(s) for s in stages], fontsize=8)
    axes.set_yticks(range(len(stages)), [str(s) for s in stages], fontsize=8)
    axes.set(xlabel="everybody else: policy of stage x", ylabel="the deviator: policy of stage y")
    axes.set_title(title, fontsize=10)
    axes.figure.colorbar(image, ax=axes, shrink=0.85)


def _skill(axes: Axes, found: dict[str, Any], scale: float) -> None:
    stages = found["stages"]
    part = found["candidates"]["transitive_part"]
    values = np.array(found["values"]) * scale
    axes.errorbar(
        stages, np.array(part["skill"]) * scale, yerr=1.96 * np.array(part["errors"]) * scale,
        color=MAIN, marker="o", markersize=4, label="transitive part f",
    )  # fmt: skip
    axes.errorbar(
        stages, values - values.mean(), yerr=1.96 * np.array(found["value_errors"]) * scale,
        color=OTHER, marker="s", markersize=4, linewidth=1, label="V̂(π, π), less its mean",
    )  # fmt: skip
    axes.set(xlabel="stage", ylabel="% of the last value, 95 % intervals")
    axes.set_title("candidates for T along training", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _steps(axes: Axes, found: dict[str, Any], scale: float) -> None:
    steps = found["candidates"]["transitive_part"]["steps"]
    colours = {"yes": MAIN, "no": SECOND, "within noise": OTHER}
    labels = {"yes": "above ε for certain", "no": "not above ε", "within noise": "within noise"}
    named: set[str] = set()
    for step in steps:
        kind = step["improved"]
        axes.errorbar(
            step["gain"] * scale, step["rise"] * scale,
            xerr=1.96 * step["gain_error"] * scale, yerr=1.96 * step["rise_error"] * scale,
            color=colours[kind], marker="o", label=None if kind in named else labels[kind],
        )  # fmt: skip
        axes.annotate(
            f"{step['from']} → {step['to']}", (step["gain"] * scale, step["rise"] * scale),
            fontsize=7, xytext=(4, 4), textcoords="offset points",
        )  # fmt: skip
        named.add(kind)
    axes.axvline(found["epsilon"] * scale, color=GOAL, linestyle="--", label="ε")
    axes.axhline(0.0, color=WHOLE, linewidth=0.8)
    # Early steps gain hundreds of times as much as late ones.
    threshold = max(found["epsilon"] * scale, 1e-3)
    axes.set_xscale("symlog", linthresh=threshold)
    axes.set_yscale("symlog", linthresh=threshold)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    for name, limits in (("gain", axes.set_xlim), ("rise", axes.set_ylim)):
        reached = [step[name] * scale for step in steps]
        limits(2 * min(*reached, -threshold / 4), 2 * max(*reached, threshold))
    axes.set(xlabel="gain of the later policy, %", ylabel="rise of the transitive part, %")
    axes.set_title("steps of training (logarithmic from ε on)", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
