"""Named random streams for code that draws from a library's global generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from rllib_calsheq.core.streams import Stream, stream_seed


@contextmanager
def torch_stream(stream: Stream, *keys: int) -> Iterator[None]:
    """Runs a block on torch's CPU stream of that name; the global stream stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(stream, *keys))
        yield


@contextmanager
def numpy_stream(stream: Stream, *keys: int) -> Iterator[None]:
    """Runs a block on NumPy's global generator, seeded by a stream, and puts it back after.

    For libraries that draw from the global generator, as RLlib does when it shuffles.
    """
    saved = np.random.get_state()  # noqa: NPY002
    np.random.seed(stream_seed(stream, *keys) % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(saved)  # noqa: NPY002
