"""`calsheq coverage`: how often a run's intervals hold what is hidden on purpose."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rllib_calsheq.cli.jobs import add_numbers, add_workers, begin, numbers_of, workers_of
from rllib_calsheq.core.configuration import require
from rllib_calsheq.inference.config import InferenceConfig

#: What an inference of `coverage` is asked for unless the command says otherwise: a profile takes
#: about a third of the time of `calsheq infer`.
DEFAULTS = {
    "waves": 4,
    "episodes": 2048,
    "held-out": 64,
    "steps": 600,
    "relearned": 0,
    "settling": 20,
    "seed": 0,
}
MEANINGS = {
    "waves": "rounds of simulation, the first of which all profiles share",
    "episodes": "episodes of a round",
    "held-out": "profiles that the emulator is judged at",
    "steps": "steps of each walker",
    "relearned": "profiles at which the policy is trained on to correct for it; with it, hidden "
    "profiles' targets are those of the policy trained on there",
    "settling": "stages that it is trained on",
    "seed": "seed of everything",
}
PROFILES, TARGET_EPISODES = 60, 64
#: Directions whose widths are printed.
MOST_DIRECTIONS = 10


def add_coverage_command(commands: Any) -> None:
    """Adds `coverage` to the commands of `calsheq`."""
    coverage = commands.add_parser(
        "coverage", help="how often a run's intervals hold profiles that are hidden on purpose"
    )
    coverage.add_argument("run", metavar="RUN_OR_CHECKPOINT")
    coverage.add_argument("--json", action="store_true", help="print the findings as JSON")
    coverage.add_argument("-o", "--output", metavar="FOLDER",
        help="folder of the findings and of what was inferred (default: beside the certificates)",
    )  # fmt: skip
    coverage.add_argument("--profiles", type=int, default=PROFILES, metavar="N",
        help=f"hidden profiles, drawn from the prior (default: {PROFILES})",
    )  # fmt: skip
    coverage.add_argument("--target-episodes", type=int, default=TARGET_EPISODES, metavar="N",
        help=f"episodes that a profile's targets are the means of (default: {TARGET_EPISODES})",
    )  # fmt: skip
    coverage.add_argument("--spoil", type=float, default=1.0, metavar="F",
        help="draw intervals in by a factor, to see that it is found out (default: 1)",
    )  # fmt: skip
    add_numbers(coverage, DEFAULTS, MEANINGS)
    add_workers(coverage, "profiles")
    coverage.set_defaults(function=_coverage)


def _coverage(args: argparse.Namespace) -> int:
    require(args.profiles >= 2, "--profiles", args.profiles, "integers from 2")
    require(args.target_episodes >= 2, "--target-episodes", args.target_episodes, "integers from 2")
    require(args.spoil > 0, "--spoil", args.spoil, "numbers above 0")
    config = InferenceConfig(**numbers_of(args, DEFAULTS))
    workers = workers_of(args)

    progress = begin(args)
    from rllib_calsheq.inference.coverage_jobs import measure_coverage
    from rllib_calsheq.results.checkpoints import find_checkpoint

    found = measure_coverage(
        find_checkpoint(args.run), args.profiles, config, args.target_episodes, args.output,
        workers, args.spoil, progress,
    )  # fmt: skip
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join([*lines(found), f"wrote {Path(found['folder']) / found['file']}"]))
    return 0


def lines(found: dict[str, Any]) -> list[str]:
    """The findings in sentences."""
    said = []
    for row in found["intervals"]:
        low, high = row["band"]
        verdict = "as it should" if row["holds"] else "NOT as it should"
        said.append(
            f"{row['nominal']:.0%} intervals hold {row['coverage']:.1%} of the parameters of "
            f"{found['profiles']} hidden profiles, {verdict} ({low:.0%} to {high:.0%} expected); "
            f"times {row['factor']:.2f} they would hold {row['nominal']:.0%}"
        )
    said.append(
        f"ranks: p = {found['least_rank_p_value']:.2g} for all parameters being right (after "
        f"Bonferroni); jointly (TARP) p = {found['joint_p_value']:.2g}"
    )
    narrow = sorted(found["widths"].items(), key=lambda item: item[1])
    said.append(
        "width of the 90 % interval as a part of the prior's: "
        + ", ".join(f"{name} {width:.2f}" for name, width in narrow)
    )
    said.append(
        "standard deviation along the narrowest directions as a part of the prior's: "
        + ", ".join(f"{width:.2f}" for width in found["directions"][:MOST_DIRECTIONS])
    )
    if found["predicted"] is not None:
        each = found["predicted_each"]
        said.append(
            f"90 % bands of outcomes that were no targets hold {found['predicted']:.1%} of their "
            f"true means ({min(each):.0%} to {max(each):.0%} of each)"
        )
    return said
