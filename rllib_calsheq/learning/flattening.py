"""Observations that are no `Box` as vectors, on RLlib's own sampling path."""

from __future__ import annotations

from typing import Any

from ray.rllib.connectors.env_to_module import FlattenObservations


def flatten_observations(env: Any = None, spaces: Any = None, device: Any = None) -> Any:
    """RLlib's connector that makes a vector of each agent's Dict, Tuple or Discrete observation."""
    return FlattenObservations(multi_agent=True)
