"""Random streams named by what they are for, so that a resumed run draws the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

#: First entry of every key, one for each use, so that no two uses share a stream.
EPISODES, ACTIONS, CALIBRATOR, EVALUATION, BOOTSTRAP = range(5)


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
