"""A stage, whole: outcomes → tell → log → ask → broadcast (algorithm 1).

RLlib's training iteration plays the episodes and updates the shared policy (lines 4 and 5); all
that comes before and after it is here. Stage m is training iteration m = 1, 2, ...
"""

from __future__ import annotations

from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

from rllib_calsheq.core.particles import STAGE_REPORTS, StageReport
from rllib_calsheq.core.stages import CALIBRATION_RESULTS
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.learning.learner import TwoTimescalePPOLearner


class CalibrationCallback(RLlibCallback):
    """Moves the supertypes between training iterations."""

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        """Begins stage 1."""
        begin_stage(algorithm)

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **kwargs: Any) -> None:
        """Ends the stage with the outcomes that came back, and begins the next one."""
        result[CALIBRATION_RESULTS] = end_stage(algorithm, pop_reports(result))
        begin_stage(algorithm)

    def on_env_runners_recreated(
        self, *, algorithm: Any, env_runner_indices: list[int], is_evaluation: bool, **kwargs: Any
    ) -> None:
        """Gives recreated env runners their particles back, from the next stage on."""
        if not is_evaluation:
            algorithm.calibration.assignment.revive(env_runner_indices)


def begin_stage(algorithm: Any) -> None:
    """Asks for the stage's profiles (line 3), and tells the learners and all env runners.

    Begun again, as after a restore, a stage has the same profiles.
    """
    calibration = algorithm.calibration
    table = calibration.begin_stage()
    rate = calibration.lr_shared.at(calibration.finished_stages)

    def prepare(learner: TwoTimescalePPOLearner) -> None:
        learner.set_learning_rate(rate)
        learner.set_stream(Stream.MINIBATCHES, table.seed, table.stage)

    algorithm.learner_group.foreach_learner(prepare)

    def give(runner: Any) -> None:
        runner.set_supertypes(table)

    group, silent = algorithm.env_runner_group, calibration.assignment.silent()
    heard = [worker for worker in group.healthy_env_runner_ids() if worker not in silent]
    if group.local_env_runner is not None:
        give(group.local_env_runner)
    # Waited for, so that what RLlib has sent before, the weights, is there as well; but an env
    # runner that was not heard of may be at its last round for long.
    for workers, patience in ((heard, None), (silent, 0.0)):
        if workers:
            group.foreach_env_runner(
                give,
                local_env_runner=False,
                remote_worker_ids=workers,
                timeout_seconds=patience,
            )


def end_stage(algorithm: Any, reports: list[StageReport]) -> dict[str, Any]:
    """Tells the calibrator what came of the stage (line 6); returns the numbers to log.

    Among them are learning rate and KL coefficient as the shared policy's learner holds them; of
    several policies the largest coefficient.
    """
    metrics: dict[str, Any] = algorithm.calibration.end_stage(
        reports, algorithm.failures.of_stage(), algorithm.config.sample_timeout_s
    )
    results = algorithm.learner_group.foreach_learner(
        lambda learner: (learner.get_learning_rate(), learner.get_kl_coefficients())
    )
    rate, coefficients = next(iter(results.ignore_errors())).get()
    return metrics | {"lr_shared": rate, "kl_coefficient_shared": max(coefficients.values())}


def pop_reports(result: dict[str, Any]) -> list[StageReport]:
    """Takes the stage reports out of a training result, so that no logger sees them."""
    reports = result.get(ENV_RUNNER_RESULTS, {}).pop(STAGE_REPORTS, [])
    # A list of one item comes back as the item.
    return [reports] if isinstance(reports, StageReport) else list(reports)
