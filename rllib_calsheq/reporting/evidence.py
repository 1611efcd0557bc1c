"""What came out: targets met and missed, the profile, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rllib_calsheq.inference.description import Knowledge
from rllib_calsheq.reporting.document import (
    Bullets,
    Cell,
    Figure,
    Mark,
    Section,
    Table,
    Text,
    interval,
    number,
)
from rllib_calsheq.reporting.facts import RunFacts
from rllib_calsheq.reporting.figures import (
    Trace,
    bars,
    dots,
    rows_layout,
    run_colour,
    span,
    upright,
)
from rllib_calsheq.results.palette import FURTHER, GOAL, GUIDE, MAIN, OTHER, SECOND, WHOLE

#: Half the width of a 95 % interval, in standard errors.
Z = 1.96
#: The axis of misses reaches so far beyond the largest.
ROOM = 1.3
#: Colours of what is known of a parameter.
KNOWN = {
    Knowledge.PINNED: MAIN,
    Knowledge.NARROWED: FURTHER[3],
    Knowledge.ABOVE: SECOND,
    Knowledge.BELOW: FURTHER[1],
    Knowledge.FREE: OTHER,
}


def targets_section(runs: Sequence[RunFacts]) -> Section:
    """The verdict on every target."""
    judged = [run for run in runs if run.met is not None]
    if not judged:
        why = (
            "No target was judged: the run has no evaluation (`evaluation.json`). "
            "`rllib train` makes one at the end of a run of one trial; `rllib evaluate RUN` "
            "prints one."
            if any(run.targets for run in runs)
            else "The run has no targets: nothing was to be met."
        )
        return Section.of("targets", "Targets", Text((why,)))
    episodes = judged[0].evaluation["episodes"] if judged[0].evaluation else 0
    how = (
        f"Each outcome is the mean over {episodes} fresh episodes at the calibrated profile, "
        f"with the "
        "policy as it is. A target is met if that mean is within its tolerance, in scales; the "
        "scale "
        "of a target says which miss counts as large."
    )
    tables = [_verdicts(run, len(runs) > 1) for run in judged]
    if len(judged) > 1:
        tables = [_side_by_side(judged)]
    return Section.of("targets", "Targets", Text((how,)), *tables, _misses(judged))


def _outcomes(run: RunFacts) -> list[Mapping[str, Any]]:
    return list(run.evaluation["outcomes"]) if run.evaluation else []


def _verdict(met: bool) -> Cell:
    return Cell("met", Mark.GOOD) if met else Cell("missed", Mark.BAD)


def _verdicts(run: RunFacts, named: bool) -> Table:
    heads = ("target", "value", "standard error", "target value", "miss / scale", "tolerance",
             "verdict")  # fmt: skip
    rows: list[list[str | Cell]] = [
        [
            Cell(f"`{row['name']}`"), number(row["value"]), number(row["stderr"], ".2g"),
            number(row["target"]), number(row["miss"], ".2f"), number(row["tolerance"], "g"),
            _verdict(row["met"]),
        ]
        for row in _outcomes(run)
    ]  # fmt: skip
    return Table.of("Every target" + (f" of {run.label}" if named else ""), heads, rows)


def _side_by_side(runs: Sequence[RunFacts]) -> Table:
    """Value and verdict of each target in each run."""
    names = list(dict.fromkeys(row["name"] for run in runs for row in _outcomes(run)))
    found = {run.label: {row["name"]: row for row in _outcomes(run)} for run in runs}
    rows = []
    for name in names:
        wanted = {found[run.label][name]["target"] for run in runs if name in found[run.label]}
        cells: list[str | Cell] = [f"`{name}`"]
        cells.append(number(wanted.pop()) if len(wanted) == 1 else "differs")
        for run in runs:
            row = found[run.label].get(name)
            if row is None:
                cells.append("–")
                continue
            mark = Mark.GOOD if row["met"] else Mark.BAD
            verdict = "met" if row["met"] else "missed"
            text = f"{row['value']:.4g} ± {row['stderr']:.2g}, {verdict} ({row['miss']:.2f})"
            cells.append(Cell(text, mark))
        rows.append(cells)
    heads = ("target", "target value", *(run.label for run in runs))
    return Table.of(
        "Every target: mean ± standard error, verdict, and the miss in scales", heads, rows
    )


def _misses(runs: Sequence[RunFacts]) -> Figure:
    names = list(dict.fromkeys(row["name"] for run in runs for row in _outcomes(run)))
    data: list[Trace] = []
    tolerances = set()
    for k, run in enumerate(runs):
        rows = [row for row in _outcomes(run) if row["value"] is not None]
        at = np.array([(row["value"] - row["target"]) / row["scale"] for row in rows])
        half = np.array([Z * row["stderr"] / row["scale"] for row in rows])
        tolerances |= {row["tolerance"] for row in rows}
        for met, symbol in ((True, "circle"), (False, "x")):
            chosen = [i for i, row in enumerate(rows) if row["met"] is met]
            if not chosen:
                continue
            several = len(runs) > 1
            verdict = "met" if met else "missed"
            colour = run_colour(k) if several else (GOAL if met else SECOND)
            texts = [
                f"{rows[i]['name']}: {rows[i]['value']:.4g}, target {rows[i]['target']:.4g} "
                f"({at[i]:+.2f} scales), {verdict}"
                for i in chosen
            ]
            data.append(
                dots([rows[i]["name"] for i in chosen], at[chosen],
                     f"{run.label}, {verdict}" if several else verdict, colour,
                     (at[chosen] - half[chosen], at[chosen] + half[chosen]), texts,
                     symbol=symbol, run=run.label)
            )  # fmt: skip
    layout = rows_layout(names, "outcome less target, in scales")
    shapes = [upright(0.0)]
    reach = max([abs(x) for trace in data for x in trace["x"]] + list(tolerances))
    layout["xaxis"]["range"] = [-ROOM * reach, ROOM * reach]
    if len(tolerances) == 1:
        within = tolerances.pop()
        shapes.insert(0, span(-within, within))
    return Figure(
        "misses", "How far each outcome is from its target",
        "Dot: mean outcome less its target, with a 95 % interval. Green strip: the tolerance, "
        "where "
        "all targets share one.",
        tuple(data), {**layout, "shapes": shapes},
    )  # fmt: skip


def profile_section(runs: Sequence[RunFacts]) -> Section:
    """The calibrated profile, and what is known of each parameter where that was asked."""
    inferred = [run for run in runs if run.inference is not None]
    blocks: list[Any] = []
    if not any(run.targets for run in runs):
        blocks.append(Text(("Nothing was calibrated: this is the profile that was stated.",)))
    elif not inferred:
        blocks.append(
            Text((
                "Below is one profile that the calibration ended at. Others may explain the "
                "targets "
                "as well: which, with an interval and a word for each parameter, says "
                "`calsheq infer RUN`, which was not run.",
            ))
        )  # fmt: skip
    for run in inferred:
        assert run.inference is not None
        blocks.append(Bullets(tuple(_said(run, len(runs) > 1))))
        blocks.append(_intervals(run, len(runs) > 1))
    if len(runs) == 1:
        blocks.append(_profile_table(runs[0]))
        blocks.append(None if inferred else _places(runs))
    else:
        blocks += [_profiles(runs), _places(runs)]
    return Section.of("profile", "Calibrated profile", *blocks)


def _said(run: RunFacts, named: bool) -> list[str]:
    assert run.inference is not None
    words = list(run.inference["in_words"])
    stage, last = run.inference["stage"], run.stages
    if stage != last:
        words.insert(0, f"The inference is of stage {stage}; the run has {last} stages by now.")
    return [f"{run.label}: {word}" for word in words] if named else words


def _profile_table(run: RunFacts) -> Table:
    """Value, start and range of each parameter, with its intervals where there are any."""
    found = {row["name"]: row for row in (run.inference or {}).get("parameters", [])}
    hidden = run.known.get("profile") or {}
    bounds = run.at_bounds
    heads = ["parameter", "calibrated", "start", "range"]
    heads += ["hidden value"] if hidden else []
    heads += ["50 % interval", "90 % interval", "class"] if found else []
    rows = []
    for name, value in run.profile.items():
        place = run.ranges.get(name)
        at = number(value) + (" (at a bound)" if name in bounds else "")
        cells: list[str | Cell] = [f"`{name}`", Cell(at, Mark.BAD) if name in bounds else at]
        cells.append(number(place.start if place else None))
        cells.append(interval((place.low, place.high), "g") if place else "–")
        cells += [number(hidden.get(name))] if hidden else []
        if found:
            row = found.get(name)
            ends = row["intervals"] if row else (None, None)
            cells += [interval(e) for e in ends] + [row["knowledge"] if row else "not moved"]
        rows.append(cells)
    what = "" if run.evaluation else ", as the particles' mean in the last stage"
    return Table.of(f"The profile{what}", heads, rows)


def _intervals(run: RunFacts, named: bool) -> Figure:
    """Intervals of all parameters within the prior's, as the inference found them."""
    assert run.inference is not None
    rows = run.inference["parameters"]
    names = [row["name"] for row in rows]

    def placed(row: Mapping[str, Any], value: float) -> float:
        """Where a value lies: the prior's 90 % interval spans 0.05 to 0.95."""
        low, high = row["prior"]
        return 0.05 + 0.9 * (value - low) / ((high - low) or 1.0)

    low, high = [0.05] * len(rows), [0.95] * len(rows)
    data = [bars(names, low, high, "prior, 90 %", "rgba(90,90,90,0.18)", 12)]
    for knowledge in dict.fromkeys(row["knowledge"] for row in rows):
        chosen = [row for row in rows if row["knowledge"] == knowledge]
        own = [row["name"] for row in chosen]
        colour = KNOWN[Knowledge(knowledge)]
        for k, width in ((0, 12), (1, 4)):
            lows, highs = ([placed(row, row["intervals"][k][e]) for row in chosen] for e in (0, 1))
            data.append(
                bars(own, lows, highs, knowledge, colour, width, group=knowledge, shown=k == 0)
            )
    texts = [
        f"{row['name']}: {row['knowledge']}<br>median {row['median']:.3g}, 50 % "
        f"{interval(row['intervals'][0])}, 90 % {interval(row['intervals'][1])}<br>calibrated "
        f"{row['calibrated']:.3g}" + ("" if row["true"] is None else f", hidden {row['true']:.3g}")
        for row in rows
    ]
    at = [placed(row, row["calibrated"]) for row in rows]
    data.append(dots(names, at, "calibrated", WHOLE, None, texts, symbol="diamond", size=8))
    true = [row for row in rows if row["true"] is not None]
    if true:
        at = [placed(row, row["true"]) for row in true]
        data.append(
            dots([row["name"] for row in true], at, "hidden value", GOAL,
                 texts=[f"{row['name']}: hidden value {row['true']:.3g}" for row in true],
                 symbol="star", size=11)
        )  # fmt: skip
    layout = rows_layout(names, "", range=[0, 1])
    layout["xaxis"] |= {"tickvals": [0.05, 0.5, 0.95],
                        "ticktext": ["5 % of the prior", "middle", "95 %"]}  # fmt: skip
    title = "What is known of each parameter" + (f": {run.label}" if named else "")
    file = run.inference["file"].removesuffix(".json") + "_intervals.png"
    return Figure(
        f"intervals-{run.label}", title,
        "Thick: 50 % interval. Thin: 90 % interval. Grey: what was possible before (the prior's "
        "90 %). The colour says the class, which the table states, too.",
        tuple(data), layout, picture=_beside(run, file),
    )  # fmt: skip


def _beside(run: RunFacts, file: str) -> Any:
    """The picture beside a run's inference or certificate, wherever the run lies by now."""
    found = sorted(run.trial.glob(f"*/*/{file}"))
    return found[-1] if found else None


def _profiles(runs: Sequence[RunFacts]) -> Table:
    names = list(dict.fromkeys(name for run in runs for name in run.profile))
    rows = [[f"`{name}`", *(number(run.profile.get(name)) for run in runs)] for name in names]
    return Table.of("The profiles side by side", ("parameter", *(r.label for r in runs)), rows)


def _places(runs: Sequence[RunFacts]) -> Figure | None:
    """Each parameter within its range, one dot a run."""
    names = [n for n in dict.fromkeys(n for run in runs for n in run.profile)
             if any(n in run.ranges for run in runs)]  # fmt: skip
    if not names:
        return None
    data: list[Trace] = []
    for k, run in enumerate(runs):
        own = [name for name in run.profile if name in run.ranges]
        at = [_placed(run, name, run.profile[name]) for name in own]
        texts = [f"{name}: {run.profile[name]:.4g}" for name in own]
        label = run.label if len(runs) > 1 else "calibrated"
        colour = run_colour(k) if len(runs) > 1 else MAIN
        data.append(dots(own, at, label, colour, None, texts, run=run.label))
    first = runs[0]
    starts = {n: r.start for n, r in first.ranges.items() if r.start is not None and n in names}
    for label, values, symbol, colour in (
        ("start", starts, "line-ns-open", GUIDE),
        ("hidden value", first.known.get("profile") or {}, "star", GOAL),
    ):
        own = [name for name in values if name in names]
        if own:
            texts = [f"{name}: {label} {values[name]:.4g}" for name in own]
            at = [_placed(first, name, values[name]) for name in own]
            data.append(dots(own, at, label, colour, None, texts, symbol=symbol, size=11))
    layout = rows_layout(names, "place within the range of the parameter", range=[-0.03, 1.03])
    return Figure(
        "profile-places", "The calibrated profile within its bounds",
        "0 is the lower bound of a parameter, 1 the upper one.", tuple(data), layout,
    )  # fmt: skip


def _placed(run: RunFacts, name: str, value: float) -> float:
    place = run.ranges[name]
    return (value - place.low) / (place.high - place.low)


def predictions_section(runs: Sequence[RunFacts]) -> Section | None:
    """Predictive bands of all outcomes, where an inference gives them."""
    inferred = [run for run in runs if run.inference is not None]
    if not inferred:
        return None
    blocks: list[Any] = [
        Text((
            "What the profiles that explain the targets say of every mean outcome: the bands "
            "hold the "
            "middle 50 and 90 % of what they give. A target outside of its band is out of the "
            "model's reach, or of this inference's.",
        ))
    ]  # fmt: skip
    for run in inferred:
        blocks += [_bands(run, len(runs) > 1), _predictions(run, len(runs) > 1)]
    return Section.of("predictions", "Predictive bands", *blocks)


def _predictions(run: RunFacts, named: bool) -> Table:
    assert run.inference is not None
    rows = [
        [f"`{row['name']}`", number(row["target"]), number(row["median"]),
         *(interval(ends, ".4g") for ends in row["intervals"])]
        for row in run.inference["predictions"]
    ]  # fmt: skip
    heads = ("outcome", "target", "median", "50 % band", "90 % band")
    what = "Predictions of every outcome" + (f": {run.label}" if named else "")
    return Table.of(what, heads, rows)


def _bands(run: RunFacts, named: bool) -> Figure:
    """Bands of the targets, in scales."""
    assert run.inference is not None
    scales = {t["name"]: t["scale"] for t in run.inference["targets"]}
    rows = [row for row in run.inference["predictions"] if row["target"] is not None]
    names = [row["name"] for row in rows]

    def missed(row: Mapping[str, Any], value: float) -> float:
        return float((value - row["target"]) / scales[row["name"]])

    data: list[Trace] = []
    for k, width, label in ((1, 4, "90 % band"), (0, 12, "50 % band")):
        lows, highs = ([missed(row, row["intervals"][k][e]) for row in rows] for e in (0, 1))
        data.append(bars(names, lows, highs, label, MAIN, width))
    texts = [
        f"{row['name']}: median {row['median']:.4g}, target {row['target']:.4g}<br>50 % "
        f"{interval(row['intervals'][0], '.4g')}, 90 % {interval(row['intervals'][1], '.4g')}"
        for row in rows
    ]
    at = [missed(row, row["median"]) for row in rows]
    data.append(dots(names, at, "median", WHOLE, None, texts, symbol="line-ns-open", size=11))
    title = "Predicted targets" + (f": {run.label}" if named else "")
    file = run.inference["file"].removesuffix(".json") + "_predictions.png"
    layout = rows_layout(names, "mean outcome less its target, in scales")
    return Figure(
        f"predictions-{run.label}", title, "0 is the target.", tuple(data),
        {**layout, "shapes": [upright(0.0, GOAL)]}, picture=_beside(run, file),
    )  # fmt: skip
