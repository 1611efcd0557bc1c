"""What a run is: what a checkpoint's manifest says of it, and a run that goes on must be, too."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from rllib_calsheq.algorithm.config import CALSHEQConfig
from rllib_calsheq.algorithm.problem import SHARED_POLICY
from rllib_calsheq.calibrators import calibrator_config
from rllib_calsheq.core.stages import Calibration
from rllib_calsheq.core.version import __version__

#: Packages whose objects are in a checkpoint.
PACKAGES = ("ray", "torch", "numpy", "gymnasium")


def made_by() -> dict[str, str]:
    """Versions of all that writes a checkpoint, by package."""
    others = {name: version(name) for name in PACKAGES}
    return {"rllib-calsheq": __version__, "python": platform.python_version(), **others}


def identity_of(
    config: CALSHEQConfig, calibration: Calibration, modules: Mapping[str, Any]
) -> dict[str, Any]:
    """What must not differ between a checkpoint and the run that it is restored into.

    Learning rates, minibatches, env runners and the calibrator's fields may.

    Args:
        config: The run's configuration, validated.
        calibration: Its calibration.
        modules: The policies, by name.
    """
    networks = {
        policy: {name: tuple(values.shape) for name, values in module.named_parameters()}
        for policy, module in modules.items()
    }
    space = calibration.space
    env: Any = config.env
    return {
        "environment": f"{env.__module__}.{env.__qualname__}",
        "env_config": config.env_config,
        "parameters": {
            name: {"low": low, "high": high, "start": start}
            for name, low, high, start in zip(
                space.names, space.low, space.high, space.start, strict=True
            )
        },
        "stated": calibration.parameters.stated,
        "outcomes": calibration.columns.names,
        "targets": {
            t.outcome: {
                "value": t.value, "scale": t.scale, "weight": t.weight,
                "tolerance": t.tolerance, "loss": t.loss,
            }
            for t in calibration.targets.targets
        },
        "calibrator": config.calibrator_name,
        "num_particles": config.num_particles,
        "network": networks.get(SHARED_POLICY, networks),
    }  # fmt: skip


def calibrator_fields(config: CALSHEQConfig) -> dict[str, Any]:
    """All fields of the run's calibrator, defaults included."""
    own = calibrator_config(config.calibrator_name, config.calibrator_fields)
    return {} if own is None else asdict(own)
