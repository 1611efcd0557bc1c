"""Which of PPO's updates run compiled, and the weights and moments that they share with RLlib.

Compiled are perceptrons of any depth and width, with tanh or ReLU, for Gaussian actions, with a
value network of its own or none, trained by plain Adam on a CPU. Everything else, and everything
where Numba is missing, takes `LeanPPOLearner`'s steps one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import nn

from rllib_calsheq.core.cores import usable_cores
from rllib_calsheq.learning.adam_state import AdamState, settings_of
from rllib_calsheq.learning.fastest import Fastest
from rllib_calsheq.learning.fused_mlp import is_perceptron
from rllib_calsheq.learning.ppo_gradient import PPOTerms, has_closed_form
from rllib_calsheq.learning.ray_private.access import layers_of, log_std_of

logger = logging.getLogger(__name__)

#: Columns of a batch in the order of the kernels, and their numbers of axes.
COLUMNS = (
    (Columns.OBS, 2),
    (Columns.ACTIONS, 2),
    (Columns.ACTION_DIST_INPUTS, 2),
    (Columns.ACTION_LOGP, 1),
    (Postprocessing.ADVANTAGES, 1),
    (Postprocessing.VALUE_TARGETS, 1),
)


@cache
def kernels() -> Any:
    """The compiled functions; None, said once, where Numba cannot be imported."""
    try:
        from rllib_calsheq.learning import kernels as found
    except ImportError as error:
        logger.warning(
            "PPO's updates are not compiled and take several times as long, since Numba cannot be "
            f"imported ({error}); the results are the same up to rounding. Try `pip install numba`"
        )
        return None
    return found


def numbers_of_workers() -> tuple[int, ...]:
    """With how many threads an update may be tried: powers of two, as far as there are cores.

    ``CALSHEQ_NUM_THREADS`` limits them. The numbers that come out are the same with each.
    """
    most = min(kernels().LANES, usable_cores())
    return tuple(2**power for power in range(most.bit_length()))


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of Numba's, also where what it compiles cannot be kept: a full disk, say."""
    try:
        return function(*arguments)
    except OSError:  # It is compiled by now, and has not run yet.
        return function(*arguments)


def _take_together(workers: Fastest, *arguments: Any) -> int:
    """The kernels' steps, shared by as many threads as are fastest; how many were taken."""
    found = kernels()
    order, size, weights = arguments[0], arguments[1], arguments[3]
    shared = np.empty((found.LANES, len(weights) + 1), np.float32), np.zeros(1, np.int64)
    with _one_blas_thread():
        # Without a minibatch: it is compiled before there are others to wait for it.
        call(found.take_steps, order[:0], *arguments[1:], *shared, 0, 1)
        with workers.turn(len(order) // size) as number:
            others = [
                Thread(target=found.take_steps, args=(*arguments, *shared, worker, number))
                for worker in range(1, number)
            ]
            for other in others:
                other.start()
            done: int = found.take_steps(*arguments, *shared, 0, number)
            for other in others:
                other.join()
    return done


class CompiledUpdate:
    """PPO's minibatch steps on one module, compiled.

    Use `compiled_update`, which knows what can be.

    Args:
        policy: Layers of the policy network, first to last.
        value: Layers of the value network; none for a policy without one.
        log_std: The parameter with the logarithms of the standard deviations, if it is one.
        limit: What these are clipped to, on both sides.
    """

    def __init__(
        self,
        policy: Sequence[nn.Module],
        value: Sequence[nn.Module],
        log_std: nn.Parameter | None,
        limit: float,
    ) -> None:
        self._parameters: list[torch.Tensor] = []
        self._policy, self._value = self._table(policy), self._table(value)
        self._free_at = -1
        if log_std is not None:
            self._free_at = self._count()
            self._parameters.append(log_std)
        self._state = AdamState(self._parameters)
        self._limit = limit
        self._workers = Fastest(numbers_of_workers())
        self._actions = log_std.numel() if log_std is not None else int(self._policy[-1, 1]) // 2

    def _table(self, layers: Sequence[nn.Module]) -> npt.NDArray[np.int64]:
        """A network as the kernels take it; its parameters join the others."""
        found = kernels()
        activations = {nn.Tanh: found.TANH, nn.ReLU: found.RELU}
        rows: list[list[int]] = []
        for layer in layers:
            if isinstance(layer, nn.Linear):
                place = sum(row[found.OUTPUTS] for row in rows)
                sizes = [layer.in_features, layer.out_features]
                rows.append([*sizes, self._count(), place, found.LINEAR])
                self._parameters += [layer.weight, layer.bias]
            else:
                rows[-1][found.ACTIVATION] = activations[type(layer)]
        return np.array(rows, np.int64).reshape(len(rows), 5)

    def _count(self) -> int:
        return sum(parameter.numel() for parameter in self._parameters)

    def take_steps(
        self,
        optimizer: torch.optim.Optimizer,
        columns: Mapping[str, torch.Tensor],
        order: torch.Tensor | None,
        number: int,
        size: int,
        terms: PPOTerms,
    ) -> int:
        """Takes one step a minibatch until one's gradient is not finite.

        Args:
            optimizer: What has stepped these parameters before, and will.
            columns: RLlib's columns, one row an agent step.
            order: Rows of all minibatches one after the other; None for all rows in each.
            number: How many minibatches to step on.
            size: Rows of each.
            terms: Coefficients of the loss.

        Returns:
            How many steps were taken: 0, too, where this batch or optimizer is not covered.
        """
        given = self._columns(columns)
        if not number or given is None:
            return 0
        steps = self._state.steps_taken(optimizer)
        if steps is None:
            return 0
        chosen = np.tile(np.arange(size), number) if order is None else order.cpu().numpy()
        weights, moments = self._state.read(optimizer, steps)
        coefficients = (
            terms.clip, terms.kl_coefficient, terms.entropy_coefficient, terms.value_coefficient,
            terms.value_clip, self._limit,
        )  # fmt: skip
        done = _take_together(
            self._workers,
            chosen[: number * size].astype(np.int64, copy=False),
            size,
            given,
            weights,
            self._policy,
            self._value,
            self._free_at,
            np.array(coefficients, np.float32),
            settings_of(optimizer),
            steps,
            moments,
        )
        if done:
            self._state.write(optimizer, steps + done, weights, moments)
        return done

    def _columns(self, columns: Mapping[str, torch.Tensor]) -> tuple[npt.NDArray, ...] | None:
        """The columns as the kernels take them; None if they are of another form."""
        found = []
        for name, axes in COLUMNS:
            if name == Postprocessing.VALUE_TARGETS and not len(self._value):
                name = Postprocessing.ADVANTAGES
            column = columns[name]
            if column.device.type != "cpu" or column.dtype != torch.float32 or column.ndim != axes:
                return None
            found.append(np.ascontiguousarray(column.detach().numpy()))
        sizes = [array.shape[1] for array in found[:3]]
        fits = sizes == [self._policy[0, 0], self._actions, 2 * self._actions]
        return tuple(found) if fits else None


def compiled_update(module: Any, use_critic: bool) -> CompiledUpdate | None:
    """The compiled update of a module of RLlib's; None for one that steps one by one.

    Args:
        module: The module.
        use_critic: Whether its value network is trained.
    """
    if not has_closed_form(module):
        return None
    policy, value = layers_of(module, "policy"), layers_of(module, "value") if use_critic else []
    if not is_perceptron(policy) or (use_critic and not is_perceptron(value)):
        return None
    if kernels() is None:
        return None
    return CompiledUpdate(policy, value, *log_std_of(module))


@cache
def _blas() -> Any:
    """What sets the threads of the BLAS that Numba calls."""
    import scipy.linalg.cython_blas  # noqa: F401 - loads it
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Products of blocks this small are many times slower on several threads."""
    with _blas().limit(limits=1):
        yield
