"""Calibrators by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from rllib_calsheq.calibrators.bayesian.config import (
    BayesianConfig,
    TrustRegionConfig,
    require_botorch,
)
from rllib_calsheq.calibrators.cma.config import CMAConfig
from rllib_calsheq.calibrators.eki.config import EKIConfig
from rllib_calsheq.calibrators.fixed import FixedCalibrator
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.calibrators.random_search import RandomSearchCalibrator, RandomSearchConfig
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.configuration import from_mapping
from rllib_calsheq.core.targets import TargetSet

CALIBRATORS = ("fixed", "random", "cma", "eki", "bo", "bo_tr", "ppo")
#: Fields of each calibrator that has any.
CONFIGS: dict[str, type] = {
    "random": RandomSearchConfig,
    "cma": CMAConfig,
    "eki": EKIConfig,
    "bo": BayesianConfig,
    "bo_tr": TrustRegionConfig,
    "ppo": PPOCalibratorConfig,
}


def calibrator_config(name: str, fields: Mapping[str, Any]) -> Any:
    """The checked configuration of a calibrator; None for one without fields.

    Raises:
        ValueError: If the name or a field is unknown, a value is not allowed, or the
            calibrator needs a package that is not installed.
    """
    what = f"calibrator {name!r}"
    if name not in CALIBRATORS:
        raise ValueError(f"unknown calibrator {name!r}; there are {list(CALIBRATORS)}")
    if name not in CONFIGS:
        if fields:
            raise ValueError(f"{what} has no fields, but {sorted(fields)} were given")
        return None
    config: Any = from_mapping(CONFIGS[name], fields, what)
    if name in ("bo", "bo_tr"):
        require_botorch(name)
    return config


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
        name: ``ppo`` (CALSHEQ's RL calibrator) or one of its rivals: ``fixed`` (the profile
            stays at Λ_0), ``random``, ``cma`` (CMA-ES), ``eki`` (ensemble Kalman inversion),
            ``bo`` (the paper's baseline) and ``bo_tr`` (Bayesian optimisation of the outcomes
            in a trust region).
        start: Initial profile Λ_0 in the unit cube, shape (d,).
        num_particles: B, one particle an episode slot.
        targets: The targets.
        seed: Seed of all its random numbers.
        **fields: Fields of that calibrator's configuration.

    Raises:
        ValueError: If the name or a field is unknown, a value is not allowed, or the
            calibrator needs a package that is not installed.
    """
    config = calibrator_config(name, fields)
    # Imported where they are needed: Torch, RLlib, BoTorch and cma take seconds.
    if name == "ppo":
        from rllib_calsheq.calibrators.ppo.calibrator import PPOCalibrator

        return PPOCalibrator(start, num_particles, targets, seed, config)
    if name == "bo":
        from rllib_calsheq.calibrators.bayesian.calibrator import BayesianCalibrator

        return BayesianCalibrator(start, num_particles, targets, seed, config)
    if name == "bo_tr":
        from rllib_calsheq.calibrators.bayesian.trust_region import TrustRegionCalibrator

        return TrustRegionCalibrator(start, num_particles, targets, seed, config)
    if name == "cma":
        from rllib_calsheq.calibrators.cma.calibrator import CMACalibrator

        return CMACalibrator(start, num_particles, targets, seed, config)
    if name == "eki":
        from rllib_calsheq.calibrators.eki.calibrator import EKICalibrator

        return EKICalibrator(start, num_particles, targets, seed, config)
    if name == "random":
        return RandomSearchCalibrator(start, num_particles, targets, seed, config)
    return FixedCalibrator(start, num_particles, targets, seed)
