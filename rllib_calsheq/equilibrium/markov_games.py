"""Finite Markov games over several steps: V by enumeration, and episodes (section 2)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.finite_games import (
    ROUNDING,
    FiniteGame,
    check_distributions,
    swap_agents,
)

IntArray = npt.NDArray[np.intp]


class Episodes(NamedTuple):
    """What n agents did in B episodes of H steps, each array (B, H, n)."""

    states: IntArray
    actions: IntArray
    rewards: FloatArray


@dataclass(frozen=True, eq=False)
class MarkovGame:
    """A `FiniteGame` that is played H times while its types move.

    A type of the stage game is here an extended state x = (s, λ), which an agent sees of its own
    alone; a kernel that keeps λ makes it the partially observable Markov game of section 2. The
    policy (X, A) does not know the time.

    Attributes:
        stage: Rewards R(z_t), initial distributions (K, X) of the extended state by supertype, and
            counts.
        kernel: The transitions T(z_t, x_{t+1}), (X, A) * n + (X,) * n: agents' states and actions,
            then their next states.
        discount: γ in [0, 1].
        horizon: Number of steps H >= 1.

    Raises:
        ValueError: If the kernel has another shape, is no distribution or tells agents apart, or
            γ or H is out of range.
    """

    stage: FiniteGame
    kernel: FloatArray
    discount: float
    horizon: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", np.asarray(self.kernel, dtype=np.float64))
        n, states = self.stage.num_agents, self.stage.policy_shape[0]
        if self.kernel.shape != self.stage.payoffs.shape + (states,) * n:
            raise ValueError(
                f"kernel has shape {self.kernel.shape}; the payoffs' shape and one axis of "
                f"{states} for the next state of each of {n} agents are needed: "
                f"{self.stage.payoffs.shape + (states,) * n}"
            )
        check_distributions(self.kernel.reshape(*self.stage.payoffs.shape, -1), "kernel")
        for i in range(n - 1):
            swapped = swap_agents(self.kernel, i, i + 1).swapaxes(2 * n + i, 2 * n + i + 1)
            if not np.allclose(self.kernel, swapped, rtol=ROUNDING, atol=ROUNDING):
                raise ValueError(
                    f"kernel changes when agents {i} and {i + 1} trade places; it must treat all "
                    "agents alike"
                )
        if not 0.0 <= self.discount <= 1.0 or self.horizon < 1:
            raise ValueError(
                f"discount is {self.discount} and horizon {self.horizon}; allowed are a discount "
                "in [0, 1] and at least 1 step"
            )

    def supertype_values(self, policy: npt.ArrayLike, others: npt.ArrayLike) -> FloatArray:
        """V_Λk(π1, π2) of equation (2) for each supertype, (K,), over all joint states.

        Args:
            policy: π1 (X, A) of one agent of that supertype.
            others: π2 (X, A) of all others.
        """
        return np.array([self._value_of(k, policy, others) for k in range(len(self.stage.counts))])

    def value(self, policy: npt.ArrayLike, others: npt.ArrayLike) -> float:
        """V̂(π1, π2) of equation (4)."""
        return float(self.stage.shares @ self.supertype_values(policy, others))

    def _value_of(self, own: int, policy: npt.ArrayLike, others: npt.ArrayLike) -> float:
        """V of an agent of one supertype, which is the first agent of all arrays."""
        n = self.stage.num_agents
        rest = np.array(self.stage.counts)
        rest[own] -= 1
        initial = self.stage.types[[own, *np.repeat(np.arange(len(rest)), rest)]]
        first, other = self.stage.check_policy(policy), self.stage.check_policy(others)
        policies = [first] + [other] * (n - 1)
        # Axes: the agents' states 0 ... n − 1, and their actions n ... 2n − 1.
        acting = [part for i in range(n) for part in (policies[i], [i, n + i])]
        paired = [axis for i in range(n) for axis in (i, n + i)]
        joint = functools.reduce(np.multiply.outer, initial)
        total = 0.0
        for t in range(self.horizon):
            acted = np.einsum(joint, list(range(n)), *acting, paired)
            total += self.discount**t * float((acted * self.stage.payoffs).sum())
            joint = np.tensordot(acted, self.kernel, axes=2 * n)
        return total

    def play(self, policy: npt.ArrayLike, episodes: int, rng: np.random.Generator) -> Episodes:
        """Episodes in which all agents share one policy.

        Args:
            policy: π (X, A).
            episodes: Number of episodes B.
            rng: Source of all draws.

        Returns:
            States, actions and rewards, each (B, H, n); agents are ordered by supertype.
        """
        n, policy = self.stage.num_agents, self.stage.check_policy(policy)
        supertypes = np.repeat(np.arange(len(self.stage.counts)), self.stage.counts)
        states = np.empty((episodes, self.horizon, n), dtype=np.intp)
        actions, rewards = np.empty_like(states), np.empty(states.shape)
        now = _draw(np.broadcast_to(self.stage.types[supertypes], (episodes, n, len(policy))), rng)
        for t in range(self.horizon):
            chosen = _draw(policy[now], rng)
            states[:, t], actions[:, t] = now, chosen
            joint = [part for i in range(n) for part in (now[:, i], chosen[:, i])]
            for i in range(n):
                others = joint[: 2 * i] + joint[2 * i + 2 :]
                rewards[:, t, i] = self.stage.payoffs[(*joint[2 * i : 2 * i + 2], *others)]
            after = self.kernel[tuple(joint)]
            drawn = _draw(after.reshape(episodes, -1), rng)
            now = np.stack(np.unravel_index(drawn, after.shape[1:]), axis=-1)
        return Episodes(states, actions, rewards)


def _draw(probabilities: FloatArray, rng: np.random.Generator) -> IntArray:
    """One index from each distribution along the last axis."""
    cumulative = np.cumsum(probabilities, axis=-1)
    threshold = rng.random(probabilities.shape[:-1])[..., None] * cumulative[..., -1:]
    return (cumulative <= threshold).sum(axis=-1)
