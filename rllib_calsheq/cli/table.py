"""The live table of a calibration under Tune: one line a few stages, while it runs."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback

from rllib_calsheq.running.stage_lines import StageLines


class LiveTable(Callback):
    """Prints the lines of every trial.

    Args:
        stages: Stages that a trial runs for, if its stop criterion says so.
    """

    def __init__(self, stages: int | None) -> None:
        self._lines = StageLines(stages)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Prints a line, unless the trial's last one is fresh."""
        self._lines.show(result, trial.trial_id[-5:] if len(trials) > 1 else "")
