"""Quoting rules of one merchant that are worth trying: no quote at all, and inventory skews."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rllib_calsheq.envs.market.config import MarketConfig

#: Half-spreads of the skewed quotes at no inventory, as fractions of the widest.
BASES = (0.15, 0.2, 0.25, 0.3, 0.4)
#: Skews of quotes by 1 of observed inventory (``inventory_scale`` lots), as fractions of it.
SKEWS = (0.1, 0.2, 0.4)

Rule = Callable[[npt.NDArray, npt.NDArray], npt.NDArray]


def quoting_rules(config: MarketConfig) -> dict[str, Rule]:
    """Rules by name: observations (R, obs) and the shared policy's actions (R, 2) to actions.

    A merchant that holds goods widens its bid and narrows its ask in proportion; *skewed* quotes
    start from a fixed half-spread, *further skewed* ones from those of the shared policy.
    """
    rules: dict[str, Rule] = {"no quote at all": lambda observations, own: _quotes(observations, 1)}
    for skew in SKEWS:
        for base in BASES:
            rules[f"half-spread {base * config.max_half_spread:g}, skew {skew:g}"] = _skewed(
                base, skew
            )
        rules[f"shared policy further skewed by {skew:g}"] = _further_skewed(skew)
    return rules


def _skewed(base: float, skew: float) -> Rule:
    return lambda observations, own: np.clip(
        _quotes(observations, base) + _skews(observations, skew), -1.0, 1.0
    )


def _further_skewed(skew: float) -> Rule:
    return lambda observations, own: np.clip(own + _skews(observations, skew), -1.0, 1.0)


def _quotes(observations: npt.NDArray, half_spread: float) -> npt.NDArray[np.float64]:
    """Actions (R, 2) of one half-spread, a fraction of the widest."""
    return np.full((len(observations), 2), 2.0 * half_spread - 1.0)


def _skews(observations: npt.NDArray, skew: float) -> npt.NDArray[np.float64]:
    """What is added to the actions, (R, 2): up at the bid and down at the ask for goods held."""
    return 2.0 * skew * observations[:, :1] * np.array([1.0, -1.0])
