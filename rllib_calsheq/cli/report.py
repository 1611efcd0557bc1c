"""`calsheq report`: what runs were asked for and what came out, in one file that opens anywhere."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from rllib_calsheq.cli.messages import INTERRUPTED, seconds

#: Seconds between two reports of a run that goes on.
EVERY_S = 60.0


def add_report_command(commands: Any) -> None:
    """Adds `report` to the commands of `calsheq`."""
    report = commands.add_parser(
        "report", help="write a report of runs: one HTML file that is read without a network"
    )
    report.add_argument(
        "runs", metavar="RUN", nargs="+", help="folders of runs or of trials; several side by side"
    )
    report.add_argument(
        "-o", "--output", metavar="FILE",
        help="where to write it (default: report.html in the run's folder, or in the working "
        "directory for several runs)",
    )  # fmt: skip
    report.add_argument(
        "--markdown", action="store_true", help="write it as Markdown, too, beside the HTML file"
    )
    report.add_argument(
        "--evaluate", action="store_true",
        help="first evaluate the last checkpoints of trials that have no evaluation of them",
    )  # fmt: skip
    report.add_argument(
        "--watch", action="store_true",
        help="renew it while the runs go on, and show it to a browser of this machine",
    )  # fmt: skip
    report.add_argument(
        "--every", type=float, metavar="SECONDS",
        help=f"with --watch: seconds between two reports (default: {EVERY_S:g})",
    )  # fmt: skip
    report.add_argument(
        "--port", type=int, help="with --watch: the port, of 127.0.0.1 (default: any free one)"
    )
    report.set_defaults(function=_report)


def _report(args: argparse.Namespace) -> int:
    if not args.watch and (args.every is not None or args.port is not None):
        raise ValueError("--every and --port belong to --watch: add it, or leave them out")
    if args.evaluate:
        from rllib_calsheq.cli.reports import evaluate_missing

        evaluate_missing(args.runs)
    if args.watch:
        return _watch(args)
    for file in _write(args):
        print(f"wrote {file}")
    return 0


def _write(args: argparse.Namespace) -> list[Path]:
    from rllib_calsheq.reporting.writing import write_report

    command = shlex.join(["calsheq", *args.line])
    return write_report(args.runs, args.output, markdown=args.markdown, command=command)


def _watch(args: argparse.Namespace) -> int:
    from rllib_calsheq.watching.page import watch_report

    every_s = seconds("--every", EVERY_S if args.every is None else args.every, 1.0)
    port = 0 if args.port is None else args.port
    if not 0 <= port < 2**16:
        raise ValueError(f"--port is {port}; allowed: 0 (any free one) to {2**16 - 1}")
    files: list[Path] = []

    def write() -> Path:
        files[:] = _write(args)
        return files[0]

    try:
        watch_report(
            args.runs, write, every_s=every_s, port=port, say=lambda line: print(line, flush=True)
        )
    except KeyboardInterrupt:
        print(f"the runs go on; again: {shlex.join(['calsheq', *args.line])}", flush=True)
        return INTERRUPTED
    for file in files:
        print(f"wrote {file}")
    return 0
