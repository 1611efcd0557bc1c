"""The paper's five experimental settings and hidden profiles to make their targets from.

The paper's own targets are not available. Ours come from a *hidden profile* Λ*: the shared
policy is trained there and what emerges is the target. So each target can be reached, the
reachable reward is known, and recovery can be measured. A hidden profile is a strong tilt,
not a random point: the deciles of a random profile look like those of the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.targets import DECILES
from rllib_calsheq.envs.market.config import SHARE, outcome_name, percentile


@dataclass(frozen=True)
class Setting:
    """One of the five settings.

    Attributes:
        num_merchants: n.
        share_of: Supertypes whose market share is a target.
        percentiles_of: Supertypes whose nine percentiles are targets.
    """

    num_merchants: int
    share_of: tuple[int, ...]
    percentiles_of: tuple[int, ...]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the outcomes that are targets, all of equal weight."""
        shares = [outcome_name(f"supertype_{s}", SHARE) for s in self.share_of]
        percentiles = [
            outcome_name(f"supertype_{s}", percentile(p))
            for s in self.percentiles_of
            for p in DECILES
        ]
        return tuple(shares + percentiles)


SETTINGS: dict[int, Setting] = {
    1: Setting(5, share_of=(1,), percentiles_of=()),
    2: Setting(5, share_of=(), percentiles_of=(1,)),
    3: Setting(5, share_of=(1,), percentiles_of=(1,)),
    4: Setting(10, share_of=(), percentiles_of=(1, 2)),
    5: Setting(10, share_of=(1,), percentiles_of=(1, 2)),
}

#: Training of a shared policy at a hidden profile, and the episodes that become its targets.
HIDDEN_STAGES, HIDDEN_EPISODES = 200, 1024
#: Chosen so that supertype 1's 10 % percentile is 8 lots, the target that the paper shows.
LOW_MIDDLE_CENTRE = 0.266
#: Connection probability of cluster k = 0..9 by the position x = k/9 of its quantities.
TILTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "small": lambda x: 0.95 * np.exp(-1.8 * x),
    "large": lambda x: 0.95 * np.exp(-1.8 * (1 - x)),
    "middle": lambda x: 0.1 + 0.85 * np.exp(-(((x - 0.5) / 0.22) ** 2)),
    "extremes": lambda x: 0.95 - 0.85 * np.exp(-(((x - 0.5) / 0.28) ** 2)),
    "lower_half": lambda x: np.where(x < 0.5, 0.85, 0.15),
    "rising": lambda x: 0.15 + 0.72 * x,
    "falling": lambda x: 0.87 - 0.72 * x,
    "even": lambda x: np.full_like(x, 0.5),
    "low_middle": lambda x: 0.1 + 0.85 * np.exp(-(((x - LOW_MIDDLE_CENTRE) / 0.25) ** 2)),
    # Nine merchants together reach most customers of a cluster unless each reaches very few, so
    # that a lesser tilt would leave the percentiles of all of them together where they start.
    "steep_small": lambda x: 0.6 * np.exp(-4.5 * x),
    "steep_large": lambda x: 0.6 * np.exp(-4.5 * (1 - x)),
    # From 1.0 down to 0.02, with the others at the other end.
    "edge_small": lambda x: 0.02**x,
    "edge_large": lambda x: 0.02 ** (1 - x),
    "edge_middle": lambda x: 0.02 ** np.minimum(1.0, ((x - 0.5) / 0.5) ** 2),
    "edge_ends": lambda x: 0.02 ** np.maximum(0.0, 1.0 - ((x - 0.5) / 0.5) ** 2),
    "wide": lambda x: np.full_like(x, 0.9),
    "thin": lambda x: np.full_like(x, 0.15),
}
#: Tilt of supertype 1, its tolerance, tilt of supertype 2, its mean tolerance: by name.
HIDDEN_PROFILES: dict[str, tuple[str, float, str, float]] = {
    "small": ("small", 0.8, "rising", 0.3),
    "large": ("large", 0.3, "falling", 0.7),
    "middle": ("middle", 0.7, "extremes", 0.4),
    "extremes": ("extremes", 0.2, "middle", 0.6),
    "lower_half": ("lower_half", 0.9, "rising", 0.2),
    "dominant": ("wide", 0.9, "thin", 0.3),
    "low_middle": ("low_middle", 0.7, "rising", 0.4),
    "opposed": ("large", 0.3, "steep_small", 0.7),
    "middle_opposed": ("middle", 0.7, "steep_large", 0.4),
    "edge_small": ("edge_small", 0.6, "edge_large", 0.3),
    "edge_large": ("edge_large", 0.4, "edge_small", 0.6),
    "edge_middle": ("edge_middle", 0.8, "edge_ends", 0.5),
}
#: The hidden profile that the targets of each setting's tuned example are made from.
SETTING_PROFILES: dict[int, str] = {
    1: "dominant",
    2: "low_middle",
    3: "small",
    4: "opposed",
    5: "middle_opposed",
}
HIDDEN_TOLERANCE_VARIANCE = 0.02


def hidden_profile(name: str) -> dict[str, float]:
    """The hidden profile Λ* of a name, by parameter of the standard market.

    Raises:
        ValueError: If there is none of that name.
    """
    require(name in HIDDEN_PROFILES, "hidden profile", name, str(list(HIDDEN_PROFILES)))
    tilt_1, tolerance, tilt_2, mean = HIDDEN_PROFILES[name]
    x = np.arange(10) / 9.0
    profile: dict[str, float] = {}
    for s, tilt in ((1, tilt_1), (2, tilt_2)):
        for k, value in enumerate(TILTS[tilt](x), start=1):
            profile[f"supertype_{s}.connection_{k}"] = round(float(value), 4)
    profile["supertype_1.tolerance"] = tolerance
    profile["supertype_2.tolerance_mean"] = mean
    profile["supertype_2.tolerance_variance"] = HIDDEN_TOLERANCE_VARIANCE
    return profile
