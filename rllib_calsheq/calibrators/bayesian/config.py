"""Configurations of the Bayesian optimisers. Need neither Torch nor BoTorch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rllib_calsheq.core.configuration import Count, NonNegativeInt, configuration, require

#: Side of a trust region, in the unit cube.
Side = Annotated[float, Field(gt=0, le=2)]


@configuration
class BayesianConfig:
    """Fields of Bayesian optimisation: the paper's baseline.

    Attributes:
        stages_per_trial: M, the stages that all particles stay at one profile; a new one is
            tried after them.
        settling_stages: First stages of a trial that its observation leaves out, since the
            agents still adapt; fewer than ``stages_per_trial``.
        initial_trials: Trials before the model is asked: Λ_0, then Sobol points.
        max_trials: The model is fitted to at most this many of the last trials.
        num_restarts: Starts of the search for the next profile.
        raw_samples: Random profiles that these starts are chosen from.
    """

    stages_per_trial: Count = 2
    settling_stages: NonNegativeInt = 0
    initial_trials: Annotated[int, Field(ge=2)] = 20
    max_trials: Annotated[int, Field(ge=2)] = 150
    num_restarts: Count = 4
    raw_samples: Count = 128

    def __post_init__(self) -> None:
        require(
            self.raw_samples >= self.num_restarts,
            "raw_samples",
            self.raw_samples,
            f"integers from num_restarts, {self.num_restarts}",
        )
        require(
            self.settling_stages < self.stages_per_trial,
            "settling_stages",
            self.settling_stages,
            f"integers below stages_per_trial, {self.stages_per_trial}",
        )


@configuration
class TrustRegionConfig(BayesianConfig):
    """Fields of composite Bayesian optimisation in a trust region.

    Attributes:
        initial_length: Side of the trust region at the start, in the unit cube.
        min_length: Side below which the region starts again at ``initial_length``.
        max_length: Largest side.
        success_tolerance: Successes in a row after which the side doubles.
        failure_tolerance: Failures in a row after which the side halves.
        num_restarts: As above; on the market all starts ended at the same profile.
        raw_samples: As above.
    """

    initial_length: Side = 0.8
    min_length: Side = 0.05
    max_length: Side = 1.6
    success_tolerance: Count = 3
    failure_tolerance: Count = 6
    num_restarts: Count = 2
    raw_samples: Count = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.min_length <= self.initial_length <= self.max_length,
            "initial_length",
            self.initial_length,
            f"numbers from min_length, {self.min_length}, to max_length, {self.max_length}",
        )
