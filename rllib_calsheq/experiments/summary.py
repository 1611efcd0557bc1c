"""The final figures over seeds, as a Markdown table for each setting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from rllib_calsheq.calibrators.registry import entry_or_none
from rllib_calsheq.core.defaults import CONFIDENCE

#: Stands in a table for what is not known.
UNKNOWN = "–"
#: Columns of a setting's table: heading, column of `final.csv`, digits; None for the first stage at
#: which something was reached. `{}` stands for what all runs of the setting share.
COLUMNS: tuple[tuple[str, str, int | None], ...] = (
    ("targets met (of {num_targets})", "targets_met", 1),
    ("worst miss", "worst_miss", 2),
    ("rms miss", "rms_miss", 2),
    ("stages to all met", "stages_to_met", None),
    ("distance / Λ_0's", "relative_distance", 2),
    ("at bounds (hidden: {at_bounds_hidden})", "at_bounds", 1),
    ("recovered fraction", "recovered_fraction", 3),
    ("r(Λ̂)", "reward", 3),
    ("area", "area_recovered", 3),
    ("smoothness", "smoothness", 2),
    ("largest move", "largest_move", 2),
    ("spread", "spread", 2),
    ("lowest reward", "lowest_reward", 1),
    ("seconds", "seconds", 0),
)
#: What is compared at a glance, after the targets met: heading, column of `final.csv`, digits.
COMPARED: tuple[tuple[str, str, int | None], ...] = (
    ("worst miss", "worst_miss", 2),
    ("stages to all met", "stages_to_met", None),
    ("distance / Λ_0's", "relative_distance", 2),
    ("recovered fraction", "recovered_fraction", 3),
    ("area", "area_recovered", 3),
)
NOTES = """\
Mean ± half width of the 95 % confidence interval over seeds (Student's t); with one seed the
value alone. Differences are the first calibrator's mean minus another's, ± half of Welch's
interval (unequal variances); those marked * have 0 outside of it.

- **all targets met**: runs at whose end every target is met, of all. A target is met if the mean
  outcome of fresh episodes at the calibrated profile Λ̂ lies within its tolerance of it, a quarter
  of its scale unless it has its own. **targets met**: how many, mean over the runs.
- **worst miss**, **rms miss**: |mean outcome − target| in scales, the largest of all targets and
  their root mean square; inf if an outcome never happened.
- **stages to all met**: the first measured stage at which every target was met, with the policy of
  that stage; the mean over the runs that got there, and how many did. Measurements are not counted
  as steps or seconds.
- **distance / Λ_0's**: the distance of Λ̂ from the hidden profile Λ*, root mean square over
  parameters in the unit cube, over that of the start Λ_0: below 1 the calibration came nearer.
  Targets leave directions open: a good fit may be far from Λ*.
- **at bounds**: parameters of Λ̂ at an end of their range, within a hundredth of it, and in
  brackets those of Λ*. What targets leave open is pushed there by nothing but noise.
- **recovered fraction**: (r(Λ̂) − r(Λ_0)) / (ceiling − r(Λ_0)) at the end; **r(Λ̂)**: mean reward
  of fresh episodes at Λ̂. It is a mean over single, noisy episodes, and hides what they have in
  common: a profile whose market is quieter than the hidden one's scores more, above 1, while it
  misses a target.
- **area**: mean recovered fraction over the stages.
- **smoothness**: Σ |Λ_m − Λ_{m−1}| of the particles' mean, in the unit cube. **largest move**: of
  any parameter of any particle in any stage, as a fraction of its range. **spread**: length of the
  particles' standard deviation in the unit cube, mean over stages. Where each particle has a
  candidate of its own, the mean hardly moves while every particle jumps; these two show it.
- **lowest reward**: the lowest mean return in a stage that a supertype fell to after stage 50 (or
  after a quarter of a shorter run).
- **seconds**: training time of a run, as long as other runs shared the machine with it.

– is what is not known: runs that were measured before there was a judge, or targets whose hidden
profile nobody knows.
"""


def calibrator_order(label: str) -> tuple[float, str]:
    """Sorting key of calibrators: the order of their entries, others after them, by name."""
    entry = entry_or_none(label)
    return (np.inf if entry is None else entry.order, label)


def interval(values: pd.Series) -> tuple[float, float]:
    """Mean and half width of its 95 % confidence interval; NaN for fewer than two values."""
    known = values.dropna().to_numpy(float)
    if len(known) < 2 or np.isinf(known).any():
        return (float(known.mean()) if len(known) else np.nan), np.nan
    error = known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean()), float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * error)


def difference(values: pd.Series, others: pd.Series) -> tuple[float, float]:
    """Difference of two means and half of Welch's 95 % interval.

    The half is NaN for fewer than two values, and both are where a value is infinite.
    """
    known, other = values.dropna(), others.dropna()
    if np.isinf(known).any() or np.isinf(other).any():
        return np.nan, np.nan
    if min(len(known), len(other)) < 2:
        return float(known.mean() - other.mean()), np.nan
    parts = np.array([sample.var(ddof=1) / len(sample) for sample in (known, other)])
    mean, variance = float(known.mean() - other.mean()), parts.sum()
    if not variance:
        return mean, 0.0
    freedom = variance**2 / (parts**2 / [len(known) - 1, len(other) - 1]).sum()
    return mean, float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(variance))


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
        parts.append(_overview(final, "all targets met", _all_met))
        for heading, column, digits in COMPARED:
            compared = None if digits is None else (column, digits)
            parts.append(_overview(final, heading, _cell_of(column, digits), compared))
    for setting, rows in final.groupby("setting"):
        ceiling, start = rows["ceiling"].iloc[0], rows["reward_start"].iloc[0]
        parts.append(
            f"## Setting {setting}\n\nr(Λ_0) = {start:.3f}, ceiling {ceiling:.3f}, Λ_0 is "
            f"{rows['distance_start'].iloc[0]:.3f} from Λ*; seeds: {rows['seed'].nunique()}.\n"
        )
        shared = {name: _shared(rows[name]) for name in ("num_targets", "at_bounds_hidden")}
        headings = ["calibrator", *rates, *(c[0].format(**shared) for c in COLUMNS)]
        lines = [headings, ["---"] * len(headings)]
        groups = list(rows.groupby(["calibrator", *rates], dropna=False))
        for key, group in sorted(groups, key=lambda g: (calibrator_order(str(g[0][0])), g[0][1:])):
            cells = [_cell_of(column, digits)(group) for _, column, digits in COLUMNS]
            lines.append([f"{k:g}" if isinstance(k, float) else str(k) for k in key] + cells)
        parts.append(_markdown(lines))
    return "\n".join([*parts, NOTES])


def _overview(
    final: pd.DataFrame,
    heading: str,
    cell: Callable[[pd.DataFrame], str],
    compared: tuple[str, int] | None = None,
) -> str:
    """A figure of all calibrators in all settings, in the cells that ``cell`` makes of runs.

    The last column is the cell of all runs of a calibrator. Where a column of `final.csv` and its
    digits are given to be compared, it is its mean over settings, and further rows compare the
    first calibrator with the others.
    """
    labels = sorted(final["calibrator"].unique(), key=calibrator_order)
    settings = sorted(final["setting"].unique())
    of = dict(list(final.groupby(["calibrator", "setting"])))
    last = "mean" if compared else "all"
    names = [f"setting {setting}" for setting in settings]
    lines = [[heading, *names, last], ["---"] * (len(settings) + 2)]
    for label in labels:
        mine = [of.get((label, setting)) for setting in settings]
        cells = [UNKNOWN if rows is None else cell(rows) for rows in mine]
        total = cell(final[final["calibrator"] == label])
        if compared:
            column, digits = compared
            means = pd.Series([rows[column].mean() for rows in mine if rows is not None])
            total = UNKNOWN if means.isna().all() else f"{means.mean():.{digits}f}"
        lines.append([label, *cells, total])
    for label in labels[1:] if compared else ():
        cells = []
        for setting in settings:
            first, other = (of.get((name, setting)) for name in (labels[0], label))
            if first is None or other is None:
                cells.append(UNKNOWN)
            else:
                cells.append(_marked(first[column], other[column], digits))
        lines.append([f"{labels[0]} − {label}", *cells, ""])
    return _markdown(lines)


def _marked(values: pd.Series, others: pd.Series, digits: int) -> str:
    """A difference, with a mark where its interval leaves 0 out."""
    mean, half = difference(values, others)
    if np.isnan(mean):
        return UNKNOWN
    if np.isnan(half):
        return f"{mean:+.{digits}f}"
    return f"{mean:+.{digits}f} ± {half:.{digits}f}" + (" *" if abs(mean) > half else "")


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell_of(column: str, digits: int | None) -> Callable[[pd.DataFrame], str]:
    """What says a column of some runs in a cell."""
    if digits is None:
        return lambda rows: _reached(rows[column][rows["targets_met"].notna()])
    return lambda rows: _cell(rows[column], digits)


def _cell(values: pd.Series, digits: int) -> str:
    mean, half = interval(values)
    if np.isnan(mean):
        return UNKNOWN
    return f"{mean:.{digits}f}" + ("" if np.isnan(half) else f" ± {half:.{digits}f}")


def _all_met(rows: pd.DataFrame) -> str:
    """Runs that meet every target, of those that were judged."""
    judged = rows[rows["targets_met"].notna()]
    if not len(judged):
        return UNKNOWN
    return f"{(judged['targets_met'] == judged['num_targets']).sum()} of {len(judged)}"


def _reached(values: pd.Series) -> str:
    """Mean over the runs that reached it, and how many did."""
    if not len(values):
        return UNKNOWN
    reached = values.dropna()
    if not len(reached):
        return f"never (0 of {len(values)})"
    return f"{reached.mean():.0f} ({len(reached)} of {len(values)})"


def _shared(values: pd.Series) -> str:
    """A number that all runs of a setting share."""
    known = values.dropna()
    return f"{known.iloc[0]:.0f}" if len(known) else UNKNOWN
