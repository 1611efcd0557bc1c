"""`calsheq sensitivity`: which directions of the calibrated profile the targets pin down."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rllib_calsheq.certificates.config import (
    SENSITIVITY_EPISODES,
    SENSITIVITY_RETRAIN,
    SENSITIVITY_STEP,
    CertificateConfig,
)
from rllib_calsheq.core.configuration import require

#: What is measured unless the command says otherwise.
DEFAULTS = {
    "episodes": SENSITIVITY_EPISODES,
    "step": SENSITIVITY_STEP,
    "retrain": SENSITIVITY_RETRAIN,
}


def add_sensitivity_command(commands: Any) -> None:
    """Adds `sensitivity` to the commands of `calsheq`."""
    sensitivity = commands.add_parser(
        "sensitivity", help="which directions of the calibrated profile the targets pin down"
    )
    sensitivity.add_argument("run", metavar="RUN_OR_CHECKPOINT")
    sensitivity.add_argument("--json", action="store_true", help="print one JSON object")
    sensitivity.add_argument("-o", "--output", metavar="FOLDER",
        help="folder of the result (default: the certificate's)",
    )  # fmt: skip
    sensitivity.add_argument(
        "--episodes", type=int, default=SENSITIVITY_EPISODES, metavar="N",
        help=f"episodes at each end of a difference (default: {SENSITIVITY_EPISODES})",
    )  # fmt: skip
    sensitivity.add_argument(
        "--step", type=float, default=SENSITIVITY_STEP, metavar="F",
        help="half of the distance of a difference, as a fraction of a parameter's range "
        f"(default: {SENSITIVITY_STEP:g})",
    )  # fmt: skip
    sensitivity.add_argument(
        "--retrain", type=int, default=SENSITIVITY_RETRAIN, metavar="N",
        help="train the shared policy on for this many stages at each end "
        f"(default: {SENSITIVITY_RETRAIN})",
    )  # fmt: skip
    seed = CertificateConfig.seed
    sensitivity.add_argument(
        "--seed", type=int, default=seed, metavar="N", help=f"seed (default: {seed})"
    )
    sensitivity.set_defaults(function=_sensitivity)


def _sensitivity(args: argparse.Namespace) -> int:
    require(args.episodes >= 2, "--episodes", args.episodes, "integers from 2")
    require(0 < args.step <= 0.5, "--step", args.step, "numbers above 0, up to 0.5")
    require(args.retrain >= 0, "--retrain", args.retrain, "integers from 0")
    config = CertificateConfig(seed=args.seed)

    from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
    from rllib_calsheq.certificates.jobs.store import default_folder, result_name
    from rllib_calsheq.certificates.sensitivity.measurement import measure_sensitivity
    from rllib_calsheq.cli.messages import quieten_rllib
    from rllib_calsheq.core.files import write_json
    from rllib_calsheq.results.checkpoints import find_checkpoint

    quieten_rllib()
    checkpoint = find_checkpoint(args.run)
    game = FrozenGame(checkpoint, config)
    asked = {name: getattr(args, name) for name in DEFAULTS}
    found = measure_sensitivity(
        game,
        **asked,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    folder = Path(args.output) if args.output else default_folder(checkpoint, config)
    folder.mkdir(parents=True, exist_ok=True)
    marks = {key: value for key, value in asked.items() if value != DEFAULTS[key]}
    name = result_name(
        "sensitivity", {**marks, **config.unusual_numbers()}, {**game.identity(), **asked}
    )
    write_json(folder / name, found)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join([*_lines(found), f"wrote {folder / name}"]))
    return 0


def _lines(found: dict[str, Any]) -> list[str]:
    width = max(len(name) for name in found["parameters"])
    lines = [f"{'parameter':{width}}  value  it is             strongest effect, scales per range"]
    for name, row in found["parameters"].items():
        lines.append(
            f"{name:{width}}  {row['value']:5.3f}  {row['knowledge']:11} {row['pinned']:.2f}  "
            f"{row['effect']:+8.2f} ± "
            f"{row['effect_stderr']:.2f} on {row['outcome']}"
        )
    values = ", ".join(f"{value:.3g}" for value in found["singular_values"])
    return [*lines, f"singular values: {values}; threshold {found['threshold']:.3g}",
            *found["in_words"]]  # fmt: skip
