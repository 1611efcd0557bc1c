"""The shared policy's network: checks of ``model_config``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.models.utils import get_activation_fn, get_initializer_fn

from rllib_calsheq.algorithm.allowed_values import (
    BOOLEANS,
    MAPPINGS,
    NONE,
    Allowed,
    integers,
    lists_of,
    numbers,
)
from rllib_calsheq.core.configuration import require, unknown_key_message
from rllib_calsheq.core.memory import perceptron_size

#: Dimensions of what an initializer fills, by the end of its field's name.
_FILLED = {"conv_kernel_initializer": 4, "kernel_initializer": 2, "bias_initializer": 1}


def _is_found(find: Callable[..., Any], value: Any) -> bool:
    """Whether RLlib finds what a name stands for; functions and classes need not be found."""
    if not (value is None or isinstance(value, str)):
        return callable(value)
    try:
        found = find(value, framework="torch")
    except ValueError:
        return False
    return found is None or callable(found)


_ACTIVATIONS = Allowed(
    "relu, tanh, elu, silu, linear, or a class of torch.nn", partial(_is_found, get_activation_fn)
)
_INITIALIZERS = Allowed(
    "functions of torch.nn.init that work in place, e.g. xavier_uniform_ or zeros_, functions of "
    "your own, or None",
    partial(_is_found, get_initializer_fn),
)
_CONVOLUTION = Allowed(
    "[filters, kernel, stride]", lambda v: isinstance(v, (list, tuple)) and len(v) == 3
)
#: Allowed values by the end of a field's name; the first end that fits counts.
_BY_ENDING = {
    "head_fcnet_hiddens": lists_of(integers(1), empty=True),
    "hiddens": lists_of(integers(1)),
    "activation": _ACTIVATIONS,
    "initializer": _INITIALIZERS,
    "initializer_kwargs": MAPPINGS | NONE,
    "conv_filters": lists_of(_CONVOLUTION) | NONE,
    "log_std_clip_param": numbers(0.0, above=True, infinite=True),
    "max_seq_len": integers(1),
    "lstm_cell_size": integers(1),
}
#: Beginnings of the fields that no network of RLlib's PPO reads.
_UNREAD = ("fusionnet_", "lstm_use_prev_")


def _allowed(name: str, default: Any) -> Allowed:
    if name.startswith(_UNREAD):
        return Allowed("its default alone, since no network reads it", lambda v: v == default)
    # The fields that no ending names switch something.
    return next((a for end, a in _BY_ENDING.items() if name.endswith(end)), BOOLEANS)


#: Allowed values of every field of RLlib's `DefaultModelConfig`.
NETWORK_FIELDS: dict[str, Allowed] = {
    name: _allowed(name, default) for name, default in vars(DefaultModelConfig()).items()
}


def network_fields(given: Any) -> dict[str, Any]:
    """The fields that a ``model_config`` sets: a mapping's own, a dataclass's all.

    Raises:
        ValueError: If it is neither a mapping nor RLlib's `DefaultModelConfig`.
    """
    if isinstance(given, DefaultModelConfig):
        return dataclasses.asdict(given)
    require(
        isinstance(given, Mapping),
        "model_config",
        given,
        "a mapping of its fields, or RLlib's DefaultModelConfig",
    )
    return dict(given)


def check_model_config(model_config: Mapping[str, Any]) -> None:
    """Checks the network of RLlib's default modules.

    Raises:
        ValueError: If a field is unknown or its value is not allowed.
    """
    for name, value in model_config.items():
        if name not in NETWORK_FIELDS:
            raise ValueError(unknown_key_message("model_config", name, list(NETWORK_FIELDS)))
        allowed = NETWORK_FIELDS[name]
        require(allowed.holds(value), f"model_config.{name}", value, allowed.text)
    for name in model_config:
        if name.endswith("initializer"):
            _try_initializer(name, model_config)
    if model_config.get("use_lstm") and model_config.get("free_log_std"):
        raise ValueError(
            "model_config has use_lstm and free_log_std, but RLlib's head for a free log standard "
            "deviation takes no sequences: set one of the two to false"
        )


def _try_initializer(name: str, model_config: Mapping[str, Any]) -> None:
    """Lets an initializer fill weights of the kind that it is for, with its own arguments.

    Raises:
        ValueError: If it cannot.
    """
    value, kwargs = model_config[name], model_config.get(f"{name}_kwargs")
    initialise = get_initializer_fn(value, framework="torch")
    if initialise is None:
        return
    dimensions = next(n for end, n in _FILLED.items() if name.endswith(end))
    with torch.random.fork_rng(devices=[]):
        try:
            initialise(torch.empty((3,) * dimensions), **(kwargs or {}))
        except Exception as error:
            raise ValueError(
                f"model_config.{name} is {value!r}, with {name}_kwargs = {kwargs!r}, which cannot "
                f"fill weights of {dimensions} dimension(s) ({error}): choose another function of "
                "torch.nn.init or other arguments"
            ) from None


def network_size(
    model_config: Mapping[str, Any], observation: int, distribution: int
) -> tuple[float, float]:
    """Weights and units of RLlib's own network of actor and critic, about.

    Args:
        model_config: Fields of `DefaultModelConfig`, checked.
        observation: Numbers in an observation, which is a vector.
        distribution: Numbers that describe the distribution of an action.
    """
    fields = {**vars(DefaultModelConfig()), **model_config}
    body = [observation, *fields["fcnet_hiddens"]]
    bodies, seen = [body], body[-1]
    if fields["use_lstm"]:
        # Four gates see the input and the last state, each with two biases.
        bodies.append([seen + fields["lstm_cell_size"] + 1, 4 * fields["lstm_cell_size"]])
        seen = fields["lstm_cell_size"]
    heads = [[seen, *fields["head_fcnet_hiddens"], outputs] for outputs in (distribution, 1)]
    sizes = [perceptron_size(w) for w in bodies * (2 - fields["vf_share_layers"]) + heads]
    return sum(weights for weights, _ in sizes), sum(units for _, units in sizes)
