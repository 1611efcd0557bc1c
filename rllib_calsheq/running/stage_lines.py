"""A calibration as it goes on, in words: one line a few stages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rllib_calsheq.core.absences import ABSENCES
from rllib_calsheq.core.outcomes import return_name
from rllib_calsheq.core.stages import CALIBRATION_RESULTS

#: Seconds between two lines of one trial.
LINE_EVERY_S = 5.0
#: Lines between two headings.
HEADING_EVERY = 20
WORST_TARGET = "worst target (miss / scale)"
WORST_TARGET_WIDTH = 34


class StageLines:
    """Prints stage, fit, rewards, speed and time left of every trial.

    Args:
        stages: Stages that a trial runs for, if its stop criterion says so.
        write: Called with each line.
        every_s: Seconds between two lines of one trial, its last stage apart; 0 for every stage.
    """

    def __init__(
        self,
        stages: int | None,
        write: Callable[[str], None] = lambda line: print(line, flush=True),
        every_s: float = LINE_EVERY_S,
    ) -> None:
        self.stages = stages
        self._write = write
        self._every_s = every_s
        self._last_line: dict[str, float] = {}
        self._said: set[tuple[str, str]] = set()
        self._lines = 0

    def show(self, result: Mapping[str, Any], label: str = "") -> None:
        """Writes a line on a stage's result, unless the trial's last one is fresh.

        Args:
            result: The result, as RLlib reports it.
            label: The trial's name, where there are several.
        """
        cells = self.due(result, label)
        if cells is None:
            return
        if self._lines % HEADING_EVERY == 0:
            self._write(_line(cells, cells))
        self._write(_line(cells, cells.values()))
        self._lines += 1

    def due(self, result: Mapping[str, Any], label: str = "") -> dict[str, str] | None:
        """The cells of a line, as `cells`; None where there is nothing to say yet."""
        metrics = result.get(CALIBRATION_RESULTS)
        if not metrics:
            return None
        absent = metrics.get(ABSENCES)
        if absent and (label, absent) not in self._said:
            self._said.add((label, absent))
            self._write(f"{label} stage {metrics['stage']}: {absent}".strip())
        now = time.monotonic()
        last = self.stages is not None and metrics["stage"] >= self.stages
        if not last and now - self._last_line.get(label, -math.inf) < self._every_s:
            return None
        self._last_line[label] = now
        return self.cells(metrics, result, label)

    def cells(
        self, metrics: Mapping[str, Any], result: Mapping[str, Any], label: str
    ) -> dict[str, str]:
        """One line as ``{heading: text}``."""
        steps = result.get("env_runners", {}).get("num_agent_steps_sampled", {})
        seconds = float(result.get("time_this_iter_s") or 0.0)
        speed = sum(float(v) for v in steps.values()) / seconds if seconds else float("nan")
        stage = int(metrics["stage"])
        cells = {"trial": label} if label else {}
        cells["stage"] = f"{stage}/{self.stages}" if self.stages else str(stage)
        if not metrics.get("num_particles"):
            return cells | {"reward": "no outcome came back in this stage"}
        if "worst_target" in metrics:
            cells["reward"] = f"{metrics['reward_mean']:.3f}"
            cells["pooled"] = f"{metrics['reward_pooled']:.3f}"
            cells["met"] = f"{metrics['targets_met']}/{metrics['num_targets']}"
            cells[WORST_TARGET] = f"{metrics['worst_target']} ({metrics['worst_miss']:.2f})"
        for supertype, numbers in metrics["returns"].items():
            cells[return_name(supertype)] = f"{numbers['mean']:.1f}"
        cells["steps/s"] = f"{speed:,.0f}"
        if self.stages:
            # By all stages, since a single one may take long.
            total = result.get("time_total_s")
            left = (self.stages - stage) * (float(total) / stage if total else seconds)
            cells["left"] = f"{int(left) // 60}:{int(left) % 60:02d}"
        return cells


def _line(cells: Mapping[str, str], texts: Iterable[str]) -> str:
    """One aligned line; a column is as wide as its heading, the worst target's wider."""
    parts = []
    for heading, text in zip(cells, texts, strict=True):
        width = WORST_TARGET_WIDTH if heading == WORST_TARGET else max(len(heading), 8)
        parts.append(text.rjust(width))
    return "  ".join(parts)
