"""`calsheq sensitivity`: which directions of the calibrated profile the targets pin down."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rllib_calsheq.certificates.config import (
    SENSITIVITY_EPISODES,
    SENSITIVITY_RETRAIN,
    SENSITIVITY_STEP,
    CertificateConfig,
)
from rllib_calsheq.cli.jobs import add_numbers, begin
from rllib_calsheq.core.configuration import require

#: What is measured unless the command says otherwise.
DEFAULTS = {
    "episodes": SENSITIVITY_EPISODES,
    "step": SENSITIVITY_STEP,
    "retrain": SENSITIVITY_RETRAIN,
}
MEANINGS = {
    "episodes": "episodes at each end of a difference",
    "step": "half of the distance of a difference, as a fraction of a parameter's range",
    "retrain": "train the shared policy on for this many stages at each end",
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
    add_numbers(sensitivity, DEFAULTS, MEANINGS)
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

    progress = begin(args)
    from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
    from rllib_calsheq.certificates.jobs.store import default_folder, result_name
    from rllib_calsheq.certificates.sensitivity.measurement import measure_sensitivity
    from rllib_calsheq.certificates.sensitivity.picture import draw_sensitivity
    from rllib_calsheq.core.files import write_json
    from rllib_calsheq.results.checkpoints import find_checkpoint

    checkpoint = find_checkpoint(args.run)
    game = FrozenGame(checkpoint, config)
    asked = {name: getattr(args, name) for name in DEFAULTS}
    found = measure_sensitivity(
        game,
        **asked,
        progress=progress,
    )
    folder = Path(args.output) if args.output else default_folder(checkpoint, config)
    folder.mkdir(parents=True, exist_ok=True)
    marks = {key: value for key, value in asked.items() if value != DEFAULTS[key]}
    name = result_name(
        "sensitivity", {**marks, **config.unusual_numbers()}, {**game.identity(), **asked}
    )
    write_json(folder / name, found)
    picture = draw_sensitivity(found, (folder / name).with_suffix(".png"))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join([*_lines(found), f"wrote {folder / name}", f"drew {picture}"]))
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
