"""The jobs of a certificate, and what computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rllib_calsheq.certificates.config import FROM_SCRATCH, FROM_SHARED, CertificateConfig
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.jobs.store import Arrays, JobStore
from rllib_calsheq.certificates.lag import sample_outcomes, settle
from rllib_calsheq.certificates.search.deviators import Training, train_deviator
from rllib_calsheq.certificates.search.policies import ModulePolicy
from rllib_calsheq.certificates.search.values import over_roles
from rllib_calsheq.core.supertypes import FloatArray

CHEAP, SETTLE, DEVIATOR, FRESH_CHEAP, FRESH_DEVIATOR = (
    "cheap", "settle", "deviator", "fresh_cheap", "fresh_deviator",
)  # fmt: skip
#: What is put before the names of a policy's weights in a job's file.
WEIGHT = "weight:"
#: Validation episodes on which all deviations that need no training are tried, and how many of a
#: kind then go on to all of them.
SCREENING, FINALISTS = 128, 2


@dataclass(frozen=True)
class Job:
    """One measurement or training that is stored when it is done.

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


def deviator_jobs(game: FrozenGame) -> list[Job]:
    """All deviators that are trained; a constant policy has no weights to start from."""
    starts = (FROM_SHARED, FROM_SCRATCH) if isinstance(game.policy, ModulePolicy) else (
        FROM_SCRATCH,
    )  # fmt: skip
    return [
        Job(DEVIATOR, start, target, seed)
        for seed in range(game.config.seeds)
        for target in game.targets
        for start in starts
    ]


def compute(game: FrozenGame, store: JobStore, job: Job) -> Arrays:
    """Does a job."""
    if job.kind == CHEAP:
        return _cheap(game)
    if job.kind == SETTLE:
        return _settle(game)
    if job.kind == DEVIATOR:
        return _deviator(game, job)
    if job.kind == FRESH_CHEAP:
        return {"gains": game.fresh.gains(game.cheap[job.index].policy)}
    trained = store.load(Job(DEVIATOR, job.start, job.target, job.seed).name)
    assert trained is not None
    policy = game.module_policy(weights_of(trained), greedy=True)
    return {"gains": game.fresh.gains(policy, _only(job.target))}


def weights_of(arrays: Arrays) -> Arrays:
    """The policy's weights in a job."""
    return {k.removeprefix(WEIGHT): v for k, v in arrays.items() if k.startswith(WEIGHT)}


def merit(gains: FloatArray, target: int | None, shares: FloatArray) -> FloatArray:
    """What counts of per-episode gains (G, E) for a target, (E,)."""
    return over_roles(gains, shares) if target is None else gains[target]


def _only(target: int | None) -> list[int] | None:
    return None if target is None else [target]


def _cheap(game: FrozenGame) -> Arrays:
    """Measures deviations that need no training: all on few episodes, the best on all.

    Returns:
        ``chosen`` (c,) indices of the best of each kind, for the whole and each supertype, and
        their ``gains`` (c, G, Ev).
    """
    few = game.validation.first(SCREENING)
    screened = [few.gains(d.policy) for d in game.cheap]
    chosen: set[int] = set()
    for kind in dict.fromkeys(d.kind for d in game.cheap):
        of_kind = [i for i, d in enumerate(game.cheap) if d.kind == kind]
        for target in game.targets:
            means = [merit(screened[i], target, game.shares).mean() for i in of_kind]
            chosen |= {of_kind[int(i)] for i in np.argsort(means)[-FINALISTS:]}
    order = sorted(chosen)
    gains = np.stack([game.validation.gains(game.cheap[i].policy) for i in order])
    return {"chosen": np.array(order), "gains": gains}


def _deviator(game: FrozenGame, job: Job) -> Arrays:
    """Trains a deviator, measures it on its way, and keeps it where it was best."""
    config = game.config
    training = Training(
        iterations=-(-config.budget // config.batch),
        episodes=config.batch,
        measurements=config.measurements,
    )
    warm = job.start == FROM_SHARED
    keys = (config.seed, job.seed, int(warm), 0 if job.target is None else job.target + 1)
    episodes, means, errors = [0], [0.0], [0.0]
    best, kept = -np.inf, {}
    if not warm:
        episodes, means, errors = [], [], []
    for seen, weights in train_deviator(
        game.run.config, game.env, game.policy, game.profiles, training, keys,
        job.target, game.shared_weights if warm else None,
    ):  # fmt: skip
        gains = game.validation.gains(game.module_policy(weights, greedy=True), _only(job.target))
        counted = merit(gains, job.target, game.shares)
        episodes.append(seen)
        means.append(float(counted.mean()))
        errors.append(float(counted.std() / np.sqrt(len(counted))))
        if counted.mean() > best:
            best = counted.mean()
            kept = {"gains": gains} | {WEIGHT + k: v for k, v in weights.items()}
    curve = {"episodes": episodes, "means": means, "errors": errors}
    return kept | {name: np.array(values) for name, values in curve.items()}


def _settle(game: FrozenGame) -> Arrays:
    """Outcomes of fresh single episodes before, halfway and after settling."""
    config, stages = game.config, game.config.settling
    finished = game.run.calibration.finished_stages
    episodes = game.fresh.episodes
    found = {"before": sample_outcomes(game.env, game.policy, episodes)}
    for m, weights in enumerate(
        settle(game.run.config, game.env, game.run.path, game.profiles, finished, stages,
               config.seed), start=1,
    ):  # fmt: skip
        for name, when in (("halfway", -(-stages // 2)), ("after", stages)):
            if m == when:
                policy = game.module_policy(weights)
                found[name] = sample_outcomes(game.env, policy, episodes)
        if m == stages:
            found |= {WEIGHT + k: v for k, v in weights.items()}
    return found


def computer(game: FrozenGame, store: JobStore) -> Callable[[Job], Arrays]:
    """What computes jobs with a game that is loaded already."""
    return partial(compute, game, store)


def load_computer(
    checkpoint: Path, config: CertificateConfig, store: JobStore
) -> Callable[[Job], Arrays]:
    """What computes jobs in another process, with a game of its own."""
    return computer(FrozenGame(checkpoint, config), store)
