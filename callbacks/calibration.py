"""The callback that hosts the calibrator: outcomes → tell → ask → broadcast → log."""

from __future__ import annotations

from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

from rllib_calsheq.algorithm.env_runners import STAGE_REPORTS
from rllib_calsheq.core.particles import StageReport

#: Key of the calibration's numbers in a training result.
CALIBRATION_RESULTS = "calibration"


class CalibrationCallback(RLlibCallback):
    """Moves the supertypes between training iterations (algorithm 1, lines 3, 4 and 6)."""

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        """Stage 1: asks for the first profiles and broadcasts them."""
        algorithm.start_stage()

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **kwargs: Any) -> None:
        """Ends the stage with the outcomes that came back, and starts the next one."""
        reports = pop_reports(result)
        metrics = algorithm.calibration.end_stage(reports)
        metrics.update(algorithm.shared_learner_state())
        result[CALIBRATION_RESULTS] = metrics
        algorithm.start_stage()

    def on_env_runners_recreated(
        self, *, algorithm: Any, env_runner_indices: list[int], is_evaluation: bool, **kwargs: Any
    ) -> None:
        """Gives recreated env runners their particles back, from the next stage on."""
        if not is_evaluation:
            algorithm.calibration.assignment.revive(env_runner_indices)


def pop_reports(result: dict[str, Any]) -> list[StageReport]:
    """Takes the stage reports out of a training result, so that no logger sees them."""
    reports = result.get(ENV_RUNNER_RESULTS, {}).pop(STAGE_REPORTS, [])
    # A list of one item comes back as the item.
    return [reports] if isinstance(reports, StageReport) else list(reports)
