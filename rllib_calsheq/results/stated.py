"""The configuration of a run as it was stated, without its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rllib_calsheq.algorithm import CALSHEQConfig


def stated(config: Mapping[str, Any]) -> CALSHEQConfig:
    """The configuration of a mapping, in the environment that its targets were made for.

    Its ``problem()`` and ``target_set()`` say what is calibrated, and to what.

    Raises:
        ValueError: If there is no such environment, or it refuses its configuration.
    """
    from rllib_calsheq.algorithm import CALSHEQConfig

    made = CALSHEQConfig().update_from_dict(dict(config))
    return made.environment(made.env, env_config=made.effective_env_config())
