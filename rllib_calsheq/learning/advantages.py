"""Generalised advantage estimation over whole blocks of episodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def value_targets(
    rewards: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
    gamma: float,
    lambda_: float,
) -> npt.NDArray[np.float32]:
    """GAE(γ, λ) value targets of episodes that terminate after T steps.

    With δ_t = r_t + γ v_{t+1} − v_t and v_T = 0, the target is v_t + Σ_k (γλ)^k δ_{t+k}.

    Args:
        rewards: (T, ...).
        values: Value predictions v_t, same shape as ``rewards``.
        gamma: Discount factor.
        lambda_: λ of the estimator.

    Returns:
        Value targets, same shape; the advantages are these minus ``values``.
    """
    if rewards.shape != values.shape:
        raise ValueError(f"rewards {rewards.shape} and values {values.shape} differ in shape")
    targets = np.empty_like(values)
    advantage = np.zeros_like(values[0])
    v_next = np.zeros_like(values[0])
    for t in range(len(rewards) - 1, -1, -1):
        advantage = rewards[t] + gamma * v_next - values[t] + gamma * lambda_ * advantage
        v_next = values[t]
        targets[t] = advantage + v_next
    return targets
