"""The sensitivity of a checkpoint's outcomes to its calibrated profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rllib_calsheq.certificates.config import (
    SENSITIVITY_EPISODES,
    SENSITIVITY_RETRAIN,
    SENSITIVITY_STEP,
)
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.lag import sample_outcomes, settle
from rllib_calsheq.certificates.sensitivity.analysis import (
    analyse,
    differences,
    in_words,
    knowledge,
)
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.learning.threads import limited_threads


@limited_threads()
def measure_sensitivity(
    game: FrozenGame,
    episodes: int = SENSITIVITY_EPISODES,
    step: float = SENSITIVITY_STEP,
    retrain: int = SENSITIVITY_RETRAIN,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Jacobian of the targets' outcomes at the calibrated profile, and what it says.

    Args:
        game: The checkpoint.
        episodes: Episodes at each end of a difference, with the same random numbers.
        step: Half of the distance, as a fraction of a parameter's range.
        retrain: Stages that the shared policy is trained on at each end; 0 leaves it as it is.
        progress: Called with a line for each parameter.

    Returns:
        The numbers as JSON: ``singular_values``, ``directions``, ``jacobian`` (K rows, d columns),
        and for each of the ``parameters`` how far it is pinned down.
    """
    space, targets = game.env.supertype_space, game.run.targets
    known = game.run.config.problem().columns.all
    if len(targets):
        index, scales = targets.index, targets.scales
    else:
        index, scales = np.arange(len(known)), np.array([o.scale for o in known])
    names = [known[i].name for i in index]
    drawn = game.comparison(Stream.SENSITIVITY, episodes).episodes
    profile = game.profiles.mean(axis=0)

    def sample(at: FloatArray) -> FloatArray:
        policy = game.policy
        if retrain:
            *_, weights = settle(
                game.run.config, game.env, game.run.path, at,
                game.run.calibration.finished_stages, retrain, game.config.seed,
            )  # fmt: skip
            policy = game.module_policy(weights)
        profiles = np.tile(at, (len(drawn), 1))
        return sample_outcomes(game.env, policy, replace(drawn, profiles=profiles))[:, index]

    found = analyse(
        differences(sample, space, profile, scales, step, progress),
        stream_rng(Stream.SENSITIVITY_BOOTSTRAP, game.config.seed),
    )
    strongest = np.abs(found.jacobian).argmax(axis=0)
    return {
        "checkpoint": str(game.run.path),
        "outcomes": names,
        "parameters": {
            name: {
                "value": float(profile[j]),
                "pinned": float(found.pinned[j]),
                "knowledge": knowledge(found.pinned[j]),
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
        "in_words": in_words(found, space.names, names, "targets" if len(targets) else "outcomes"),
        "episodes": episodes,
        "step": step,
        "retrain": retrain,
    }
