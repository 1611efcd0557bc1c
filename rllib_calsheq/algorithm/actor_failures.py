"""What became of actors that did not answer: RLlib logs it, and a user has to be told."""

from __future__ import annotations

from typing import Any

from ray.exceptions import RayActorError

from rllib_calsheq.core.faults import one_line
from rllib_calsheq.learning.ray_private.access import watch_failures


class RunnerFailures:
    """Why env runners cannot have answered in a stage.

    Args:
        group: The env runner group.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._errors: dict[int, str] = {}
        watch_failures(group, self._note)

    def of_stage(self) -> dict[int, str]:
        """``{env runner: why}`` since the last call."""
        healthy, found = set(self._group.healthy_env_runner_ids()), self._errors
        dead = {w for w in range(1, self._group.num_remote_env_runners() + 1) if w not in healthy}
        self._errors = {}
        return dict.fromkeys(dead, "is dead") | found

    def _note(self, worker: int, error: Exception) -> None:
        self._errors[worker] = failure_text(error)


def failure_text(error: Exception) -> str:
    """What an actor did, as Ray says it: "is dead" or "failed", and why."""
    cause = getattr(error, "cause", None) or error
    what = "is dead" if isinstance(error, RayActorError) else "failed"
    # Indented are the IDs of the actor.
    lines = [line for line in str(cause).splitlines() if not line[:1].isspace()]
    return f"{what} ({type(cause).__name__}: {one_line(' '.join(lines))})"
