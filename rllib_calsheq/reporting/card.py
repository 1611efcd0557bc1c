"""The model card: purpose, data, assumptions, limits, monitoring, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rllib_calsheq.reporting.document import (
    Bullets,
    Section,
    Table,
    Text,
    duration,
    interval,
    number,
)
from rllib_calsheq.reporting.facts import RunFacts
from rllib_calsheq.reporting.words import RECENT, limits, policies_of_all
from rllib_calsheq.results.provenance import machine_in_words

#: Where the parts that model risk guidance (SR 11-7) and the ODD protocol ask for stand here.
MAP = (
    ("SR 11-7: purpose and intended use", "Purpose", "purpose"),
    ("SR 11-7: data", "Data", "data"),
    ("SR 11-7: theory, assumptions", "Assumptions", "assumptions"),
    ("SR 11-7: outcomes analysis, sensitivity", "Performance", "performance"),
    ("SR 11-7: limitations, uncertainty", "Limits", "limits"),
    ("SR 11-7: ongoing monitoring", "Monitoring", "monitoring"),
    ("ODD: purpose and patterns", "Purpose", "purpose"),
    ("ODD: entities, state variables, scales; initialisation", "Purpose", "purpose"),
    ("ODD: process overview, design concepts", "Assumptions", "assumptions"),
    ("ODD: input data", "Data", "data"),
)


def purpose_section(runs: Sequence[RunFacts]) -> Section:
    """What the model is for, and what is in it."""
    uses = Bullets((
        "Made for: finding parameters of the simulated agents under which the simulation, its "
        "agents "
        "having learned, shows what is observed.",
        "Good for: what-if questions about simulated agents that behave as the calibrated ones do, "
        "with the intervals and the certificate beside them.",
        "Not made for: forecasts of single events, or reading a parameter that the targets do not "
        "pin down as a fact about the world.",
    ))  # fmt: skip
    return Section.of("purpose", "Purpose", uses, _entities(runs), _parameters(runs))


def _entities(runs: Sequence[RunFacts]) -> Table:
    """What the model consists of, run by run."""
    said: list[dict[str, str]] = []
    for run in runs:
        found = (run.evaluation or {}).get("environment") or {}
        agents = found.get("agents") or (run.certificate or {}).get("agents")
        said.append({
            "environment": f"`{run.environment}`",
            "agents": number(agents, "d") if agents else "–",
            "steps an episode": number(found.get("episode_length"), "d")
            if found.get("episode_length") else "–",
            "supertypes": ", ".join(run.supertypes) or "–",
            "parameters": str(len(run.ranges)),
            "targets": str(len(run.targets)),
        })  # fmt: skip
    rows = [[name, *(one[name] for one in said)] for name in said[0]]
    heads = ("", *(run.label for run in runs))
    return Table.of("What is modelled", heads, rows, numbers=False)


def _parameters(runs: Sequence[RunFacts]) -> Table | None:
    rows: dict[tuple[str, ...], None] = {}
    for run in runs:
        for name, p in run.ranges.items():
            rows[f"`{name}`", interval((p.low, p.high), "g"), number(p.start)] = None
    if not rows:
        return None
    heads = ("parameter", "range", "start Λ_0")
    return Table.of("Parameters, their ranges and where they start", heads, list(rows), folded=True)


def data_section(runs: Sequence[RunFacts]) -> Section:
    """What was to be matched and where it comes from."""
    words = []
    for run in runs:
        name = f"{run.label}: " if len(runs) > 1 else ""
        source = run.known.get("source") or {}
        if not run.targets:
            continue
        if run.known.get("profile"):
            said = (
                "The targets were made from a hidden profile of the same model, which is known "
                "here, so "
                "that recovery can be measured. They are no data of the world."
            )
        elif source:
            said = (
                "The targets come from " + ", ".join(f"{k}: {v}" for k, v in source.items()) + "."
            )
        else:
            said = "The target file does not say where the targets come from."
        hashed = f" Short name (hash) of the targets: `{run.targets_hash}`."
        words.append(name + said + hashed)
    return Section.of("data", "Data", Text(tuple(words)) if words else None, _targets(runs))


def _targets(runs: Sequence[RunFacts]) -> Table | None:
    rows: dict[tuple[str, ...], None] = {}
    for run in runs:
        errors = run.known.get("standard_errors") or {}
        for t in run.targets:
            error = number(errors.get(t.outcome), ".2g")
            fields = (number(t.scale), number(t.weight, ".3g"), number(t.tolerance, "g"))
            rows[f"`{t.outcome}`", number(t.value, ".5g"), error, *fields] = None
    if not rows:
        return None
    heads = ("outcome", "target value", "its standard error", "scale", "weight", "tolerance")
    return Table.of("Targets as they were given", heads, list(rows), folded=True)


def assumptions_section(runs: Sequence[RunFacts]) -> Section:
    """What is taken for granted."""
    calibrators = sorted({run.calibrator for run in runs})
    return Section.of(
        "assumptions",
        "Assumptions",
        Bullets(
            (
                "Agents are of one of a few supertypes. An agent draws its type from its "
                "supertype at the "
                "start of an episode; the supertypes' parameters are what is calibrated.",
                f"Agents learn {policies_of_all(runs)}: a policy sees the agent's type, and is "
                "trained by PPO on its reward. A shared equilibrium is where no agent gains by "
                "leaving that policy.",
                "Calibrator and policy learn at the same time, the policy faster. Calibrator: "
                + ", ".join(f"`{c}`" for c in calibrators)
                + ".",
                "A target is a number that the mean outcome of episodes should have. A miss "
                "counts in "
                "units of its scale, with the weight of the target.",
                "Episodes are independent given the profile and the policy.",
            )
        ),
    )


def limits_section(runs: Sequence[RunFacts]) -> Section:
    """What it does not say."""
    return Section.of("limits", "Limits", Bullets(tuple(limits(runs))))


def monitoring_section(runs: Sequence[RunFacts]) -> Section:
    """How to see that the calibration still holds."""
    advice = Bullets((
        "When the data change: make the targets anew (`calsheq targets`) and compare their short "
        "name with the one above. Calibrate anew if a target moved by more than its tolerance.",
        "When the model, a version or the machine changes: `rllib evaluate RUN --strict` judges "
        "the "
        "targets again and exits with 3 if one is missed.",
        "When decisions hang on a parameter: `calsheq infer RUN`. When they hang on agents that "
        "have "
        "learned all they can: `calsheq certify RUN`.",
    ))  # fmt: skip
    return Section.of("monitoring", "Monitoring", advice, _health(runs))


def _health(runs: Sequence[RunFacts]) -> Table:
    """Numbers that show trouble, at the end of each run."""
    lines: dict[str, list[str]] = {
        f"largest worst miss of the last {RECENT} stages, in scales": [],
        "stages in a row with all targets met, at the end": [],
        "episodes left out (not finite)": [],
        "reports that came too late": [],
        "env runners restarted": [],
        "KL coefficient of the shared policy": [],
    }
    for run in runs:
        misses = run.history.get("calibration/worst_miss")
        recent = None if misses is None else misses.tail(RECENT).max()
        cells = [
            number(None if recent is None else float(recent), ".2f"),
            *(
                number(run.last(name), "g")
                for name in (
                    "calibration/stages_all_met",
                    "calibration/dropped_episodes",
                    "calibration/stale_reports",
                    "fault_tolerance/num_remote_worker_restarts",
                )
            ),
            number(run.last("calibration/kl_coefficient_shared"), ".3g"),
        ]
        for column, cell in zip(lines.values(), cells, strict=True):
            column.append(cell)
    rows = [[name, *cells] for name, cells in lines.items()]
    return Table.of("The end of the run", ("", *(run.label for run in runs)), rows)


def provenance_section(runs: Sequence[RunFacts]) -> Section:
    """Who made it, with what, when and where."""
    made: list[dict[str, str]] = [_made(run) for run in runs]
    rows: list[list[Any]] = [[name, *(one[name] for one in made)] for name in made[0]]
    table = Table.of("Provenance", ("", *(run.label for run in runs)), rows, numbers=False)
    where = Table.of(
        "Where to find what is asked for elsewhere",
        ("asked for by", "section of this report"),
        [[wanted, heading] for wanted, heading, _ in MAP],
        numbers=False,
        folded=True,
    )
    return Section.of("provenance", "Provenance", table, where)


def _made(run: RunFacts) -> dict[str, str]:
    commands = [f"`{start['command']}`" for start in run.starts]
    machines = dict.fromkeys(machine_in_words(start["machine"]) for start in run.starts)
    versions = (run.manifest or {}).get("made_by") or {}
    runners = run.params.get("num_env_runners")
    last = run.history.iloc[-1]
    return {
        "command": "; then ".join(commands) or "not recorded",
        "folder": f"`{run.trial.parent.name}/{run.trial.name}`",
        "seed": str(run.params.get("seed", "none given")),
        "targets (hash)": f"`{run.targets_hash}`" if run.targets_hash else "–",
        "versions": ", ".join(f"{name} {of}" for name, of in versions.items()) or "not recorded",
        "stages": str(run.stages),
        "particles": str(run.num_particles or "–"),
        "time in stages": duration(run.seconds),
        "steps of the environment": number(run.last("num_env_steps_sampled_lifetime"), ",.0f"),
        "ended": str(last.get("date", "–")),
        "machine of the driver": "; ".join(machines) or "not recorded",
        "env runners": "in the driver" if not runners else f"{runners}, in processes of their own",
    }  # fmt: skip
