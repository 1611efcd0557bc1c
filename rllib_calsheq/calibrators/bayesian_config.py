"""Configurations of the Bayesian optimisers. Need neither Torch nor BoTorch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from rllib_calsheq.configuration import require


@dataclass(frozen=True)
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

    stages_per_trial: int = 2
    settling_stages: int = 0
    initial_trials: int = 20
    max_trials: int = 150
    num_restarts: int = 4
    raw_samples: int = 128

    def __post_init__(self) -> None:
        for name, least in (
            ("stages_per_trial", 1),
            ("settling_stages", 0),
            ("initial_trials", 2),
            ("max_trials", 2),
            ("num_restarts", 1),
            ("raw_samples", self.num_restarts),
        ):
            value = getattr(self, name)
            good = isinstance(value, int) and not isinstance(value, bool) and value >= least
            require(good, f"calibrator field {name}", value, f"integers from {least}")
        require(
            self.settling_stages < self.stages_per_trial,
            "calibrator field settling_stages",
            self.settling_stages,
            f"integers below stages_per_trial, {self.stages_per_trial}",
        )


@dataclass(frozen=True)
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

    initial_length: float = 0.8
    min_length: float = 0.05
    max_length: float = 1.6
    success_tolerance: int = 3
    failure_tolerance: int = 6
    num_restarts: int = 2
    raw_samples: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("initial_length", "min_length", "max_length"):
            value = getattr(self, name)
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
            good = good and 0 < value <= 2
            require(good, f"calibrator field {name}", value, "numbers in (0, 2]")
        require(
            self.min_length <= self.initial_length <= self.max_length,
            "calibrator field initial_length",
            self.initial_length,
            f"numbers from min_length, {self.min_length}, to max_length, {self.max_length}",
        )
        for name in ("success_tolerance", "failure_tolerance"):
            value = getattr(self, name)
            good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            require(good, f"calibrator field {name}", value, "integers from 1")


def require_botorch(name: str) -> None:
    """Checks that BoTorch, which calibrator ``name`` needs, is installed; does not import it.

    Raises:
        ValueError: If it is not.
    """
    if find_spec("botorch") is None:
        raise ValueError(
            f"calibrator {name!r} needs BoTorch, which is not installed; install it with "
            '`pip install "rllib-calsheq[bo]"`, or choose another calibrator'
        )
