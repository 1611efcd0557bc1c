"""`calsheq report`: what runs were asked for and what came out, in one file that opens anywhere."""

from __future__ import annotations

import argparse
import shlex
from typing import Any


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
    report.set_defaults(function=_report)


def _report(args: argparse.Namespace) -> int:
    from rllib_calsheq.reporting.writing import write_report

    if args.evaluate:
        from rllib_calsheq.cli.reports import evaluate_missing

        evaluate_missing(args.runs)
    command = shlex.join(["calsheq", *args.line])
    for file in write_report(args.runs, args.output, markdown=args.markdown, command=command):
        print(f"wrote {file}")
    return 0
