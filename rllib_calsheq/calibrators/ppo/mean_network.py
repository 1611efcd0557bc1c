"""The means of a policy's actions, in NumPy: of a few dozen rows, most of a pass of Torch's is
bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rllib_calsheq.learning.ray_private.access import layers_of

FloatArray = npt.NDArray[np.float32]


def mean_parameters(module: Any) -> list[torch.nn.Parameter]:
    """Weights and biases of a module's policy network, layer by layer."""
    layers = [x for x in layers_of(module, "policy") if isinstance(x, torch.nn.Linear)]
    return [parameter for layer in layers for parameter in layer.parameters()]


class MeanNetwork:
    """A perceptron, tanh after every layer but the last, and its gradient.

    Args:
        arrays: Weights (out, in) and biases (out,), layer by layer; not copied.
    """

    def __init__(self, arrays: Sequence[FloatArray]) -> None:
        self._layers = list(zip(arrays[::2], arrays[1::2], strict=True))
        self._inputs: list[FloatArray] = []

    @classmethod
    def of(cls, module: Any) -> MeanNetwork:
        """That of RLlib's module, whose memory it shares."""
        return cls([parameter.detach().numpy() for parameter in mean_parameters(module)])

    def means(self, rows: FloatArray) -> FloatArray:
        """Means (S, d) of observations (S, p)."""
        self._inputs = [rows]
        for weight, bias in self._layers[:-1]:
            out = self._inputs[-1] @ weight.T
            out += bias
            self._inputs.append(np.tanh(out, out=out))
        weight, bias = self._layers[-1]
        return np.asarray(self._inputs[-1] @ weight.T + bias)

    def backward(self, gradient: FloatArray, found: Sequence[FloatArray]) -> None:
        """Writes the gradients by weights and biases, as they were given, into ``found``.

        Args:
            gradient: That with respect to the last means, (S, d).
            found: Arrays to write into.
        """
        for k in range(len(self._layers) - 1, -1, -1):
            below = self._inputs[k]
            np.matmul(gradient.T, below, out=found[2 * k])
            np.sum(gradient, axis=0, out=found[2 * k + 1])
            if k:
                gradient = gradient @ self._layers[k][0]
                gradient *= 1 - np.square(below)
