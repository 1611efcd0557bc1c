"""The `calsheq` command: make targets, evaluate a run, draw its pictures, run the study."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from rllib_calsheq.cli.certify import add_certify_command
from rllib_calsheq.cli.experiment import add_experiment_command
from rllib_calsheq.cli.messages import fail, quieten
from rllib_calsheq.cli.rllib import add_evaluation_episodes
from rllib_calsheq.cli.sensitivity import add_sensitivity_command
from rllib_calsheq.cli.transitivity import add_transitivity_command
from rllib_calsheq.envs.market.config import PERCENTILE_SCALE_FLOOR
from rllib_calsheq.experiments.paper_settings import (
    HIDDEN_EPISODES,
    HIDDEN_STAGES,
    SETTING_PROFILES,
    SETTINGS,
    hidden_profile,
)

#: What stands for a hidden profile's name in an output file's.
PROFILE_PLACE = "{profile}"


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `calsheq` command; returns its exit code."""
    args = _parser().parse_args(argv)
    quieten()
    try:
        return int(args.function(args))
    except (ValueError, OSError) as error:
        return fail(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="calsheq", description="Calibrate multi-agent simulations while their agents learn."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    targets = commands.add_parser("targets", help="targets from a table of transactions")
    targets.add_argument("file", metavar="FILE.csv", help="the transactions, one a row")
    targets.add_argument("--seller", required=True, metavar="COL", help="column of the seller")
    targets.add_argument("--quantity", required=True, metavar="COL", help="column of the quantity")
    targets.add_argument("--merchant", required=True, metavar="NAME", help="the seller to match")
    targets.add_argument("--num-merchants", type=int, metavar="N", help="merchants in the market")
    targets.add_argument(
        "--share-by", choices=("quantity", "count"), default="quantity",
        help="whether shares count traded quantity or transactions (default: quantity)",
    )  # fmt: skip
    targets.add_argument(
        "--require", action="append", default=[], metavar="COL",
        help="leave out rows in which this column is missing (may be given several times)",
    )  # fmt: skip
    targets.add_argument(
        "--percentile-floor", type=float, default=PERCENTILE_SCALE_FLOOR, metavar="F",
        help="smallest scale of a percentile, as a fraction of its target "
        f"(default: {PERCENTILE_SCALE_FLOOR:g})",
    )  # fmt: skip
    targets.add_argument("--supertype-2", action="store_true", help="targets for the others too")
    targets.add_argument(
        "-o", "--output", metavar="FILE.yaml", help="target file (default: print it)"
    )
    targets.set_defaults(function=_targets)

    hidden = commands.add_parser(
        "hidden-targets", help="targets from a hidden profile of the market"
    )
    hidden.add_argument("--setting", type=int, default=3, help="setting 1 to 5 (default: 3)")
    hidden.add_argument(
        "--profile", nargs="+", metavar="NAME",
        help="names of hidden profiles (default: the setting's own)",
    )  # fmt: skip
    hidden.add_argument(
        "--stages", type=int, default=HIDDEN_STAGES,
        help=f"training stages (default: {HIDDEN_STAGES})",
    )  # fmt: skip
    hidden.add_argument(
        "--episodes", type=int, default=HIDDEN_EPISODES,
        help=f"recorded episodes (default: {HIDDEN_EPISODES})",
    )  # fmt: skip
    hidden.add_argument("--seed", type=int, default=0)
    hidden.add_argument(
        "-o", "--output", metavar="FILE.yaml", required=True,
        help=f"target file; {PROFILE_PLACE} in it stands for the profile's name",
    )  # fmt: skip
    hidden.set_defaults(function=_hidden_targets)

    plot = commands.add_parser("plot", help="draw the pictures of a run")
    plot.add_argument("run", metavar="RUN", help="folder of the run or of a trial")
    plot.add_argument(
        "-o", "--output", metavar="FOLDER", help="where to put them (default: the run's)"
    )
    plot.set_defaults(function=_plot)

    evaluate = commands.add_parser(
        "evaluate", help="outcomes against targets at the calibrated profile"
    )
    evaluate.add_argument("run", metavar="RUN_OR_CHECKPOINT")
    add_evaluation_episodes(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument("--strict", action="store_true", help="exit with 3 if a target is missed")
    evaluate.set_defaults(function=_evaluate)
    add_experiment_command(commands)
    add_certify_command(commands)
    add_sensitivity_command(commands)
    add_transitivity_command(commands)
    return parser


def _targets(args: argparse.Namespace) -> int:
    from rllib_calsheq.data.target_files import TargetFile
    from rllib_calsheq.envs.market.data import read_transactions, targets_from_transactions

    found = targets_from_transactions(
        read_transactions(args.file),
        seller=args.seller,
        quantity=args.quantity,
        merchant=args.merchant,
        num_merchants=args.num_merchants,
        share_by=args.share_by,
        require=tuple(args.require),
        supertype_2=args.supertype_2,
        percentile_floor=args.percentile_floor,
        file=Path(args.file).name,
    )
    target_file = TargetFile.load(found)
    if args.output:
        target_file.save(args.output)
        print(f"wrote {args.output}: {len(target_file.targets)} targets")
    else:
        print(yaml.safe_dump(target_file.to_mapping(), sort_keys=False, default_flow_style=None))
    return 0


def _hidden_targets(args: argparse.Namespace) -> int:
    from rllib_calsheq.core.configuration import require

    require(args.setting in SETTINGS, "--setting", args.setting, str(list(SETTINGS)))
    names = args.profile or [SETTING_PROFILES[args.setting]]
    require(args.stages > 0, "--stages", args.stages, "integers from 1")
    require(args.episodes > 0, "--episodes", args.episodes, "integers from 1")
    if len(names) > 1 and PROFILE_PLACE not in args.output:
        raise ValueError(
            f"{len(names)} profiles need as many files: put {PROFILE_PLACE} into the name "
            f"given with -o, e.g. targets_{PROFILE_PLACE}.yaml"
        )
    profiles = {name: hidden_profile(name) for name in names}

    from rllib_calsheq.experiments.hidden_targets import make_hidden_targets, sample_trained

    setting = SETTINGS[args.setting]
    env, env_config = "rllib_calsheq.envs.MarketEnv", {"num_merchants": setting.num_merchants}

    def sample(label: str, profile: dict[str, float] | None) -> Any:
        return sample_trained(
            env,
            env_config,
            profile,
            stages=args.stages,
            episodes=args.episodes,
            seed=args.seed,
            progress=lambda line: print(f"{label}: {line}", flush=True),
        )

    at_start = sample("start", None)
    for name, profile in profiles.items():
        made_with = f"--stages {args.stages} --episodes {args.episodes} --seed {args.seed}"
        target_file = make_hidden_targets(
            env,
            env_config,
            setting.outcomes,
            sample(name, profile),
            at_start,
            profile,
            {"setting": args.setting, "name": name},
        )
        output = args.output.replace(PROFILE_PLACE, name)
        command = f"calsheq hidden-targets --setting {args.setting} --profile {name} {made_with}"
        target_file.save(output, header=f"Made by: {command}")
        print(
            f"wrote {output}: ceiling {target_file.ceiling:.3f}, "
            f"start {target_file.reward_start:.3f}",
            flush=True,
        )
    return 0


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


def _evaluate(args: argparse.Namespace) -> int:
    from rllib_calsheq.cli.reports import print_evaluation

    return print_evaluation(args.run, episodes=args.episodes, as_json=args.json, strict=args.strict)


if __name__ == "__main__":
    sys.exit(main())
