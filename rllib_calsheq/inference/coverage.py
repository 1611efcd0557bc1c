"""Whether intervals cover what they should: hidden profiles, inferred as if they were not known.

From the ranks of hidden values among their draws (simulation-based calibration: Talts et al.,
2018), from how often intervals hold them, and from a test of all parameters together (TARP: Lemos
et al., 2023).

Shapes: H hidden profiles, M draws, f parameters, I intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom, chisquare, kstest

from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.inference.description import INTERVALS

#: Bins of the ranks that are tested for being equally full.
RANK_BINS = 10
#: Most draws that a trial looks at.
MOST_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of one hidden profile.

    Attributes:
        ranks: Part of the draws below each hidden value, (f,).
        inside: Whether each interval holds it, (I, f).
        needed: Factor by which each interval would have to be drawn out from its median, or may be
            drawn in, to hold it just so, (I, f).
        widths: Width of the wide interval as a part of the prior's, (f,).
        directions: Standard deviations of the draws along their principal axes, as a part of the
            prior's, ascending, (f,).
        joint: Part of the draws that are nearer to a random profile than the hidden one is.
        predicted: Whether the wide band of each withheld outcome holds its true mean, (L,).
    """

    ranks: FloatArray
    inside: npt.NDArray[np.bool_]
    needed: FloatArray
    widths: FloatArray
    directions: FloatArray
    joint: float
    predicted: npt.NDArray[np.bool_]


def judge_draws(
    draws: FloatArray,
    hidden: FloatArray,
    prior: FloatArray,
    rng: np.random.Generator,
    predicted: npt.NDArray[np.bool_] | None = None,
) -> Trial:
    """What draws (M, f) say of a hidden profile (f,), against draws (P, f) of the prior."""
    ends = np.array([_ends(draws, p) for p in INTERVALS])
    inside = (ends[:, 0] <= hidden) & (hidden <= ends[:, 1])
    off = hidden - np.median(draws, axis=0)
    arms = np.where(off > 0, ends[:, 1], ends[:, 0]) - np.median(draws, axis=0)
    needed = np.where(
        off == 0, 0.0, np.divide(off, arms, where=arms != 0, out=np.full_like(arms, np.inf))
    )
    low, high = _ends(prior, INTERVALS[-1])
    scaled, at, reference = (values / prior.std(axis=0) for values in (draws, hidden, prior))
    point = reference[rng.integers(len(reference))]
    nearer = np.linalg.norm(scaled - point, axis=1) < np.linalg.norm(at - point)
    return Trial(
        ranks=(draws < hidden).mean(axis=0),
        inside=inside,
        needed=needed,
        widths=(ends[-1, 1] - ends[-1, 0]) / (high - low),
        directions=np.sqrt(np.linalg.eigvalsh(np.atleast_2d(np.cov(scaled.T))).clip(0.0)),
        joint=float(nearer.mean()),
        predicted=np.zeros(0, dtype=bool) if predicted is None else predicted,
    )


def narrowed(draws: FloatArray, factor: float) -> FloatArray:
    """Draws (M, f), drawn in to their medians by a factor: intervals that are spoilt on purpose."""
    middle = np.median(draws, axis=0)
    return np.asarray(middle + factor * (draws - middle))


def summarise(trials: list[Trial], names: list[str]) -> dict[str, Any]:
    """Coverage, ranks, joint test and sharpness of all trials, as JSON holds them.

    Args:
        trials: One for each hidden profile; at least one.
        names: Names of the f parameters.

    Returns:
        ``intervals``: for each, its ``nominal`` probability, the ``coverage`` over profiles and
        parameters, whether it is as it should be (``holds``) and its ``band``, the middle 95 % that
        a right interval would give if parameters of one profile were as good as one (their errors
        go together), ``parameters``: coverage of each, and ``factor``: drawn out (or in) by it from
        their medians, as many intervals would hold as are said to. ``ranks``: p-value of each
        parameter's being uniform, and the smallest after Bonferroni's correction. ``joint``:
        p-value of TARP. ``widths``: mean of each parameter; ``directions``: of each principal axis,
        the narrowest first. ``predicted``: coverage of withheld outcomes; ``predicted_each``: of
        each.
    """
    inside = np.stack([t.inside for t in trials])
    H = len(trials)
    rows = []
    for i, nominal in enumerate(INTERVALS):
        by_parameter = inside[:, i].mean(axis=0)
        coverage = float(by_parameter.mean())
        # Parameters of one profile err together: how much is seen in the profiles' scatter.
        scatter = inside[:, i].mean(axis=1).std(ddof=1) / np.sqrt(H) if H > 1 else 1.0
        low, high = _binomial_band(H, nominal)
        rows.append(
            {
                "nominal": nominal,
                "coverage": coverage,
                "stderr": float(scatter),
                "band": [low, high],
                "holds": bool(low <= coverage <= high),
                "parameters": dict(zip(names, by_parameter.tolist(), strict=True)),
                "factor": float(np.quantile([t.needed[i] for t in trials], nominal)),
                "interval": list(_clopper_pearson(coverage * H, H)),
            }
        )
    ranks = np.stack([t.ranks for t in trials])
    uniform = [_uniformity(ranks[:, j]) for j in range(ranks.shape[1])]
    joint = np.array([t.joint for t in trials])
    predicted = np.stack([t.predicted for t in trials])
    return {
        "profiles": H,
        "intervals": rows,
        "rank_p_values": dict(zip(names, uniform, strict=True)),
        "least_rank_p_value": min(1.0, min(uniform) * len(uniform)),
        "joint_p_value": float(kstest(joint, "uniform").pvalue),
        "widths": dict(
            zip(names, np.mean([t.widths for t in trials], axis=0).tolist(), strict=True)
        ),
        "directions": np.mean([t.directions for t in trials], axis=0).tolist(),
        "predicted": float(predicted.mean()) if predicted.size else None,
        "predicted_each": predicted.mean(axis=0).tolist(),
        "holds": all(row["holds"] for row in rows),
    }


def _ends(draws: FloatArray, probability: float) -> FloatArray:
    tail = (1.0 - probability) / 2.0
    return np.asarray(np.quantile(draws, [tail, 1.0 - tail], axis=0))


def _binomial_band(count: int, probability: float) -> tuple[float, float]:
    """Middle `CONFIDENCE` of the part of ``count`` intervals that a right one would cover."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = binom.ppf([tail, 1.0 - tail], count, probability) / count
    return float(low), float(high)


def _clopper_pearson(hits: float, count: int) -> tuple[float, float]:
    """Interval of a probability of which ``hits`` of ``count`` were seen."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, count - hits + 1))
    high = 1.0 if hits >= count else float(beta.ppf(1 - tail, hits + 1, count - hits))
    return low, high


def _uniformity(ranks: FloatArray) -> float:
    """p-value of ranks (H,) being uniform."""
    counts, _ = np.histogram(ranks, bins=min(RANK_BINS, max(2, len(ranks) // 5)), range=(0, 1))
    return float(chisquare(counts).pvalue)
