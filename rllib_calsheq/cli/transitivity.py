"""`calsheq transitivity`: whether Assumption 1 holds between the snapshots of a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rllib_calsheq.certificates.config import (
    SNAPSHOT_EPISODES,
    SNAPSHOT_EPSILON,
    SNAPSHOTS,
    CertificateConfig,
)
from rllib_calsheq.cli.certify import add_game_arguments, game_fields
from rllib_calsheq.cli.jobs import begin, workers_of


def add_transitivity_command(commands: Any) -> None:
    """Adds `transitivity` to the commands of `calsheq`."""
    transitivity = commands.add_parser(
        "transitivity", help="whether a run's snapshots beat each other in circles (Assumption 1)"
    )
    transitivity.add_argument("run", metavar="RUN", help="folder of the run or of a trial")
    transitivity.add_argument("--json", action="store_true", help="print one JSON object")
    transitivity.add_argument("-o", "--output", metavar="FOLDER",
        help="folder of the result and its jobs (default: the last checkpoint's certificate's)",
    )  # fmt: skip
    transitivity.add_argument("--snapshots", type=int, default=SNAPSHOTS, metavar="N",
        help=f"checkpoints that are compared, evenly spaced (default: at most {SNAPSHOTS})",
    )  # fmt: skip
    transitivity.add_argument("--episodes", type=int, default=SNAPSHOT_EPISODES, metavar="N",
        help=f"episodes of each pair and supertype (default: {SNAPSHOT_EPISODES})",
    )  # fmt: skip
    transitivity.add_argument("--epsilon", type=float, default=SNAPSHOT_EPSILON, metavar="F",
        help="gains up to this fraction of the last snapshot's value do not count "
        f"(default: {SNAPSHOT_EPSILON:g})",
    )  # fmt: skip
    add_game_arguments(transitivity)
    transitivity.set_defaults(function=_transitivity)


def _transitivity(args: argparse.Namespace) -> int:
    config = CertificateConfig(**game_fields(args))
    workers = workers_of(args)

    progress = begin(args)
    from rllib_calsheq.certificates.report.pictures import draw_transitivity
    from rllib_calsheq.certificates.snapshots import choose_snapshots, measure_transitivity
    from rllib_calsheq.results.checkpoints import find_checkpoints

    found = measure_transitivity(
        choose_snapshots(find_checkpoints(args.run), args.snapshots),
        config,
        args.episodes,
        args.epsilon,
        args.output,
        workers,
        progress,
    )
    file = Path(found["folder"]) / found["file"]
    picture = draw_transitivity(found, file.with_suffix(".png"))
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    show_transitivity(found)
    print(f"wrote {file}\ndrew {picture}")
    return 0


def show_transitivity(found: dict[str, Any]) -> None:
    """Prints the steps of training and what they say."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 110)
    table = Table(title="each step of training: did the later policy gain, and did T rise?")
    for heading in ("stages", "gain", "above ε", "T rose by", "rose", "V̂(π, π) rose by", "rose"):
        table.add_column(heading, justify="right", no_wrap=True)
    by_part, by_value = (found["candidates"][n]["steps"] for n in ("transitive_part", "value"))
    for part, value in zip(by_part, by_value, strict=True):
        table.add_row(
            f"{part['from']} → {part['to']}",
            f"{part['gain']:+.3g} ± {part['gain_error']:.1g}",
            part["improved"],
            *(
                cell
                for step in (part, value)
                for cell in (f"{step['rise']:+.3g} ± {step['rise_error']:.1g}", step["rose"])
            ),
        )
    console.print(table)
    console.print(found["statement"])
