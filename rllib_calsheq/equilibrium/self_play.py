"""Self-play sequences (Definition 2) and where they end (Theorem 1)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.transitivity import gains, improvements

#: Takes the policies that gain more than ε, (k,), and their gains, (k,); returns one of them.
Choice = Callable[[npt.NDArray[np.intp], FloatArray], int]


@dataclass(frozen=True)
class SelfPlay:
    """A self-play sequence over a finite set of policies.

    Attributes:
        policies: z_0, z_1, ..., z_N: each gains more than ε against a population of the one before.
        cycle: The part of it that came back to its beginning, without the return. Empty where the
            sequence ended because nothing gains more than ε against z_N, which then is an ε-shared
            equilibrium within the set.
    """

    policies: tuple[int, ...]
    cycle: tuple[int, ...]

    @property
    def ended(self) -> bool:
        """Whether it ended, at an ε-shared equilibrium."""
        return not self.cycle

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Definition 2's (x_n, y_n), 0 <= n <= 2N: (z_0, z_0), (z_1, z_0), (z_1, z_1), ..."""
        z = self.policies
        steps = (pair for a, b in itertools.pairwise(z) for pair in ((b, a), (b, b)))
        return ((z[0], z[0]), *steps)


def best_gain(candidates: npt.NDArray[np.intp], gain: FloatArray) -> int:
    """The candidate with the largest gain."""
    return int(candidates[gain.argmax()])


def self_play(
    payoff: npt.ArrayLike, start: int, epsilon: float = 0.0, choose: Choice = best_gain
) -> SelfPlay:
    """Plays on until nothing gains more than ε, or a policy comes back.

    If the set is extended transitive (Assumption 1), T rises with every step and no policy can come
    back: the sequence ends at an ε-shared equilibrium, however deviations are chosen (Theorem 1).

    Args:
        payoff: u(y, x), (m, m).
        start: z_0, a policy's index.
        epsilon: Gains up to this do not count; >= 0.
        choose: Picks the next policy among those that gain more than ε; the best one by default.

    Raises:
        ValueError: If ``payoff`` is not a square matrix of finite numbers, there is no policy
            ``start``, epsilon is negative, or a policy is chosen that does not gain.
    """
    gain = gains(payoff)
    improves = improvements(gain, epsilon)
    if not 0 <= start < len(gain):
        raise ValueError(f"start is {start}; the policies are 0 to {len(gain) - 1}")
    policies = [int(start)]
    while True:
        here = policies[-1]
        candidates = np.flatnonzero(improves[:, here])
        if not candidates.size:
            return SelfPlay(tuple(policies), ())
        chosen = int(choose(candidates, gain[candidates, here]))
        if chosen not in candidates:
            raise ValueError(
                f"policy {chosen} was chosen against {here}; those that gain more than {epsilon} "
                f"are {candidates.tolist()}"
            )
        if chosen in policies:
            return SelfPlay((*policies, chosen), tuple(policies[policies.index(chosen) :]))
        policies.append(chosen)


def is_self_play_sequence(
    payoff: npt.ArrayLike, policies: Sequence[int] | None = None, epsilon: float = 0.0
) -> bool:
    """Whether policies z_0, z_1, ... generate a (u, ε)-self-play sequence (Definition 2).

    Args:
        payoff: u(y, x), (m, m).
        policies: Indices z_n; 0, 1, ..., m − 1 when None, as for snapshots in order of training.
        epsilon: ε >= 0.
    """
    gain = gains(payoff)
    improves = improvements(gain, epsilon)
    z = np.arange(len(gain)) if policies is None else np.asarray(policies, dtype=np.intp)
    return bool(improves[z[1:], z[:-1]].all())


def most_steps(skill: npt.ArrayLike, delta: float) -> int:
    """The most steps N that a self-play sequence can have if each lifts T by more than δ_ε.

    N δ_ε < max T − min T, which is why Theorem 1 needs T to be bounded.

    Args:
        skill: T, (m,).
        delta: δ_ε > 0.
    """
    if not delta > 0:
        raise ValueError(f"delta is {delta}; allowed: numbers > 0")
    return max(0, math.ceil(float(np.ptp(np.asarray(skill))) / delta) - 1)
