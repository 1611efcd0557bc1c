"""A certificate of a checkpoint: its ε (Definition 1) as far as a search can tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.certificates.jobs.certificate_jobs import (
    CHEAP,
    DEVIATOR,
    FRESH_CHEAP,
    FRESH_DEVIATOR,
    SETTLE,
    Job,
    computer,
    deviator_jobs,
    load_computer,
    merit,
)
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.jobs.processes import run_jobs
from rllib_calsheq.certificates.jobs.store import Arrays, JobStore, default_folder, result_name
from rllib_calsheq.certificates.report.description import describe, job_title
from rllib_calsheq.certificates.search.selection import Candidate, select
from rllib_calsheq.core.files import write_json
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray

Progress = Callable[[str], None]


def certify(
    checkpoint: str | Path,
    config: CertificateConfig | None = None,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: Progress = lambda line: None,
) -> dict[str, Any]:
    """Looks for profitable deviations from a checkpoint's shared policy, and for its lag gap.

    Jobs that a certificate of the same configuration has finished before are taken from its folder.

    Example:
        >>> from rllib_calsheq import CertificateConfig, certify, load
        >>> checkpoint = load("my_city").checkpoint
        >>> small = CertificateConfig(
        ...     seeds=1, budget=16, batch=8, measurements=1, validation=8, fresh=8, settling=0
        ... )
        >>> found = certify(checkpoint, small)
        >>> found["epsilon_low"] <= found["epsilon"] <= found["epsilon_high"]
        True

    Args:
        checkpoint: Folder of the checkpoint.
        config: What is asked for.
        folder: Where the certificate and its jobs go; see `default_folder`.
        workers: Processes that share the jobs. More than 1 need the caller's main module to be
            importable, as for any use of `multiprocessing`.
        progress: Called with one line a finished job.

    Returns:
        The certificate, as the file holds it that its ``folder`` and ``file`` name. Certificates
        of another configuration or of another checkpoint have other names.

    Raises:
        ValueError: If ``config`` does not fit the checkpoint.
    """
    begun = time.monotonic()
    config = config or CertificateConfig()
    if config.action is not None or config.env_config or config.parameters:
        # Settling and targets belong to the run's own policy, environment and supertypes.
        config = replace(config, settling=0)
    game = FrozenGame(Path(checkpoint), config)
    place = Path(folder) if folder else default_folder(Path(checkpoint), config)
    store = JobStore(place, game.identity())
    first = [Job(SETTLE)] if config.settling else []
    first += [*deviator_jobs(game), Job(CHEAP)]
    report = _Report(progress, game, len(first))
    here = computer(game, store)
    there = partial(load_computer, game.run.path, game.config, store)
    done = run_jobs(first, store, here, there, workers, report)
    finals = _finals(game, done)
    report.total += len(finals)
    measured = run_jobs(finals, store, here, there, workers, report)
    rng = stream_rng(Stream.CERTIFICATE_BOOTSTRAP, config.seed)
    counts = np.rint(game.shares * len(game.env.agent_supertypes)).astype(int)
    gains = select(_candidates(game, done, measured), counts.tolist(), rng)
    certificate = describe(game, config, gains, done)
    certificate["seconds"] = round(time.monotonic() - begun, 1)
    certificate["folder"] = str(place)
    # The jobs do not depend on how many seeds there are; the certificate does.
    certificate["file"] = result_name(
        "certificate", config.unusual_numbers(), {**game.identity(), "seeds": config.seeds}
    )
    write_json(place / certificate["file"], certificate)
    return certificate


def _finals(game: FrozenGame, done: Mapping[Job, Arrays]) -> list[Job]:
    """What is measured on fresh episodes: all deviators, and the best of each other kind."""
    finals = [replace(job, kind=FRESH_DEVIATOR) for job in done if job.kind == DEVIATOR]
    validation = dict(_cheap_gains(done))
    chosen = set()
    for kind in dict.fromkeys(d.kind for d in game.cheap):
        of_kind = [i for i in validation if game.cheap[i].kind == kind]
        for target in game.targets:
            means = [merit(validation[i], target, game.shares).mean() for i in of_kind]
            chosen.add(of_kind[int(np.argmax(means))])
    return [*finals, *(Job(FRESH_CHEAP, index=i) for i in sorted(chosen))]


def _cheap_gains(done: Mapping[Job, Arrays]) -> Iterator[tuple[int, FloatArray]]:
    """Index and validation gains (G, Ev) of each deviation without training that was chosen."""
    arrays = done[Job(CHEAP)]
    yield from zip(arrays["chosen"].tolist(), arrays["gains"], strict=True)


def _candidates(
    game: FrozenGame, done: Mapping[Job, Arrays], measured: Mapping[Job, Arrays]
) -> list[Candidate]:
    found = []
    cheap = dict(_cheap_gains(done))
    for job, arrays in sorted(measured.items(), key=lambda item: item[0].name):
        if job.kind == FRESH_CHEAP:
            deviation, validation = game.cheap[job.index], cheap[job.index]
            found.append(Candidate(deviation.name, deviation.kind, validation, arrays["gains"]))
        else:
            validation = done[replace(job, kind=DEVIATOR)]["gains"]
            found.append(
                Candidate(job_title(game, job), job.start, validation, arrays["gains"], job.seed)
            )
    return found


class _Report:
    """One line of progress a job."""

    def __init__(self, progress: Progress, game: FrozenGame, total: int) -> None:
        self.progress, self.game, self.total = progress, game, total
        self.done = 0

    def __call__(self, job: Job, seconds: float | None) -> None:
        self.done += 1
        took = "was stored" if seconds is None else f"{seconds:.0f} s"
        what = "measured" if job.kind in (FRESH_CHEAP, FRESH_DEVIATOR) else "done"
        self.progress(f"{self.done}/{self.total} {what}: {job_title(self.game, job)} ({took})")
