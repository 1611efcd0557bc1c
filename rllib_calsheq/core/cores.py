"""How many threads and cores a process may use."""

from __future__ import annotations

import os

from rllib_calsheq.core.configuration import require

#: The environment variable that sets the number of threads.
NUM_THREADS = "CALSHEQ_NUM_THREADS"


def stated_threads() -> int | None:
    """What ``CALSHEQ_NUM_THREADS`` says; None where it is not set.

    Raises:
        ValueError: If the variable is no integer from 1.
    """
    given = os.environ.get(NUM_THREADS)
    if given is None:
        return None
    good = given.isdecimal() and int(given) >= 1
    require(good, f"the environment variable {NUM_THREADS}", given, "integers from 1")
    return int(given)


def usable_cores() -> int:
    """Cores that this process may use: ``CALSHEQ_NUM_THREADS``, or all that it is let run on.

    Raises:
        ValueError: If the variable is no integer from 1.
    """
    stated = stated_threads()
    if stated is not None:
        return stated
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
