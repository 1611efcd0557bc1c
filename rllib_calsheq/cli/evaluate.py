"""`rllib evaluate` and `calsheq evaluate`: outcomes against targets, and which of these are met."""

from __future__ import annotations

import argparse
from typing import Any

from rllib_calsheq.core.defaults import EVALUATION_EPISODES


def add_evaluate_command(commands: Any) -> None:
    """Adds `evaluate` to the commands of `rllib` or `calsheq`."""
    evaluate = commands.add_parser(
        "evaluate", help="outcomes against targets at the calibrated profile"
    )
    evaluate.add_argument("run", metavar="RUN_OR_CHECKPOINT")
    evaluate.add_argument(
        "--episodes", type=int, default=EVALUATION_EPISODES,
        help=f"fresh episodes (default: {EVALUATION_EPISODES})",
    )  # fmt: skip
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument("--strict", action="store_true", help="exit with 3 if a target is missed")
    evaluate.set_defaults(function=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from rllib_calsheq.cli.reports import print_evaluation

    return print_evaluation(args.run, episodes=args.episodes, as_json=args.json, strict=args.strict)
