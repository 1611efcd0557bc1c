"""CALSHEQ as a trial whose process serves one run of a study after another."""

from __future__ import annotations

from typing import Any

from rllib_calsheq.algorithm import CALSHEQ


class StudyRun(CALSHEQ):
    """CALSHEQ that Tune can reuse: starting a process costs more than many a short run."""

    _trial_info: Any

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Makes this process an algorithm of another configuration, as if started afresh."""
        storage, trial_info = self._storage, self._trial_info
        self.cleanup()
        self.__init__(config=new_config, storage=storage)  # type: ignore[misc]
        self._trial_info = trial_info
        return True
