"""A Ray of our own for a block, how many CPUs it counts, and an algorithm on it."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from rllib_calsheq.algorithm.calsheq import CALSHEQ
from rllib_calsheq.algorithm.config import CALSHEQConfig
from rllib_calsheq.learning.ray_private.access import no_idle_workers

#: Seconds that a cluster has to answer.
ANSWER_S = 10.0


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


@contextmanager
def built(
    config: CALSHEQConfig, checkpoint: Path | None = None, verbose: bool = False
) -> Iterator[CALSHEQ]:
    """An algorithm for a block, on a Ray as `local_ray` has it; stopped at the block's end.

    Args:
        config: Its configuration.
        checkpoint: What it goes on from; it starts afresh when None.
        verbose: Whether Ray's own words and those of its workers are shown.
    """
    with local_ray(cpus_for([CALSHEQ.default_resource_request(config)]), verbose):
        algorithm = CALSHEQ.from_checkpoint(checkpoint) if checkpoint else config.build_algo()
        try:
            yield algorithm
        finally:
            algorithm.stop()


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


def on_cluster() -> bool:
    """Whether the environment names a Ray cluster, as `ray job submit` does; it answers.

    Raises:
        ConnectionError: If it does not; Ray itself would try for minutes.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    # One that names no host and port, such as "auto", is left to Ray.
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(
                f"no Ray cluster answers at {address} (RAY_ADDRESS): {error}; start one there "
                "(ray start --head), or unset RAY_ADDRESS to run on this machine"
            ) from None
    return bool(address)


def cpus_for(requests: Iterable[Any]) -> int:
    """CPUs that a Ray of our own counts: the machine's, or what one trial asks for if more.

    A trial's env runners and its learner take turns, so that more of them than cores still
    work; a trial that asks for more CPUs than Ray counts would wait for ever.

    Args:
        requests: Resource requests of the trials, at least one.
    """
    asked = max(float(r.required_resources.get("CPU", 0.0)) for r in requests)
    return max(multiprocessing.cpu_count(), math.ceil(asked))
