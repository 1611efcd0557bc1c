"""Random search with racing: uniform profiles, of which the promising ones are played again.

It is no plain random search, which would take the best of many single rewards: half of the
particles race earlier profiles against each other. In configurations it is called ``random``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.calibrators.entry import Entry
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.configuration import Fraction, Positive, configuration
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: Candidates that are remembered; those with the least promise are dropped.
MAX_CANDIDATES = 1024
#: Variances of rewards are kept above this, so that a problem without noise divides by no 0.
MIN_VARIANCE = 1e-8
#: At least this part of the variance of first rewards is put down to the candidates.
MIN_SPREAD = 0.1


@configuration
class RacingConfig:
    """Fields of the random search with racing.

    Attributes:
        fresh_fraction: Part of the particles that draw a new profile in each stage; the
            others play the most promising of the earlier ones again. 1 for none again.
        memory: Stages after which the weight of an episode has fallen to 1/e, since rewards
            drift while the agents learn.
    """

    fresh_fraction: Fraction = 0.5
    memory: Positive = 100.0


ENTRIES = (
    Entry(
        "random",
        f"{__name__}.RacingCalibrator",
        label="random search with racing (random)",
        colour="#cc79a7",
        config_class=RacingConfig,
        order=30,
    ),
)


class RacingCalibrator(Calibrator):
    """Uniform profiles over the box, and a race among them.

    One episode is noisy, so that the best of many single rewards is a lucky one. Rewards are
    therefore shrunk towards the mean of all candidates, by as much as noise and spread of the
    rewards call for, and the candidates whose shrunk mean plus one standard deviation is
    largest are played again. The calibrated profile is the one of the largest shrunk mean.

    Args:
        start: Initial profile Λ_0 in the unit cube, shape (d,): the first candidate.
        num_particles: B, one particle an episode slot.
        targets: The targets.
        seed: Seed of all its random numbers.
        config: Its fields.
    """

    def __init__(
        self,
        start: npt.ArrayLike,
        num_particles: int,
        targets: TargetSet,
        seed: int,
        config: RacingConfig | None = None,
    ) -> None:
        super().__init__(start, num_particles, targets, seed)
        self.config = config or RacingConfig()
        #: Candidates (C, d), and of each the weight, the sum and the squares of its rewards.
        self._candidates: FloatArray = self.profiles[:1].copy()
        self._weights = np.zeros(1)
        self._sums = np.zeros(1)
        self._squares = np.zeros(1)
        #: Weight, sum and squares of the first rewards of candidates, shape (3,).
        self._first = np.zeros(3)
        #: The candidate that each particle plays, shape (B,).
        self._played = np.zeros(num_particles, dtype=np.int64)

    # --- the two halves of a stage ----------------------------------------------------

    def _propose(self) -> FloatArray:
        rng = self.rng(stream=Stream.PROPOSAL)
        mean, deviation = self._beliefs()
        order = np.argsort(-(mean + deviation), kind="stable")[:MAX_CANDIDATES]
        for name in ("_candidates", "_weights", "_sums", "_squares"):
            setattr(self, name, getattr(self, name)[order])
        fresh = max(1, round(self.config.fresh_fraction * self.num_particles))
        # In the first stage there is Λ_0 alone to play again.
        again = min(self.num_particles - fresh, len(order))
        fresh = self.num_particles - again
        drawn = rng.random((fresh, self.dim))
        self._played = np.concatenate([np.arange(again), len(order) + np.arange(fresh)])
        self._candidates = np.concatenate([self._candidates, drawn])
        for name in ("_weights", "_sums", "_squares"):
            setattr(self, name, np.append(getattr(self, name), np.zeros(fresh)))
        return self._candidates[self._played]

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        decay = np.exp(-1.0 / self.config.memory)
        known = np.isfinite(rewards)
        candidates, rewards = self._played[particles[known]], rewards[known]
        first = rewards[self._weights[candidates] == 0]
        self._first = decay * self._first + [len(first), first.sum(), np.square(first).sum()]
        for name, values in (
            ("_weights", np.ones_like(rewards)),
            ("_sums", rewards),
            ("_squares", np.square(rewards)),
        ):
            setattr(self, name, decay * getattr(self, name))
            getattr(self, name)[candidates] += values
        mean, _ = self._beliefs()
        return {"best": float(mean.max())}

    def estimate(self) -> FloatArray | None:
        """The candidate of the largest shrunk mean reward, unit cube, shape (d,)."""
        if not (self._weights > 0).any():
            return None
        return self._candidates[int(np.argmax(self._beliefs()[0]))].copy()

    def _beliefs(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (C,) of each candidate's expected reward.

        Normal rewards with the same variance for all candidates, and candidates from a normal
        distribution. Both variances are estimated by moments: that of noise from repetitions,
        that of candidates from the first rewards, which no selection has bent.
        """
        weight, total, squares = self._first
        if weight == 0:
            return np.zeros(len(self._weights)), np.ones(len(self._weights))
        centre = total / weight
        variance = max(squares / weight - centre**2, MIN_VARIANCE)
        often = self._weights > 1.0
        repeats = float((self._weights[often] - 1.0).sum())
        scatter = self._squares[often] - np.square(self._sums[often]) / self._weights[often]
        # Before there are repetitions: half of the variance is a fair guess.
        noise = (float(scatter.sum()) + 0.5 * variance) / (repeats + 1.0)
        noise = float(np.clip(noise, MIN_VARIANCE, None))
        spread = max(variance - noise, MIN_SPREAD * variance)
        precision = self._weights / noise + 1.0 / spread
        mean = (self._sums / noise + centre / spread) / precision
        return mean, np.sqrt(1.0 / precision)

    # --- state ------------------------------------------------------------------------

    _STATE = ("candidates", "weights", "sums", "squares", "first", "played")

    def state_dict(self) -> dict[str, Any]:
        """Particles and candidates."""
        return super().state_dict() | {
            name: getattr(self, f"_{name}").copy() for name in self._STATE
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If the state belongs to another number of particles or parameters.
        """
        super().load_state_dict(state)
        for name in self._STATE:
            setattr(self, f"_{name}", np.array(state[name]))
