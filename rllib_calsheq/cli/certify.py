"""`calsheq certify`: how far a calibrated shared policy is from a shared equilibrium."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.cli.jobs import add_numbers, add_workers, begin, workers_of
from rllib_calsheq.core.configuration import require
from rllib_calsheq.data.yaml_text import read_yaml

MEANINGS = {
    "seeds": "training seeds of the deviators",
    "budget": "training episodes of a deviator",
    "validation": "episodes that deviations are selected on",
    "fresh": "episodes that the selected ones are measured on",
    "settling": "stages that the shared policy is trained on for the lag gap, 0 for none",
}


def add_certify_command(commands: Any) -> None:
    """Adds `certify` to the commands of `calsheq`."""
    default = CertificateConfig()
    certify = commands.add_parser(
        "certify", help="look for profitable deviations from a run's shared policy"
    )
    certify.add_argument("run", metavar="RUN_OR_CHECKPOINT")
    certify.add_argument("--json", action="store_true", help="print the certificate as JSON")
    certify.add_argument("-o", "--output", metavar="FOLDER",
        help="folder of the certificate and its jobs (default: `certificate` in the trial's)",
    )  # fmt: skip
    add_game_arguments(certify)
    certify.add_argument("--action", metavar="A,B,..",
        help="certify that everyone always takes this action, instead of the shared policy",
    )  # fmt: skip
    add_numbers(certify, {name: getattr(default, name) for name in MEANINGS}, MEANINGS)
    certify.set_defaults(function=_certify)


def add_game_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what says which game policies are measured in, and how many processes share its jobs."""
    default = CertificateConfig()
    command.add_argument(
        "--supertypes", choices=("profile", "particles"), default=default.supertypes,
        help="fix Λ at the calibrated profile, or draw it from the last particles",
    )  # fmt: skip
    command.add_argument(
        "--env-config", action="append", default=[], metavar="KEY=VALUE",
        help="a field of the environment that differs from the run's (repeatable)",
    )  # fmt: skip
    command.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE",
        help="a supertype parameter that differs from the run's (repeatable)",
    )  # fmt: skip
    command.add_argument("--discount", type=float, default=default.discount, metavar="G",
        help=f"discount factor of equation (2) (default: {default.discount:g})",
    )  # fmt: skip
    command.add_argument("--seed", type=int, default=default.seed, metavar="N",
        help=f"seed of everything (default: {default.seed})",
    )  # fmt: skip
    add_workers(command)


def game_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `CertificateConfig` that `add_game_arguments` asked for.

    Raises:
        ValueError: If one is not allowed.
    """
    return {
        "supertypes": args.supertypes,
        "env_config": _pairs(args.env_config, "--env-config", "num_merchants=50"),
        "parameters": _pairs(args.parameter, "--parameter", "supertype_1.tolerance=0.8"),
        "discount": args.discount,
        "seed": args.seed,
    }


def _certify(args: argparse.Namespace) -> int:
    config = config_of(args)
    workers = workers_of(args)

    progress = begin(args)
    from rllib_calsheq.certificates.certify import certify
    from rllib_calsheq.certificates.report.pictures import draw_certificate
    from rllib_calsheq.results.checkpoints import find_checkpoint

    found = certify(
        find_checkpoint(args.run),
        config,
        args.output,
        workers,
        progress,
    )
    file = Path(found["folder"]) / found["file"]
    picture = draw_certificate(found, file.with_suffix(".png"))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        show_certificate(found)
        print(f"wrote {file}\ndrew {picture}")
    return 0


def config_of(args: argparse.Namespace) -> CertificateConfig:
    """The configuration that the command's words mean.

    Raises:
        ValueError: If one is not allowed.
    """
    default = CertificateConfig()
    action = None
    if args.action is not None:
        try:
            action = tuple(float(a) for a in args.action.split(","))
        except ValueError:
            raise ValueError(f"--action is {args.action!r}; give numbers, e.g. 0.2,0.2") from None
    require(args.budget >= 1, "--budget", args.budget, "integers from 1")
    batch = min(default.batch, args.budget)
    return CertificateConfig(
        **game_fields(args),
        action=action,
        seeds=args.seeds,
        budget=args.budget,
        batch=batch,
        measurements=min(default.measurements, args.budget // batch),
        validation=args.validation,
        fresh=args.fresh,
        settling=args.settling,
    )


def _pairs(given: list[str], flag: str, example: str) -> dict[str, Any]:
    found = {}
    for pair in given:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"{flag} takes KEY=VALUE, e.g. {example}: {pair!r}")
        found[key] = read_yaml(text, f"{flag} {pair}: the value")
    return found


def show_certificate(found: dict[str, Any]) -> None:
    """Prints a certificate as tables and its statement."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 110)
    gains = Table(title="gain of one deviating agent, on fresh episodes")
    gains.add_column("who, and how")
    for heading in ("value", "gain", "95 % interval", "relative"):
        gains.add_column(heading, justify="right", no_wrap=True)
    rows = [("random agent (Definition 1)", found)]
    rows += [(f"an agent of {name}", row) for name, row in found["per_supertype"].items()]
    rows += [(f"random agent: {row['name']}", row) for row in found["kinds"].values()]
    for name, row in rows:
        share = row["relative_epsilon"]
        gains.add_row(
            name,
            f"{row['value']:.4g}" if "value" in row else "",
            f"{row['gain']:.3g}",
            f"{row['epsilon_low']:.3g} to {row['epsilon_high']:.3g}",
            "" if share is None else f"{share:.2%}",
        )
    console.print(gains)
    lag = found["lag"]
    if lag is not None:
        console.print(_outcome_table(lag))
    if lag is not None and lag["gap"] is not None:
        line = (
            f"fit {lag['reward_before']:.3f} at the checkpoint, {lag['reward_after']:.3f} after "
            f"{found['budget']['settling_stages']} stages at fixed supertypes: lag gap "
            f"{lag['gap']:+.3f} ± {lag['gap_stderr']:.3f}"
        )
        if lag["recovered_before"] is not None:
            line += (
                f"; recovered fraction {lag['recovered_before']:.3f} and "
                f"{lag['recovered_after']:.3f}"
            )
        console.print(line)
    console.print(f"best deviation: {found['deviation']}")
    console.print(found["statement"])


def _outcome_table(lag: dict[str, Any]) -> Any:
    from rich.table import Table

    outcomes = Table(title="outcomes at the checkpoint and after settling")
    outcomes.add_column("outcome", no_wrap=True)
    headings = ("before", "after", "target")
    for heading in headings:
        outcomes.add_column(heading, justify="right")
    with_targets = [row for row in lag["outcomes"] if row["target"] is not None]
    for row in with_targets or lag["outcomes"]:
        cells = (row[heading] for heading in headings)
        outcomes.add_row(row["name"], *("" if c is None else f"{c:.4g}" for c in cells))
    return outcomes
