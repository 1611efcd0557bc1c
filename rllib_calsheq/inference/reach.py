"""Before a run: whether any profile of the model meets the targets, each alone and all together."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chi2

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.algorithm.local_ray import built
from rllib_calsheq.core.comparing import plain
from rllib_calsheq.core.files import fingerprint, write_json
from rllib_calsheq.core.manifest import MANIFEST_FILE
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.version import __version__
from rllib_calsheq.inference.asking import question_of
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.description import PRIOR_DRAWS
from rllib_calsheq.inference.jobs import Bench, Laboratory
from rllib_calsheq.inference.waves import PLAUSIBLE, between, closest, explore
from rllib_calsheq.learning.threads import limited_threads

#: The middle of what profiles of the prior give, of this probability: a target in it is inside.
USUAL = 0.9
#: Where the shared policy learns: profiles from the whole box, new in each stage.
EVERYWHERE = {"name": "random", "fresh_fraction": 1.0}
#: Stages between two lines of progress.
PROGRESS_EVERY = 10
RESULT_FILE = "reach.json"


class Reach(enum.StrEnum):
    """Where a target lies in what the model gives."""

    INSIDE = "inside"
    EDGE = "at the edge"
    OUTSIDE = "outside"


@limited_threads()
def check_targets(
    config: CALSHEQConfig,
    folder: str | Path,
    stages: int,
    inference: InferenceConfig,
    workers: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Says which targets lie inside, at the edge or outside of what the model gives.

    A shared policy is trained quickly at profiles from the whole box, and simulated in waves.

    Args:
        config: The configuration that would be run.
        folder: Where policy and simulations are kept; what the same configuration has done there
            already is not done again.
        stages: Stages that the policy is trained for.
        inference: How it is simulated.
        workers: Processes that share the simulations.
        progress: Called with a line now and then.

    Returns:
        ``targets``: for each its ``reach``, the ``percentile`` of the target among what profiles of
        the prior give, and ``off_by``, what the best profile for all is off by, in standard
        deviations of all errors, a target's tolerance among them. ``joint_p_value``: of the
        Mahalanobis distance of all targets to what profiles of the prior give.

    Raises:
        ValueError: If there are no targets.
    """
    begun = time.monotonic()
    place = Path(folder).absolute()
    asked = {"stages": stages, "config": plain(config.to_dict())}
    policy = place / f"policy-{fingerprint(asked)}"
    if not (policy / MANIFEST_FILE).is_file():
        _train(config, policy, stages, progress)
    laboratory = Laboratory(policy, inference, place)
    targets = laboratory.run.targets
    question = question_of(laboratory.run)
    # Met is what lies within the tolerance, however well the target is known.
    tolerance = np.array([t.tolerance for t in targets.targets])
    question = replace(question, observation=tolerance, stated=np.zeros(len(targets), dtype=bool))
    bench = Bench(laboratory, workers, lambda job, seconds: None)
    found, first = explore(question, bench, inference, progress)
    rng = stream_rng(Stream.KEPT_DRAWS, inference.seed)
    best = closest(found, between(inference), rng)
    misses = found.implausibility(best[None])[0]
    given = first.only(question.index).mean(question.prior.draw(PRIOR_DRAWS, rng))
    percentiles = (given < question.values).mean(axis=0)
    centred = question.values - given.mean(axis=0)
    covariance = np.atleast_2d(np.cov(given, rowvar=False)) + np.diag(np.square(tolerance))
    distance = float(centred @ np.linalg.solve(covariance, centred))
    rows = []
    for k, target in enumerate(targets.targets):
        usual = abs(percentiles[k] - 0.5) <= USUAL / 2
        reach = Reach.INSIDE if usual else Reach.EDGE
        if abs(misses[k]) > PLAUSIBLE:
            reach = Reach.OUTSIDE
        rows.append(
            {
                "name": target.outcome,
                "target": target.value,
                "reach": reach,
                "percentile": float(percentiles[k]),
                "best": float(target.value + _miss(found, best, k) * target.scale),
                "off_by": float(misses[k]),
            }
        )
    result = {
        "targets": rows,
        "joint_p_value": float(chi2.sf(distance, len(rows))),
        "best": laboratory.run.calibration.parameters.free.to_mapping(
            laboratory.run.calibration.parameters.free.from_unit(best)
        ),
        "stages": stages,
        "settings": asdict(inference),
        "version": __version__,
        "seconds": round(time.monotonic() - begun, 1),
        "folder": str(place),
        "file": RESULT_FILE,
    }
    write_json(place / RESULT_FILE, result)
    return result


def _miss(found: Any, profile: np.ndarray, k: int) -> float:
    """What target k is missed by at a profile (f,), in scales."""
    question = found.question
    return float(found.emulator.mean(profile[None])[0, question.index[k]] - question.values[k])


def _train(
    config: CALSHEQConfig, folder: Path, stages: int, progress: Callable[[str], None]
) -> None:
    """Trains a shared policy at profiles from the whole box, and saves it."""
    trained = config.copy(copy_frozen=False).calibration(calibrator=EVERYWHERE)
    with built(trained) as algorithm:
        for stage in range(1, stages + 1):
            algorithm.train()
            if stage % PROGRESS_EVERY == 0 or stage == stages:
                progress(f"policy for the whole box: stage {stage}/{stages}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        algorithm.save_to_path(folder)
