"""PPO's minibatch steps on perceptrons, compiled by Numba: no Python between them.

A network is a table of its layers and a vector of all parameters; a minibatch is worked through in
blocks of rows that stay in a core's cache from the first product to the last. Products are BLAS's.
All functions stand in this one file, since what Numba keeps on disk is dated by it.

A minibatch's blocks are dealt to `LANES`, each with a gradient of its own, and these are summed in
one order. Several threads may share the lanes, and the numbers are the same to the last bit.

Shapes: M rows of a minibatch, b of a block, p observed numbers, k actions, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

#: Rows of a block.
BLOCK = 128
#: Gradients of a minibatch that are made by themselves: so many threads can share an update.
LANES = 4
#: Parameters are shared out in whole pieces of so many, so that each is computed alike by whomever.
_PIECE = 256
#: How often a thread looks whether the others have come before it lets another program go first.
_LOOKS = 2000
#: Columns of a network's table: what a layer takes and gives, where its parameters stand (weights,
#: then biases), where its outputs stand (in numbers of one row), and what it does to them.
INPUTS, OUTPUTS, PARAMETERS, PLACE, ACTIVATION = range(5)
LINEAR, TANH, RELU = range(3)

#: Numbers may be summed in another order; what is not finite stays so.
_FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
_ZERO, _HALF, _ONE, _TWO, _INFINITY = (np.float32(x) for x in (0.0, 0.5, 1.0, 2.0, math.inf))
_LOG_SQRT_2_PI = np.float32(0.5 * math.log(2.0 * math.pi))

# tanh(x) = x P(x²) / Q(x²), as Eigen and XLA have it: within a few units in the last place.
_TANH_LIMIT = np.float32(7.90531110763549805)
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = (
    np.float32(c)
    for c in (
        4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08,
        -8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16,
    )
)  # fmt: skip
_Q0, _Q1 = np.float32(4.89352518554385e-03), np.float32(2.26843463243900e-03)
_Q2, _Q3 = np.float32(1.18534705686654e-04), np.float32(1.19825839466702e-06)


_let_others_run = numba.types.ExternalFunction("sched_yield", numba.types.int32())

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_OPTIONS: dict[str, Any] = {"fastmath": _FASTMATH, "error_model": "numpy", "nogil": True}
#: A part of `take_steps`: compiled with it, and kept with it.
_part = numba.njit(**_OPTIONS)


#: A part of which the instructions themselves are given.
_intrinsic: Any = numba.extending.intrinsic


def _whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled at its first call, and kept on disk if there is a folder to write to.

    Numba takes ``NUMBA_CACHE_DIR``, else the folder of this file, else the user's own.
    """
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # There is none.
        compiled = numba.njit(**_OPTIONS)(function)
    return compiled


@_intrinsic
def _arrive(typing_context: Any, meeting: Any) -> Any:
    """Adds one to the first number of an int64 array, at once for all threads."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        one = context.get_constant(numba.types.int64, 1)
        return builder.atomic_rmw("add", array.data, one, "seq_cst")

    return numba.types.int64(meeting), generate


@_intrinsic
def _arrived(typing_context: Any, meeting: Any) -> Any:
    """The first number of an int64 array, as all threads have left it."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        return builder.load_atomic(array.data, "seq_cst", 8)

    return numba.types.int64(meeting), generate


@_part
def _meet(meeting: Integers, expected: int) -> None:
    """Waits until so many arrivals have been counted, this one among them."""
    _arrive(meeting)
    looks = 0
    while _arrived(meeting) < expected:
        looks += 1
        if looks > _LOOKS:
            _let_others_run()


@_part
def _tanh(x: Any) -> Any:
    x = _TANH_LIMIT if x > _TANH_LIMIT else (-_TANH_LIMIT if x < -_TANH_LIMIT else x)
    s = x * x
    p = _P3 + s * (_P4 + s * (_P5 + s * _P6))
    p = _P0 + s * (_P1 + s * (_P2 + s * p))
    q = _Q0 + s * (_Q1 + s * (_Q2 + s * _Q3))
    return x * p / q


@_part
def _forward(parameters: Floats, layers: Integers, rows: Floats, hidden: Floats) -> Floats:
    """Outputs (b, out) of rows (b, p); all layers' are in ``hidden``, (b · their number)."""
    b = len(rows)
    below = rows
    for layer in range(len(layers)):
        inputs, outputs = layers[layer, INPUTS], layers[layer, OUTPUTS]
        first, place = layers[layer, PARAMETERS], layers[layer, PLACE] * b
        weights = parameters[first : first + inputs * outputs].reshape(outputs, inputs)
        bias = parameters[first + inputs * outputs : first + (inputs + 1) * outputs]
        out = hidden[place : place + b * outputs].reshape(b, outputs)
        np.dot(below, weights.T, out)
        activation = layers[layer, ACTIVATION]
        for r in range(b):
            row = out[r]
            if activation == TANH:
                for j in range(outputs):
                    row[j] = _tanh(row[j] + bias[j])
            elif activation == RELU:
                for j in range(outputs):
                    y = row[j] + bias[j]
                    row[j] = _ZERO if y < _ZERO else y
            else:
                for j in range(outputs):
                    row[j] += bias[j]
        below = out
    return below


@_part
def _backward(
    parameters: Floats,
    layers: Integers,
    rows: Floats,
    hidden: Floats,
    by_out: Floats,
    spare: Floats,
    product: Floats,
    gradient: Floats,
) -> None:
    """Adds to the gradient (P,) what the gradient by the outputs, ``by_out`` (b · out), means.

    ``by_out`` and ``spare`` (b · the widest layer), and ``product`` (the largest weights) are
    written over.
    """
    b = len(rows)
    for layer in range(len(layers) - 1, -1, -1):
        inputs, outputs = layers[layer, INPUTS], layers[layer, OUTPUTS]
        first, place = layers[layer, PARAMETERS], layers[layer, PLACE] * b
        by_bias = gradient[first + inputs * outputs : first + (inputs + 1) * outputs]
        by_layer = by_out[: b * outputs].reshape(b, outputs)
        out = hidden[place : place + b * outputs].reshape(b, outputs)
        activation = layers[layer, ACTIVATION]
        for r in range(b):
            g, y = by_layer[r], out[r]
            if activation == TANH:
                for j in range(outputs):
                    g[j] *= _ONE - y[j] * y[j]
            elif activation == RELU:
                for j in range(outputs):
                    g[j] = g[j] if y[j] > _ZERO else _ZERO
            for j in range(outputs):
                by_bias[j] += g[j]
        below = rows
        if layer:
            start = layers[layer - 1, PLACE] * b
            below = hidden[start : start + b * inputs].reshape(b, inputs)
        by_weights = product[: inputs * outputs].reshape(outputs, inputs)
        np.dot(by_layer.T, below, by_weights)
        for i in range(inputs * outputs):
            gradient[first + i] += product[i]
        if layer:
            weights = parameters[first : first + inputs * outputs].reshape(outputs, inputs)
            np.dot(by_layer, weights, spare[: b * inputs].reshape(b, inputs))
            by_out, spare = spare, by_out


@_part
def _by_logits(
    chosen: Integers,
    columns: tuple[Floats, ...],
    out: Floats,
    log_std: Floats,
    terms: Floats,
    share: Any,
    by: Floats,
) -> None:
    """Gradient of the loss by means and log standard deviations, ``by`` (b, 2k).

    As `ppo_gradient`, of which this is the loop over rows; ``share`` is 1/M.
    """
    _, actions, old_logits, old_logp, advantages, _ = columns
    clip, kl, entropy, limit = terms[0], terms[1], terms[2], terms[5]
    k = actions.shape[1]
    free = len(log_std) > 0
    for r in range(len(chosen)):
        row = chosen[r]
        log_prob = _ZERO
        for i in range(k):
            s = log_std[i] if free else out[r, k + i]
            s = limit if s > limit else (-limit if s < -limit else s)
            z = (actions[row, i] - out[r, i]) * np.exp(-s)
            log_prob += z * z * -_HALF - s - _LOG_SQRT_2_PI
        advantage = advantages[row]
        gain = advantage * np.exp(log_prob - old_logp[row])
        # The clipped branch of the minimum has no gradient. Written so that a NaN stays one.
        clipped = gain > advantage + clip * abs(advantage)
        by_log_prob = _ZERO if clipped else -gain * share
        for i in range(k):
            s = log_std[i] if free else out[r, k + i]
            inside = -limit <= s <= limit
            s = limit if s > limit else (-limit if s < -limit else s)
            precision = np.exp(-s)
            z = (actions[row, i] - out[r, i]) * precision
            by_mean = by_log_prob * z * precision
            by_log_std = by_log_prob * (z * z - _ONE) - entropy * share
            if kl != _ZERO:
                shift = (out[r, i] - old_logits[row, i]) * precision
                spread = np.exp(old_logits[row, k + i]) * precision
                by_mean += kl * share * shift * precision
                by_log_std += kl * share * (_ONE - spread * spread - shift * shift)
            by[r, i] = by_mean
            by[r, k + i] = by_log_std if inside or s != s else _ZERO


@numba.njit(inline="always")
def _add_gradient(
    chosen: Integers,
    columns: tuple[Floats, ...],
    parameters: Floats,
    policy: Integers,
    value: Integers,
    free_at: int,
    terms: Floats,
    share: Any,
    scratch: tuple[Floats, ...],
    gradient: Floats,
) -> None:
    """Adds to the gradient (P,) of a minibatch's loss what the chosen rows mean for it."""
    observations, targets = columns[0], columns[5]
    rows_space, hidden, by_out, spare, product = scratch
    b, p, k = len(chosen), observations.shape[1], columns[1].shape[1]
    rows = rows_space[: b * p].reshape(b, p)
    for r in range(b):
        row, seen = rows[r], observations[chosen[r]]
        for j in range(p):
            row[j] = seen[j]

    out = _forward(parameters, policy, rows, hidden)
    log_std = parameters[free_at : free_at + k] if free_at >= 0 else parameters[:0]
    by = spare[: b * 2 * k].reshape(b, 2 * k)
    _by_logits(chosen, columns, out, log_std, terms, share, by)
    width = out.shape[1]
    for r in range(b):
        for i in range(width):
            by_out[r * width + i] = by[r, i]
        for i in range(width, 2 * k):
            gradient[free_at + i - width] += by[r, i]
    _backward(parameters, policy, rows, hidden, by_out, spare, product, gradient)

    if len(value):
        out = _forward(parameters, value, rows, hidden)
        weight, limit = _TWO * terms[3] * share, terms[4]
        for r in range(b):
            error = out[r, 0] - targets[chosen[r]]
            by_out[r] = _ZERO if error * error > limit else weight * error
        _backward(parameters, value, rows, hidden, by_out, spare, product, gradient)


@_part
def _adam(
    gradients: Floats,
    parameters: Floats,
    moments: Floats,
    length: Any,
    scale: Any,
    add_1: Any,
    keep_2: Any,
    add_2: Any,
    small: Any,
) -> None:
    """Adam's step on one piece of the parameters, the lanes' gradients summed.

    A piece is a loop of its own, since what a loop does to a number may depend, in the last bit, on
    how many stand behind it.
    """
    mean, square = moments[0], moments[1]
    for i in range(len(parameters)):
        g = gradients[0, i]
        for lane in range(1, LANES):
            g += gradients[lane, i]
        mean[i] += add_1 * (g - mean[i])
        square[i] = keep_2 * square[i] + add_2 * g * g
        parameters[i] -= length * mean[i] / (np.sqrt(square[i]) / scale + small)


@_whole
def take_steps(
    order: Integers,
    size: int,
    columns: tuple[Floats, ...],
    parameters: Floats,
    policy: Integers,
    value: Integers,
    free_at: int,
    terms: Floats,
    adam: tuple[float, float, float, float],
    steps: int,
    moments: Floats,
    gradients: Floats,
    meeting: Integers,
    worker: int,
    workers: int,
) -> int:
    """Takes Adam's steps on PPO's loss until all minibatches are done or a gradient is not finite.

    Several threads take them together when each calls this with the same arrays and its own
    number.

    Args:
        order: Rows of all minibatches one after the other, int64.
        size: M; ``order`` holds a multiple of it.
        columns: Observations (·, p), actions (·, k), logits (·, 2k) that they were drawn from,
            their log-probabilities (·,), advantages (·,) and value targets (·,), float32.
        parameters: (P,), float32, changed in place.
        policy: The policy's table of layers, int64. It gives k means, and k logarithms of standard
            deviations unless these are parameters.
        value: The value network's; without a layer there is none.
        free_at: Where in the parameters the k logarithms of standard deviations stand, or -1.
        terms: ε, β, c_H, c_v, v_clip as in `PPOTerms`, and what the logarithm of a standard
            deviation is clipped to; float32.
        adam: Learning rate, β_1, β_2, ε.
        steps: Steps that Adam has taken before.
        moments: Adam's (2, P), float32, changed in place.
        gradients: (LANES, P + 1), float32: of each lane, and its squared norm.
        meeting: One number, int64, 0 at the start: how often a thread has come to a meeting.
        worker: Which thread this is, from 0.
        workers: How many there are, at most `LANES`.

    Returns:
        How many steps were taken.
    """
    b, p = min(size, BLOCK), columns[0].shape[1]
    widest, units, largest = 2 * columns[1].shape[1], 0, 0
    for layers in (policy, value):
        total = 0
        for layer in range(len(layers)):
            inputs, outputs = layers[layer, INPUTS], layers[layer, OUTPUTS]
            widest, largest = max(widest, outputs), max(largest, inputs * outputs)
            total += outputs
        units = max(units, total)
    scratch = (
        np.empty(b * p, np.float32),
        np.empty(b * units, np.float32),
        np.empty(b * widest, np.float32),
        np.empty(b * widest, np.float32),
        np.empty(largest, np.float32),
    )
    share = np.float32(1.0 / size)
    rate, beta_1, beta_2, epsilon = adam
    keep_2, small = np.float32(beta_2), np.float32(epsilon)
    add_1, add_2 = np.float32(1.0 - beta_1), np.float32(1.0 - beta_2)
    count = len(parameters)
    pieces = -(-count // _PIECE)
    first_own, last_own = worker * pieces // workers, (worker + 1) * pieces // workers
    for number in range(len(order) // size):
        end = (number + 1) * size
        for lane in range(worker, LANES, workers):
            gradient = gradients[lane, :count]
            gradient[:] = _ZERO
            for first in range(number * size + lane * BLOCK, end, LANES * BLOCK):
                chosen = order[first : min(first + BLOCK, end)]
                _add_gradient(
                    chosen, columns, parameters, policy, value, free_at, terms, share, scratch,
                    gradient,
                )  # fmt: skip
            norm = _ZERO
            for i in range(count):
                norm += gradient[i] * gradient[i]
            gradients[lane, count] = norm
        if workers > 1:
            _meet(meeting, (2 * number + 1) * workers)
        norm = _ZERO
        for lane in range(LANES):
            norm += gradients[lane, count]
        # Of a sum that may be taken in another order, `isfinite` is not to be relied on.
        if not norm < _INFINITY:
            return number
        step = steps + number + 1
        length = np.float32(rate / (1.0 - beta_1**step))
        scale = np.float32(math.sqrt(1.0 - beta_2**step))
        for piece in range(first_own, last_own):
            part = slice(piece * _PIECE, min((piece + 1) * _PIECE, count))
            _adam(
                gradients[:, part], parameters[part], moments[:, part], length, scale, add_1,
                keep_2, add_2, small,
            )  # fmt: skip
        if workers > 1:
            _meet(meeting, (2 * number + 2) * workers)
    return len(order) // size
