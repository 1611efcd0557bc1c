"""CMA-ES as a calibrator: the `cma` package, one candidate a particle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cma
import numpy as np
import numpy.typing as npt

from rllib_calsheq.calibrators.cma.config import CMAConfig
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: The package's selection needs a population of some size.
MIN_PARTICLES = 4
#: A stage in which a smaller part of the particles reported is left out: too many of the
#: ranks that the distribution moves by would be made up.
MIN_REPORTED = 0.5


class CMACalibrator(Calibrator):
    """Covariance matrix adaptation: every stage is a generation, every particle a candidate.

    The box is kept by the package's own transform. The calibrated profile is the mean of the
    candidates over the last stages, as for any calibrator that has no estimate of its own: on
    a noisy market of 23 parameters the mean of the current distribution was no better after
    200 and 300 stages (within 0.002 of reward), and worse after 100 where it erred.

    Its state is rebuilt by playing the
    rewards of all stages again, so that a saved state is plain numbers.

    Args:
        start: Initial profile Λ_0 in the unit cube, shape (d,): the first mean.
        num_particles: B, the population size; at least 4.
        targets: The targets.
        seed: Seed of all its random numbers.
        config: Its fields.

    Raises:
        ValueError: If there are too few particles or parameters.
    """

    def __init__(
        self,
        start: npt.ArrayLike,
        num_particles: int,
        targets: TargetSet,
        seed: int,
        config: CMAConfig | None = None,
    ) -> None:
        super().__init__(start, num_particles, targets, seed)
        require(
            num_particles >= MIN_PARTICLES,
            "num_particles of calibrator 'cma'",
            num_particles,
            f"integers from {MIN_PARTICLES}, its smallest population",
        )
        require(
            self.dim >= 2, "the number of parameters of calibrator 'cma'", self.dim, "2 or more"
        )
        self.config = config or CMAConfig()
        self._start = self.profiles[0].copy()
        self._reset()

    def _reset(self) -> None:
        """A new strategy, at stage 0."""
        #: Rewards of the stages played so far, each (B,), NaN where a particle was missing.
        self._history: list[FloatArray] = []
        options = {
            "bounds": [0.0, 1.0],
            "popsize": self.num_particles,
            "randn": self._draw,
            "seed": np.nan,
            "minstd": self.config.min_std,
            "verbose": -10,
            "verb_log": 0,
        }
        self._strategy = cma.CMAEvolutionStrategy(self._start, self.config.initial_std, options)
        self._rng = stream_rng(Stream.PROPOSAL, self.seed, 0)

    # --- the two halves of a stage ----------------------------------------------------

    def _propose(self) -> FloatArray:
        while len(self._history) < self.stage - 1:
            # The last stage had no reports at all.
            self._history.append(np.full(self.num_particles, np.nan))
        return self._sample(self.stage)

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        row = np.full(self.num_particles, np.nan)
        row[particles] = np.where(np.isfinite(rewards), rewards, np.nan)
        self._history.append(row)
        self._select(row)
        stds = self._strategy.stds
        return {
            "std": float(np.mean(stds)),
            "sigma": float(self._strategy.sigma),
            "condition": float(self._strategy.condition_number),
        }

    # --- the strategy -----------------------------------------------------------------

    def _sample(self, stage: int) -> FloatArray:
        """The population (B, d) of a stage."""
        self._rng = stream_rng(Stream.PROPOSAL, self.seed, stage)
        self._candidates = self._strategy.ask()
        return np.array(self._candidates)

    def _select(self, rewards: FloatArray) -> None:
        """Moves the distribution by the ranks of the rewards (B,)."""
        present = np.isfinite(rewards)
        if present.mean() < MIN_REPORTED:
            return
        # The middle ranks have almost no weight: there a missing particle does no harm.
        rewards = np.where(present, rewards, np.median(rewards[present]))
        self._strategy.tell(self._candidates, (-rewards).tolist())

    def _draw(self, rows: int, columns: int) -> FloatArray:
        """The package's source of normal numbers, shape (rows, columns)."""
        return self._rng.standard_normal((rows, columns))

    # --- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Particles, and the rewards of all stages."""
        history = np.array(self._history).reshape(-1, self.num_particles)
        return super().state_dict() | {"start": self._start.copy(), "rewards": history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave, by playing the rewards again.

        Raises:
            ValueError: If the state belongs to another number of particles or parameters.
        """
        super().load_state_dict(state)
        self._start = np.array(state["start"], dtype=np.float64)
        self._reset()
        for stage, row in enumerate(np.array(state["rewards"], dtype=np.float64), start=1):
            self._sample(stage)
            self._history.append(row)
            self._select(row)
        if self.stage > len(self._history):
            self._sample(self.stage)
