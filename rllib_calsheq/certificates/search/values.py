"""V_Λk and V̂ (equations 2 and 4) by simulation: one agent deviates, all others stay.

Every episode is played once with the shared policy alone, which gives V̂(π, π), and again for each
deviation. Both times it has the same random numbers: the environment's belong to the episode's
seed, and so does the noise of every agent's actions in every step. Gains are means of the paired
differences.

Shapes: E episodes, n agents, T steps, G supertypes, k noise numbers for one action.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.streams import Stream, fresh_seeds, stream_rng
from rllib_calsheq.core.supertypes import FloatArray

#: Episodes that are stepped at once.
CHUNK = 256


class Policy(Protocol):
    """A policy π(a | s, λ) with its noise made explicit, so that it can be paired."""

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray:
        """Noise (*shape, k) of as many actions."""

    def act(self, observations: npt.NDArray, noise: npt.NDArray) -> npt.NDArray:
        """The environment's actions (R, act...) of observations (R, obs...) and noise (R, k).

        A policy without noise of its own may get another policy's, and leaves it alone.
        """


@dataclass(frozen=True, eq=False)
class Episodes:
    """What the episodes of one comparison are started from.

    Attributes:
        profiles: Supertype profiles in natural units, (E, d).
        seeds: Seed of each episode, (E,).
        roles: Agent that deviates in each episode, for each supertype, (G, E): drawn among the
            supertype's agents, which are exchangeable. -1 for a supertype without agents.
    """

    profiles: FloatArray
    seeds: npt.NDArray[np.int64]
    roles: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.seeds)

    def chosen(self, rows: slice) -> Episodes:
        """Some of the episodes."""
        return replace(
            self, profiles=self.profiles[rows], seeds=self.seeds[rows], roles=self.roles[:, rows]
        )

    def chunks(self) -> Iterator[tuple[slice, Episodes]]:
        """The episodes in chunks of at most `CHUNK`."""
        for first in range(0, len(self), CHUNK):
            rows = slice(first, min(first + CHUNK, len(self)))
            yield rows, self.chosen(rows)


def supertype_shares(env: ArrayEnv) -> FloatArray:
    """Probability that a random agent α ~ U[1, n] is of each supertype, (G,)."""
    counts = [env.agent_supertypes.count(s) for s in env.supertype_space.supertypes]
    return np.array(counts) / len(env.agent_supertypes)


def draw_episodes(
    env: ArrayEnv, profiles: npt.ArrayLike, count: int, stream: Stream, *keys: int
) -> Episodes:
    """Fresh episodes of a random stream.

    Args:
        env: The environment.
        profiles: One profile (d,), or a distribution f(Λ) as equally likely profiles (B, d).
        count: E.
        stream: What they are for.
        *keys: Its keys.
    """
    for_seeds, for_roles, for_profiles = stream_rng(stream, *keys).spawn(3)
    choices = np.atleast_2d(np.asarray(profiles, dtype=np.float64))
    rows = for_profiles.integers(len(choices), size=count)
    members = [
        np.flatnonzero([s == name for s in env.agent_supertypes])
        for name in env.supertype_space.supertypes
    ]
    roles = [for_roles.choice(m, size=count) if len(m) else np.full(count, -1) for m in members]
    return Episodes(choices[rows], fresh_seeds(for_seeds, count), np.array(roles, dtype=np.intp))


def play(
    env: ArrayEnv,
    policy: Policy,
    episodes: Episodes,
    deviation: Policy | None = None,
    roles: npt.NDArray[np.intp] | None = None,
    discount: float = 1.0,
) -> FloatArray:
    """Discounted returns of all agents, (E, n), as `play_steps` plays the episodes.

    The environment's outcomes can be read after.

    Args:
        env: The environment.
        policy: π2 of all agents, or of all but one.
        episodes: The episodes.
        deviation: π1 of the agent that deviates; None for nobody.
        roles: That agent's index in each episode, (E,).
        discount: γ of equation (2).
    """
    steps = play_steps(env, policy, episodes, deviation, roles)
    return np.asarray(sum(discount**t * rewards for t, rewards in enumerate(steps)))


def play_steps(
    env: ArrayEnv,
    policy: Policy,
    episodes: Episodes,
    deviation: Policy | None = None,
    roles: npt.NDArray[np.intp] | None = None,
) -> Iterator[FloatArray]:
    """Plays episodes to their end, at most one agent of each on another policy.

    Arguments as for `play`. Yields the rewards (E, n) of each step.
    """
    observations = env.reset(episodes.profiles, [int(seed) for seed in episodes.seeds])
    E, n = observations.shape[:2]
    noise = _action_noise(policy, episodes.seeds, n, env.episode_length)
    everyone = np.arange(E)
    for t in range(env.episode_length):
        rows = observations.reshape(E * n, *observations.shape[2:])
        actions = policy.act(rows, noise[:, t].reshape(E * n, -1))
        actions = actions.reshape(E, n, *actions.shape[1:])
        if deviation is not None:
            assert roles is not None
            actions[everyone, roles] = deviation.act(
                observations[everyone, roles], noise[everyone, t, roles]
            )
        observations, rewards = env.step(actions)
        yield rewards.astype(np.float64)


def _action_noise(policy: Policy, seeds: npt.NDArray, n: int, steps: int) -> npt.NDArray:
    """Noise (E, T, n, k): each episode's own, whichever episodes are played beside it."""
    return np.stack(
        [
            policy.draw_noise(stream_rng(Stream.ACTION_NOISE, int(seed)), (steps, n))
            for seed in seeds
        ]
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Measures deviations from one policy on the same episodes.

    Attributes:
        env: The environment.
        policy: The shared policy π.
        episodes: The episodes.
        discount: γ of equation (2).
    """

    env: ArrayEnv
    policy: Policy
    episodes: Episodes
    discount: float = 1.0

    @cached_property
    def base(self) -> FloatArray:
        """Returns of all agents when nobody deviates, (E, n)."""
        return np.concatenate(
            [
                play(self.env, self.policy, chunk, discount=self.discount)
                for _, chunk in self.episodes.chunks()
            ]
        )

    @cached_property
    def base_values(self) -> FloatArray:
        """Mean return of each supertype's agents when nobody deviates, (G, E).

        Its means over episodes estimate V_Λk(π, π); NaN for a supertype without agents.
        """
        names = self.env.supertype_space.supertypes
        agents = [np.array([s == name for s in self.env.agent_supertypes]) for name in names]
        nobody = np.full(len(self.episodes), np.nan)
        return np.array([self.base[:, a].mean(axis=1) if a.any() else nobody for a in agents])

    def first(self, count: int) -> Comparison:
        """The same comparison on the first episodes."""
        return replace(self, episodes=self.episodes.chosen(slice(0, count)))

    def gains(self, deviation: Policy, supertypes: Sequence[int] | None = None) -> FloatArray:
        """What one deviating agent of each supertype gains in each episode, (G, E).

        The row means estimate V_Λk(π1, π) − V_Λk(π, π).

        Args:
            deviation: π1.
            supertypes: Those of interest; the others' rows are NaN. All when None.
        """
        G = len(self.episodes.roles)
        found = np.full((G, len(self.episodes)), np.nan)
        for k in range(G) if supertypes is None else supertypes:
            roles = self.episodes.roles[k]
            if (roles < 0).any():
                continue
            for rows, chunk in self.episodes.chunks():
                returns = play(
                    self.env, self.policy, chunk, deviation, chunk.roles[k], self.discount
                )
                index = np.arange(len(chunk)), chunk.roles[k]
                found[k, rows] = returns[index] - self.base[rows][index]
        return found


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes and its standard error."""

    value: float
    stderr: float

    @classmethod
    def of(cls, samples: npt.ArrayLike) -> Estimate:
        """From one number an episode, (E,)."""
        values = np.asarray(samples, dtype=np.float64)
        return cls(float(values.mean()), float(values.std() / np.sqrt(len(values))))


def over_roles(samples: FloatArray, shares: FloatArray) -> FloatArray:
    """Per-episode mean over a random role, (E,), from those of each supertype, (G, E).

    Equation (4): V̂ = Σ_k (n_k / n) V_Λk. Supertypes without agents have share 0 and may be NaN.
    """
    return np.asarray(shares[shares > 0] @ samples[shares > 0])
