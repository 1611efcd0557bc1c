"""What a certificate says: its numbers by name, and its statement in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rllib_calsheq.certificates.config import FROM_SCRATCH, FROM_SHARED, CertificateConfig
from rllib_calsheq.certificates.jobs.certificate_jobs import (
    CHEAP,
    DEVIATOR,
    FRESH_CHEAP,
    FRESH_DEVIATOR,
    SETTLE,
    Job,
)
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.jobs.store import Arrays
from rllib_calsheq.certificates.lag import lag_gap
from rllib_calsheq.certificates.search.deviations import CONSTANT, MODE, SHIFT, SUPPLIED
from rllib_calsheq.certificates.search.selection import Gain, Gains
from rllib_calsheq.certificates.search.values import Estimate, over_roles
from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.results.checkpoints import TRIAL_FILE, read_history
from rllib_calsheq.results.evaluation import recovered_fraction

#: Last stages over which the fit that a run reported is averaged.
REPORTED_STAGES = 20
#: Part of ε from which on it is mostly due to one cause.
MOST = 0.5
#: What kinds of deviations are called.
KIND_NAMES = {
    FROM_SHARED: "trained, from the shared policy",
    FROM_SCRATCH: "trained, from scratch",
    MODE: "shared policy without its noise",
    SHIFT: "shared policy, shifted",
    CONSTANT: "constant actions",
    SUPPLIED: "the environment's own",
}


def job_title(game: FrozenGame, job: Job) -> str:
    """What a job is called."""
    if job.kind in (DEVIATOR, FRESH_DEVIATOR):
        who = "of any role" if job.target is None else f"of {game.target_name(job.target)}"
        return f"deviator {who}, {KIND_NAMES[job.start]}, seed {job.seed}"
    if job.kind == FRESH_CHEAP:
        return game.cheap[job.index].name
    return {
        CHEAP: f"{len(game.cheap)} deviations that need no training",
        SETTLE: "shared policy trained on at fixed supertypes",
    }[job.kind]


def describe(
    game: FrozenGame, config: CertificateConfig, gains: Gains, done: Mapping[Job, Arrays]
) -> dict[str, Any]:
    """The certificate as JSON holds it.

    Args:
        game: What it was computed with.
        config: What was asked for.
        gains: The gains that were selected and measured.
        done: Finished jobs, deviators and settling among them.
    """
    value = Estimate.of(over_roles(game.fresh.base_values, game.shares))
    names = game.env.supertype_space.supertypes
    per_supertype = {}
    for k, (name, gain) in enumerate(zip(names, gains.by_supertype, strict=True)):
        if gain is not None:
            own = Estimate.of(game.fresh.base_values[k])
            agents = round(game.shares[k] * len(game.env.agent_supertypes))
            per_supertype[name] = {"agents": agents, **_value(own), **_epsilon(gain, own.value)}
    lag = _lag(game, done)
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
            "deviators": sum(job.kind == DEVIATOR for job in done),
            "training_episodes": -(-config.budget // config.batch) * config.batch,
            "untrained_deviations": len(game.cheap),
            "validation_episodes": config.validation,
            "fresh_episodes": config.fresh,
            "settling_stages": config.settling,
        },
        "curves": [
            {
                "name": job_title(game, job),
                "kind": job.start,
                "supertype": None if job.target is None else game.target_name(job.target),
                "seed": job.seed,
                **{k: arrays[k].tolist() for k in ("episodes", "means", "errors")},
            }
            for job, arrays in done.items()
            if job.kind == DEVIATOR
        ],
        "supertypes": _supertypes(game),
        "checkpoint": str(game.run.path),
        "stage": game.run.calibration.finished_stages,
        "environment": game.identity()["environment"],
        "agents": len(game.env.agent_supertypes),
        "settings": asdict(config),
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


def _supertypes(game: FrozenGame) -> dict[str, Any]:
    space, profiles = game.env.supertype_space, game.profiles
    found: dict[str, Any] = {
        "kind": game.config.supertypes,
        "profile": space.to_mapping(profiles.mean(axis=0)),
    }
    if len(profiles) > 1:
        deviations = profiles.std(axis=0)
        found["standard_deviation"] = dict(zip(space.names, deviations.tolist(), strict=True))
        found["particles"] = profiles.tolist()
    return found


def _lag(game: FrozenGame, done: Mapping[Job, Arrays]) -> dict[str, Any] | None:
    arrays = done.get(Job(SETTLE))
    if arrays is None:
        return None
    targets = game.run.targets
    found = lag_gap(arrays["before"], arrays["after"], targets)
    halfway = lag_gap(arrays["before"], arrays["halfway"], targets)
    known = game.run.config.target_file()
    rewards = {"before": found.reward_before, "after": found.reward_after}
    wanted = dict(zip(targets.index.tolist(), targets.targets, strict=True))
    return {
        "gap": found.gap,
        "gap_stderr": found.gap_stderr,
        "gap_halfway": halfway.gap,
        "reward_before": found.reward_before,
        "reward_after": found.reward_after,
        **{
            f"recovered_{when}": recovered_fraction(reward, known.reward_start, known.ceiling)
            for when, reward in rewards.items()
        },
        "reported_in_training": _reported(game),
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


def _reported(game: FrozenGame) -> float | None:
    """Mean reward of the run's last stages up to the checkpoint's, as it reported them."""
    trial = game.run.path.absolute().parent
    if not len(game.run.targets) or not (trial / TRIAL_FILE).is_file():
        return None
    history = read_history(trial)
    stage, reward = (history.get(f"calibration/{name}") for name in ("stage", "reward_mean"))
    if stage is None or reward is None:
        return None
    last = game.run.calibration.finished_stages
    chosen = reward[(stage > last - REPORTED_STAGES) & (stage <= last)]
    return float(chosen.mean()) if len(chosen) else None


def statement(certificate: Mapping[str, Any]) -> str:
    """The certificate in words: what an agent can gain, as what it is, a lower bound of ε.

    Whether that is more than noise says the interval: it lies above 0 then.
    """
    budget = certificate["budget"]
    where = {
        "profile": "at the calibrated profile",
        "particles": "at the distribution of the last particles",
    }[certificate["supertypes"]["kind"]]
    return (
        f"{_headline(certificate, where)}{_own_noise(certificate)} The budget was "
        f"{budget['training_episodes']} training episodes for each of {budget['deviators']} "
        f"deviators, and {budget['untrained_deviations']} deviations that need no training. This "
        "is a lower bound of Definition 1's ε: a better search may find more."
    )


def _headline(certificate: Mapping[str, Any], where: str) -> str:
    """What one agent can gain, in the first sentence; that it is noise only where it is."""
    interval = (
        f"{certificate['confidence']:.0%} interval {certificate['epsilon_low']:.3g} to "
        f"{certificate['epsilon_high']:.3g}"
    )
    if _is_noise(certificate):
        share = _share(certificate, "relative_epsilon_high")
        return (
            f"No deviation of one agent that was tried gains more than noise {where}: at most "
            f"{certificate['epsilon_high']:.3g}{share}. The best of them comes to "
            f"ε = {certificate['epsilon']:.3g}, {interval}."
        )
    share = _share(certificate, "relative_epsilon")
    return (
        f"One agent can gain ε = {certificate['epsilon']:.3g}{share}, {interval}, {where}. What "
        f"gains that: {certificate['deviation']}."
    )


def _share(certificate: Mapping[str, Any], key: str) -> str:
    """A gain relative to the value, in brackets; nothing where the value is 0."""
    if certificate[key] is None:
        return ""
    return f" ({certificate[key]:.2%} of |V̂(π, π)| = {abs(certificate['value']):.4g})"


def _is_noise(certificate: Mapping[str, Any]) -> bool:
    """Whether the interval of ε goes down to 0."""
    return certificate["epsilon"] <= 0 or certificate["low"] <= 0


def _own_noise(certificate: Mapping[str, Any]) -> str:
    """What to do where most of ε is what the policy loses by its own exploration."""
    mode = certificate["kinds"].get(MODE)
    if mode is None or _is_noise(certificate):
        return ""
    part = mode["gain"] / certificate["epsilon"]
    if mode["low"] <= 0 or part <= MOST:
        return ""
    return (
        f" Most of it ({min(part, 1.0):.0%}) is the policy's own exploration noise, which an agent "
        "gains by leaving out: train longer."
    )
