"""What a run was asked for, what came out and what limits it, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_calsheq.inference.description import Knowledge
from rllib_calsheq.reporting.equilibrium import gain_in_words
from rllib_calsheq.reporting.facts import RunFacts

#: Targets that a sentence names, at most.
MOST_NAMED = 3
#: Recent stages that are looked at for trouble.
RECENT = 10


def plural(count: int, one: str) -> str:
    """A number of things, e.g. ``1 target`` or ``10 targets``."""
    return f"{count} {one}" + ("" if count == 1 else "s")


def listed(names: Sequence[str]) -> str:
    """Some names in a sentence."""
    shown = [f"`{name}`" for name in names[:MOST_NAMED]]
    more = len(names) - MOST_NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def policies(run: RunFacts) -> str:
    """What the agents learn: one policy, or one for each class of supertypes."""
    named = sorted(set((run.params.get("policy_of") or {}).values()))
    return (
        f"the policies {listed(named)}, each shared by its class" if named else "one shared policy"
    )


def policies_of_all(runs: Sequence[RunFacts]) -> str:
    """The same of several runs."""
    return ", or ".join(sorted({policies(run) for run in runs}))


def in_short(run: RunFacts) -> tuple[str, str, str]:
    """What was asked, what came out, how sure one can be: a sentence each."""
    return asked(run), came_out(run), how_sure(run)


def asked(run: RunFacts) -> str:
    """What was asked."""
    moved = f"{plural(len(run.ranges), 'parameter')} of {plural(len(run.supertypes), 'supertype')}"
    how = f"over {plural(run.stages, 'stage')}"
    how += f" of {plural(run.num_particles, 'episode')}" if run.num_particles else ""
    if not run.targets:
        return (
            f"Asked: let the agents of `{run.environment}` learn {policies(run)}, {how}; there "
            "is nothing to be met."
        )
    if not run.ranges:
        moved = "the parameters of its supertypes"
    names = [t.outcome for t in run.targets]
    return (
        f"Asked: move {moved} of `{run.environment}` so that {plural(len(names), 'outcome')} "
        f"({listed(names)}) meet their targets, while all agents learn {policies(run)}, {how}."
    )


def came_out(run: RunFacts) -> str:
    """What came out."""
    if not run.targets:
        return "Came out: a policy; nothing was judged."
    if run.met is None or run.evaluation is None:
        done = run.last("calibration/targets_met")
        if done is None:
            return "Came out: nothing was judged."
        when = "in the last stage"
        if run.planned is not None and run.stages < run.planned:
            when = f"after {run.stages} of {run.planned} stages"
        return (
            f"Came out: {when} the outcomes, averaged over particles, met {done:.0f} of "
            f"{len(run.targets)} targets; the calibrated profile was not evaluated."
        )
    met, count = run.met
    verdict, stage = run.evaluation["verdict"], run.evaluation["stage"]
    missed = [row["name"] for row in run.evaluation["outcomes"] if not row["met"]]
    found = "every target is met" if not missed else f"{met} of {count} targets are met"
    found += f" on {run.evaluation['episodes']} fresh episodes at the calibrated profile"
    found += f" of stage {stage}" if stage != run.stages else ""
    found += f"; missed: {listed(missed)}" if missed else ""
    end = f"`{verdict['worst_target']}` is the farthest off"
    if verdict["worst_miss"] is not None:
        end += f", by {verdict['worst_miss']:.2f} scales"
    return f"Came out: {found}; {end}."


def how_sure(run: RunFacts) -> str:
    """How sure one can be of it."""
    policy = "whether the policy is an equilibrium was not asked (`calsheq certify`)"
    if run.certificate is not None:
        policy = gain_in_words(run.certificate) + ", as far as the search went"
    if not run.targets:
        return f"How sure: {policy}."
    if run.inference is None and run.certificate is None:
        return (
            "How sure: neither which other profiles meet the targets was asked (`calsheq infer`), "
            "nor whether the policy is an equilibrium (`calsheq certify`)."
        )
    profiles = "which other profiles meet the targets was not asked (`calsheq infer`)"
    if run.inference is not None:
        rows = run.inference["parameters"]
        pinned = sum(row["knowledge"] == Knowledge.PINNED for row in rows)
        free = sum(row["knowledge"] == Knowledge.FREE for row in rows)
        profiles = f"of {plural(len(rows), 'parameter')} the targets pin down {pinned}"
        profiles += f" and leave {free} free"
    return f"How sure: {profiles}; {policy}."


def limits(runs: Sequence[RunFacts]) -> list[str]:
    """What the runs do not say, and what is wrong with them."""
    found: list[str] = []
    for run in runs:
        name = f"{run.label}: " if len(runs) > 1 else ""
        found += [name + sentence for sentence in _own_limits(run)]
    return list(dict.fromkeys(found + _limits_of_all(runs)))


def _own_limits(run: RunFacts) -> list[str]:
    found = []
    evaluation: Mapping[str, Any] = run.evaluation or {}
    missed = [row for row in evaluation.get("outcomes", []) if not row["met"]]
    for row in missed:
        miss = "did not happen" if row["value"] is None else f"is off by {row['miss']:.2f} scales"
        found.append(f"`{row['name']}` misses its target: it {miss}.")
    if run.evaluation is None and run.targets:
        found.append("Nothing was judged on fresh episodes.")
    at = run.at_bounds
    if at:
        names = listed(list(at))
        found.append(
            f"At a bound: {names}. Targets seldom say so; a parameter that nothing pins down is "
            "pushed there by noise, or the bound is too narrow."
        )
    inference = run.inference or {}
    beyond = [t["name"] for t in inference.get("targets", []) if t["out_of_reach"]]
    if beyond:
        found.append(f"Out of the model's reach, says the inference: {listed(beyond)}.")
    free = [r["name"] for r in inference.get("parameters", []) if r["knowledge"] == Knowledge.FREE]
    if free:
        found.append(
            f"The targets say nothing of {listed(free)}: do not read their values as findings."
        )
    dropped = run.last("calibration/dropped_episodes")
    if dropped:
        found.append(f"{dropped:.0f} episodes were left out since a number in them was not finite.")
    lag = (run.certificate or {}).get("lag") or {}
    gap, error = lag.get("gap"), lag.get("gap_stderr")
    if gap is not None and abs(gap) > 2 * (error or 0.0) and abs(gap) > 0.01:
        found.append(
            f"The policy lagged behind the calibrator: training on changes the fit by {gap:+.3f}."
        )
    return found


def _limits_of_all(runs: Sequence[RunFacts]) -> list[str]:
    found = []
    if any(run.inference is None and run.targets for run in runs):
        found.append(
            "The profile is generally not identified: different profiles give the same outcomes. "
            "Read "
            "it as one that explains the data, not as the one."
        )
    if any(run.certificate is None for run in runs):
        found.append(
            "That the policy is an equilibrium was not tested: outcomes may change if the agents "
            "learn on."
        )
    else:
        found.append(
            "ε is what a search found: a lower bound. A better search may find a larger gain."
        )
    found += [
        f"Outcomes are those of simulated agents who learned {policies_of_all(runs)}. What the "
        "real ones would do after a change of rules is not measured here.",
        "Targets are matched as means over episodes; what is no target was not fitted.",
        "Assumption 2 of the paper (two timescales) holds in name only: both learners use Adam, "
        "for "
        "which its theorem does not apply as it stands.",
    ]
    if len({run.params.get("seed") for run in runs}) == 1:
        found.append("One seed was run. Other seeds may end at other profiles.")
    return found
