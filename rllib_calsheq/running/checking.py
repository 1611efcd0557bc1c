"""A configuration that is known to work, before anything of Ray's starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_calsheq.algorithm import CALSHEQConfig


def checked_config(given: Mapping[str, Any]) -> CALSHEQConfig:
    """The validated configuration of a mapping with RLlib's and CALSHEQ's own fields.

    Raises:
        ValueError: If it cannot run; the message says what to do.
    """
    config = CALSHEQConfig().update_from_dict(given)
    config.validate()
    config.check_kept(given)
    # A calibrator may refuse its number of parameters or particles.
    config.build_calibration()
    return config
