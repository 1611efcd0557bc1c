"""`calsheq plot`: the pictures of a run, while it goes on or later."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_plot_command(commands: Any) -> None:
    """Adds `plot` to the commands of `calsheq`."""
    plot = commands.add_parser("plot", help="draw the pictures of a run")
    plot.add_argument("run", metavar="RUN", help="folder of the run or of a trial")
    plot.add_argument(
        "-o", "--output", metavar="FOLDER", help="where to put them (default: the run's)"
    )
    plot.set_defaults(function=_plot)


def _plot(args: argparse.Namespace) -> int:
    from rllib_calsheq.results.checkpoints import find_trials
    from rllib_calsheq.results.plots import draw_trial

    trials = find_trials(args.run)
    for trial in trials:
        folder = None
        if args.output:
            folder = Path(args.output) / (trial.name if len(trials) > 1 else "")
        for picture in draw_trial(trial, folder):
            print(f"drew {picture}")
    return 0
