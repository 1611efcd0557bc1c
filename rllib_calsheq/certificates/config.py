"""What a certificate is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, Any, Literal

from pydantic import Field

from rllib_calsheq.core.configuration import (
    Count,
    Fraction,
    NonNegativeInt,
    configuration,
    require,
)

#: Where trained deviators start.
FROM_SHARED, FROM_SCRATCH = "shared", "scratch"
#: Comparison of a run's snapshots: how many, on how many episodes, and which gains do not count,
#: as a fraction of |V̂(π, π)| of the last one.
SNAPSHOTS, SNAPSHOT_EPISODES, SNAPSHOT_EPSILON = 10, 512, 0.005
#: Sensitivity: episodes at each end of a difference, half of the distance of its ends as a
#: fraction of a parameter's range, and stages that the shared policy is trained on there.
SENSITIVITY_EPISODES, SENSITIVITY_STEP, SENSITIVITY_RETRAIN = 512, 0.05, 0


@configuration
class CertificateConfig:
    """The fields of a certificate.

    Example:
        >>> from rllib_calsheq import CertificateConfig
        >>> CertificateConfig(seeds=1, fresh=4096).unusual_numbers()
        {'seeds': 1, 'fresh': 4096}

    Attributes:
        supertypes: ``profile``: Λ is fixed at the calibrated profile. ``particles``: it is drawn
            for each episode from the calibrator's last particles, the distribution f(Λ) that the
            shared policy learned with. The equilibrium depends on which it is (section 3).
        env_config: Fields of the environment that differ from the run's.
        parameters: Supertype parameters that differ from the run's, in natural units.
        action: If given, all agents always take this action of the environment instead of the
            shared policy's.
        discount: γ of equation (2).
        seeds: Training seeds of the deviators.
        budget: Training episodes of a deviator.
        batch: Episodes in an update of a deviator.
        measurements: How often a deviator is measured on its way.
        validation: Episodes, for each supertype, that deviations are selected on.
        fresh: Episodes, for each supertype, that the selected ones are measured on.
        settling: Stages that the shared policy is trained on for the lag gap; 0 to leave it out.
        seed: Seed of everything.
    """

    supertypes: Literal["profile", "particles"] = "profile"
    env_config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    action: Annotated[tuple[float, ...], Field(strict=False)] | None = None
    discount: Fraction = 1.0
    seeds: Count = 3
    budget: Count = 6144
    batch: Count = 128
    measurements: Count = 6
    validation: Annotated[int, Field(ge=2)] = 512
    fresh: Annotated[int, Field(ge=2)] = 1024
    settling: NonNegativeInt = 100
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        require(
            self.budget >= self.batch * self.measurements,
            "budget",
            self.budget,
            f"integers from batch · measurements = {self.batch * self.measurements}",
        )

    def unusual_numbers(self) -> dict[str, Any]:
        """Numbers that are not the default ones, by name."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(f.default, (int, float)) and getattr(self, f.name) != f.default
        }
