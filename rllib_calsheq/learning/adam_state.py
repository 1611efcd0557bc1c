"""Parameters and moments that steps outside of Torch share with Torch's Adam."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

#: What Adam keeps of a parameter besides its number of steps.
MOMENTS = ("exp_avg", "exp_avg_sq")

Floats = npt.NDArray[np.float32]


class AdamState:
    """Parameters and their moments, as one vector each and back.

    Args:
        parameters: The parameters, in the order of the vectors.
    """

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._parameters = list(parameters)

    def steps_taken(self, optimizer: torch.optim.Optimizer) -> int | None:
        """Steps that Adam has taken; None if it is not plain Adam, or they are not the same number
        for all parameters."""
        if not _is_plain_adam(optimizer):
            return None
        states = [optimizer.state.get(parameter) for parameter in self._parameters]
        found = {int(state["step"]) if state else 0 for state in states}
        return found.pop() if len(found) == 1 else None

    def read(self, optimizer: torch.optim.Optimizer, steps: int) -> tuple[Floats, Floats]:
        """Copies of the parameters (P,) and of their moments (2, P), after so many steps."""
        weights = _joined(self._parameters)
        moments = np.zeros((2, len(weights)), np.float32)
        if steps:
            states = [optimizer.state[parameter] for parameter in self._parameters]
            for row, name in zip(moments, MOMENTS, strict=True):
                row[:] = _joined([state[name] for state in states])
        return weights, moments

    @torch.no_grad()
    def write(
        self, optimizer: torch.optim.Optimizer, steps: int, weights: Floats, moments: Floats
    ) -> None:
        """Puts parameters and moments where the optimizer has them, after so many steps."""
        first = 0
        for parameter in self._parameters:
            part = slice(first, first + parameter.numel())
            state = optimizer.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state |= {name: torch.zeros_like(parameter) for name in MOMENTS}
            state["step"].fill_(steps)
            parameter.copy_(torch.from_numpy(weights[part]).view_as(parameter))
            for row, name in zip(moments, MOMENTS, strict=True):
                state[name].copy_(torch.from_numpy(row[part]).view_as(parameter))
            first = part.stop


def settings_of(optimizer: torch.optim.Optimizer) -> tuple[float, float, float, float]:
    """Learning rate, β_1, β_2 and ε of Adam's one group of parameters."""
    (group,) = optimizer.param_groups
    rate, beta_1, beta_2, epsilon = (float(x) for x in (group["lr"], *group["betas"], group["eps"]))
    return rate, beta_1, beta_2, epsilon


def adam_step(
    optimizer: torch.optim.Optimizer,
    step: int,
    weights: Floats,
    moments: Floats,
    gradient: Floats,
) -> None:
    """Takes Adam's step of a number, from 1, on parameters (P,) and moments (2, P), in place."""
    rate, beta_1, beta_2, epsilon = settings_of(optimizer)
    mean, square = moments
    mean += (1.0 - beta_1) * (gradient - mean)
    square *= beta_2
    square += (1.0 - beta_2) * np.square(gradient)
    length, scale = rate / (1.0 - beta_1**step), np.sqrt(1.0 - beta_2**step)
    weights -= length * mean / (np.sqrt(square) / scale + epsilon)


def _joined(tensors: Sequence[torch.Tensor]) -> Floats:
    flat: Floats = torch.cat([tensor.detach().ravel() for tensor in tensors]).numpy()
    return flat


def _is_plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer is Adam as written here, of one group of parameters."""
    others = ("weight_decay", "amsgrad", "maximize", "differentiable")
    return (
        type(optimizer) is torch.optim.Adam
        and len(optimizer.param_groups) == 1
        and not any(optimizer.param_groups[0][name] for name in others)
    )
