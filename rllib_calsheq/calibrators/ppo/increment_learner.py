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

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.calibrators.ppo.mean_network import MeanNetwork, mean_parameters
from rllib_calsheq.learning.adam_state import AdamState, adam_step
from rllib_calsheq.learning.lean_learner import LeanPPOLearner, Minibatch
from rllib_calsheq.learning.ppo_gradient import LOG_SQRT_2_PI, PPOTerms
from rllib_calsheq.learning.ray_private.access import free_log_std

FloatArray = npt.NDArray[np.float32]


class IncrementLearner(LeanPPOLearner):
    """`LeanPPOLearner` without a value net, of batches that have one row a state.

    Columns are observations (S, p), the logits (S, 2d) that the increments were drawn from, actions
    (S, A, d), and their log-probabilities, advantages and value targets (S, A).
    """

    def build(self) -> None:
        """Builds module and optimizer."""
        super().build()
        (module_id,) = self.module.keys()
        module = self.module[module_id].unwrapped()
        self._trained = [*mean_parameters(module), free_log_std(module)]

    def minibatches(
        self, training_data: Any, epochs: int, size: int | None, total: int
    ) -> Iterator[Minibatch]:
        """The whole batch, for the last epoch: those before it are done when it is given."""
        ((module_id, batch),) = training_data.batch.policy_batches.items()
        columns: dict[str, FloatArray] = dict(batch)
        (optimizer,) = self.optimizers
        terms = self._terms(module_id, self.config)
        self._descent = _Descent(self._trained, optimizer, columns, terms)
        for _ in range(epochs - 1):
            self._descent.step()
        self._last = True
        self._rows_trained = epochs * columns[Columns.ACTION_LOGP].size
        yield Minibatch({module_id: {name: torch.from_numpy(c) for name, c in columns.items()}})

    def gradient_step(self, policy_batches: dict[str, Any]) -> tuple[Any, Any, Any]:
        """The last gradient step on RLlib's PPO loss."""
        ((module_id, rows),) = policy_batches.items()
        out = {Columns.ACTION_DIST_INPUTS: torch.from_numpy(self._descent.logits())}
        with torch.no_grad():
            loss = self._logged_loss(module_id, rows, out)
        self._descent.step()
        self._descent.end()
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


class _Descent:
    """Adam's steps on the loss of one batch, taken without Torch.

    Args:
        parameters: Weights and biases of the means, layer by layer, and log standard deviations.
        optimizer: What has stepped them before, plain Adam.
        columns: Columns as `IncrementLearner` has them.
        terms: Coefficients of the loss.
    """

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        columns: Mapping[str, FloatArray],
        terms: PPOTerms,
    ) -> None:
        self._state, self._optimizer, self._terms = AdamState(parameters), optimizer, terms
        self._surrogate, self._seen = _Surrogate(columns), columns[Columns.OBS]
        steps = self._state.steps_taken(optimizer)
        assert steps is not None
        self._steps = steps
        self._weights, self._moments = self._state.read(optimizer, steps)
        self._gradient = np.empty_like(self._weights)
        shapes = [tuple(parameter.shape) for parameter in parameters]
        *arrays, self._log_std = _parts(self._weights, shapes)
        *self._by_arrays, self._by_log_std = _parts(self._gradient, shapes)
        self._network = MeanNetwork(arrays)

    def logits(self) -> FloatArray:
        """Means and log standard deviations at the states, (S, 2d)."""
        mean = self._network.means(self._seen)
        return np.concatenate([mean, np.broadcast_to(self._log_std, mean.shape)], axis=1)

    def step(self) -> None:
        """Takes a step over the whole batch."""
        mean = self._network.means(self._seen)
        by_mean, by_log_std = self._surrogate.gradient(self._terms, mean, self._log_std)
        self._by_log_std[:] = by_log_std
        self._network.backward(by_mean, self._by_arrays)
        self._steps += 1
        adam_step(self._optimizer, self._steps, self._weights, self._moments, self._gradient)

    def end(self) -> None:
        """Gives parameters and optimizer what came of the steps."""
        self._state.write(self._optimizer, self._steps, self._weights, self._moments)


def _parts(vector: FloatArray, shapes: Sequence[tuple[int, ...]]) -> list[FloatArray]:
    """A vector as arrays of these shapes, which share its memory."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    pieces = np.split(vector, ends[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


class _Surrogate:
    """The loss of increments from given states, but for the policy's logits there.

    In NumPy, whose products of many small matrices take a tenth of Torch's time.

    Args:
        column: Columns as `IncrementLearner` has them.
    """

    def __init__(self, column: Mapping[str, FloatArray]) -> None:
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
