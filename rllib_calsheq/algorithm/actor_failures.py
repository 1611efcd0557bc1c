"""What became of actors that did not answer: RLlib logs it, and a user has to be told."""

from __future__ import annotations

from typing import Any

from ray.exceptions import RayActorError

from rllib_calsheq.core.faults import one_line
from rllib_calsheq.learning.learner import DeadLearnerError
from rllib_calsheq.learning.ray_private.access import watch_failures

#: Seconds in which a learner that lives says so.
ANSWER_S = 5.0


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
        what = "is dead" if isinstance(error, RayActorError) else "failed"
        self._errors[worker] = f"{what} ({_said(error)})"


def require_learners(group: Any, stage: int, error: Exception) -> None:
    """Checks that all learners live, where a stage failed.

    Args:
        group: The learner group.
        stage: The stage.
        error: What it failed with.

    Raises:
        DeadLearnerError: If one does not; RLlib's own error may name none.
    """
    if group.is_local:
        return
    # One that raised an error is unhealthy to RLlib, and lives.
    answers = group.foreach_learner(
        lambda learner: None, healthy_only=False, timeout_seconds=ANSWER_S
    )
    silent = len(group) - sum(answer.ok for answer in answers)
    if silent:
        why = next((answer.get() for answer in answers if not answer.ok), error)
        raise DeadLearnerError(
            f"{silent} of {len(group)} learners of the shared policy (num_learners) died in stage "
            f"{stage} ({_said(why)}). The stages since the last checkpoint are lost. Once the "
            "cause is gone, go on from it (--resume, or restore_from_path() of a new algorithm)"
        ) from None


def _said(error: Exception) -> str:
    """Ray's words for what went wrong in an actor."""
    cause = getattr(error, "cause", None) or error
    # Indented are the IDs of the actor.
    lines = [line for line in str(cause).splitlines() if not line[:1].isspace()]
    return f"{type(cause).__name__}: {one_line(' '.join(lines))}"
