"""What stopped a trial, in one line."""

from __future__ import annotations

from pathlib import Path

from rllib_calsheq.results.checkpoints import ERROR_FILE, TRIAL_FILE

#: What Python writes between an error and the one that was raised from it.
DIRECT_CAUSE = "The above exception was the direct cause of the following exception:"


def cause(error: BaseException | str) -> str:
    """What stopped a trial, in one line: what comes after the trace of the first error."""
    lines = str(error).partition(DIRECT_CAUSE)[0].strip().splitlines()
    frames = [i for i, line in enumerate(lines) if line.startswith("  File ")]
    after = lines[frames[-1] + 1 :] if frames else lines
    # The frame's own code and its markers are indented; the exception is not.
    start = next((i for i, line in enumerate(after) if line and not line[0].isspace()), 0)
    return " ".join(" ".join(after[start:]).split())


def failure_of(trial: Path) -> str | None:
    """What stopped a trial, as its folder says; None where it went on since, or never failed."""
    error, results = trial / ERROR_FILE, trial / TRIAL_FILE
    try:
        if error.stat().st_mtime < results.stat().st_mtime:
            return None
        return cause(error.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
