"""The parts of a certificate, and what computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rllib_calsheq.certificates.config import FROM_SCRATCH, FROM_SHARED, CertificateSettings
from rllib_calsheq.certificates.jobs.frozen_game import Bench
from rllib_calsheq.certificates.jobs.store import Arrays, PartStore
from rllib_calsheq.certificates.lag import sample_outcomes, settle
from rllib_calsheq.certificates.search.deviators import Training, train_deviator
from rllib_calsheq.certificates.search.policies import ModulePolicy
from rllib_calsheq.certificates.search.values import over_roles
from rllib_calsheq.core.supertypes import FloatArray

CHEAP, SETTLE, DEVIATOR, FRESH_CHEAP, FRESH_DEVIATOR = (
    "cheap", "settle", "deviator", "fresh_cheap", "fresh_deviator",
)  # fmt: skip
#: What is put before the names of a policy's weights in a part's file.
WEIGHT = "weight:"
#: Validation episodes on which all deviations that need no training are tried, and how many of a
#: kind then go on to all of them.
SCREENING, FINALISTS = 128, 2


@dataclass(frozen=True)
class Part:
    """One part of the work.

    Attributes:
        kind: What is to be done.
        start: Where a deviator starts.
        target: Index of the supertype that deviates; None for a random agent.
        seed: Training seed.
        index: Index of a deviation that needs no training.
    """

    kind: str
    start: str = ""
    target: int | None = None
    seed: int = 0
    index: int = 0

    @property
    def name(self) -> str:
        """Name of its file."""
        if self.kind in (DEVIATOR, FRESH_DEVIATOR):
            target = "whole" if self.target is None else f"supertype_{self.target + 1}"
            return f"{self.kind}_{target}_{self.start}_{self.seed}"
        return f"{self.kind}_{self.index}" if self.kind == FRESH_CHEAP else self.kind


def deviator_parts(bench: Bench) -> list[Part]:
    """All deviators that are trained; a constant policy has no weights to start from."""
    starts = (FROM_SHARED, FROM_SCRATCH) if isinstance(bench.policy, ModulePolicy) else (
        FROM_SCRATCH,
    )  # fmt: skip
    return [
        Part(DEVIATOR, start, target, seed)
        for seed in range(bench.settings.seeds)
        for target in bench.targets
        for start in starts
    ]


def compute(bench: Bench, store: PartStore, part: Part) -> Arrays:
    """Does a part."""
    if part.kind == CHEAP:
        return _cheap(bench)
    if part.kind == SETTLE:
        return _settle(bench)
    if part.kind == DEVIATOR:
        return _deviator(bench, part)
    if part.kind == FRESH_CHEAP:
        return {"gains": bench.fresh.gains(bench.cheap[part.index].policy)}
    trained = store.load(Part(DEVIATOR, part.start, part.target, part.seed).name)
    assert trained is not None
    policy = bench.module_policy(weights_of(trained), greedy=True)
    return {"gains": bench.fresh.gains(policy, _only(part.target))}


def weights_of(arrays: Arrays) -> Arrays:
    """The policy's weights in a part."""
    return {k.removeprefix(WEIGHT): v for k, v in arrays.items() if k.startswith(WEIGHT)}


def merit(gains: FloatArray, target: int | None, shares: FloatArray) -> FloatArray:
    """What counts of per-episode gains (G, E) for a target, (E,)."""
    return over_roles(gains, shares) if target is None else gains[target]


def _only(target: int | None) -> list[int] | None:
    return None if target is None else [target]


def _cheap(bench: Bench) -> Arrays:
    """Measures deviations that need no training: all on few episodes, the best on all.

    Returns:
        ``chosen`` (c,) indices of the best of each kind, for the whole and each supertype, and
        their ``gains`` (c, G, Ev).
    """
    few = bench.validation.first(SCREENING)
    screened = [few.gains(d.policy) for d in bench.cheap]
    chosen: set[int] = set()
    for kind in dict.fromkeys(d.kind for d in bench.cheap):
        of_kind = [i for i, d in enumerate(bench.cheap) if d.kind == kind]
        for target in bench.targets:
            means = [merit(screened[i], target, bench.shares).mean() for i in of_kind]
            chosen |= {of_kind[int(i)] for i in np.argsort(means)[-FINALISTS:]}
    order = sorted(chosen)
    gains = np.stack([bench.validation.gains(bench.cheap[i].policy) for i in order])
    return {"chosen": np.array(order), "gains": gains}


def _deviator(bench: Bench, part: Part) -> Arrays:
    """Trains a deviator, measures it on its way, and keeps it where it was best."""
    settings = bench.settings
    training = Training(
        iterations=-(-settings.budget // settings.batch),
        episodes=settings.batch,
        measurements=settings.measurements,
    )
    warm = part.start == FROM_SHARED
    keys = (settings.seed, part.seed, int(warm), 0 if part.target is None else part.target + 1)
    episodes, means, errors = [0], [0.0], [0.0]
    best, kept = -np.inf, {}
    if not warm:
        episodes, means, errors = [], [], []
    for seen, weights in train_deviator(
        bench.config, bench.env, bench.policy, bench.profiles, training, keys,
        part.target, bench.shared_weights if warm else None,
    ):  # fmt: skip
        gains = bench.validation.gains(
            bench.module_policy(weights, greedy=True), _only(part.target)
        )
        counted = merit(gains, part.target, bench.shares)
        episodes.append(seen)
        means.append(float(counted.mean()))
        errors.append(float(counted.std() / np.sqrt(len(counted))))
        if counted.mean() > best:
            best = counted.mean()
            kept = {"gains": gains} | {WEIGHT + k: v for k, v in weights.items()}
    curve = {"episodes": episodes, "means": means, "errors": errors}
    return kept | {name: np.array(values) for name, values in curve.items()}


def _settle(bench: Bench) -> Arrays:
    """Outcomes of fresh single episodes before, halfway and after settling."""
    settings, stages = bench.settings, bench.settings.settling
    first = bench.run.calibration.stage - 1
    episodes = bench.fresh.episodes
    found = {"before": sample_outcomes(bench.env, bench.policy, episodes)}
    for m, weights in enumerate(
        settle(bench.config, bench.env, bench.run.path, bench.profiles, first, stages,
               settings.seed), start=1,
    ):  # fmt: skip
        for name, when in (("halfway", -(-stages // 2)), ("after", stages)):
            if m == when:
                policy = bench.module_policy(weights)
                found[name] = sample_outcomes(bench.env, policy, episodes)
        if m == stages:
            found |= {WEIGHT + k: v for k, v in weights.items()}
    return found


def computer(bench: Bench, store: PartStore) -> Callable[[Part], Arrays]:
    """What computes parts with a bench that is loaded already."""
    return partial(compute, bench, store)


def load_computer(
    checkpoint: Path, settings: CertificateSettings, store: PartStore
) -> Callable[[Part], Arrays]:
    """What computes parts in another process, with a bench of its own."""
    return computer(Bench(checkpoint, settings), store)
