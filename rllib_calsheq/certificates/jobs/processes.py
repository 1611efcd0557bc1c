"""Carries out jobs of a long measurement, in this process or in several, and stores each."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, Protocol, TypeVar

from rllib_calsheq.certificates.jobs.store import Arrays, JobStore
from rllib_calsheq.learning.threads import limited_threads

#: Processes that share the jobs unless a command's --workers says otherwise.
MAX_DEFAULT_WORKERS = 4


class Named(Protocol):
    """What can be computed on its own and stored."""

    @property
    def name(self) -> str:
        """Name of its file."""


P = TypeVar("P", bound=Named)
#: Computes a job.
Compute = Callable[[P], Arrays]
#: Called with each job and the seconds that it took, None if it was stored.
Report = Callable[[P, float | None], None]


def default_workers() -> int:
    """Processes that share the jobs: one a core, up to `MAX_DEFAULT_WORKERS`."""
    return min(len(os.sched_getaffinity(0)), MAX_DEFAULT_WORKERS)


def run_jobs(
    jobs: Sequence[P],
    store: JobStore,
    compute: Compute[P],
    load: Callable[[], Compute[P]],
    workers: int,
    report: Report[P],
) -> dict[P, Arrays]:
    """Computes the jobs that are not stored yet, and stores them.

    Args:
        jobs: The jobs; hashable.
        store: Where they are stored.
        compute: Computes a job in this process.
        load: Called once in each other process, where its result computes the jobs. It is
            pickled.
        workers: Processes; 1 computes them in this one.
        report: What is called for each job.
    """
    found: dict[P, Arrays] = {}
    missing = []
    for job in jobs:
        stored = store.load(job.name)
        if stored is None:
            missing.append(job)
        else:
            found[job] = stored
            report(job, None)
    for job, seconds in _computed(missing, store, compute, load, min(workers, len(missing))):
        arrays = store.load(job.name)
        assert arrays is not None
        found[job] = arrays
        report(job, seconds)
    return {job: found[job] for job in jobs}


def _computed(
    jobs: Sequence[P],
    store: JobStore,
    compute: Compute[P],
    load: Callable[[], Compute[P]],
    workers: int,
) -> Iterator[tuple[P, float]]:
    if workers <= 1:
        for job in jobs:
            yield job, _timed(compute, job, store)
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_load_there,
        initargs=(load, store),
    ) as executor:
        futures = {executor.submit(_compute_there, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            executor.shutdown(cancel_futures=True)


@limited_threads()
def _timed(compute: Compute[P], job: P, store: JobStore) -> float:
    start = time.monotonic()
    store.save(job.name, compute(job))
    return time.monotonic() - start


_THERE: list[tuple[Compute[Any], JobStore]] = []


def _load_there(load: Callable[[], Compute[Any]], store: JobStore) -> None:
    """Prepares a worker process."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    _THERE.append((load(), store))


def _leave_with_parent() -> None:
    """Ends this process when the one that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compute_there(job: Any) -> float:
    compute, store = _THERE[0]
    return _timed(compute, job, store)
