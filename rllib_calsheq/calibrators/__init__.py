"""Calibrators by name."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from rllib_calsheq.calibrators.base import Calibrator
from rllib_calsheq.configuration import from_mapping
from rllib_calsheq.targets import TargetSet

CALIBRATORS = ("fixed", "ppo")


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
    what = f"calibrator {name!r}"
    if name == "ppo":
        # Imported here: Torch and RLlib take seconds, and other calibrators need neither.
        from rllib_calsheq.calibrators.ppo import PPOCalibrator
        from rllib_calsheq.calibrators.ppo_config import PPOCalibratorConfig

        config = from_mapping(PPOCalibratorConfig, fields, what)
        return PPOCalibrator(start, num_particles, targets, seed, config)
    if name == "fixed":
        from rllib_calsheq.calibrators.fixed import FixedCalibrator

        if fields:
            raise ValueError(f"{what} has no fields, but {sorted(fields)} were given")
        return FixedCalibrator(start, num_particles, targets, seed)
    raise ValueError(f"unknown calibrator {name!r}; there are {list(CALIBRATORS)}")
