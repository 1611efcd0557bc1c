"""The sensitivity of a checkpoint's outcomes to its calibrated profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rllib_calsheq.certificates.jobs.frozen_game import Bench
from rllib_calsheq.certificates.lag import sample_outcomes, settle
from rllib_calsheq.certificates.sensitivity.analysis import (
    DEFAULT_STEP,
    analyse,
    differences,
    in_words,
)
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.learning.threads import limited_threads


@limited_threads()
def measure_sensitivity(
    bench: Bench,
    episodes: int = 512,
    step: float = DEFAULT_STEP,
    retrain: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Jacobian of the targets' outcomes at the calibrated profile, and what it says.

    Args:
        bench: The checkpoint.
        episodes: Episodes at each end of a difference, with the same random numbers.
        step: Half of the distance, as a fraction of a parameter's range.
        retrain: Stages that the shared policy is trained on at each end; 0 leaves it as it is.
        progress: Called with a line for each parameter.

    Returns:
        The numbers as JSON: ``singular_values``, ``directions``, ``jacobian`` (K rows, d columns),
        and for each of the ``parameters`` how far it is pinned down.
    """
    space, targets = bench.env.supertype_space, bench.run.targets
    known = bench.config.problem().columns.all
    if len(targets):
        index, scales = targets.index, targets.scales
    else:
        index, scales = np.arange(len(known)), np.array([o.scale for o in known])
    names = [known[i].name for i in index]
    drawn = bench.comparison(Stream.SENSITIVITY, episodes).episodes
    profile = bench.profiles.mean(axis=0)

    def sample(at: FloatArray) -> FloatArray:
        policy = bench.policy
        if retrain:
            first = bench.run.calibration.stage - 1
            *_, weights = settle(
                bench.config, bench.env, bench.run.path, at, first, retrain,
                bench.settings.seed,
            )  # fmt: skip
            policy = bench.module_policy(weights)
        profiles = np.tile(at, (len(drawn), 1))
        return sample_outcomes(bench.env, policy, replace(drawn, profiles=profiles))[:, index]

    found = analyse(
        differences(sample, space, profile, scales, step, progress),
        stream_rng(Stream.SENSITIVITY_BOOTSTRAP, bench.settings.seed),
    )
    strongest = np.abs(found.jacobian).argmax(axis=0)
    return {
        "checkpoint": str(bench.run.path),
        "outcomes": names,
        "parameters": {
            name: {
                "value": float(profile[j]),
                "pinned": float(found.pinned[j]),
                "effect": float(found.jacobian[strongest[j], j]),
                "effect_stderr": float(found.stderr[strongest[j], j]),
                "outcome": names[strongest[j]],
            }
            for j, name in enumerate(space.names)
        },
        "singular_values": found.singular_values.tolist(),
        "threshold": found.noise,
        "rank": found.rank,
        "directions": found.directions.tolist(),
        "jacobian": found.jacobian.tolist(),
        "stderr": found.stderr.tolist(),
        "in_words": in_words(found, space.names, names),
        "episodes": episodes,
        "step": step,
        "retrain": retrain,
    }
