"""What a run's targets ask of an inference."""

from __future__ import annotations

import numpy as np

from rllib_calsheq.inference.errors import observation_errors
from rllib_calsheq.inference.prior import BoxPrior
from rllib_calsheq.inference.waves import Question
from rllib_calsheq.results.evaluation import FrozenRun


def question_of(run: FrozenRun) -> Question:
    """What a run's targets ask.

    Raises:
        ValueError: If it has none.
    """
    targets = run.targets
    if not len(targets):
        raise ValueError(
            f"{run.path} was trained without targets, so there is nothing to infer: calibrate it "
            "to targets first (config.targets in the experiment's file)"
        )
    observation, stated = observation_errors(targets, run.config.target_file().standard_errors)
    outcomes = run.calibration.columns.all
    scales = np.array([outcome.scale for outcome in outcomes])
    scales[targets.index] = targets.scales
    low = np.array([-np.inf if o.low is None else o.low for o in outcomes])
    high = np.array([np.inf if o.high is None else o.high for o in outcomes])
    return Question(
        prior=BoxPrior.of(run.calibration.parameters),
        index=targets.index,
        values=targets.values / targets.scales,
        scales=scales,
        low=low / scales,
        high=high / scales,
        observation=observation,
        stated=stated,
    )
