"""`calsheq watch`: a run while it goes on, in a terminal."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from rllib_calsheq.cli.messages import INTERRUPTED, seconds

#: Seconds between two looks at a run's files.
EVERY_S = 2.0


def add_watch_command(commands: Any) -> None:
    """Adds `watch` to the commands of `calsheq`."""
    watch = commands.add_parser(
        "watch", help="watch a run in the terminal while it goes on, from its files alone"
    )
    watch.add_argument("run", metavar="RUN", help="folder of a run or of a trial")
    watch.add_argument(
        "--every", type=float, default=EVERY_S, metavar="SECONDS",
        help=f"seconds between two looks (default: {EVERY_S:g})",
    )  # fmt: skip
    watch.set_defaults(function=_watch)


def _watch(args: argparse.Namespace) -> int:
    from rllib_calsheq.watching.following import RunNow
    from rllib_calsheq.watching.terminal import watch

    every_s = seconds("--every", args.every, 0.1)
    try:
        return watch(RunNow(args.run), every_s)
    except KeyboardInterrupt:
        print(f"the run goes on; look again: {shlex.join(['calsheq', *args.line])}", flush=True)
        return INTERRUPTED
