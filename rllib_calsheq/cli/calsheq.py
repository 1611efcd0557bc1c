"""The `calsheq` command; each of its commands has a file of its own."""

from __future__ import annotations

import argparse
import sys

from rllib_calsheq.cli.backtest import add_backtest_command
from rllib_calsheq.cli.certify import add_certify_command
from rllib_calsheq.cli.check_targets import add_check_targets_command
from rllib_calsheq.cli.completion import CompletingParser
from rllib_calsheq.cli.coverage import add_coverage_command
from rllib_calsheq.cli.doctor import add_doctor_command
from rllib_calsheq.cli.evaluate import add_evaluate_command
from rllib_calsheq.cli.experiment import add_experiment_command
from rllib_calsheq.cli.hidden_targets import add_hidden_targets_command
from rllib_calsheq.cli.infer import add_infer_command
from rllib_calsheq.cli.messages import fail
from rllib_calsheq.cli.new import add_new_command
from rllib_calsheq.cli.plot import add_plot_command
from rllib_calsheq.cli.profile import add_profile_command
from rllib_calsheq.cli.report import add_report_command
from rllib_calsheq.cli.sensitivity import add_sensitivity_command
from rllib_calsheq.cli.targets import add_targets_command
from rllib_calsheq.cli.transitivity import add_transitivity_command
from rllib_calsheq.cli.watch import add_watch_command
from rllib_calsheq.core.version import __version__
from rllib_calsheq.running.quiet import quieten


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `calsheq` command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(words)
    args.line = words
    quieten()
    try:
        return int(args.function(args))
    except (ValueError, OSError) as error:
        return fail(error)


def _parser() -> argparse.ArgumentParser:
    parser = CompletingParser(
        prog="calsheq", description="Calibrate multi-agent simulations while their agents learn."
    )
    parser.add_argument("--version", action="version", version=f"rllib-calsheq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (
        add_targets_command,
        add_hidden_targets_command,
        add_plot_command,
        add_report_command,
        add_watch_command,
        add_evaluate_command,
        add_experiment_command,
        add_certify_command,
        add_sensitivity_command,
        add_check_targets_command,
        add_infer_command,
        add_profile_command,
        add_coverage_command,
        add_backtest_command,
        add_transitivity_command,
        add_doctor_command,
        add_new_command,
    ):
        add(commands)
    parser.add_completion()
    return parser


if __name__ == "__main__":
    sys.exit(main())
