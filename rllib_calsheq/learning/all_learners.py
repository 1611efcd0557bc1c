"""Sums over all learners of a group, which all of them must ask for at the same point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def sum_over_learners(numbers: Sequence[float], device: Any = None) -> list[float]:
    """The sum of each number over all learners.

    Args:
        numbers: This learner's.
        device: Where the learners' tensors live.
    """
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return [float(number) for number in total]


def weighted_mean_over_learners(tensors: Sequence[torch.Tensor], weight: float) -> None:
    """Replaces tensors by their weighted mean over all learners, in one message.

    Args:
        tensors: This learner's; the same shapes on all of them.
        weight: This learner's; over all of them the weights add up to 1.
    """
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]) * weight
    torch.distributed.all_reduce(flat)
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
