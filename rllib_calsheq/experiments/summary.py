"""The final figures over seeds, as a Markdown table for each setting."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from rllib_calsheq.calibrators.registry import entry_or_none
from rllib_calsheq.core.defaults import CONFIDENCE

#: Columns of the table: heading, column of `final.csv`, digits.
COLUMNS = (
    ("recovered fraction", "recovered_fraction", 3),
    ("r(Λ̂)", "reward", 3),
    ("particle mean", "particle_reward", 3),
    ("pooled", "pooled_reward", 3),
    ("area", "area_recovered", 3),
    ("smoothness", "smoothness", 2),
    ("spread", "spread", 2),
    ("lowest reward", "lowest_reward", 1),
    ("distance to Λ*", "distance", 3),
    ("seconds", "seconds", 0),
)
#: What is compared at a glance: heading, column of `final.csv`.
COMPARED = (("recovered fraction", "recovered_fraction"), ("area", "area_recovered"))
NOTES = """\
Mean ± half width of the 95 % confidence interval over seeds (Student's t); with one seed the
value alone. Differences are the first calibrator's mean minus another's, ± half of Welch's
interval (unequal variances); those marked * have 0 outside of it.

- **recovered fraction**: (r(Λ̂) − r(Λ_0)) / (ceiling − r(Λ_0)) at the end; **r(Λ̂)**: mean reward
  of fresh episodes at the calibrated profile.
- **particle mean**, **pooled**: reward during the last tenth of the stages, as a mean over
  particles and of the outcomes pooled over particles. Particles of a calibrator that explores more
  are spread more.
- **stages, seconds to 0.9**: the first stage at which the calibrated profile, measured on fresh
  episodes with the policy of that stage, had a recovered fraction of 0.9; the mean over the seeds
  that got there, and how many did. Measurements are not counted as steps or seconds.
- **seconds**: training time of a run, as long as other runs shared the machine with it.
- **area**: mean recovered fraction over the stages.
- **smoothness**: Σ |Λ_m − Λ_{m−1}| of the particles' mean, in the unit cube. **spread**: length of
  the particles' standard deviation there, mean over stages. Where each particle has a candidate of
  its own, the mean hardly moves while every particle jumps; the spread shows it.
- **lowest reward**: the lowest mean return in a stage that a supertype fell to after stage 50 (or
  after a quarter of a shorter run).
- **distance to Λ***: root mean square over parameters, in the unit cube. Profiles are not
  identified by the targets: a good fit may be far from Λ*.
"""


def calibrator_order(label: str) -> tuple[float, str]:
    """Sorting key of calibrators: the order of their entries, others after them, by name."""
    entry = entry_or_none(label)
    return (np.inf if entry is None else entry.order, label)


def interval(values: pd.Series) -> tuple[float, float]:
    """Mean and half width of its 95 % confidence interval; NaN for fewer than two values."""
    known = values.dropna().to_numpy(float)
    if len(known) < 2:
        return (float(known[0]) if len(known) else np.nan), np.nan
    error = known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean()), float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * error)


def summary(final: pd.DataFrame, stages: int, measure_every: int) -> str:
    """The Markdown text of a study's final figures.

    Args:
        final: `final.csv`.
        stages: Stages of every run.
        measure_every: Stages between two measurements of the calibrated profile.
    """
    rates = [key for key in ("lr_ratio", "schedule") if key in final]
    parts = [
        f"# Study\n\nAll runs have {stages} stages; the calibrated profile was measured every "
        f"{measure_every}.\n"
    ]
    if not rates:
        parts += [_overview(final, heading, column) for heading, column in COMPARED]
    for setting, rows in final.groupby("setting"):
        ceiling, start = rows["ceiling"].iloc[0], rows["reward_start"].iloc[0]
        parts.append(
            f"## Setting {setting}\n\nr(Λ_0) = {start:.3f}, ceiling {ceiling:.3f}, Λ_0 is "
            f"{rows['distance_start'].iloc[0]:.3f} from Λ*; seeds: {rows['seed'].nunique()}.\n"
        )
        headings = ["calibrator", *rates, *(c[0] for c in COLUMNS)]
        headings[-1:-1] = ["stages to 0.9", "seconds to 0.9"]
        lines = [headings, ["---"] * len(headings)]
        groups = list(rows.groupby(["calibrator", *rates], dropna=False))
        for key, group in sorted(groups, key=lambda g: (calibrator_order(str(g[0][0])), g[0][1:])):
            cells = [_cell(group[column], digits) for _, column, digits in COLUMNS]
            cells[-1:-1] = [_reached(group["stages_to_90"]), _reached(group["seconds_to_90"])]
            lines.append([f"{k:g}" if isinstance(k, float) else str(k) for k in key] + cells)
        parts.append(_markdown(lines))
    return "\n".join([*parts, NOTES])


def difference(values: pd.Series, others: pd.Series) -> tuple[float, float]:
    """Difference of two means and half of Welch's 95 % interval; NaN for fewer than two values."""
    known, other = values.dropna(), others.dropna()
    if min(len(known), len(other)) < 2:
        return float(known.mean() - other.mean()), np.nan
    found = stats.ttest_ind(known, other, equal_var=False).confidence_interval(CONFIDENCE)
    return float(found.low + found.high) / 2, float(found.high - found.low) / 2


def _overview(final: pd.DataFrame, heading: str, column: str) -> str:
    """A figure of all calibrators in all settings, and its differences to the first one's."""
    labels = sorted(final["calibrator"].unique(), key=calibrator_order)
    settings = sorted(final["setting"].unique())
    of = {key: group[column] for key, group in final.groupby(["calibrator", "setting"])}
    names = [f"setting {setting}" for setting in settings]
    lines = [[heading, *names, "mean"], ["---"] * (len(settings) + 2)]
    for label in labels:
        cells = [_cell(of.get((label, s), pd.Series(dtype=float)), 3) for s in settings]
        means = [of[label, s].mean() for s in settings if (label, s) in of]
        lines.append([label, *cells, f"{np.mean(means):.3f}"])
    for label in labels[1:]:
        cells = []
        for setting in settings:
            first, other = (of.get((name, setting)) for name in (labels[0], label))
            cells.append("–" if first is None or other is None else _marked(first, other))
        lines.append([f"{labels[0]} − {label}", *cells, ""])
    return _markdown(lines)


def _marked(values: pd.Series, others: pd.Series) -> str:
    """A difference, with a mark where its interval leaves 0 out."""
    mean, half = difference(values, others)
    if np.isnan(half):
        return f"{mean:+.3f}"
    return f"{mean:+.3f} ± {half:.3f}" + (" *" if abs(mean) > half else "")


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(values: pd.Series, digits: int) -> str:
    mean, half = interval(values)
    if np.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" + ("" if np.isnan(half) else f" ± {half:.{digits}f}")


def _reached(values: pd.Series) -> str:
    """Mean over the seeds that reached it, and how many did."""
    reached = values.dropna()
    if not len(reached):
        return f"never (0 of {len(values)})"
    return f"{reached.mean():.0f} ({len(reached)} of {len(values)})"
