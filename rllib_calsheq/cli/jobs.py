"""What the commands that share work among processes have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rllib_calsheq.certificates.jobs.processes import MAX_DEFAULT_WORKERS, default_workers
from rllib_calsheq.core.configuration import require


def add_numbers(
    command: argparse.ArgumentParser, values: Mapping[str, Any], meanings: Mapping[str, str]
) -> None:
    """Adds an option for each number, with its default value and what it means."""
    for name, meaning in meanings.items():
        command.add_argument(
            f"--{name}", type=type(values[name]), default=values[name], metavar="N",
            help=f"{meaning} (default: {values[name]:g})",
        )  # fmt: skip


def numbers_of(args: argparse.Namespace, names: Mapping[str, Any]) -> dict[str, Any]:
    """What `add_numbers` asked for, by the names of fields."""
    return {field: getattr(args, field) for field in (name.replace("-", "_") for name in names)}


def add_workers(command: argparse.ArgumentParser, what: str = "jobs") -> None:
    """Adds how many processes share the work."""
    command.add_argument("--workers", type=int, metavar="N",
        help=f"processes that share the {what} (default: one a core, up to {MAX_DEFAULT_WORKERS})",
    )  # fmt: skip


def workers_of(args: argparse.Namespace) -> int:
    """Processes that share the work.

    Raises:
        ValueError: If the given number is not allowed.
    """
    workers = default_workers() if args.workers is None else int(args.workers)
    require(workers >= 1, "--workers", workers, "integers from 1")
    return workers


def begin(args: argparse.Namespace) -> Callable[[str], None]:
    """Readies this process for small networks; returns what prints a line of progress.

    To be called before torch is imported: on small networks several threads cost more than they
    give. Progress stays out of the way of ``--json``.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Importing it sets the levels of its loggers.
    import ray.rllib  # noqa: F401

    from rllib_calsheq.running.quiet import quieten_rllib

    quieten_rllib()
    stream = sys.stderr if args.json else sys.stdout
    return lambda line: print(line, file=stream, flush=True)
