"""RLlib's PPO learner for many increments imagined from each of a few states.

The policy's network sees the state alone, so that it has one pass for all increments from it; with
c the increments less the mean that they were drawn with, and δ how far that mean has moved,
log-probabilities are products with (c², c), made once an update:

    Σ_j ((c_j − δ_j) / σ_j)² = Σ_j c_j² / σ_j² − 2 Σ_j c_j δ_j / σ_j² + Σ_j δ_j² / σ_j²,

and so are the sums over a state's increments that the gradient consists of. The loss is that of
`rllib_calsheq.learning.ppo_gradient`, up to rounding; RLlib's own is taken of every update's last
epoch, logged, and drives the KL coefficient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.learning.lean_learner import LeanPPOLearner, Minibatch
from rllib_calsheq.learning.ppo_gradient import LOG_SQRT_2_PI, PPOTerms
from rllib_calsheq.learning.ray_private.access import free_log_std, layers_of, training_pass

FloatArray = npt.NDArray[np.float32]


class IncrementLearner(LeanPPOLearner):
    """`LeanPPOLearner` without a value net, of batches that have one row a state.

    Columns are observations (S, p), the logits (S, 2d) that the increments were drawn from, actions
    (S, A, d), and their log-probabilities, advantages and value targets (S, A).
    """

    def minibatches(
        self, training_data: Any, epochs: int, size: int | None, total: int
    ) -> Iterator[Minibatch]:
        """One pass over the whole batch an epoch."""
        batch = self.make_batch(training_data)
        ((module_id, columns),) = batch.policy_batches.items()
        self._rows_trained = 0
        self._surrogate = _Surrogate(columns)
        self._means = _Means(self.module[module_id].unwrapped())
        for epoch in range(epochs):
            self._last = epoch == epochs - 1
            yield Minibatch({module_id: columns})

    def gradient_step(self, policy_batches: dict[str, Any]) -> tuple[Any, Any, Any]:
        """One gradient step on RLlib's PPO loss."""
        ((module_id, rows),) = policy_batches.items()
        module = self.module[module_id].unwrapped()
        out, loss = {}, torch.zeros(())
        if self._last:
            with torch.no_grad():
                out = training_pass(module)(rows)
                loss = self._logged_loss(module_id, rows, out)
        for parameter in self.trained_parameters.values():
            parameter.grad = None
        log_std = free_log_std(module)
        by_mean, by_log_std = self._surrogate.gradient(
            self._terms(module_id, self.config),
            self._means.of(rows[Columns.OBS].numpy()),
            log_std.detach().numpy(),
        )
        self._means.backward(by_mean)
        log_std.grad = torch.from_numpy(by_log_std)
        for optimizer in self.optimizers:
            optimizer.step()
        self._rows_trained += rows[Columns.ACTION_LOGP].numel()
        return {module_id: out}, {module_id: loss}, {}

    def _logged_loss(
        self, module_id: str, rows: dict[str, torch.Tensor], out: dict[str, Any]
    ) -> torch.Tensor:
        """RLlib's own loss, which logs its terms: a state's distribution serves all its actions."""
        inputs, targets = Columns.ACTION_DIST_INPUTS, Postprocessing.VALUE_TARGETS
        return self.compute_loss_for_module(
            module_id=module_id,
            config=self.config,
            batch=rows | {inputs: rows[inputs][:, None], targets: rows[targets].flatten()},
            fwd_out={inputs: out[inputs][:, None]},
        )


class _Surrogate:
    """The loss of increments from given states, but for the policy's logits there.

    In NumPy, whose products of many small matrices take a tenth of Torch's time.

    Args:
        rows: Columns as `IncrementLearner` has them.
    """

    def __init__(self, rows: Mapping[str, torch.Tensor]) -> None:
        column = {name: value.numpy() for name, value in rows.items()}
        self._old_mean, old_log_std = np.split(column[Columns.ACTION_DIST_INPUTS], 2, axis=-1)
        self._old_variance = np.exp(2 * old_log_std)
        centred = column[Columns.ACTIONS] - self._old_mean[:, None]
        #: c² and c, (S, A, 2d).
        self._powers = np.concatenate([np.square(centred), centred], axis=-1)
        self._old_logp = column[Columns.ACTION_LOGP]
        self._advantages = column[Postprocessing.ADVANTAGES]

    def gradient(
        self, terms: PPOTerms, mean: FloatArray, log_std: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients of the loss with respect to means (S, d) and log standard deviations (d,)."""
        advantages = self._advantages
        precision = np.exp(-2 * log_std)
        moved = mean - self._old_mean
        pulled = precision * moved
        shift = pulled * moved
        factors = np.concatenate([np.broadcast_to(precision, moved.shape), -2 * pulled], axis=-1)
        squares = (self._powers @ factors[:, :, None])[..., 0]
        constant = (shift / 2 + log_std + np.float32(LOG_SQRT_2_PI)).sum(axis=-1, keepdims=True)
        gain = advantages * np.exp(squares / -2 - constant - self._old_logp)
        # The clipped branch of the minimum has no gradient. Written so that a NaN stays one.
        clipped = gain > advantages + terms.clip * np.abs(advantages)
        weights = np.where(clipped, 0, gain) / -advantages.size

        total = weights.sum(axis=-1, keepdims=True)
        second, first = np.split((weights[:, None] @ self._powers)[:, 0], 2, axis=-1)
        by_mean = precision * first - total * pulled
        by_log_std = precision * second - 2 * pulled * first + total * (shift - 1)
        if terms.kl_coefficient:
            weight = terms.kl_coefficient / len(mean)
            by_mean += weight * pulled
            by_log_std += weight * (1 - self._old_variance * precision - shift)
        return by_mean, by_log_std.sum(axis=0) - terms.entropy_coefficient


class _Means:
    """The means of a policy's actions: a perceptron with its gradient, in NumPy.

    Of a few dozen rows, most of a pass of Torch's is bookkeeping.

    Args:
        module: RLlib's module, whose parameters it shares.
    """

    def __init__(self, module: Any) -> None:
        #: The layers, and the weights (out, in) and biases (out,) of each.
        self._layers = [x for x in layers_of(module, "policy") if isinstance(x, torch.nn.Linear)]
        self._weights = [
            (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in self._layers
        ]

    def of(self, rows: FloatArray) -> FloatArray:
        """Means (S, d) of observations (S, p): tanh after every layer but the last."""
        self._inputs = [rows]
        for weight, bias in self._weights[:-1]:
            out = self._inputs[-1] @ weight.T
            out += bias
            self._inputs.append(np.tanh(out, out=out))
        weight, bias = self._weights[-1]
        return np.asarray(self._inputs[-1] @ weight.T + bias)

    def backward(self, gradient: FloatArray) -> None:
        """Sets the parameters' gradients, from that with respect to the last means (S, d)."""
        for k in range(len(self._layers) - 1, -1, -1):
            layer, below = self._layers[k], self._inputs[k]
            layer.weight.grad = torch.from_numpy(gradient.T @ below)
            layer.bias.grad = torch.from_numpy(gradient.sum(axis=0))
            if k:
                gradient = gradient @ self._weights[k][0]
                gradient *= 1 - np.square(below)
