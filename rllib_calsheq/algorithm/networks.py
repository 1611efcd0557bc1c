"""The shared policy's network: checks of ``model_config``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.models.utils import get_activation_fn

from rllib_calsheq.algorithm.allowed_values import (
    BOOLEANS,
    FUNCTIONS,
    MAPPINGS,
    NAMES,
    NONE,
    Allowed,
    integers,
    lists_of,
    numbers,
)
from rllib_calsheq.core.configuration import require, unknown_key_message


def _is_activation(value: Any) -> bool:
    if not (value is None or isinstance(value, str)):
        return callable(value)
    try:
        found = get_activation_fn(value, framework="torch")
    except ValueError:
        return False
    return found is None or callable(found)


_ACTIVATIONS = Allowed("relu, tanh, elu, silu, linear, or a class of torch.nn", _is_activation)
_INITIALIZERS = NAMES | FUNCTIONS | NONE
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
    if model_config.get("use_lstm") and model_config.get("free_log_std"):
        raise ValueError(
            "model_config has use_lstm and free_log_std, but RLlib's head for a free log standard "
            "deviation takes no sequences: set one of the two to false"
        )
