"""The shared policy gradient (3) and the gradient of V̂ that it estimates (Proposition 1).

Policies are softmax in logits θ (X, A): π_θ(a|x) = exp θ[x, a] / Σ_b exp θ[x, b].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.finite_games import PolicyGame
from rllib_calsheq.equilibrium.markov_games import Episodes

#: Step h of the central differences: they err by about h² = 1e-10, and rounding by 1e-16 / h.
STEP = 1e-5


def softmax(logits: npt.ArrayLike) -> FloatArray:
    """π_θ, same shape as ``logits`` (..., A)."""
    logits = np.asarray(logits, dtype=np.float64)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def shared_gradient(logits: npt.ArrayLike, episodes: Episodes, discount: float) -> FloatArray:
    """Each episode's term of equation (3), (B, X, A); their mean is ∇^shared_{θ,B}.

    All agents' samples are pooled: (1/n) Σ_i Σ_t ∇_θ ln π_θ(a_t | x_t) Σ_{t' >= t} γ^t' r_t'.

    Args:
        logits: θ (X, A), with which the episodes were played.
        episodes: States, actions and rewards of all agents, each (B, H, n).
        discount: γ.

    Raises:
        ValueError: If the three arrays differ in shape.
    """
    states, actions, rewards = episodes
    if not states.shape == actions.shape == rewards.shape or states.ndim != 3:
        raise ValueError(
            f"states {states.shape}, actions {actions.shape} and rewards {rewards.shape} must all "
            "be (B, H, n)"
        )
    policy = softmax(logits)
    horizon, n = states.shape[1:]
    discounted = rewards * (discount ** np.arange(horizon))[:, None]
    to_go = np.flip(np.flip(discounted, axis=1).cumsum(axis=1), axis=1)
    # ∂ ln π(a|x) / ∂ θ[x, b] = 1[a = b] − π(b|x), and 0 for other states.
    episode = np.arange(len(states))[:, None, None]
    taken = np.zeros((len(states), *policy.shape))
    np.add.at(taken, (episode, states, actions), to_go)
    return (taken - taken.sum(axis=2, keepdims=True) * policy) / n


def deviation_gradient(game: PolicyGame, logits: npt.ArrayLike) -> FloatArray:
    """∇_θ1 V̂(π_θ1, π_θ2) at θ1 = θ2 = θ, (X, A): the right-hand side of Proposition 1.

    Only the one who deviates moves. The derivative is taken by central differences of the
    enumerated V̂, and owes nothing to likelihood ratios.
    """
    logits = np.asarray(logits, dtype=np.float64)
    others = softmax(logits)
    gradient = np.empty_like(logits)
    for where in np.ndindex(logits.shape):
        shift = np.zeros_like(logits)
        shift[where] = STEP
        up, down = (game.value(softmax(logits + sign * shift), others) for sign in (1, -1))
        gradient[where] = (up - down) / (2 * STEP)
    return gradient
