"""Who made a run: the commands that began it and went on with it, and the machine they ran on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from rllib_calsheq.core.files import write_json
from rllib_calsheq.results.checkpoints import PROVENANCE_FILE

GIB = 2**30


class End(StrEnum):
    """How a command that works on a run ended; one that was killed says nothing."""

    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@contextmanager
def recorded(run: Path, command: str, stages: int | None) -> Iterator[None]:
    """A block that begins a run or goes on with it; its folder says which, and how it ended.

    Args: as `record_start`.
    """
    record_start(run, command, stages)
    try:
        yield
    except BaseException as error:
        asked = isinstance(error, (SystemExit, KeyboardInterrupt))
        # On a full disk the error is what is to be heard of.
        with suppress(OSError):
            record_end(run, End.STOPPED if asked else End.FAILED)
        raise
    record_end(run, End.DONE)


def record_start(run: Path, command: str, stages: int | None = None) -> None:
    """Notes in a run's folder which command begins it or goes on with it, where and when.

    Args:
        run: The run's folder, which exists.
        command: The command as its user typed it.
        stages: Stages that a trial of it is to have at its end, at most; None where that is open.
    """
    start: dict[str, Any] = {"command": command, "begun": _now(), "machine": machine()}
    start |= {"stages": stages, "end": None, "ended": None}
    write_json(run / PROVENANCE_FILE, {"starts": [*read_starts(run), start]})


def record_end(run: Path, end: End) -> None:
    """Notes that the command that `record_start` noted last has ended."""
    *before, last = read_starts(run)
    write_json(run / PROVENANCE_FILE, {"starts": [*before, {**last, "end": end, "ended": _now()}]})


def run_of(trial: Path) -> Path:
    """The folder that says who made a trial: its own (`calibrate`), or its run's."""
    return trial if (trial / PROVENANCE_FILE).is_file() else trial.parent


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_starts(run: Path) -> list[dict[str, Any]]:
    """The notes of `record_start`, oldest first; [] where there are none that can be read."""
    try:
        content = json.loads((run / PROVENANCE_FILE).read_text(encoding="utf-8"))
        return [dict(start) for start in content["starts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def machine() -> dict[str, Any]:
    """What is known of this machine: no name and no address of it."""
    found: dict[str, Any] = {"system": platform.system(), "architecture": platform.machine()}
    found["cores"] = os.cpu_count()
    if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory_gib"] = round(memory / GIB, 1)
    return found


def machine_in_words(found: Mapping[str, Any]) -> str:
    """A machine as `machine` gives it, in a line."""
    words = [str(found[k]) for k in ("system", "architecture") if found.get(k)]
    words += [f"{found['cores']} cores"] if found.get("cores") else []
    words += [f"{found['memory_gib']:g} GiB of memory"] if found.get("memory_gib") else []
    return ", ".join(words)
