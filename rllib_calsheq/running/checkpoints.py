"""Checkpoints by the clock: what a run that does not state a frequency can lose are minutes."""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Callback
from ray.tune.result import SHOULD_CHECKPOINT

from rllib_calsheq.running.stopping import PATIENCE_S

#: Seconds between two checkpoints of a trial.
CHECKPOINT_EVERY_S = 120.0


class TimedCheckpoints(Callback):
    """Asks for a checkpoint when a trial's last one is two minutes old.

    A trial whose stages take longer than a stop waits for has one at each of them.
    """

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Marks the result if a checkpoint is due; Tune looks at it after its callbacks."""
        # Of other algorithms than ours it is the wall clock's, which may have been set back.
        took = max(float(result.get("time_this_iter_s") or 0.0), 0.0)
        now = time.monotonic()
        since = now - self._last.setdefault(trial.trial_id, now - took)
        if since >= CHECKPOINT_EVERY_S or took >= PATIENCE_S:
            result[SHOULD_CHECKPOINT] = True

    def on_trial_save(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Notes when a trial was saved."""
        self._last[trial.trial_id] = time.monotonic()
