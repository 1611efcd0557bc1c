"""How a calibration is watched: lines in a terminal, a table that renews itself in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pandas as pd

#: What `progress` can be: whether to show it, or what is called with each stage's numbers.
Progress = bool | Callable[[Mapping[str, Any]], None]
OnStage = Callable[[Mapping[str, Any]], None]
#: Rows that a notebook shows, the last ones.
NOTEBOOK_ROWS = 12
#: The class of IPython's shell where a notebook's kernel runs.
KERNEL_SHELL = "ZMQInteractiveShell"


def watcher(progress: Progress, stages: int) -> OnStage:
    """What is called with each stage's result.

    Args:
        progress: See `Progress`.
        stages: Stages of the run.
    """
    from rllib_calsheq.core.stages import CALIBRATION_RESULTS
    from rllib_calsheq.running.stage_lines import StageLines

    if callable(progress):
        tell = progress
        return lambda result: tell(result[CALIBRATION_RESULTS])
    if not progress:
        return lambda result: None
    return NotebookTable(stages) if in_notebook() else StageLines(stages).show


def teller(progress: bool) -> Callable[[str], None]:
    """What is called with each line on longer work."""
    return (lambda line: print(line, flush=True)) if progress else (lambda line: None)


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == KERNEL_SHELL


class NotebookTable:
    """The last lines of a calibration as one table, which takes its own place.

    Args:
        stages: Stages of the run.
    """

    def __init__(self, stages: int) -> None:
        from rllib_calsheq.running.stage_lines import StageLines

        self._display = import_module("IPython.display")
        self._lines = StageLines(stages)
        self._rows: list[dict[str, str]] = []
        self._handle: Any = None

    def __call__(self, result: Mapping[str, Any]) -> None:
        """Renews the table, unless it is fresh."""
        cells = self._lines.due(result)
        if cells is None:
            return
        self._rows = [*self._rows, cells][-NOTEBOOK_ROWS:]
        table = self._display.HTML(pd.DataFrame(self._rows).to_html(index=False, na_rep=""))
        if self._handle is None:
            self._handle = self._display.display(table, display_id=True)
        else:
            self._handle.update(table)
