"""Finite games among agents with types, and ε-shared equilibria (section 2, Definition 1).

n agents act once. Each belongs to a supertype k, draws a type λ ~ p_k and plays a ~ π(·|λ). With
z = (λ, a), its reward R(z_i, z_-i) does not depend on the order of the others (*type-symmetry*).
A policy is an array (L, A) of the probabilities π(a|λ), an element of the set X of equation (1).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray

#: How far a sum of probabilities may be from 1, and two payoffs that must be equal from each other.
ROUNDING = 1e-9


class PolicyGame(Protocol):
    """Anything with the payoff V̂ of equation (4)."""

    def value(self, policy: npt.ArrayLike, others: npt.ArrayLike) -> float:
        """V̂(π1, π2)."""


@dataclass(frozen=True, eq=False)
class FiniteGame:
    """A type-symmetric game of n agents that act once.

    A local state s_0 ~ μ_λ, if there is one, is part of what is called the type here: the pair
    (s, λ) is the extended state of section 2.

    Attributes:
        payoffs: R(z_1, z_2 ... z_n) as an array (L, A, L, A, ..., L, A): type and action of the
            agent that is paid, then type and action of each other agent.
        types: Distribution p_k over types of each supertype, (K, L).
        counts: Number of agents of each supertype, (K,), each at least 1; they sum to n.

    Raises:
        ValueError: If shapes do not fit together, a distribution is none, or the order of the
            other agents matters.
    """

    payoffs: FloatArray
    types: FloatArray
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "payoffs", np.asarray(self.payoffs, dtype=np.float64))
        object.__setattr__(self, "types", np.asarray(self.types, dtype=np.float64))
        check_distributions(self.types, "types")
        whole = all(count == int(count) and count >= 1 for count in self.counts)
        if self.types.ndim != 2 or not 1 <= len(self.counts) == len(self.types) or not whole:
            raise ValueError(
                f"types has shape {self.types.shape} and counts is {self.counts}: give (K, L) and "
                "K whole numbers of at least 1, one for each supertype"
            )
        object.__setattr__(self, "counts", tuple(int(count) for count in self.counts))
        one_agent = (self.types.shape[1], self.payoffs.shape[-1] if self.payoffs.ndim else 0)
        if self.payoffs.shape != one_agent * self.num_agents:
            raise ValueError(
                f"payoffs has shape {self.payoffs.shape}, but {self.num_agents} agents with "
                f"{self.types.shape[1]} types need (L, A) for each of them, "
                f"e.g. {one_agent * self.num_agents}"
            )
        if not np.isfinite(self.payoffs).all():
            raise ValueError("payoffs has entries that are not finite; rewards must be bounded")
        for j in range(1, self.num_agents - 1):
            swapped = swap_agents(self.payoffs, j, j + 1)
            if not np.allclose(self.payoffs, swapped, rtol=ROUNDING, atol=ROUNDING):
                raise ValueError(
                    f"payoffs changes when the other agents {j} and {j + 1} trade places; a reward "
                    "may depend on who is paid, but not on the order of the others"
                )

    @classmethod
    def symmetric(cls, payoffs: npt.ArrayLike) -> FiniteGame:
        """The game without types whose payoffs (A,) * n are those of the first agent."""
        array = np.asarray(payoffs, dtype=np.float64)
        if array.ndim == 0:
            raise ValueError("payoffs is a number; give an array with one axis for each agent")
        one_type = np.expand_dims(array, tuple(range(0, 2 * array.ndim, 2)))
        return cls(one_type, np.ones((1, 1)), (array.ndim,))

    @classmethod
    def from_roles(cls, payoffs: npt.ArrayLike) -> FiniteGame:
        """Any game among n agents, whose types are then their positions.

        This is section 2's special case where the supertype is the agent's index and the type can
        only be that: a random agent is like a coin toss for the white pieces.

        Args:
            payoffs: (n, A, ..., A), where ``payoffs[i, a_0, ..., a_n-1]`` is what agent i gets.
        """
        array = np.asarray(payoffs, dtype=np.float64)
        n = len(array) if array.ndim else 0
        if n < 1 or array.ndim != n + 1 or len(set(array.shape[1:])) != 1:
            raise ValueError(
                f"payoffs has shape {array.shape}; a game of n agents with A actions each has "
                "(n, A, ..., A) with n axes of A"
            )
        # Profiles in which two agents hold the same position never happen; they pay nothing.
        full = np.zeros((n, array.shape[1]) * n)
        for order in itertools.permutations(range(n)):
            by_position = array[order[0]]
            where = tuple(part for role in order for part in (role, slice(None)))
            full[where] = by_position.transpose(order)
        return cls(full, np.eye(n), (1,) * n)

    @cached_property
    def num_agents(self) -> int:
        """n."""
        return sum(self.counts)

    @cached_property
    def shares(self) -> FloatArray:
        """Probability that a random agent α ~ U[1, n] is of each supertype, (K,)."""
        return np.array(self.counts) / self.num_agents

    @property
    def policy_shape(self) -> tuple[int, int]:
        """(L, A)."""
        return self.types.shape[1], self.payoffs.shape[-1]

    def check_policy(self, policy: npt.ArrayLike) -> FloatArray:
        """The policy as floats (L, A), or a ValueError."""
        probabilities = np.asarray(policy, dtype=np.float64)
        if probabilities.shape != self.policy_shape:
            raise ValueError(
                f"a policy of shape {probabilities.shape} was given; this game's have (L, A) = "
                f"{self.policy_shape}, the probabilities of all actions for each type"
            )
        check_distributions(probabilities, "a policy")
        return probabilities

    def action_values(self, others: npt.ArrayLike) -> FloatArray:
        """What each action pays an agent of each supertype and type, (K, L, A).

        Args:
            others: The policy π2 (L, A) of all other agents.
        """
        played = self.types[:, :, None] * self.check_policy(others)
        values = []
        for own in range(len(self.counts)):
            expected = self.payoffs
            for k, count in enumerate(self.counts):
                for _ in range(count - (k == own)):
                    expected = np.tensordot(expected, played[k], axes=2)
            values.append(expected)
        return np.stack(values)

    def supertype_values(self, policy: npt.ArrayLike, others: npt.ArrayLike) -> FloatArray:
        """V_Λk(π1, π2) of equation (2) for each supertype, (K,).

        Args:
            policy: π1 (L, A) of one agent of that supertype.
            others: π2 (L, A) of all others.
        """
        values = self.action_values(others)
        return np.einsum("kl,la,kla->k", self.types, self.check_policy(policy), values)

    def value(self, policy: npt.ArrayLike, others: npt.ArrayLike) -> float:
        """V̂(π1, π2) of equation (4): the mean of V_Λα(π1, π2) over a random agent α."""
        return float(self.shares @ self.supertype_values(policy, others))

    def best_response(self, others: npt.ArrayLike) -> FloatArray:
        """A policy (L, A) with the largest V̂(·, π2); pure, ties go to the first action.

        V̂ is linear in its first argument, so that the best action can be picked type by type.
        """
        merit = np.einsum("k,kl,kla->la", self.shares, self.types, self.action_values(others))
        return np.eye(merit.shape[1])[merit.argmax(axis=1)]


@dataclass(frozen=True, eq=False)
class SharedGains:
    """How far a shared policy is from a shared equilibrium (Definition 1).

    Attributes:
        gain: max over π of V̂(π, π*) − V̂(π*, π*): the smallest ε for which π* is an ε-shared
            equilibrium.
        by_supertype: max over π of V_Λk(π, π*) − V_Λk(π*, π*), (K,), where each supertype deviates
            with a policy of its own.
        bound: The mean of ``by_supertype`` over agents, at least ``gain``.
    """

    gain: float
    by_supertype: FloatArray
    bound: float


def shared_gains(game: FiniteGame, policy: npt.ArrayLike) -> SharedGains:
    """Definition 1's ε of a shared policy, by exact best response.

    ``gain`` and ``bound`` agree where no two supertypes have a type in common. Where they do, one
    policy has to serve both, and it can gain less than each of them could alone.

    Args:
        game: The game, with its supertype profile.
        policy: The shared policy π* (L, A).
    """
    policy = game.check_policy(policy)
    merits = game.types[:, :, None] * game.action_values(policy)
    best_alone = merits.max(axis=2).sum(axis=1)
    merit = np.tensordot(game.shares, merits, axes=1)
    # A best response cannot lose: less than 0 is rounding.
    gain = max(0.0, float(merit.max(axis=1).sum() - (policy * merit).sum()))
    by_supertype = np.maximum(best_alone - (policy * merits).sum(axis=(1, 2)), 0.0)
    return SharedGains(gain, by_supertype, gain_bound(by_supertype, game.counts))


def gain_bound(supertype_gains: npt.ArrayLike, counts: Sequence[int]) -> float:
    """Σ_k (n_k / n) gain_k, which is at least Definition 1's gain.

    A mean of maxima is at least the maximum of the mean: max_π Σ_k (n_k / n) [V_Λk(π, π*) −
    V_Λk(π*, π*)] lets all supertypes deviate with one policy only. Gains that were found by
    learning are lower bounds of gain_k, and bound Definition 1's gain as far as they are exact.

    Args:
        supertype_gains: Largest gain of one agent of each supertype, (K,).
        counts: Number of agents n_k of each supertype, (K,).

    Raises:
        ValueError: If the lengths differ or a count is negative.
    """
    gains, weights = np.asarray(supertype_gains, dtype=np.float64), np.asarray(counts)
    if gains.shape != weights.shape or gains.ndim != 1 or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"supertype_gains is {gains.tolist()} and counts {weights.tolist()}; give one gain and "
            "one number of agents for each supertype"
        )
    return float(weights @ gains / weights.sum())


def payoff_matrix(game: PolicyGame, policies: Sequence[npt.ArrayLike] | FloatArray) -> FloatArray:
    """``payoff[i, j] = V̂(π_i, π_j)`` between m policies, (m, m)."""
    return np.array([[game.value(policy, others) for others in policies] for policy in policies])


def pure_policies(num_types: int, num_actions: int) -> FloatArray:
    """All A^L policies that play one action for each type, (A^L, L, A)."""
    choices = list(itertools.product(range(num_actions), repeat=num_types))
    return np.eye(num_actions)[np.array(choices, dtype=np.intp)]


def swap_agents(array: FloatArray, i: int, j: int) -> FloatArray:
    """``array`` (L, A, L, A, ...) with the pairs of axes of agents i and j exchanged."""
    return array.swapaxes(2 * i, 2 * j).swapaxes(2 * i + 1, 2 * j + 1)


def check_distributions(probabilities: FloatArray, what: str) -> None:
    """Raises a ValueError unless every row along the last axis is a distribution."""
    if probabilities.ndim == 0 or not (probabilities >= 0).all():
        raise ValueError(f"{what} has entries that are not probabilities: all must be >= 0")
    sums = probabilities.sum(axis=-1)
    if not (np.abs(sums - 1.0) <= ROUNDING).all():
        raise ValueError(f"{what} has rows that sum to {np.ravel(sums)}; each must sum to 1")
