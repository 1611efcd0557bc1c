"""Is it an equilibrium, and what does the simulation look like there?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.reporting.document import Figure, Section, Table, Text, interval, number, percent
from rllib_calsheq.reporting.evidence import Z
from rllib_calsheq.reporting.facts import RunFacts
from rllib_calsheq.reporting.figures import (
    DASHES,
    Trace,
    dots,
    line,
    lines_layout,
    rows_layout,
    run_colour,
    upright,
)
from rllib_calsheq.results.palette import MAIN, OTHER, WHOLE
from rllib_calsheq.results.reading import OUTCOMES, names_of

#: What stands for a kind of outcome beside its supertype.
DOT = "."


def equilibrium_section(runs: Sequence[RunFacts]) -> Section:
    """ε and the lag gap, where a certificate was made."""
    certified = [run for run in runs if run.certificate is not None]
    if not certified:
        why = (
            "Whether one agent could do better by leaving the shared policy was not measured: "
            "`calsheq certify RUN` looks for such deviations, and for the lag gap, which says "
            "how much "
            "the fit changes when the policy is trained on at the calibrated profile."
        )
        return Section.of("equilibrium", "Equilibrium", Text((why,)))
    blocks: list[Any] = []
    for run in certified:
        blocks += _certified(run, len(runs) > 1)
    return Section.of("equilibrium", "Equilibrium", *blocks)


def gain_in_words(found: Mapping[str, Any]) -> str:
    """What one agent can gain, by the certificate's own search."""
    share = found["relative_epsilon"]
    gain = f"{percent(share)} of what it gets" if share is not None else f"{found['epsilon']:.3g}"
    low, high = (found[f"relative_epsilon_{end}"] for end in ("low", "high"))
    ends = ""
    if share is not None:
        ends = f" ({100 * CONFIDENCE:.0f} % interval {percent(low)} to {percent(high)})"
    if not found["epsilon"]:
        return "no deviation was found by which a single agent would gain anything"
    return f"a single agent can gain {gain}{ends} by leaving the shared policy"


def _certified(run: RunFacts, named: bool) -> list[Any]:
    found = run.certificate
    assert found is not None
    lag, budget = found["lag"], found["budget"]
    first = gain_in_words(found)
    words = [
        (f"{run.label}: " if named else "")
        + first[0].upper()
        + first[1:]
        + ", as far as the search "
        "went; a better search may find more (the number is a lower bound of Definition 1's ε). "
        f"Measured at stage {found['stage']} of {run.stages}.",
        f"The search: {budget['deviators']} deviators with {budget['training_episodes']} training "
        f"episodes each, and {budget['untrained_deviations']} deviations that need no training.",
    ]
    if lag is not None and lag["gap"] is not None:
        words.append(
            f"Lag gap: the fit is {lag['reward_before']:.3f} at the checkpoint and "
            f"{lag['reward_after']:.3f} after {found['budget']['settling_stages']} more stages of "
            f"training at fixed supertypes, a change of {lag['gap']:+.3f} ± "
            f"{lag['gap_stderr']:.3f}. "
            "Near 0 the policy has kept up with the calibrator."
        )
    return [Text(tuple(words)), _gains(run, found, named), _gain_table(found), _lag_table(lag)]


def _gains(run: RunFacts, found: Mapping[str, Any], named: bool) -> Figure:
    value = abs(found["value"])
    scale, unit = (100.0 / value, "% of its value") if value else (1.0, "reward an episode")
    rows = [("best of all", found)]
    rows += [(f"an agent of {name}", row) for name, row in found["per_supertype"].items()]
    rows += [(row["name"], row) for row in found["kinds"].values()]
    # Deviations that lose a lot would hide what the others gain.
    right = 1.25 * max(max(row["high"] * scale for _, row in rows), 0.2)
    rows = [row for row in rows if row[1]["gain"] * scale > -right]
    data: list[Trace] = []
    for name, row in rows:
        low, gain, high = (row[key] * scale for key in ("low", "gain", "high"))
        colour = WHOLE if name == "best of all" else MAIN if "agent of" in name else OTHER
        text = f"{name}: {gain:+.2f} ({low:+.2f} to {high:+.2f}) {unit}"
        data.append(dots([name], [gain], name, colour, ([low], [high]), [text], shown=False))
    layout = rows_layout([name for name, _ in rows], f"gain on fresh episodes, {unit}")
    layout["xaxis"]["range"] = [-right, right]
    return Figure(
        f"gains-{run.label}",
        "What one deviating agent gains" + (f": {run.label}" if named else ""),
        "Dot: gain on fresh episodes; line: 95 % interval. Kinds of deviation that lose more "
        "than the "
        "axis shows stand in the table alone.",
        tuple(data), {**layout, "shapes": [upright(0.0)]},
    )  # fmt: skip


def _gain_table(found: Mapping[str, Any]) -> Table:
    rows = [("random agent (Definition 1)", found)]
    rows += [(f"an agent of {name}", row) for name, row in found["per_supertype"].items()]
    rows += [(f"random agent: {row['name']}", row) for row in found["kinds"].values()]
    cells = [
        [
            name, number(row["gain"], ".3g"), interval((row["low"], row["high"])),
            percent(row["relative_epsilon"]),
        ]
        for name, row in rows
    ]  # fmt: skip
    return Table.of("Gains", ("who, and how", "gain", "95 % interval", "ε, relative"), cells,
                    folded=True)  # fmt: skip


def _lag_table(lag: Mapping[str, Any] | None) -> Table | None:
    rows = [row for row in (lag or {}).get("outcomes", []) if row["target"] is not None]
    if not rows:
        return None
    cells = [
        [f"`{row['name']}`", *(number(row[k]) for k in ("before", "after", "target"))]
        for row in rows
    ]
    heads = ("outcome", "at the checkpoint", "after training on", "target")
    return Table.of("Outcomes before and after training on", heads, cells, folded=True)


def simulation_section(runs: Sequence[RunFacts]) -> Section | None:
    """Every outcome at the calibrated profile, and what lies behind them."""
    blocks: list[Any] = [_every_outcome(runs), *_breakdowns(runs)]
    if not any(blocks):
        return None
    where = (
        "on fresh episodes at the calibrated profile"
        if any("every_outcome" in (run.evaluation or {}) for run in runs)
        else "in the last stage, while the calibrator still tried other profiles"
    )
    note = f"What the simulation gives {where}, targets or not: whether the model behaves sensibly "
    note += "beyond what it was calibrated to."
    return Section.of("simulation", "The simulation there", Text((note,)), *blocks)


def _measured(run: RunFacts) -> dict[str, tuple[float | None, float | None, str]]:
    """Mean, standard error and description of every outcome, as far as the run's files know."""
    rows = (run.evaluation or {}).get("every_outcome")
    if rows:
        return {r["name"]: (r["value"], r["stderr"], r["description"]) for r in rows}
    return {
        name: (run.last(f"calibration/{OUTCOMES}/{name}/mean"), None, "")
        for name in names_of(run.history, OUTCOMES)
    }


def _every_outcome(runs: Sequence[RunFacts]) -> Table | None:
    """A row for each kind of outcome, a column for each supertype (and run)."""
    found = {run.label: _measured(run) for run in runs}
    names = list(dict.fromkeys(name for rows in found.values() for name in rows))
    if not names:
        return None
    supertypes = list(dict.fromkeys(s for run in runs for s in run.supertypes))

    def owner(name: str) -> str | None:
        return next((s for s in supertypes if name.startswith(s + DOT)), None)

    kinds = list(dict.fromkeys(name.removeprefix(f"{owner(name)}{DOT}") for name in names))
    owners = [s for s in [*supertypes, None] if any(owner(name) == s for name in names)]
    heads = ["outcome"]
    for run in runs:
        for s in owners:
            heads.append(" ".join(filter(None, [run.label if len(runs) > 1 else "", s or "value"])))
    rows = []
    for kind in kinds:
        said = ""
        cells = []
        for run in runs:
            for s in owners:
                row = found[run.label].get(f"{s}{DOT}{kind}" if s else kind)
                said = said or (row[2] if row else "")
                cells.append(_with_error(*row[:2]) if row else "–")
        rows.append([f"`{kind}`" + (f" {said}" if said else ""), *cells])
    return Table.of("Every outcome: mean ± standard error", heads, rows)


def _with_error(value: float | None, error: float | None) -> str:
    return number(value) + ("" if error is None else f" ± {error:.2g}")


def _breakdowns(runs: Sequence[RunFacts]) -> list[Any]:
    """Figures of what the environment breaks down by groups of its own."""
    found: list[Any] = []
    titles = list(
        dict.fromkeys(t for run in runs for t in (run.evaluation or {}).get("breakdowns", {}))
    )
    for j, title in enumerate(titles):
        data: list[Trace] = []
        cells: list[list[str]] = []
        columns: list[str] = []
        for k, run in enumerate(runs):
            row = (run.evaluation or {}).get("breakdowns", {}).get(title)
            if row is None:
                continue
            columns = list(row["columns"])
            for s, (name, values, errors) in enumerate(
                zip(row["rows"], row["values"], row["stderr"], strict=True)
            ):
                several = len(runs) > 1
                label = f"{run.label}: {name}" if several else name
                dash = DASHES[s % 4] if several else "solid"
                trace = line([], [], label, run_colour(k if several else s), dash=dash,
                             run=run.label)  # fmt: skip
                trace |= {"x": columns, "y": values, "mode": "lines+markers"}
                trace["hovertemplate"] = f"{label}, %{{x}}: %{{y:.3g}}<extra></extra>"
                trace["error_y"] = {
                    "type": "data", "array": [None if e is None else Z * e for e in errors],
                    "width": 0,
                }  # fmt: skip
                data.append(trace)
                cells.append([label, *(number(v, ".3g") for v in values)])
        layout = lines_layout(title)
        layout["xaxis"] = {"title": {"text": ""}, "type": "category", "automargin": True}
        caption = "Mean over fresh episodes at the calibrated profile, with 95 % intervals."
        found.append(
            Figure(f"breakdown-{j}", title[0].upper() + title[1:], caption, tuple(data), layout)
        )
        found.append(Table.of(title[0].upper() + title[1:], ("", *columns), cells, folded=True))
    return found
