"""The `rllib` command, which Ray no longer ships; each of its commands has a file of its own."""

from __future__ import annotations

import argparse
import sys

from rllib_calsheq.cli.completion import CompletingParser
from rllib_calsheq.cli.evaluate import add_evaluate_command
from rllib_calsheq.cli.messages import fail
from rllib_calsheq.cli.train import add_train_command
from rllib_calsheq.core.version import __version__
from rllib_calsheq.running.quiet import quieten


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `rllib` command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(words)
    args.line = words
    if not getattr(args, "verbose", False):
        quieten()
    try:
        return int(args.function(args))
    except (ValueError, OSError) as error:
        return fail(error)


def _parser() -> argparse.ArgumentParser:
    parser = CompletingParser(prog="rllib", description="Train and evaluate RLlib algorithms.")
    parser.add_argument("--version", action="version", version=f"rllib-calsheq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    add_train_command(commands)
    add_evaluate_command(commands)
    parser.add_completion()
    return parser


if __name__ == "__main__":
    sys.exit(main())
