"""A policy's passes while it is rolled out: a step is a forward pass and a draw of actions.

The passes of a rollout are many and small, so that most of RLlib's time in them goes into its
wrappers. Its own perceptron is called here by its layers, with the same numbers to the last bit;
whatever else a module is, by RLlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian
from torch import nn

from rllib_calsheq.learning.fused_mlp import FusedMLP, is_perceptron, tanh_
from rllib_calsheq.learning.ray_private.access import log_std_of, networks_of, sampling_pass


class PolicyPass(Protocol):
    """A policy as it is rolled out; its weights do not change meanwhile."""

    def act(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs of the action distribution (R, k) and actions (R, act...) at observations (R, f).

        Random numbers are those of torch's global stream.
        """


class ModulePass:
    """A module's passes as RLlib makes them.

    Args:
        module: The module, in evaluation mode.
        explore: Sample actions, or take the distribution's mode.
    """

    def __init__(self, module: Any, explore: bool) -> None:
        self._forward, self._explore = sampling_pass(module, explore), explore
        self._distribution = (
            module.get_exploration_action_dist_cls()
            if explore
            else module.get_inference_action_dist_cls()
        )

    def act(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `PolicyPass` has it."""
        inputs = self._forward({Columns.OBS: rows})[Columns.ACTION_DIST_INPUTS]
        distribution = self._distribution.from_logits(inputs)
        return inputs, (distribution if self._explore else distribution.to_deterministic()).sample()


class PerceptronPass:
    """Passes of a perceptron with Gaussian actions, layer by layer.

    Args:
        networks: The perceptron's parts, first to last.
        log_std: The logarithm of the standard deviation in all states (k,); None if it is the
            second half of the perceptron's output.
        limit: What these logarithms are clipped to, on both sides.
        explore: Sample actions, or take the mean.
    """

    def __init__(
        self,
        networks: Sequence[nn.Sequential],
        log_std: torch.Tensor | None,
        limit: float,
        explore: bool,
    ) -> None:
        #: Layers: transposed weights and bias, or an activation that works in place.
        self._layers: list[Any] = []
        for network in networks:
            fused = isinstance(network, FusedMLP)
            for layer in network:
                if isinstance(layer, nn.Linear):
                    self._layers.append((layer.bias.detach(), layer.weight.detach().t()))
                elif isinstance(layer, nn.Tanh):
                    self._layers.append(tanh_ if fused else torch.tanh_)
                else:
                    self._layers.append(torch.relu_)
        self._log_std = None if log_std is None else log_std.detach().clamp(-limit, limit)
        self._limit, self._explore = limit, explore
        #: Free logarithms, and standard deviations, of as many rows as there were last.
        self._rows_of_log_std = self._std = torch.empty(0)

    def act(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `PolicyPass` has it."""
        out = rows
        for layer in self._layers:
            if isinstance(layer, tuple):
                bias, weight = layer
                out = torch.addmm(bias, out, weight)
            else:
                layer(out)
        if self._log_std is None:
            mean, log_std = out.chunk(2, dim=1)
            log_std.clamp_(-self._limit, self._limit)
            inputs, std = out, log_std.exp() if self._explore else log_std
        else:
            mean = out
            if len(self._rows_of_log_std) != len(out):
                self._rows_of_log_std = self._log_std.unsqueeze(0).repeat(len(out), 1)
                self._std = self._rows_of_log_std.exp()
            inputs, std = torch.cat([mean, self._rows_of_log_std], dim=1), self._std
        return inputs, torch.normal(mean, std) if self._explore else mean


def policy_pass(module: Any, explore: bool) -> PolicyPass:
    """The fastest passes of a module that have its own numbers.

    Args:
        module: The module, in evaluation mode.
        explore: Sample actions, or take the distribution's mode.
    """
    networks = networks_of(module, "policy")
    layers = [layer for network in networks for layer in network]
    gaussian = (
        module.get_exploration_action_dist_cls() is TorchDiagGaussian
        and module.get_inference_action_dist_cls() is TorchDiagGaussian
    )
    if not gaussian or not is_perceptron(layers):
        return ModulePass(module, explore)
    return PerceptronPass(networks, *log_std_of(module), explore)
