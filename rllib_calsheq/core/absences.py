"""Env runners that were not heard of in a stage, said in words: which, why, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: Key of the sentence in a stage's numbers, where there is one.
ABSENCES = "absences"
TOO_SLOW = (
    "Raise sample_timeout_s, or give each env runner less to do (more num_env_runners, fewer "
    "num_particles)"
)


def absence_text(
    missing: Mapping[int, int],
    failures: Mapping[int, str],
    limit: float | None,
    lost: Collection[int],
) -> str:
    """Why env runners were not heard of; empty if all were.

    Args:
        missing: ``{env runner: number of its episodes}`` of those that were not.
        failures: ``{env runner: why}`` of those that cannot have answered; the others are slow.
        limit: Seconds that they were waited for; None when without end.
        lost: Those whose particles go to others from now on.
    """
    said = []
    for worker, episodes in missing.items():
        left_out = f"its {episodes} episodes are left out"
        if worker in lost:
            left_out += " and go to the other env runners from now on"
        if worker in failures:
            said.append(f"env runner {worker} {failures[worker]}; {left_out}")
        else:
            waited = "" if limit is None else f" {limit:g} s"
            said.append(
                f"env runner {worker} is slow, not dead: it was not done within sample_timeout_s ="
                f"{waited}; {left_out}"
            )
    if any(worker not in failures for worker in missing):
        said.append(TOO_SLOW)
    return ". ".join(said)
