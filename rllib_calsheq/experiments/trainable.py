"""CALSHEQ as a trial whose process serves one run of a study after another."""

from __future__ import annotations

from typing import Any

from rllib_calsheq.algorithm import CALSHEQ
from rllib_calsheq.learning.ray_private.access import build_anew


class StudyRun(CALSHEQ):
    """CALSHEQ that Tune can reuse: starting a process costs more than many a short run."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Makes this process an algorithm of another configuration, as if started afresh."""
        build_anew(self, new_config)
        return True
