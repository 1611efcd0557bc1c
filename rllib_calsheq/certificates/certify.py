"""A certificate of a checkpoint: its ε (Definition 1) as far as a search can tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.certificates.config import CertificateSettings
from rllib_calsheq.certificates.jobs.certificate_jobs import (
    CHEAP,
    DEVIATOR,
    FRESH_CHEAP,
    FRESH_DEVIATOR,
    SETTLE,
    Part,
    computer,
    deviator_parts,
    load_computer,
    merit,
)
from rllib_calsheq.certificates.jobs.frozen_game import Bench
from rllib_calsheq.certificates.jobs.processes import run_parts
from rllib_calsheq.certificates.jobs.store import Arrays, PartStore, document_name
from rllib_calsheq.certificates.report.document import describe, part_title
from rllib_calsheq.certificates.search.selection import Candidate, select
from rllib_calsheq.core.files import write_json
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray

#: Longest name of a certificate's folder.
MAX_NAME_LENGTH = 100
Progress = Callable[[str], None]


def default_folder(checkpoint: Path, settings: CertificateSettings) -> Path:
    """Where a certificate goes: beside the checkpoint, named after it and what is different.

    Certificates of other seeds, budgets and the like share it: their files have names of their own.
    """
    marks = [checkpoint.name]
    if settings.supertypes != "profile":
        marks.append(settings.supertypes)
    marks += [f"{k}={v}" for k, v in {**settings.env_config, **settings.parameters}.items()]
    if settings.action is not None:
        marks.append("action=" + ",".join(f"{a:g}" for a in settings.action))
    name = "_".join(marks).replace("/", "-")[:MAX_NAME_LENGTH]
    return checkpoint.absolute().parent / "certificate" / name


def certify(
    checkpoint: str | Path,
    settings: CertificateSettings | None = None,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: Progress = lambda line: None,
) -> dict[str, Any]:
    """Looks for profitable deviations from a checkpoint's shared policy, and for its lag gap.

    Parts that a certificate with the same settings has finished before are taken from its folder.

    Args:
        checkpoint: Folder of the checkpoint.
        settings: What is asked for.
        folder: Where the certificate and its parts go; see `default_folder`.
        workers: Processes that share the work. More than 1 need the caller's main module to be
            importable, as for any use of `multiprocessing`.
        progress: Called with one line a finished part.

    Returns:
        The certificate, as the file holds it that its ``folder`` and ``file`` name. Certificates
        of other settings or of another checkpoint have other names.

    Raises:
        ValueError: If the settings do not fit the checkpoint.
    """
    begun = time.monotonic()
    settings = settings or CertificateSettings()
    if settings.action is not None or settings.env_config or settings.parameters:
        # Settling and targets belong to the run's own policy, environment and supertypes.
        settings = replace(settings, settling=0)
    bench = Bench(Path(checkpoint), settings)
    place = Path(folder) if folder else default_folder(Path(checkpoint), settings)
    store = PartStore(place, bench.identity())
    first = [Part(SETTLE)] if settings.settling else []
    first += [*deviator_parts(bench), Part(CHEAP)]
    report = _Report(progress, bench, len(first))
    here = computer(bench, store)
    there = partial(load_computer, bench.run.path, bench.settings, store)
    done = run_parts(first, store, here, there, workers, report)
    finals = _finals(bench, done)
    report.total += len(finals)
    measured = run_parts(finals, store, here, there, workers, report)
    rng = stream_rng(Stream.CERTIFICATE_BOOTSTRAP, settings.seed)
    counts = np.rint(bench.shares * len(bench.env.agent_supertypes)).astype(int)
    gains = select(_candidates(bench, done, measured), counts.tolist(), rng)
    certificate = describe(bench, settings, gains, done)
    certificate["seconds"] = round(time.monotonic() - begun, 1)
    certificate["folder"] = str(place)
    # The parts do not depend on how many seeds there are; the certificate does.
    certificate["file"] = document_name(
        "certificate", settings.unusual_numbers(), {**bench.identity(), "seeds": settings.seeds}
    )
    write_json(place / certificate["file"], certificate)
    return certificate


def _finals(bench: Bench, done: Mapping[Part, Arrays]) -> list[Part]:
    """What is measured on fresh episodes: all deviators, and the best of each other kind."""
    finals = [replace(part, kind=FRESH_DEVIATOR) for part in done if part.kind == DEVIATOR]
    validation = dict(_cheap_gains(done))
    chosen = set()
    for kind in dict.fromkeys(d.kind for d in bench.cheap):
        of_kind = [i for i in validation if bench.cheap[i].kind == kind]
        for target in bench.targets:
            means = [merit(validation[i], target, bench.shares).mean() for i in of_kind]
            chosen.add(of_kind[int(np.argmax(means))])
    return [*finals, *(Part(FRESH_CHEAP, index=i) for i in sorted(chosen))]


def _cheap_gains(done: Mapping[Part, Arrays]) -> Iterator[tuple[int, FloatArray]]:
    """Index and validation gains (G, Ev) of each deviation without training that was chosen."""
    arrays = done[Part(CHEAP)]
    yield from zip(arrays["chosen"].tolist(), arrays["gains"], strict=True)


def _candidates(
    bench: Bench, done: Mapping[Part, Arrays], measured: Mapping[Part, Arrays]
) -> list[Candidate]:
    found = []
    cheap = dict(_cheap_gains(done))
    for part, arrays in sorted(measured.items(), key=lambda item: item[0].name):
        if part.kind == FRESH_CHEAP:
            deviation, validation = bench.cheap[part.index], cheap[part.index]
            found.append(Candidate(deviation.name, deviation.kind, validation, arrays["gains"]))
        else:
            validation = done[replace(part, kind=DEVIATOR)]["gains"]
            found.append(
                Candidate(
                    part_title(bench, part), part.start, validation, arrays["gains"], part.seed
                )
            )
    return found


class _Report:
    """One line of progress a part."""

    def __init__(self, progress: Progress, bench: Bench, total: int) -> None:
        self.progress, self.bench, self.total = progress, bench, total
        self.done = 0

    def __call__(self, part: Part, seconds: float | None) -> None:
        self.done += 1
        took = "was stored" if seconds is None else f"{seconds:.0f} s"
        what = "measured" if part.kind in (FRESH_CHEAP, FRESH_DEVIATOR) else "done"
        self.progress(f"{self.done}/{self.total} {what}: {part_title(self.bench, part)} ({took})")
