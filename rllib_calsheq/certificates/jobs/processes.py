"""Carries out parts of a long measurement, in this process or in several, and stores each."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, Protocol, TypeVar

from rllib_calsheq.certificates.jobs.store import Arrays, PartStore
from rllib_calsheq.learning.threads import limited_threads

#: Processes that share the work unless a command's --workers says otherwise.
MAX_DEFAULT_WORKERS = 4


class Named(Protocol):
    """A part of the work."""

    @property
    def name(self) -> str:
        """Name of its file."""


P = TypeVar("P", bound=Named)
#: Computes a part.
Compute = Callable[[P], Arrays]
#: Called with each part and the seconds that it took, None if it was stored.
Report = Callable[[P, float | None], None]


def default_workers() -> int:
    """Processes that share the work: one a core, up to `MAX_DEFAULT_WORKERS`."""
    return min(len(os.sched_getaffinity(0)), MAX_DEFAULT_WORKERS)


def run_parts(
    parts: Sequence[P],
    store: PartStore,
    compute: Compute[P],
    load: Callable[[], Compute[P]],
    workers: int,
    report: Report[P],
) -> dict[P, Arrays]:
    """Computes the parts that are not stored yet, and stores them.

    Args:
        parts: The parts; hashable.
        store: Where they are stored.
        compute: Computes a part in this process.
        load: Called once in each other process, where its result computes the parts. It is
            pickled.
        workers: Processes; 1 computes them in this one.
        report: What is called for each part.
    """
    found: dict[P, Arrays] = {}
    missing = []
    for part in parts:
        stored = store.load(part.name)
        if stored is None:
            missing.append(part)
        else:
            found[part] = stored
            report(part, None)
    for part, seconds in _computed(missing, store, compute, load, min(workers, len(missing))):
        arrays = store.load(part.name)
        assert arrays is not None
        found[part] = arrays
        report(part, seconds)
    return {part: found[part] for part in parts}


def _computed(
    parts: Sequence[P],
    store: PartStore,
    compute: Compute[P],
    load: Callable[[], Compute[P]],
    workers: int,
) -> Iterator[tuple[P, float]]:
    if workers <= 1:
        for part in parts:
            yield part, _timed(compute, part, store)
        return
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_load_there,
        initargs=(load, store),
    ) as pool:
        futures = {pool.submit(_compute_there, part): part for part in parts}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@limited_threads()
def _timed(compute: Compute[P], part: P, store: PartStore) -> float:
    start = time.monotonic()
    store.save(part.name, compute(part))
    return time.monotonic() - start


_THERE: list[tuple[Compute[Any], PartStore]] = []


def _load_there(load: Callable[[], Compute[Any]], store: PartStore) -> None:
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


def _compute_there(part: Any) -> float:
    compute, store = _THERE[0]
    return _timed(compute, part, store)
