"""Random streams named by what they are for, so that a resumed run draws the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

#: First entry of every key, one for each use, so that no two uses share a stream.
EPISODES, ACTIONS, MINIBATCHES = range(3)


def stream_seed(*keys: int) -> int:
    """A 63-bit seed for the stream named by non-negative integers, e.g. (seed, stage, particle)."""
    words = np.random.SeedSequence([int(k) for k in keys]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


@contextmanager
def torch_stream(*keys: int) -> Iterator[None]:
    """Runs a block on torch's CPU stream named by ``keys``; the global stream stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(*keys))
        yield


@contextmanager
def numpy_stream(*keys: int) -> Iterator[None]:
    """Runs a block on NumPy's global generator seeded by ``keys``, and puts it back after.

    For libraries that draw from the global generator, as RLlib does when it shuffles.
    Without keys the generator is left alone.
    """
    if not keys:
        yield
        return
    saved = np.random.get_state()  # noqa: NPY002
    np.random.seed(stream_seed(*keys) % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(saved)  # noqa: NPY002
