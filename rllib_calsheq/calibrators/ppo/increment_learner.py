"""RLlib's PPO learner for many increments imagined from each of a few states.

The policy's network sees the state alone, so that it has one pass for all increments from it; with
c the increments less the mean that they were drawn with, and δ how far that mean has moved,
log-probabilities are products with (c², c), made once an update:

    Σ_j ((c_j − δ_j) / σ_j)² = Σ_j c_j² / σ_j² − 2 Σ_j c_j δ_j / σ_j² + Σ_j δ_j² / σ_j²,

and so are the sums over a state's increments that the gradient consists of. The loss is RLlib's, as
`rllib_calsheq.learning.ppo_gradient` has it, up to rounding. Module, optimizer and its state, KL
coefficient and the rule by which it adapts are RLlib's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.calibrators.ppo.mean_network import MeanNetwork, mean_parameters
from rllib_calsheq.learning.adam_state import AdamState, adam_step
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.ppo_gradient import LOG_SQRT_2_PI, PPOTerms
from rllib_calsheq.learning.ray_private.access import free_log_std

FloatArray = npt.NDArray[np.float32]


class IncrementLearner(LeanPPOLearner):
    """A PPO learner without a value net, of batches that have one row a state."""

    def build(self) -> None:
        """Builds module and optimizer."""
        super().build()
        (self._module_id,) = self.module.keys()
        module = self.module[self._module_id].unwrapped()
        self._trained = [*mean_parameters(module), free_log_std(module)]

    def descend(self, columns: Mapping[str, FloatArray], epochs: int) -> dict[str, float]:
        """An update: so many of Adam's steps on the loss of the whole batch.

        Args:
            columns: Observations (S, p), the logits (S, 2d) that the increments were drawn from,
                actions (S, A, d), and their log-probabilities and advantages (S, A).
            epochs: How many.

        Returns:
            Terms of the loss before the last step: ``kl``, ``entropy``, ``policy_loss`` and all,
            ``loss``.

        Raises:
            NotFiniteError: If a weight is not finite afterwards.
        """
        (optimizer,) = self.optimizers
        state = AdamState(self._trained)
        steps = state.steps_taken(optimizer)
        assert steps is not None  # RLlib has no other optimizer for it than Adam.
        weights, moments = state.read(optimizer, steps)
        gradient = np.empty_like(weights)
        shapes = [tuple(parameter.shape) for parameter in self._trained]
        *arrays, log_std = _parts(weights, shapes)
        *by_arrays, by_log_std = _parts(gradient, shapes)
        network, surrogate = MeanNetwork(arrays), Surrogate(columns)
        terms, losses = self._terms(self._module_id, self.config), {}
        for epoch in range(1, epochs + 1):
            surrogate.move(network.means(columns[Columns.OBS]), log_std)
            if epoch == epochs:
                losses = surrogate.losses(terms)
            by_mean, by_log_std[:] = surrogate.gradient(terms)
            network.backward(by_mean, by_arrays)
            adam_step(optimizer, steps + epoch, weights, moments, gradient)
        state.write(optimizer, steps + epochs, weights, moments)
        self.require_finite_weights()
        self.adapt_kl_coefficient(self._module_id, losses["kl"])
        return losses


def _parts(vector: FloatArray, shapes: Sequence[tuple[int, ...]]) -> list[FloatArray]:
    """A vector as arrays of these shapes, which share its memory."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    pieces = np.split(vector, ends[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


class Surrogate:
    """The loss of increments from given states, but for the policy's network.

    In NumPy, whose products of many small matrices take a tenth of Torch's time.

    Args:
        columns: Columns as `IncrementLearner.descend` takes them.
    """

    def __init__(self, columns: Mapping[str, FloatArray]) -> None:
        self._old_mean, old_log_std = np.split(columns[Columns.ACTION_DIST_INPUTS], 2, axis=-1)
        self._old_log_std, self._old_variance = old_log_std, np.exp(2 * old_log_std)
        centred = columns[Columns.ACTIONS] - self._old_mean[:, None]
        #: c² and c, (S, A, 2d).
        self._powers = np.concatenate([np.square(centred), centred], axis=-1)
        self._old_logp = columns[Columns.ACTION_LOGP]
        self._advantages = columns[Postprocessing.ADVANTAGES]

    def move(self, mean: FloatArray, log_std: FloatArray) -> None:
        """Goes to a policy of these means (S, d) and log standard deviations (d,)."""
        self._log_std, self._precision = log_std, np.exp(-2 * log_std)
        moved = mean - self._old_mean
        self._pulled = self._precision * moved
        self._shift = self._pulled * moved
        every = np.broadcast_to(self._precision, moved.shape)
        factors = np.concatenate([every, -2 * self._pulled], axis=-1)
        squares = (self._powers @ factors[:, :, None])[..., 0]
        constant = (self._shift / 2 + log_std + np.float32(LOG_SQRT_2_PI)).sum(-1, keepdims=True)
        self._gain = self._advantages * np.exp(squares / -2 - constant - self._old_logp)

    def _cap(self, terms: PPOTerms) -> FloatArray:
        """What the gain is clipped to, (S, A)."""
        return np.asarray(self._advantages + terms.clip * np.abs(self._advantages))

    def losses(self, terms: PPOTerms) -> dict[str, float]:
        """The loss there and its terms, as RLlib's learner logs them."""
        policy_loss = -np.minimum(self._gain, self._cap(terms)).mean()
        spread = self._old_variance * self._precision
        kl = self._log_std - self._old_log_std + (spread + self._shift - 1) / 2
        divergence = kl.sum(axis=-1).mean()
        entropy = (self._log_std + np.float32(LOG_SQRT_2_PI + 0.5)).sum()
        loss = policy_loss - terms.entropy_coefficient * entropy
        loss += terms.kl_coefficient * divergence
        names = ("kl", "entropy", "policy_loss", "loss")
        return dict(zip(names, map(float, (divergence, entropy, policy_loss, loss)), strict=True))

    def gradient(self, terms: PPOTerms) -> tuple[FloatArray, FloatArray]:
        """Gradients of the loss there by means (S, d) and log standard deviations (d,)."""
        precision, pulled, shift = self._precision, self._pulled, self._shift
        # The clipped branch of the minimum has no gradient. Written so that a NaN stays one.
        clipped = self._gain > self._cap(terms)
        weights = np.where(clipped, 0, self._gain) / -self._gain.size

        total = weights.sum(axis=-1, keepdims=True)
        second, first = np.split((weights[:, None] @ self._powers)[:, 0], 2, axis=-1)
        by_mean = precision * first - total * pulled
        by_log_std = precision * second - 2 * pulled * first + total * (shift - 1)
        if terms.kl_coefficient:
            weight = terms.kl_coefficient / len(shift)
            by_mean += weight * pulled
            by_log_std += weight * (1 - self._old_variance * precision - shift)
        return by_mean, by_log_std.sum(axis=0) - terms.entropy_coefficient
