"""What payoffs between snapshots say about Assumption 1: numbers by name, and words.

Shapes: m snapshots, E episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.decomposition import cyclic_p_value, decompose, episode_noise
from rllib_calsheq.equilibrium.measured import SkillCheck, check_skill, measured_transitivity

#: Words for the signs of what was measured.
SIGNS = {1: "yes", -1: "no", 0: "within noise"}


def describe(
    values: FloatArray,
    gains: FloatArray,
    stages: Sequence[int],
    epsilon: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """What payoffs in single episodes say about Assumption 1, as JSON holds it.

    Args:
        values: V̂(π_x, π_x) of each episode, (E, m).
        gains: V̂(π_y, π_x) − V̂(π_x, π_x) of each episode, (E, m, m) with rows y.
        stages: Stage of each snapshot, m.
        epsilon: Gains up to this fraction of |V̂| of the last one do not count.
        rng: Source of the bootstrap.
    """
    E = len(values)
    value, gain = values.mean(axis=0), gains.mean(axis=0)
    errors = gains.std(axis=0) / np.sqrt(E)
    payoff = gain + value
    least = epsilon * abs(float(value[-1]))
    measured = measured_transitivity(payoff, errors, least, CONFIDENCE)
    split = decompose(payoff)
    # T's rise from x to y in each episode: the decomposition is linear in the gains.
    antisymmetric = (gains - gains.transpose(0, 2, 1)) / 2
    candidates = {
        "transitive_part": (split.skill, antisymmetric.mean(axis=2)),
        "value": (value, values),
    }
    found: dict[str, Any] = {
        "stages": list(stages),
        "episodes": E,
        "confidence": CONFIDENCE,
        "epsilon": least,
        "relative_epsilon": epsilon,
        "verdict": measured.verdict,
        "cycle": [stages[i] for i in measured.cycle],
        "values": value.tolist(),
        "value_errors": (values.std(axis=0) / np.sqrt(E)).tolist(),
        "gains": gain.tolist(),
        "gain_errors": errors.tolist(),
        "shares": split.shares,
        "cyclic": split.cyclic.tolist(),
        "cyclic_p_value": cyclic_p_value(payoff, episode_noise(gains, rng)),
        "candidates": {},
    }
    for name, (skill, samples) in candidates.items():
        rises = samples[:, :, None] - samples[:, None, :]
        rise_errors = rises.std(axis=0) / np.sqrt(E)
        check = check_skill(
            payoff, skill, errors_of_gains=errors, skill_errors=rise_errors,
            epsilon=least, confidence=CONFIDENCE,
        )  # fmt: skip
        found["candidates"][name] = {
            "skill": skill.tolist(),
            "errors": (samples.std(axis=0) / np.sqrt(E)).tolist(),
            "verdict": check.verdict,
            "steps": _steps(check, stages, errors, rise_errors),
        }
    return {"statement": statement(found), **found}


def _steps(
    check: SkillCheck, stages: Sequence[int], errors: FloatArray, rise_errors: FloatArray
) -> list[dict[str, Any]]:
    return [
        {
            "from": stages[x],
            "to": stages[y],
            "gain": float(check.gains[i]),
            "gain_error": float(errors[y, x]),
            "improved": SIGNS[int(check.improved[i])],
            "rise": float(check.rises[i]),
            "rise_error": float(rise_errors[y, x]),
            "rose": SIGNS[int(check.rose[i])],
        }
        for i, (x, y) in enumerate(check.pairs.tolist())
    ]


def percent(share: float) -> str:
    """A share of 1 in words, small ones and those near 1 with the digits that tell."""
    if share > 0.99:
        return f"{100 * share:.2f} %"
    return f"{100 * share:.2g} %"


def statement(found: Mapping[str, Any]) -> str:
    """The result in words."""
    stages, cycle = found["stages"], found["cycle"]
    circle = " → ".join(str(s) for s in [*cycle, *cycle[:1]])
    verdict = {
        "holds": "no cycle of gains above ε is possible within the errors: extended transitivity "
        "holds among them",
        "fails": f"the stages {circle} form a cycle of gains above ε for certain: extended "
        "transitivity fails",
        "undecided": f"a cycle of gains above ε is neither certain nor ruled out (stages {circle}, "
        "perhaps): more episodes or a larger ε would tell",
    }[found["verdict"]]
    shares = found["shares"]
    words = (
        f"Of {len(stages)} snapshots (stages {stages[0]} to {stages[-1]}) in one game, with ε = "
        f"{found['epsilon']:.3g} ({found['relative_epsilon']:.2%} of the last one's value): "
        f"{verdict} ({found['confidence']:.0%} confidence). Of the gains' squared norm "
        f"{percent(shares['transitive'])} is transitive, {percent(shares['cyclic'])} cyclic (p = "
        f"{found['cyclic_p_value']:.2g} if there were only noise) and "
        f"{percent(shares['mutual'])} mutual. "
    )
    steps = found["candidates"]["transitive_part"]["steps"]
    improved = [s for s in steps if s["improved"] == "yes"]
    rose = sum(s["rose"] == "yes" for s in improved)
    fell = sum(s["rose"] == "no" for s in improved)
    return words + (
        f"{len(improved)} of {len(steps)} steps of training gained more than ε for certain; the "
        f"transitive part as T rose for certain on {rose} of them and fell on {fell}."
    )
