"""`calsheq infer`: which profiles explain the targets of a calibrated run, and how sure one is."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from rllib_calsheq.cli.jobs import add_numbers, add_workers, begin, numbers_of, workers_of
from rllib_calsheq.inference.config import InferenceConfig

#: Fields of the configuration that are options of the command, and what they mean.
OPTIONS = {
    "waves": "rounds of simulation",
    "episodes": "episodes of a round",
    "held-out": "profiles that the emulator is judged at",
    "steps": "steps of each walker that samples the set",
    "relearned": "profiles of the set at which the policy is trained on, 0 for none",
    "settling": "stages that it is trained on there",
    "discrepancy": "standard deviation, in scales, of what the model leaves out",
    "draws": "draws of the posterior that are kept",
    "seed": "seed of everything",
}


def add_infer_command(commands: Any) -> None:
    """Adds `infer` to the commands of `calsheq`."""
    infer = commands.add_parser(
        "infer", help="which profiles explain a run's targets: intervals instead of a point"
    )
    infer.add_argument("run", metavar="RUN_OR_CHECKPOINT")
    infer.add_argument("--json", action="store_true", help="print the findings as JSON")
    infer.add_argument("-o", "--output", metavar="FOLDER",
        help="folder of the findings and of what was simulated (default: beside the certificates)",
    )  # fmt: skip
    infer.add_argument("--netcdf", metavar="FILE",
        help="write the draws as ArviZ's InferenceData, too",
    )  # fmt: skip
    values = {name: getattr(InferenceConfig, name.replace("-", "_")) for name in OPTIONS}
    add_numbers(infer, values, OPTIONS)
    add_workers(infer, "simulations")
    infer.set_defaults(function=_infer)


def _infer(args: argparse.Namespace) -> int:
    config = InferenceConfig(**numbers_of(args, OPTIONS))
    workers = workers_of(args)

    progress = begin(args)
    from rllib_calsheq.inference.infer import infer, load_draws
    from rllib_calsheq.inference.pictures import draw_inference
    from rllib_calsheq.results.checkpoints import find_checkpoint

    found = infer(
        find_checkpoint(args.run), config, args.output, workers, progress,
        shlex.join(["calsheq", *args.line]),
    )  # fmt: skip
    folder = Path(found["folder"])
    pictures = draw_inference(found, load_draws(folder / found["draws"]), folder)
    if args.netcdf:
        from rllib_calsheq.inference.export import write_netcdf

        write_netcdf(folder / found["draws"], found, Path(args.netcdf))
        pictures.append(Path(args.netcdf))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        show_inference(found)
        for path in (folder / found["file"], folder / found["draws"], *pictures):
            print(f"wrote {path}")
    return 0


def show_inference(found: dict[str, Any]) -> None:
    """Prints findings as tables and sentences."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 120)
    parameters = Table(title="what the targets say of each parameter")
    parameters.add_column("parameter")
    known = found["parameters"][0]["true"] is not None
    for heading in ("calibrated", "median", "50 %", "90 %", *(["hidden"] if known else [])):
        parameters.add_column(heading, justify="right", no_wrap=True)
    parameters.add_column("it is")
    for row in found["parameters"]:
        spans = [f"{low:.3g} to {high:.3g}" for low, high in row["intervals"]]
        hidden = [f"{row['true']:.3g}"] if known else []
        numbers = [f"{row[key]:.3g}" for key in ("calibrated", "median")]
        parameters.add_row(row["name"], *numbers, *spans, *hidden, str(row["knowledge"]))
    console.print(parameters)
    errors = Table(title="what can be wrong about each target, in scales")
    errors.add_column("target")
    kinds = ("observation", "simulation", "emulator", "lag")
    for heading in (*kinds, "discrepancy", "R²", "off by"):
        errors.add_column(heading, justify="right")
    for row in found["targets"]:
        numbers = [f"{row[f'{kind}_error']:.3f}" for kind in kinds]
        errors.add_row(
            row["name"], *numbers, f"{row['discrepancy']:.3g}", f"{row['first_explained']:.2f}",
            f"{row['implausibility']:+.1f} sd",
        )  # fmt: skip
    console.print(errors)
    for line in found["in_words"]:
        console.print(line)
