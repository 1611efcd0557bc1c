"""What a certificate is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from rllib_calsheq.configuration import require

#: Where trained deviators start.
FROM_SHARED, FROM_SCRATCH = "shared", "scratch"
#: Comparison of a run's snapshots: how many, on how many episodes, and which gains do not count,
#: as a fraction of |V̂(π, π)| of the last one.
DEFAULT_SNAPSHOTS, DEFAULT_EPISODES, DEFAULT_EPSILON = 10, 512, 0.005


@dataclass(frozen=True)
class CertificateSettings:
    """Settings of a certificate.

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
    action: tuple[float, ...] | None = None
    discount: float = 1.0
    seeds: int = 3
    budget: int = 6144
    batch: int = 128
    measurements: int = 6
    validation: int = 512
    fresh: int = 1024
    settling: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self.supertypes in ("profile", "particles"),
            "supertypes",
            self.supertypes,
            "profile, particles",
        )
        for name, least in (
            ("seeds", 1),
            ("budget", 1),
            ("batch", 1),
            ("measurements", 1),
            ("validation", 2),
            ("fresh", 2),
            ("settling", 0),
            ("seed", 0),
        ):
            value = getattr(self, name)
            require(
                isinstance(value, int) and value >= least, name, value, f"integers from {least}"
            )
        require(
            self.budget >= self.batch * self.measurements,
            "budget",
            self.budget,
            f"integers from batch · measurements = {self.batch * self.measurements}",
        )
        require(
            isinstance(self.discount, (int, float)) and 0 < self.discount <= 1,
            "discount",
            self.discount,
            "numbers above 0, up to 1",
        )

    def unusual_numbers(self) -> dict[str, Any]:
        """Numbers that are not the default ones, by name."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(f.default, (int, float)) and getattr(self, f.name) != f.default
        }
