"""Multi-layer perceptrons of RLlib's modules as one differentiable operation each.

On networks of this size half of a pass is not arithmetic but the bookkeeping of a dozen
small operations, and torch's tanh on a CPU, which takes several times as long as NumPy's.
The layers stay RLlib's own: same parameters, same names in a checkpoint, same numbers up to
rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable


class FusedMLP(nn.Sequential):
    """A `torch.nn.Sequential` of Linear and Tanh layers that runs as one operation."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Output (..., out) of inputs (..., in)."""
        tanh = []
        parameters: list[torch.Tensor] = []
        for layer in self:
            if isinstance(layer, nn.Linear):
                parameters += [layer.weight, layer.bias]
                tanh.append(False)
            else:
                tanh[-1] = True
        rows = input.reshape(-1, input.shape[-1])
        out: torch.Tensor = _MLP.apply(rows, tuple(tanh), *parameters)
        return out.reshape(*input.shape[:-1], out.shape[-1])


def fuse_mlps(module: nn.Module) -> None:
    """Makes every perceptron in a module that `FusedMLP` can stand for one, in place."""
    for part in module.modules():
        if type(part) is nn.Sequential and _can_be_fused(part):
            part.__class__ = FusedMLP


def is_perceptron(layers: Sequence[nn.Module]) -> bool:
    """Whether these are Linear layers with biases, each with at most one activation after it."""
    linear = [isinstance(layer, nn.Linear) for layer in layers]
    doubled = any(not a and not b for a, b in itertools.pairwise(linear))
    if not layers or not linear[0] or doubled:
        return False
    return all(
        type(layer) in (nn.Tanh, nn.ReLU)
        or (
            type(layer) is nn.Linear
            and layer.bias is not None
            and layer.weight.device.type == "cpu"
            and layer.weight.dtype == torch.float32
        )
        for layer in layers
    )


def _can_be_fused(layers: nn.Sequential) -> bool:
    """Whether the layers are Linear, each with a bias and followed by one Tanh or none.

    A single Linear layer gains nothing.
    """
    kinds = [type(layer) for layer in layers]
    if len(kinds) < 2 or kinds[0] is not nn.Linear or not {*kinds} <= {nn.Linear, nn.Tanh}:
        return False
    doubled = any(a is b is nn.Tanh for a, b in itertools.pairwise(kinds))
    return not doubled and all(
        layer.bias is not None for layer in layers if isinstance(layer, nn.Linear)
    )


class _MLP(torch.autograd.Function):
    """y = tanh(… tanh(x W_1ᵀ + b_1) … W_Lᵀ + b_L), each tanh where it is asked for."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, tanh: tuple[bool, ...], *parameters: torch.Tensor
    ) -> torch.Tensor:
        outputs = []
        out = rows
        for squash, weight, bias in zip(tanh, parameters[::2], parameters[1::2], strict=True):
            out = torch.addmm(bias, out, weight.t())
            if squash:
                tanh_(out)
            outputs.append(out)
        ctx.tanh = tanh
        ctx.save_for_backward(rows, *outputs, *parameters[::2])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        depth = len(ctx.tanh)
        rows, *saved = ctx.saved_tensors
        outputs, weights = saved[:depth], saved[depth:]
        of_parameters: list[torch.Tensor] = []
        for k in range(depth - 1, -1, -1):
            if ctx.tanh[k]:
                gradient = torch.ops.aten.tanh_backward(gradient, outputs[k])
            below = outputs[k - 1] if k else rows
            of_parameters[:0] = [gradient.t() @ below, gradient.sum(dim=0)]
            if k or ctx.needs_input_grad[0]:
                gradient = gradient @ weights[k]
        return (gradient if ctx.needs_input_grad[0] else None, None, *of_parameters)


def tanh_(values: torch.Tensor) -> None:
    """tanh in place, as a `FusedMLP` takes it."""
    if values.device.type == "cpu" and values.dtype == torch.float32:
        array = values.numpy()
        np.tanh(array, out=array)
    else:
        values.tanh_()
