"""What an inference found, as numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import chi2

from rllib_calsheq.certificates.sensitivity.analysis import combination
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import Target
from rllib_calsheq.inference.description import (
    INTERVALS,
    PRIOR_DRAWS,
    Directions,
    Knowledge,
    describe_parameter,
    trade_offs,
)
from rllib_calsheq.inference.emulator import Emulator
from rllib_calsheq.inference.jobs import Laboratory
from rllib_calsheq.inference.moments import simulated_moments
from rllib_calsheq.inference.waves import PLAUSIBLE, Lag, Set, between, closest, predict

#: R² on profiles that it has not seen from which an emulator is taken to be good.
GOOD_R2 = 0.95
#: Trade-offs that the sentences name.
MAX_NAMED = 4
#: Walkers agree if split R̂ is at most this.
LARGEST_R_HAT = 1.05
#: A target gets worse if its miss grows by this part of the miss that is put right.
WORSE = 0.2
#: The middle of what the model gives, of this probability, is what a target must lie in.
REACH = 0.98
#: Scales by which an emulator is off from which its word on what is out of reach is not relied on.
LARGE_LACK_OF_FIT = 0.5


def describe(
    laboratory: Laboratory,
    found: Set,
    first: Emulator,
    lag: Lag | None,
    regions: tuple[FloatArray | None, FloatArray | None],
    kept: FloatArray,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The findings as JSON holds them.

    Args:
        laboratory: The run, and what was asked for.
        found: The set.
        first: The emulator of the first wave, which knows the whole prior.
        lag: What training on changes over the set; None where it was not measured.
        regions: Draws (M, f) of the two eligibility sets; None for an empty one.
        kept: Draws (D, f) of the posterior that are kept.
        rng: Generator of predictions' errors and of the prior's draws.
    """
    run, config, question = laboratory.run, laboratory.config, found.question
    free, prior = run.calibration.parameters.free, question.prior
    calibrated = run.calibration.parameters.reduce(run.calibration.calibrated_profile())
    before = prior.draw(PRIOR_DRAWS, rng)
    directions = Directions.of(found.draws.profiles, prior.deviations)
    best = closest(found, between(config), rng)
    limit = chi2.ppf(config.confidence, len(question.values))
    result: dict[str, Any] = {
        "checkpoint": str(run.path),
        "stage": run.calibration.finished_stages,
        "prior": prior.in_words,
        "intervals": list(INTERVALS),
        "parameters": _parameters(laboratory, found, regions, before, calibrated),
        "directions": [
            {
                "deviation": float(directions.deviations[j]),
                "knowledge": directions.knowledge(j),
                "of": combination(directions.vectors[j], free.names),
                "vector": directions.vectors[j].tolist(),
            }
            for j in range(len(free))
        ],
        "trade_offs": [
            {"parameters": [a, b], "correlation": c}
            for a, b, c in trade_offs(found.draws.profiles, free.names)
        ],
        "targets": _targets(laboratory, found, first, best, before),
        "predictions": _predictions(laboratory, found, lag, kept, rng),
        "best": free.to_mapping(free.from_unit(best)),
        "best_square": float(found.squares(best[None])[0]),
        "moments": simulated_moments(
            found.emulator.only(question.index), calibrated, question.values, found.errors
        ),
        "prior_share": float((found.squares(before) <= limit).mean()),
        "lag": None if lag is None else {"profiles": lag.profiles, "stages": config.settling},
        "settings": asdict(config),
    }
    result["in_words"] = in_words(result, directions)
    return result


def _parameters(
    laboratory: Laboratory,
    found: Set,
    regions: tuple[FloatArray | None, FloatArray | None],
    prior: FloatArray,
    calibrated: FloatArray,
) -> list[dict[str, Any]]:
    """Intervals and classes of the parameters that move, in natural units."""
    parameters = laboratory.run.calibration.parameters
    free, names = parameters.free, parameters.space.names
    known = laboratory.run.config.target_file().profile or {}
    true = parameters.reduce(np.array([known.get(name, np.nan) for name in names]))
    sizes, r_hat = found.draws.effective_size(), found.draws.split_r_hat()
    draws, prior = free.from_unit(found.draws.profiles), free.from_unit(prior)
    eligible, confident = (None if r is None else free.from_unit(r) for r in regions)
    calibrated, true = free.from_unit(calibrated), free.from_unit(true)
    return [
        asdict(describe_parameter(name, draws[:, j], prior[:, j]))
        | {
            "calibrated": float(calibrated[j]),
            "true": float(true[j]) if known else None,
            "prior": _interval(prior[:, j], INTERVALS[-1]),
            "eligible": None if eligible is None else _range(eligible[:, j]),
            "confident": None if confident is None else _range(confident[:, j]),
            "effective_draws": float(sizes[j]),
            "split_r_hat": float(r_hat[j]),
        }
        for j, name in enumerate(free.names)
    ]


def _targets(
    laboratory: Laboratory, found: Set, first: Emulator, best: FloatArray, prior: FloatArray
) -> list[dict[str, Any]]:
    """Errors, emulator and reach of each target, in scales but for the value."""
    question, errors = found.question, found.errors
    emulator = found.emulator.only(question.index)
    tail = (1.0 - REACH) / 2.0
    low, high = np.quantile(first.only(question.index).mean(prior), [tail, 1.0 - tail], axis=0)
    implausible = found.implausibility(best[None])[0]
    slopes, misses = emulator.slopes(best), emulator.mean(best[None])[0] - question.values
    rows = []
    wanted = laboratory.run.targets.targets
    for k, target in enumerate(wanted):
        missed = bool(abs(implausible[k]) > PLAUSIBLE)
        rows.append(
            {
                "name": target.outcome,
                "target": target.value,
                "scale": target.scale,
                "observation_error": float(errors.observation[k]),
                "observation_known": bool(errors.stated[k]),
                "simulation_error": float(errors.simulation[k]),
                "emulator_error": float(errors.emulator[k]),
                "lag_error": float(errors.lag[k]),
                "discrepancy": float(errors.discrepancy[k]),
                "explained": float(emulator.explained[k]),
                "first_explained": float(first.only(question.index).explained[k]),
                "implausibility": float(implausible[k]),
                "model_gives": [float(low[k]) * target.scale, float(high[k]) * target.scale],
                "out_of_reach": missed,
                "out_of_reach_alone": not low[k] <= question.values[k] <= high[k],
                "against": _against(k, slopes, misses, wanted) if missed else [],
            }
        )
    return rows


def _against(
    k: int, slopes: FloatArray, misses: FloatArray, targets: Sequence[Target]
) -> list[str]:
    """The targets that get worse where target k is put right, by its slopes (K, f) and misses."""
    towards = slopes[k] / max(float(slopes[k] @ slopes[k]), 1e-300)
    moved = misses - misses[k] * (slopes @ towards)
    worse = np.abs(moved) > np.abs(misses) + WORSE * abs(misses[k])
    return [t.outcome for j, t in enumerate(targets) if worse[j] and j != k]


def _predictions(
    laboratory: Laboratory, found: Set, lag: Lag | None, kept: FloatArray, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """What the set says of every mean outcome, targets and others."""
    question = found.question
    means = predict(found, lag, kept, rng) * question.scales
    wanted = {t.outcome: t.value for t in laboratory.run.targets.targets}
    return [
        {
            "name": outcome.name,
            "target": wanted.get(outcome.name),
            "median": float(np.median(means[:, i])),
            "intervals": [_interval(means[:, i], p) for p in INTERVALS],
            "explained": float(found.emulator.explained[i]),
        }
        for i, outcome in enumerate(laboratory.run.calibration.columns.all)
    ]


def in_words(result: dict[str, Any], directions: Directions) -> list[str]:
    """The findings in sentences."""
    rows, targets = result["parameters"], result["targets"]
    pinned, free = directions.count(Knowledge.PINNED), directions.count(Knowledge.FREE)
    said = [
        f"Given the targets and a prior that is {result['prior']}, {pinned} of {len(rows)} "
        f"directions of the profile are pinned down, {free} are as free as before, and "
        f"{len(rows) - pinned - free} are narrowed.",
        _locally_in_words(result, len(rows) - free),
    ]
    for knowledge in (
        Knowledge.PINNED,
        Knowledge.NARROWED,
        Knowledge.ABOVE,
        Knowledge.BELOW,
        Knowledge.FREE,
    ):
        names = [r["name"] for r in rows if r["knowledge"] == knowledge]
        if names:
            said.append(f"{str(knowledge).capitalize()}: {', '.join(names)}.")
    for pair in result["trade_offs"][:MAX_NAMED]:
        a, b = pair["parameters"]
        how = "rise together" if pair["correlation"] > 0 else "stand in for one another"
        said.append(f"{a} and {b} {how} (correlation {pair['correlation']:+.2f}).")
    said += _reach_in_words(targets)
    if result["lag"] is None:
        said.append(
            "The policy was not trained on over the set, so that what the frozen policy shows may "
            "differ from equilibrium by more than the intervals say."
        )
    else:
        said.append(
            f"The set is corrected for what training the policy on changes, as measured at "
            f"{result['lag']['profiles']} of its profiles over {result['lag']['stages']} stages."
        )
    weak = min(targets, key=lambda t: t["first_explained"])
    if weak["first_explained"] < GOOD_R2:
        said.append(
            f"The emulator of the whole box explains {weak['name']} worst (R² "
            f"{weak['first_explained']:.2f} on profiles that it has not seen); within the set it "
            f"is off by {weak['emulator_error']:.2g} scales."
        )
    worst = max(rows, key=lambda r: r["split_r_hat"])
    if worst["split_r_hat"] > LARGEST_R_HAT:
        said.append(
            f"The walkers disagree on {worst['name']} (split R̂ {worst['split_r_hat']:.2f}): give "
            "them more --steps."
        )
    return said


def _locally_in_words(result: dict[str, Any], told: int) -> str:
    """What the targets see of a small move, and why they may tell more over the whole prior."""
    seen = result["moments"]["rank"]
    unseen = len(result["parameters"]) - seen
    said = f"Round the calibrated profile the targets see {seen} direction{'s' * (seen != 1)}"
    if unseen:
        said += f"; small moves along the other {unseen} go unseen"
    if told <= seen:
        return f"{said}."
    share = result["prior_share"]
    few = f"about {share:.2g}" if share else f"less than {1.0 / PRIOR_DRAWS:.0e}"
    return (
        f"{said}. Over the whole prior they tell more than that: so few of its profiles meet the "
        f"targets (a part of {few}) that those few have more in common than a small move shows."
    )


def _reach_in_words(targets: list[dict[str, Any]]) -> list[str]:
    """Which targets no profile of the set meets, and what they stand against."""
    missed = [t for t in targets if t["out_of_reach"]]
    said = []
    for t in missed:
        low, high = t["model_gives"]
        against = t["against"]
        why = (
            f"the model gives {low:.4g} to {high:.4g}"
            if t["out_of_reach_alone"]
            else "alone it could be met, but not with the others"
        )
        trade = f"; what moves it there moves {', '.join(against)} away" if against else ""
        said.append(
            f"{t['name']} = {t['target']:.4g} is out of the model's reach by "
            f"{abs(t['implausibility']):.1f} standard deviations of all errors ({why}{trade})."
        )
        if t["emulator_error"] > LARGE_LACK_OF_FIT:
            said.append(
                f"Do not rely on that: the emulator of {t['name']} is off by "
                f"{t['emulator_error']:.2g} scales, and a far corner of the box may do what it "
                "does not foresee. `calsheq check-targets` looks for profiles there."
            )
    if not missed:
        said.append("No target is out of the model's reach.")
    return said


def _interval(values: FloatArray, probability: float) -> list[float]:
    tail = (1.0 - probability) / 2.0
    return [float(v) for v in np.quantile(values, [tail, 1.0 - tail])]


def _range(values: FloatArray) -> list[float]:
    return [float(values.min()), float(values.max())]
