"""`calsheq profile`: the best fit along the range of one parameter."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rllib_calsheq.cli.jobs import add_workers, begin, workers_of
from rllib_calsheq.inference.config import InferenceConfig

POINTS = 15


def add_profile_command(commands: Any) -> None:
    """Adds `profile` to the commands of `calsheq`."""
    profile = commands.add_parser(
        "profile", help="the best fit along the range of one parameter, the others calibrated anew"
    )
    profile.add_argument("run", metavar="RUN_OR_CHECKPOINT")
    profile.add_argument("--parameter", required=True, metavar="NAME", help="the parameter")
    profile.add_argument("--points", type=int, default=POINTS, metavar="N",
        help=f"values that it is held at (default: {POINTS})",
    )  # fmt: skip
    profile.add_argument("--json", action="store_true", help="print the findings as JSON")
    profile.add_argument("-o", "--output", metavar="FOLDER",
        help="folder of the findings; that of an inference, whose simulations it takes "
        "(default: beside the certificates)",
    )  # fmt: skip
    seed = InferenceConfig.seed
    profile.add_argument(
        "--seed", type=int, default=seed, metavar="N", help=f"seed of everything (default: {seed})"
    )
    add_workers(profile, "simulations")
    profile.set_defaults(function=_profile)


def _profile(args: argparse.Namespace) -> int:
    config = InferenceConfig(seed=args.seed)
    workers = workers_of(args)

    progress = begin(args)
    from rllib_calsheq.inference.profile import draw_profile, profile_parameter
    from rllib_calsheq.results.checkpoints import find_checkpoint

    found = profile_parameter(
        find_checkpoint(args.run), args.parameter, config, args.points, args.output, workers,
        progress,
    )  # fmt: skip
    file = Path(found["folder"]) / found["file"]
    picture = draw_profile(found, file.with_suffix(".png"))
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"{'held at':>10}  squared distance  worst miss, scales")
    for point in found["points"]:
        print(f"{point['value']:10.4g}  {point['square']:16.2f}  {point['worst_miss']:18.2f}")
    low, high = found["allowed"]
    print(
        f"{found['parameter']} may be {low:.3g} to {high:.3g} ({found['confidence']:.0%}), as far "
        f"as the targets tell\nwrote {file}\ndrew {picture}"
    )
    return 0
