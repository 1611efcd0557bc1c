"""Calibrators by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from rllib_calsheq.calibrators.base import Calibrator
from rllib_calsheq.calibrators.fixed import FixedCalibrator
from rllib_calsheq.calibrators.ppo_config import PPOCalibratorConfig
from rllib_calsheq.configuration import from_mapping
from rllib_calsheq.targets import TargetSet

CALIBRATORS = ("fixed", "ppo")


def calibrator_config(name: str, fields: Mapping[str, Any]) -> Any:
    """The checked configuration of a calibrator; None for one without fields.

    Raises:
        ValueError: If the name or a field is unknown, or a value is not allowed.
    """
    what = f"calibrator {name!r}"
    if name == "ppo":
        return from_mapping(PPOCalibratorConfig, fields, what)
    if name == "fixed":
        if fields:
            raise ValueError(f"{what} has no fields, but {sorted(fields)} were given")
        return None
    raise ValueError(f"unknown calibrator {name!r}; there are {list(CALIBRATORS)}")


def make_calibrator(
    name: str,
    *,
    start: npt.ArrayLike,
    num_particles: int,
    targets: TargetSet,
    seed: int,
    **fields: Any,
) -> Calibrator:
    """Builds a calibrator.

    Args:
        name: ``ppo`` (CALSHEQ's RL calibrator) or ``fixed`` (the profile stays at Λ_0).
        start: Initial profile Λ_0 in the unit cube, shape (d,).
        num_particles: B, one particle an episode slot.
        targets: The targets.
        seed: Seed of all its random numbers.
        **fields: Fields of that calibrator's configuration.

    Raises:
        ValueError: If the name or a field is unknown, or a value is not allowed.
    """
    config = calibrator_config(name, fields)
    if name == "ppo":
        # Imported here: Torch and RLlib take seconds, and other calibrators need neither.
        from rllib_calsheq.calibrators.ppo import PPOCalibrator

        return PPOCalibrator(start, num_particles, targets, seed, config)
    return FixedCalibrator(start, num_particles, targets, seed)
