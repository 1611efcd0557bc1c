"""Bayesian optimisation, the paper's baseline (section 4), by BoTorch.

All particles sit at one profile for M stages, a *trial*, while the shared policy goes on
training; then a Gaussian process of the reward, fitted to the trials, proposes the next.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.models import SingleTaskGP
from botorch.sampling.normal import SobolQMCNormalSampler

from rllib_calsheq.calibrators.bayesian.config import BayesianConfig
from rllib_calsheq.calibrators.bayesian.gaussian_process import (
    fit_model,
    maximise,
    seeded,
    with_age,
)
from rllib_calsheq.calibrators.bayesian.trials import Trials
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.streams import Stream, stream_seed
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: Samples of the posterior that the acquisition function averages over.
NUM_SAMPLES = 64
#: Profiles, those of the best posterior mean, that the search for the next one starts around.
NUM_BEST = 4
#: A model needs this many trials.
MIN_TRIALS = 2


class TrialCalibrator(Calibrator):
    """Base of those that try one profile with all particles for some stages.

    A subclass says what is observed of an episode, fits a model to the trials, and searches
    it. The first trials are Λ_0 and Sobol points.

    Args:
        start: Initial profile Λ_0 in the unit cube, shape (d,): the first trial.
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
        config: BayesianConfig,
    ) -> None:
        super().__init__(start, num_particles, targets, seed)
        self._config = config
        self._start = self.profiles[0].copy()
        self._trials = self._new_trials()
        #: The model of the trials so far; None when there are newer episodes.
        self._model: SingleTaskGP | None = None

    # --- the two halves of a stage ----------------------------------------------------

    def _propose(self) -> FloatArray:
        if self._stage_of_trial:
            return self.profiles
        profile = np.clip(self._next_profile(), 0.0, 1.0)
        self._trials.open(profile, self.stage)
        return np.tile(profile, (self.num_particles, 1))

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        if self._stage_of_trial >= self._config.settling_stages:
            self._trials.add(self._observe(rewards, outcomes), self.stage)
            self._model = None
        return {"trial": float(len(self._trials))} | self._numbers()

    @property
    def _stage_of_trial(self) -> int:
        """Stages of the current trial before this one."""
        return (self.stage - 1) % self._config.stages_per_trial

    def _next_profile(self) -> FloatArray:
        """Profile (d,) of the trial that starts."""
        tried = len(self._trials)
        if tried == 0:
            return self._start
        if tried < self._config.initial_trials or len(self._trials.observed()) < MIN_TRIALS:
            seed = stream_seed(Stream.DESIGN, self.seed)
            sobol = torch.quasirandom.SobolEngine(self.dim, scramble=True, seed=seed)
            return sobol.draw(tried, dtype=torch.float64)[-1].numpy()
        with seeded(stream_seed(Stream.SEARCH, self.seed, self.stage)):
            profiles = self._tried_profiles()
            model = self._fitted_model()
            expected = self._expected_reward(model, profiles)
            low, high = self._box(profiles, expected)
            order = np.argsort(-expected, kind="stable")[:NUM_BEST]
            acquisition = self._acquisition(model, profiles, expected)
            rng = self.rng(stream=Stream.PROPOSAL)
            return maximise(acquisition, low, high, profiles[order], self.stage, self._config, rng)

    def estimate(self) -> FloatArray | None:
        """The tried profile of the largest posterior mean reward, unit cube, shape (d,)."""
        if len(self._trials.observed()) < MIN_TRIALS:
            return None
        profiles = self._tried_profiles()
        expected = self._expected_reward(self._fitted_model(), profiles)
        return profiles[int(np.argmax(expected))].copy()

    # --- the model --------------------------------------------------------------------

    def _window(self) -> npt.NDArray[np.intp]:
        """The trials that the model is fitted to."""
        return self._trials.observed()[-self._config.max_trials :]

    def _tried_profiles(self) -> FloatArray:
        return self._trials.profiles[self._window()]

    def _fitted_model(self) -> SingleTaskGP:
        """The model of the trials so far: a function of them alone, fitted when needed."""
        if self._model is None:
            window = self._window()
            inputs = with_age(self._trials.profiles[window], self._trials.stages[window])
            with seeded(stream_seed(Stream.MODEL, self.seed, len(self._trials))):
                self._model = fit_model(inputs, *self._data(window))
        return self._model

    def _sampler(self, samples: int) -> SobolQMCNormalSampler:
        """Samples of the posterior, the same ones throughout a stage."""
        seed = stream_seed(Stream.POSTERIOR, self.seed, self.stage)
        return SobolQMCNormalSampler(torch.Size([samples]), seed=seed)

    # --- what a subclass says ---------------------------------------------------------

    def _numbers(self) -> dict[str, float]:
        """More numbers to log."""
        return {}

    @abstractmethod
    def _new_trials(self) -> Trials:
        """An empty record of trials."""

    @abstractmethod
    def _observe(self, rewards: FloatArray, outcomes: FloatArray) -> FloatArray:
        """Numbers (M, V) that are recorded of the episodes of a stage."""

    @abstractmethod
    def _data(self, window: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Observations of the trials in ``window`` and their squared errors, each (n, V)."""

    @abstractmethod
    def _expected_reward(self, model: SingleTaskGP, profiles: FloatArray) -> FloatArray:
        """Posterior mean reward (n,) of profiles (n, d) at the current stage."""

    @abstractmethod
    def _acquisition(
        self, model: SingleTaskGP, profiles: FloatArray, expected: FloatArray
    ) -> AcquisitionFunction:
        """What the next profile maximises, given the tried ones and their expected rewards."""

    def _box(self, profiles: FloatArray, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Corners of the box that is searched, each (d,)."""
        return np.zeros(self.dim), np.ones(self.dim)

    # --- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Particles and trials."""
        return super().state_dict() | {
            "start": self._start.copy(),
            "trials": self._trials.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If the state belongs to another number of particles or parameters.
        """
        super().load_state_dict(state)
        self._start = np.array(state["start"], dtype=np.float64)
        self._trials.load_state_dict(state["trials"])
        self._model = None


class BayesianCalibrator(TrialCalibrator):
    """Gaussian process of the reward, noisy log expected improvement.

    Its inputs are the profile and the stage, so that old trials count for less where rewards
    drift while the agents learn; the observation of a trial is the mean reward of its
    episodes, with its standard error.
    """

    def _new_trials(self) -> Trials:
        return Trials(self.dim, 1)

    def _observe(self, rewards: FloatArray, outcomes: FloatArray) -> FloatArray:
        return rewards[:, None]

    def _data(self, window: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        means, variances = self._trials.observations()
        return means[window], variances[window]

    def _expected_reward(self, model: SingleTaskGP, profiles: FloatArray) -> FloatArray:
        with torch.no_grad():
            return model.posterior(with_age(profiles, float(self.stage))).mean[:, 0].numpy()

    def _acquisition(
        self, model: SingleTaskGP, profiles: FloatArray, expected: FloatArray
    ) -> AcquisitionFunction:
        sampler = self._sampler(NUM_SAMPLES)
        baseline = with_age(profiles, float(self.stage))
        return qLogNoisyExpectedImprovement(model, baseline, sampler, prune_baseline=True)
