"""What every calibrator is: `ask` for profiles, `tell` what came of them.

A calibrator knows nothing of Ray's actors or of the market. It sees profiles in the unit
cube, and one particle an episode slot b = 1..B (algorithm 1): stage m is one `ask`, one
round of episodes and one `tell`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet


def stages_finished(stage: int, answered: bool) -> int:
    """Stages that are finished when stage m was asked for last: m − 1 until it is answered.

    Args:
        stage: m = 1, 2, ...; 0 before the first.
        answered: Whether its results were told.
    """
    return stage if answered else stage - 1


class Calibrator(ABC):
    """Base of all calibrators: keeps the particles and checks what it is told.

    One that a configuration names by its dotted path says what else there is to know of it; those
    of this package have an entry instead, which is read without loading the class.

    Example:
        >>> from rllib_calsheq import Calibrator, TargetSet
        >>> class Anywhere(Calibrator):
        ...     def _propose(self):
        ...         return self.rng().random(self.profiles.shape)
        ...
        ...     def _learn(self, particles, rewards, outcomes):
        ...         return {"best": float(rewards.max())}
        >>> calibrator = Anywhere([0.5], num_particles=2, targets=TargetSet((), ()), seed=0)
        >>> calibrator.ask().shape
        (2, 1)
        >>> calibrator.tell([0, 1], rewards=[0.2, 0.7], outcomes=[[0.0], [0.0]], stage=1)
        {'best': 0.7}

    Attributes:
        config_class: Dataclass of the calibrator's own fields, which checks them; an instance is
            the fifth argument of the class. None for no fields and no such argument. Where its
            `uses_prior` is true, the calibrator pulls to `prior`; elsewhere a prior is refused.
        label: What legends call it; its name and path where None.
        colour: Colour of its lines, ``#rrggbb``; one that is free where None.

    Args:
        start: Initial profile Λ_0 in the unit cube, shape (d,).
        num_particles: B, one particle an episode slot.
        targets: The targets, whose `reward` gives r_cal of outcome vectors.
        seed: Seed of all its random numbers, which depend on (seed, stage) alone.
    """

    config_class: ClassVar[type | None] = None
    label: ClassVar[str | None] = None
    colour: ClassVar[str | None] = None

    def __init__(
        self, start: npt.ArrayLike, num_particles: int, targets: TargetSet, seed: int
    ) -> None:
        start = np.asarray(start, dtype=np.float64)
        if start.ndim != 1 or not ((start >= 0) & (start <= 1)).all():
            raise ValueError(f"the initial profile must be a (d,) vector in the unit cube: {start}")
        if num_particles < 1:
            raise ValueError(f"a calibrator needs at least 1 particle, not {num_particles}")
        self.dim = len(start)
        self.num_particles = num_particles
        self.targets = targets
        self.seed = seed
        #: Λ_m^b of every particle, unit cube, shape (B, d).
        self.profiles: FloatArray = np.tile(start, (num_particles, 1))
        #: Where the parameters are expected; around Λ_0 unless the user says so (`set_prior`).
        self.prior = Prior.around(start)
        #: Stage m of the last `ask`; 0 before the first.
        self.stage = 0
        self._answered = True

    @property
    def finished_stages(self) -> int:
        """Stages whose results were told."""
        return stages_finished(self.stage, self._answered)

    def ask(self) -> FloatArray:
        """Starts the next stage and returns its profiles Λ_m, unit cube, shape (B, d).

        Asked again before `tell`, it returns the same profiles (a stage that was cut off is
        run again, not skipped).
        """
        if self._answered:
            self.stage += 1
            self.profiles = np.clip(self._propose(), 0.0, 1.0)
            self._answered = False
        return self.profiles.copy()

    def tell(
        self,
        particles: npt.NDArray[np.intp],
        rewards: npt.ArrayLike,
        outcomes: npt.ArrayLike,
        stage: int,
    ) -> dict[str, float]:
        """Learns from the episodes of a stage; some particles may be missing.

        Args:
            particles: Indices b of the particles that have results, shape (M,), distinct.
            rewards: r_cal of each, shape (M,).
            outcomes: Outcome vector of each, shape (M, N); NaN where it did not happen.
            stage: The stage that the results belong to; must be the one last asked for.

        Returns:
            Numbers to log, e.g. loss, KL coefficient and learning rate.

        Raises:
            ValueError: If shapes disagree, a particle is unknown or the stage is another.
        """
        particles = np.asarray(particles, dtype=np.intp)
        rewards = np.asarray(rewards, dtype=np.float64)
        outcomes = np.asarray(outcomes, dtype=np.float64)
        if stage != self.stage or self._answered:
            raise ValueError(
                f"tell() got results of stage {stage}, but the stage asked for is "
                f"{self.stage}{' and it was answered already' if self._answered else ''}"
            )
        M = len(particles)
        if rewards.shape != (M,) or outcomes.ndim != 2 or len(outcomes) != M:
            raise ValueError(
                f"particles, rewards and outcomes must have one row each for every particle, "
                f"not shapes {particles.shape}, {rewards.shape}, {outcomes.shape}"
            )
        if (
            len(set(particles.tolist())) != M
            or ((particles < 0) | (particles >= self.num_particles)).any()
        ):
            raise ValueError(
                f"particles must be distinct and in [0, {self.num_particles}): {particles}"
            )
        self._answered = True
        if M == 0:
            return {}
        return self._learn(particles, rewards, outcomes)

    def estimate(self) -> FloatArray | None:
        """The profile that it recommends after the stages so far, unit cube, shape (d,).

        None, as here, for calibrators that recommend what their particles have settled at:
        the mean over the particles and the last stages.
        """
        return None

    def set_prior(self, prior: Prior) -> None:
        """Sets where the user expects the parameters, before the first `ask`.

        Raises:
            ValueError: If it is of another number of parameters.
        """
        if not prior.mean.shape == prior.std.shape == (self.dim,):
            raise ValueError(
                f"the prior is one of shapes {prior.mean.shape} and {prior.std.shape}, but there "
                f"are {self.dim} parameters"
            )
        self.prior = prior

    def set_learning_rate(self, rate: float) -> None:  # noqa: B027 - only RL calibrators have one
        """Sets the learning rate β^cal_m of this stage; ignored by those that have none."""

    def rng(self, *keys: int, stream: Stream = Stream.CALIBRATOR) -> np.random.Generator:
        """A generator for the current stage: of the seed, the stage and the keys alone.

        All random numbers of a calibrator come from here, so that a resumed run draws the same.

        Args:
            *keys: Integers from 0 that tell apart what a stage draws for; each list of keys has
                numbers of its own.
            stream: What the numbers are for; the calibrators of this package have names there.
        """
        return stream_rng(stream, self.seed, self.stage, *keys)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on as if nothing had happened."""
        return {
            "profiles": self.profiles.copy(),
            "stage": self.stage,
            "answered": self._answered,
            "seed": self.seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If the state belongs to another number of particles or parameters.
        """
        profiles = np.array(state["profiles"], dtype=np.float64)
        if profiles.shape != (self.num_particles, self.dim):
            raise ValueError(
                f"the saved calibrator has {profiles.shape[0]} particles of {profiles.shape[1]} "
                f"parameters, this one {self.num_particles} of {self.dim}"
            )
        self.profiles = profiles
        self.stage = int(state["stage"])
        self._answered = bool(state["answered"])
        self.seed = int(state["seed"])

    @abstractmethod
    def _propose(self) -> FloatArray:
        """Profiles (B, d) of stage ``self.stage``, from those of the last in ``self.profiles``."""

    @abstractmethod
    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        """Learns from the checked results of the current stage."""
