"""A Ray of our own for a block, and how many CPUs it counts."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from rllib_calsheq.learning.ray_private.access import no_idle_workers
from rllib_calsheq.running.waiting import on_cluster


@contextmanager
def local_ray(cpus: int, verbose: bool = False) -> Iterator[None]:
    """A Ray that counts `cpus` CPUs, for a block; or the one that runs, or a cluster's.

    Args:
        cpus: CPUs that it counts.
        verbose: Whether Ray's own words and those of its workers are shown.
    """
    if ray.is_initialized():
        yield
        return
    start_ray(cpus, verbose)
    try:
        yield
    finally:
        ray.shutdown()


def start_ray(cpus: int, verbose: bool = False, log_to_driver: bool | None = None) -> None:
    """Starts a Ray of our own, or joins the cluster that the environment names and no other.

    Args:
        cpus: CPUs that one of our own counts.
        verbose: Whether Ray's own words are shown.
        log_to_driver: Whether those of its workers are; as ``verbose`` when None.
    """
    joins = on_cluster()
    ray.init(
        # Left to itself Ray joins any cluster that was started on this machine.
        address=None if joins else "local",
        num_cpus=None if joins else cpus,
        log_to_driver=verbose if log_to_driver is None else log_to_driver,
        logging_level=logging.INFO if verbose else logging.ERROR,
        **({} if joins else no_idle_workers()),
    )


def cpus_for(requests: Iterable[Any]) -> int:
    """CPUs that a Ray of our own counts: the machine's, or what one trial asks for if more.

    A trial's env runners and its learner take turns, so that more of them than cores still
    work; a trial that asks for more CPUs than Ray counts would wait for ever.

    Args:
        requests: Resource requests of the trials, at least one.
    """
    asked = max(float(r.required_resources.get("CPU", 0.0)) for r in requests)
    return max(multiprocessing.cpu_count(), math.ceil(asked))
