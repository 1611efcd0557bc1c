"""What a certificate says: its numbers by name, and its statement in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rllib_calsheq.certificates.config import FROM_SCRATCH, FROM_SHARED, CertificateSettings
from rllib_calsheq.certificates.jobs.certificate_jobs import (
    CHEAP,
    DEVIATOR,
    FRESH_CHEAP,
    FRESH_DEVIATOR,
    SETTLE,
    Part,
)
from rllib_calsheq.certificates.jobs.frozen_game import Bench
from rllib_calsheq.certificates.jobs.store import Arrays
from rllib_calsheq.certificates.lag import lag_gap, recovered_fraction
from rllib_calsheq.certificates.search.deviations import CONSTANT, MODE, SHIFT, SUPPLIED
from rllib_calsheq.certificates.search.selection import CONFIDENCE, Gain, Gains
from rllib_calsheq.certificates.search.values import Estimate, over_roles
from rllib_calsheq.results.checkpoints import TRIAL_FILE, read_history

#: Last stages over which the fit that a run reported is averaged.
REPORTED_STAGES = 20
#: What kinds of deviations are called.
KIND_NAMES = {
    FROM_SHARED: "trained, from the shared policy",
    FROM_SCRATCH: "trained, from scratch",
    MODE: "shared policy without its noise",
    SHIFT: "shared policy, shifted",
    CONSTANT: "constant actions",
    SUPPLIED: "the environment's own",
}


def part_title(bench: Bench, part: Part) -> str:
    """What a part is called."""
    if part.kind in (DEVIATOR, FRESH_DEVIATOR):
        who = "of any role" if part.target is None else f"of {bench.target_name(part.target)}"
        return f"deviator {who}, {KIND_NAMES[part.start]}, seed {part.seed}"
    if part.kind == FRESH_CHEAP:
        return bench.cheap[part.index].name
    return {
        CHEAP: f"{len(bench.cheap)} deviations that need no training",
        SETTLE: "shared policy trained on at fixed supertypes",
    }[part.kind]


def describe(
    bench: Bench, settings: CertificateSettings, gains: Gains, done: Mapping[Part, Arrays]
) -> dict[str, Any]:
    """The certificate as JSON holds it.

    Args:
        bench: What it was computed with.
        settings: What was asked for.
        gains: The gains that were selected and measured.
        done: Finished parts, deviators and settling among them.
    """
    value = Estimate.of(over_roles(bench.fresh.base_values, bench.shares))
    names = bench.env.supertype_space.supertypes
    per_supertype = {}
    for k, (name, gain) in enumerate(zip(names, gains.by_supertype, strict=True)):
        if gain is not None:
            own = Estimate.of(bench.fresh.base_values[k])
            agents = round(bench.shares[k] * len(bench.env.agent_supertypes))
            per_supertype[name] = {"agents": agents, **_value(own), **_epsilon(gain, own.value)}
    lag = _lag(bench, done)
    certificate: dict[str, Any] = {
        **_epsilon(gains.whole, value.value),
        **_value(value),
        "confidence": CONFIDENCE,
        "per_supertype": per_supertype,
        "per_supertype_bound": max(0.0, gains.bound),
        "kinds": {
            kind: {"name": KIND_NAMES[kind], **_epsilon(gain, value.value)}
            for kind, gain in gains.by_kind.items()
        },
        "lag_gap": lag["gap"] if lag else None,
        "lag": lag,
        "budget": {
            "deviators": sum(part.kind == DEVIATOR for part in done),
            "training_episodes": -(-settings.budget // settings.batch) * settings.batch,
            "untrained_deviations": len(bench.cheap),
            "validation_episodes": settings.validation,
            "fresh_episodes": settings.fresh,
            "settling_stages": settings.settling,
        },
        "curves": [
            {
                "name": part_title(bench, part),
                "kind": part.start,
                "supertype": None if part.target is None else bench.target_name(part.target),
                "seed": part.seed,
                **{k: arrays[k].tolist() for k in ("episodes", "means", "errors")},
            }
            for part, arrays in done.items()
            if part.kind == DEVIATOR
        ],
        "supertypes": _supertypes(bench),
        "checkpoint": str(bench.run.path),
        "stage": bench.run.calibration.stage - 1,
        "environment": bench.identity()["environment"],
        "agents": len(bench.env.agent_supertypes),
        "settings": asdict(settings),
    }
    return {"statement": statement(certificate), **certificate}


def _value(value: Estimate) -> dict[str, float]:
    return {"value": value.value, "value_stderr": value.stderr}


def _epsilon(gain: Gain, value: float) -> dict[str, Any]:
    """A gain as ε, raw and relative to |V|; not deviating gains 0, so that ε is not below it."""
    found: dict[str, Any] = {
        "deviation": gain.deviation if gain.gain > 0 else "none",
        "gain": gain.gain,
        "low": gain.low,
        "high": gain.high,
    }
    for name, number in (("", gain.gain), ("_low", gain.low), ("_high", gain.high)):
        epsilon = max(0.0, number)
        found[f"epsilon{name}"] = epsilon
        found[f"relative_epsilon{name}"] = epsilon / abs(value) if value else None
    return found


def _supertypes(bench: Bench) -> dict[str, Any]:
    space, profiles = bench.env.supertype_space, bench.profiles
    found: dict[str, Any] = {
        "kind": bench.settings.supertypes,
        "profile": space.to_mapping(profiles.mean(axis=0)),
    }
    if len(profiles) > 1:
        deviations = profiles.std(axis=0)
        found["standard_deviation"] = dict(zip(space.names, deviations.tolist(), strict=True))
        found["particles"] = profiles.tolist()
    return found


def _lag(bench: Bench, done: Mapping[Part, Arrays]) -> dict[str, Any] | None:
    arrays = done.get(Part(SETTLE))
    if arrays is None:
        return None
    targets = bench.run.targets
    found = lag_gap(arrays["before"], arrays["after"], targets)
    halfway = lag_gap(arrays["before"], arrays["halfway"], targets)
    known = bench.config.target_file()
    wanted = dict(zip(targets.index.tolist(), targets.targets, strict=True))
    return {
        "gap": found.gap,
        "gap_stderr": found.gap_stderr,
        "gap_halfway": halfway.gap,
        "reward_before": found.reward_before,
        "reward_after": found.reward_after,
        "recovered_before": recovered_fraction(found.reward_before, known),
        "recovered_after": recovered_fraction(found.reward_after, known),
        "reported_in_training": _reported(bench),
        "outcomes": [
            {
                "name": name,
                "before": _number(found.before[i]),
                "halfway": _number(halfway.after[i]),
                "after": _number(found.after[i]),
                "target": wanted[i].value if i in wanted else None,
                "scale": wanted[i].scale if i in wanted else None,
            }
            for i, name in enumerate(targets.outcome_names)
        ],
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _reported(bench: Bench) -> float | None:
    """Mean reward of the run's last stages up to the checkpoint's, as it reported them."""
    trial = bench.run.path.absolute().parent
    if not len(bench.run.targets) or not (trial / TRIAL_FILE).is_file():
        return None
    history = read_history(trial)
    stage, reward = (history.get(f"calibration/{name}") for name in ("stage", "reward_mean"))
    if stage is None or reward is None:
        return None
    last = bench.run.calibration.stage - 1
    chosen = reward[(stage > last - REPORTED_STAGES) & (stage <= last)]
    return float(chosen.mean()) if len(chosen) else None


def statement(certificate: Mapping[str, Any]) -> str:
    """The certificate in words, as what it is: a lower bound of ε."""
    budget = certificate["budget"]
    share = ""
    if certificate["relative_epsilon"] is not None:
        share = (
            f" ({certificate['relative_epsilon']:.2%} of |V̂(π, π)| = "
            f"{abs(certificate['value']):.4g})"
        )
    where = {
        "profile": "at the calibrated profile",
        "particles": "at the distribution of the last particles",
    }[certificate["supertypes"]["kind"]]
    return (
        f"No deviation of one agent with a gain above ε = {certificate['epsilon']:.3g}{share}, "
        f"{certificate['confidence']:.0%} interval {certificate['epsilon_low']:.3g} to "
        f"{certificate['epsilon_high']:.3g}, was found {where}. The budget was "
        f"{budget['training_episodes']} training episodes for each of {budget['deviators']} "
        f"deviators, and {budget['untrained_deviations']} deviations that need no training. This "
        "is a lower bound of Definition 1's ε: a better search may find more."
    )
