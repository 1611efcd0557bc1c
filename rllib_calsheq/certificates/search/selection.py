"""Which deviation is reported, and how sure its gain is. Pure NumPy.

A deviation is selected by its mean gain on validation episodes and reported with its mean gain on
fresh ones, so that picking the best of many does not flatter it. Not deviating is always possible,
so that a gain below 0 counts as 0.

Intervals are percentiles of a bootstrap of the whole procedure: training seeds are drawn with
replacement (deviators of one seed come or stay away together), then validation episodes, on which
the best of what is left is selected, then fresh episodes.

Shapes: C candidates, G supertypes, Ev validation and Ef fresh episodes, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.finite_games import gain_bound

REPLICATES = 2000


@dataclass(frozen=True, eq=False)
class Candidate:
    """A deviation and what it gained.

    Attributes:
        name: What it is called in a certificate.
        kind: The kind of deviation that it is one of.
        validation: Gains of one deviating agent of each supertype in each episode, (G, Ev); NaN
            for a supertype that it is no candidate for.
        fresh: The same in episodes that nothing was selected on, (G, Ef).
        seed: Training seed; None for a deviation that was not trained.
    """

    name: str
    kind: str
    validation: FloatArray
    fresh: FloatArray
    seed: int | None = None


@dataclass(frozen=True)
class Gain:
    """A selected deviation's gain on fresh episodes.

    Attributes:
        gain: Mean gain; below 0 where what looked best in validation does not pay.
        low, high: Bootstrap interval of it.
        deviation: Name of the selected deviation.
    """

    gain: float
    low: float
    high: float
    deviation: str


@dataclass(frozen=True, eq=False)
class Gains:
    """What a certificate says of gains.

    Attributes:
        whole: Of one deviating agent of random role (Definition 1).
        by_supertype: Of one deviating agent of each supertype, G; None for one without agents. The
            better of the deviation that was selected for that supertype and of the one that was
            selected for the whole, so that ``bound`` is at least ``whole.gain``.
        by_kind: Of one agent of random role, with deviations of one kind only.
        bound: Σ_k (n_k / n) of ``by_supertype``.
    """

    whole: Gain
    by_supertype: tuple[Gain | None, ...]
    by_kind: dict[str, Gain]
    bound: float


def select(
    candidates: Sequence[Candidate],
    counts: Sequence[int],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> Gains:
    """Selects on validation episodes, measures on fresh ones, and bootstraps both.

    Args:
        candidates: All deviations; at least one for the whole, i.e. without NaN where a supertype
            has agents.
        counts: Number of agents n_k of each supertype, (G,).
        rng: Source of the bootstrap's draws.
        replicates: R.

    Raises:
        ValueError: If no candidate is one for the whole.
    """
    weights = np.asarray(counts) / np.sum(counts)
    present = weights > 0
    validation = np.stack([c.validation for c in candidates])[:, present]  # (C, G', Ev)
    fresh = np.stack([c.fresh for c in candidates])[:, present]
    if not np.isfinite(validation).all(axis=(1, 2)).any():
        raise ValueError("no candidate deviates in every supertype; give at least one that does")
    draws = _Draws.make(candidates, validation.shape[-1], fresh.shape[-1], rng, replicates)
    weights = weights[present]

    whole, whole_picks = _best(validation, fresh, weights, draws)
    names = [c.name for c in candidates]
    found: list[Gain | None] = []
    for k in range(len(weights)):
        one = np.eye(len(weights))[k]
        own, own_picks = _best(validation, fresh, one, draws)
        means = draws.fresh_means(np.nan_to_num(fresh[:, k]))
        point, replicas = means[0], means[1:]
        best = max((own, whole), key=lambda c: point[c])
        rows = np.arange(len(replicas))
        both = np.maximum(replicas[rows, own_picks], replicas[rows, whole_picks])
        found.append(_gain(point[best], both, names[best]))
    by_supertype = iter(found)
    rows = np.arange(len(whole_picks))
    kinds = {}
    for kind in dict.fromkeys(c.kind for c in candidates):
        of_kind = np.array([c.kind == kind for c in candidates])
        usable = of_kind & np.isfinite(validation).all(axis=(1, 2))
        if usable.any():
            best, picks = _best(np.where(usable[:, None, None], validation, np.nan), fresh, weights,
                                draws)  # fmt: skip
            kinds[kind] = _measured(best, picks, fresh, weights, draws, names)
    gains = tuple(next(by_supertype) if there else None for there in present)
    return Gains(
        whole=_measured(whole, whole_picks, fresh, weights, draws, names),
        by_supertype=gains,
        by_kind=kinds,
        bound=gain_bound([g.gain if g else 0.0 for g in gains], list(counts)),
    )


@dataclass(frozen=True, eq=False)
class _Draws:
    """Weights of episodes and presence of candidates; row 0 is the sample itself.

    Attributes:
        here: Whether each candidate is there, (R + 1, C).
        validation: Weight of each validation episode, (R + 1, Ev).
        fresh: Weight of each fresh episode, (R + 1, Ef).
    """

    here: npt.NDArray[np.bool_]
    validation: FloatArray
    fresh: FloatArray

    @classmethod
    def make(
        cls,
        candidates: Sequence[Candidate],
        num_validation: int,
        num_fresh: int,
        rng: np.random.Generator,
        replicates: int,
    ) -> _Draws:
        seeds = sorted({c.seed for c in candidates if c.seed is not None})
        here = np.ones((replicates + 1, len(candidates)), dtype=bool)
        if seeds:
            chosen = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), replicates)
            for j, candidate in enumerate(candidates):
                if candidate.seed is not None:
                    here[1:, j] = chosen[:, seeds.index(candidate.seed)] > 0
        return cls(
            here,
            _episode_weights(num_validation, rng, replicates),
            _episode_weights(num_fresh, rng, replicates),
        )

    def fresh_means(self, gains: FloatArray) -> FloatArray:
        """Means (R + 1, C) of per-episode gains (C, Ef)."""
        return np.asarray(self.fresh @ gains.T)


def _episode_weights(episodes: int, rng: np.random.Generator, replicates: int) -> FloatArray:
    equal = np.full(episodes, 1 / episodes)
    drawn = rng.multinomial(episodes, equal, replicates) / episodes
    return np.concatenate([equal[None], drawn])


def _best(
    validation: FloatArray, fresh: FloatArray, weights: FloatArray, draws: _Draws
) -> tuple[int, npt.NDArray[np.intp]]:
    """The best candidate on validation episodes, and that of each replicate, (R,).

    Deviations that were not trained are always there; where a replicate has no candidate at all,
    because those that count belong to other seeds, the sample's own stands for it.
    """
    used = weights > 0
    gains = np.tensordot(weights[used], validation[:, used], axes=(0, 1))  # (C, Ev)
    allowed = np.isfinite(gains).all(axis=1)
    means = draws.validation @ np.nan_to_num(gains).T
    means = np.where(allowed & draws.here, means, -np.inf)
    best = int(means[0].argmax())
    picks = np.where(np.isfinite(means[1:]).any(axis=1), means[1:].argmax(axis=1), best)
    return best, picks


def _measured(
    best: int,
    picks: npt.NDArray[np.intp],
    fresh: FloatArray,
    weights: FloatArray,
    draws: _Draws,
    names: Sequence[str],
) -> Gain:
    gains = np.nan_to_num(np.tensordot(weights, fresh, axes=(0, 1)))
    means = draws.fresh_means(gains)
    return _gain(means[0, best], means[1:][np.arange(len(picks)), picks], names[best])


def _gain(point: float, replicas: FloatArray, name: str) -> Gain:
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(replicas, [tail, 100.0 - tail])
    return Gain(float(point), float(low), float(high), name)
