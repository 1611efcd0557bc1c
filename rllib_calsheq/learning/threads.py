"""How many threads Torch uses while this package works."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rllib_calsheq.core.cores import stated_threads

#: What Torch itself reads: whoever has set it has chosen. Ray does for its actors, by their CPUs.
TORCHS_OWN = "OMP_NUM_THREADS"
#: Small networks are fastest on one: more only wait for each other, long where the cores are busy.
DEFAULT_NUM_THREADS = 1


def num_threads() -> int | None:
    """Threads to use: ``CALSHEQ_NUM_THREADS``, or 1; None where ``OMP_NUM_THREADS`` rules.

    Raises:
        ValueError: If the variable is no integer from 1.
    """
    stated = stated_threads()
    if stated is None and not os.environ.get(TORCHS_OWN):
        return DEFAULT_NUM_THREADS
    return stated


@contextmanager
def limited_threads() -> Iterator[None]:
    """Runs a block, or as ``@limited_threads()`` a function, on `num_threads` of Torch's threads.

    Afterwards the process has the number that it had before.
    """
    wanted, before = num_threads(), torch.get_num_threads()
    if wanted is None or wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
