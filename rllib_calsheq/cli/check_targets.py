"""`calsheq check-targets`: whether the model can meet an experiment's targets, before a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rllib_calsheq.cli.jobs import add_numbers, add_workers, begin, workers_of
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.defaults import STORAGE
from rllib_calsheq.inference.config import InferenceConfig

#: What is done unless the command says otherwise.
DEFAULTS = {"stages": 60, "waves": 3, "episodes": 2048, "seed": 0}
MEANINGS = {
    "stages": "stages that a shared policy is trained for, at profiles from the whole box",
    "waves": "rounds of simulation with it",
    "episodes": "episodes of a round",
    "seed": "seed of everything",
}


def add_check_targets_command(commands: Any) -> None:
    """Adds `check-targets` to the commands of `calsheq`."""
    check = commands.add_parser(
        "check-targets", help="whether the model can meet an experiment's targets, before a run"
    )
    check.add_argument("file", metavar="FILE", help="the experiment file")
    check.add_argument("--json", action="store_true", help="print the findings as JSON")
    check.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="PATH.TO.KEY=VALUE",
        help="override a key of the experiment, e.g. --set config.num_particles=32",
    )  # fmt: skip
    check.add_argument("-o", "--output", metavar="FOLDER",
        help=f"folder of policy and findings (default: {STORAGE}/check-targets/NAME)",
    )  # fmt: skip
    add_numbers(check, DEFAULTS, MEANINGS)
    add_workers(check, "simulations")
    check.set_defaults(function=_check_targets)


def _check_targets(args: argparse.Namespace) -> int:
    require(args.stages >= 1, "--stages", args.stages, "integers from 1")
    inference = InferenceConfig(
        waves=args.waves, episodes=args.episodes, seed=args.seed, steps=600, relearned=0
    )
    workers = workers_of(args)

    progress = begin(args)
    from rllib_calsheq.cli.train import configurations
    from rllib_calsheq.data.experiment_files import load_experiments
    from rllib_calsheq.inference.reach import check_targets

    experiments = load_experiments(args.file, args.overrides)
    found_variants = [c for e in experiments if e.is_calsheq for c in configurations(e)]
    if len(experiments) != 1 or len(found_variants) != 1:
        raise ValueError(
            f"{args.file} has {len(experiments)} experiments with {len(found_variants)} "
            "configurations of CALSHEQ, but one is checked at a time: leave out grids with --set"
        )
    default = Path(STORAGE).expanduser() / "check-targets" / experiments[0].name
    found = check_targets(
        found_variants[0], args.output or default, args.stages, inference, workers,
        progress,
    )  # fmt: skip
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join([*lines(found), f"wrote {Path(found['folder']) / found['file']}"]))
    return 0


def lines(found: dict[str, Any]) -> list[str]:
    """The findings in a table and sentences."""
    rows = found["targets"]
    width = max(len(row["name"]) for row in rows)
    said = [f"{'target':{width}}      value  percentile  nearest for all  it lies"]
    for row in rows:
        said.append(
            f"{row['name']:{width}}  {row['target']:9.4g}  {100 * row['percentile']:9.1f}%  "
            f"{row['best']:15.4g}  {row['reach']}"
        )
    outside = [row["name"] for row in rows if row["reach"] == "outside"]
    if outside:
        alone = len(outside) < len(rows)
        together = ", ".join(outside) + " together with the other targets" * alone
        said.append(
            f"As far as a quick look goes, no profile meets {together}. If more --stages and "
            "--waves do not find one: widen the parameters' bounds, change the environment, or "
            "give a target up."
        )
    else:
        said.append(
            "As far as a quick look goes, there are profiles that meet all targets together."
        )
    return said
