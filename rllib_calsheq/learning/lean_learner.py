"""RLlib's PPO update without what RLlib does again for every minibatch.

KL coefficient and optimizer are RLlib's own, and so are loss and logging of an update's last
minibatch (the only one whose numbers survive in RLlib, too). All other minibatches run compiled
where `compiled_update` covers module, optimizer and batch. Where it does not, left out or done
once an update are slicing and concatenating sample batches, logging, checking every gradient on
its own, and switching the module to train mode; perceptrons run as one operation each
(`fused_mlp`), and the gradient of the loss by their outputs is written out (`ppo_gradient`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray.rllib.core import ALL_MODULES
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.metrics import (
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    WEIGHTS_SEQ_NO,
)

from rllib_calsheq.learning.all_learners import sum_over_learners, weighted_mean_over_learners
from rllib_calsheq.learning.compiled_update import compiled_update
from rllib_calsheq.learning.fused_mlp import fuse_mlps
from rllib_calsheq.learning.learner import TwoTimescalePPOLearner
from rllib_calsheq.learning.ppo_gradient import PPOTerms, has_closed_form, ppo_gradient
from rllib_calsheq.learning.ray_private.access import training_pass
from rllib_calsheq.learning.ray_private.hooks import OwnUpdateLoop


@dataclass
class Minibatch:
    """What RLlib's update loop needs of a minibatch.

    Attributes:
        policy_batches: ``{module_id: {column: tensor}}``, one row an agent step.
    """

    policy_batches: dict[str, dict[str, torch.Tensor]]


class _RowTable:
    """Columns of one type side by side, so that a row is gathered in one piece.

    Args:
        columns: ``{column: tensor}`` with the same number of rows each.
    """

    def __init__(self, columns: dict[str, torch.Tensor]) -> None:
        self._shapes = {name: column.shape[1:] for name, column in columns.items()}
        by_type: dict[torch.dtype, list[str]] = {}
        for name, column in columns.items():
            by_type.setdefault(column.dtype, []).append(name)
        self._tables = [
            (names, torch.cat([columns[name].reshape(len(columns[name]), -1) for name in names], 1))
            for names in by_type.values()
        ]

    def rows(self, chosen: torch.Tensor) -> dict[str, torch.Tensor]:
        """The chosen rows, as columns of the shapes that were given."""
        found = {}
        for names, table in self._tables:
            widths = [self._shapes[name].numel() for name in names]
            parts = table.index_select(0, chosen).split(widths, dim=1)
            for name, part in zip(names, parts, strict=True):
                found[name] = part.reshape(-1, *self._shapes[name])
        return found


class _Silent:
    """Stands for the metrics logger where what it would log is overwritten at once."""

    def log_dict(self, *args: Any, **kwargs: Any) -> None:
        """Logs nothing."""

    log_value = log_dict


class LeanPPOLearner(OwnUpdateLoop, TwoTimescalePPOLearner):
    """`TwoTimescalePPOLearner` for one feed-forward module.

    Several learners take the mean of their gradients in one message a minibatch, and the mean
    of their KL divergences, so that their weights and KL coefficients stay the same. Each weighs
    as much as it has rows.
    """

    def build(self) -> None:
        """Builds modules and optimizers."""
        super().build()
        self._closed_form, self._compiled = {}, {}
        for module_id in self.module.keys():  # noqa: SIM118 - not a mapping
            module = self.module[module_id].unwrapped()
            fuse_mlps(module)
            self._closed_form[module_id] = has_closed_form(module)
            use_critic = self.config.get_config_for_module(module_id).use_critic
            self._compiled[module_id] = compiled_update(module, use_critic)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """RLlib's Adam, in one fused kernel."""
        parameters = self.get_parameters(self.module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def minibatches(
        self, training_data: TrainingData, epochs: int, size: int | None, total: int
    ) -> Iterator[Minibatch]:
        """Minibatches of the batch that the learner connector makes of rollout blocks."""
        batch = self.make_batch(training_data)
        ((module_id, columns),) = batch.policy_batches.items()
        self._rows_trained = 0
        self._weight = self._share_of_rows(training_data)
        self.module[module_id].train()
        return self._minibatches(module_id, dict(columns), epochs, size, total)

    def _minibatches(
        self,
        module_id: str,
        columns: dict[str, torch.Tensor],
        num_epochs: int,
        minibatch_size: int | None,
        num_total_minibatches: int = 0,
    ) -> Iterator[Minibatch]:
        """Minibatches of equal size over all epochs, every epoch in an order of its own.

        As in RLlib a minibatch may span two epochs, and without a minibatch size (or with one
        that is not below the batch's) every epoch is one pass over the whole batch. Several
        learners must take the same number of steps, however many rows each has: then that
        number is given.
        """
        rows = len(next(iter(columns.values())))
        order, number = self._order(rows, num_epochs, minibatch_size, num_total_minibatches)
        size = rows if order is None else minibatch_size or rows
        done = self._take_compiled_steps(module_id, columns, order, number - 1, size)
        table = None if order is None else _RowTable(columns)
        for minibatch in range(done, number):
            self._last = minibatch == number - 1
            rows_of = columns
            if order is not None and table is not None:
                rows_of = table.rows(order[minibatch * size : (minibatch + 1) * size])
            yield Minibatch({module_id: rows_of})

    def _order(
        self, rows: int, num_epochs: int, minibatch_size: int | None, num_total_minibatches: int
    ) -> tuple[torch.Tensor | None, int]:
        """Rows of all minibatches one after the other, and how many minibatches there are.

        None stands for all rows as they are in every minibatch. Otherwise the rows may end within
        the last one, which is smaller then.
        """
        if num_total_minibatches:
            assert minibatch_size is not None
            num_epochs = -(-num_total_minibatches * minibatch_size // rows)
        elif minibatch_size is None or minibatch_size >= rows or self._is_one_of_several:
            return None, num_epochs
        number = num_total_minibatches or -(-num_epochs * rows // minibatch_size)
        orders = [np.random.permutation(rows) for _ in range(num_epochs)]  # noqa: NPY002
        return torch.from_numpy(np.concatenate(orders)).to(self.device), number

    def _take_compiled_steps(
        self,
        module_id: str,
        columns: dict[str, torch.Tensor],
        order: torch.Tensor | None,
        number: int,
        size: int,
    ) -> int:
        """Steps on the first minibatches, as far as they run compiled; their number."""
        compiled = self._compiled.get(module_id)
        config = self.config.get_config_for_module(module_id)
        if compiled is None or self._is_one_of_several or config.grad_clip is not None:
            return 0
        (optimizer,) = self.optimizers
        terms = self._terms(module_id, config)
        done = compiled.take_steps(optimizer, columns, order, number, size, terms)
        self._rows_trained += done * size
        return done

    def gradient_step(self, policy_batches: dict[str, Any]) -> tuple[Any, Any, Any]:
        """One gradient step on RLlib's PPO loss."""
        ((module_id, rows),) = policy_batches.items()
        module = self.module[module_id].unwrapped()
        config = self.config.get_config_for_module(module_id)
        loss = torch.zeros(())
        parameters = self.trained_parameters
        for parameter in parameters.values():
            parameter.grad = None
        out = training_pass(module)(rows)
        if self._last or not self._closed_form[module_id]:
            loss = self._rllib_loss(module_id, config, rows, out)
            loss.backward()
        else:
            self._backward(module_id, config, rows, out)
        gradients = {name: p.grad for name, p in parameters.items()}
        found = [g for g in gradients.values() if g is not None]
        if self._is_one_of_several:
            weighted_mean_over_learners(found, self._weight)
        plain = config.grad_clip is None and bool(
            torch.isfinite(torch.nn.utils.get_total_norm(found))
        )
        if plain:
            for optimizer in self.optimizers:
                optimizer.step()
        else:
            # Clipping, and what RLlib does about gradients that are not finite.
            self.apply_gradients(self.postprocess_gradients(gradients))
        self._rows_trained += len(rows[Columns.OBS])
        return {module_id: out}, {module_id: loss}, {}

    def _rllib_loss(
        self, module_id: str, config: Any, rows: dict[str, torch.Tensor], out: dict[str, Any]
    ) -> torch.Tensor:
        """RLlib's own loss; logs its terms where they will be read."""
        metrics = self.metrics
        if not self._last:
            self.metrics = _Silent()
        try:
            return self.compute_loss_for_module(
                module_id=module_id, config=config, batch=rows, fwd_out=out
            )
        finally:
            self.metrics = metrics

    def _backward(
        self, module_id: str, config: Any, rows: dict[str, torch.Tensor], out: dict[str, Any]
    ) -> None:
        """Accumulates the loss's gradient in the parameters."""
        terms = self._terms(module_id, config)
        logits = out[Columns.ACTION_DIST_INPUTS]
        if not config.use_critic:
            logits.backward(ppo_gradient(terms, rows, logits.detach())[0])
            return
        values = (
            self.module[module_id]
            .unwrapped()
            .compute_values(rows, embeddings=out.get(Columns.EMBEDDINGS))
        )
        gradients = ppo_gradient(terms, rows, logits.detach(), values.detach())
        torch.autograd.backward([logits, values], list(gradients))

    def _terms(self, module_id: str, config: Any) -> PPOTerms:
        """The loss's coefficients as they stand now."""
        return PPOTerms(
            clip=config.clip_param,
            kl_coefficient=(
                float(self.curr_kl_coeffs_per_module[module_id]) if config.use_kl_loss else 0.0
            ),
            entropy_coefficient=float(
                self.entropy_coeff_schedulers_per_module[module_id].get_current_value()
            ),
            value_coefficient=config.vf_loss_coeff,
            value_clip=config.vf_clip_param,
        )

    def _share_of_rows(self, training_data: TrainingData) -> float:
        """This learner's part of all learners' rows."""
        if not self._is_one_of_several:
            return 1.0
        rows = sum(len(episode) for episode in training_data.episodes or [])
        (total,) = sum_over_learners([rows], self.device)
        return rows / max(total, 1.0)

    @property
    def _is_one_of_several(self) -> bool:
        return bool(self.config.num_learners and self.config.num_learners > 1)

    def divergence_of_all(self, divergence: float) -> float:
        """Mean KL divergence of all learners, each with the weight of its rows."""
        if not self._is_one_of_several:
            return divergence
        mean = torch.tensor([float(divergence)], device=self.device)
        weighted_mean_over_learners([mean], self._weight)
        return float(mean)

    def end_minibatch(self, minibatch: Minibatch) -> None:
        """Logs the steps trained, once an update."""
        if not self._last:
            return
        (module_id,) = minibatch.policy_batches
        log = self.metrics.log_value
        log((module_id, WEIGHTS_SEQ_NO), self.weights_number, window=1)
        steps, lifetime = NUM_MODULE_STEPS_TRAINED, NUM_MODULE_STEPS_TRAINED_LIFETIME
        for where in (module_id, ALL_MODULES):
            log((where, steps), self._rows_trained, reduce="sum")
            log((where, lifetime), self._rows_trained, reduce="lifetime_sum", with_throughput=True)
