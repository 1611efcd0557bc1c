"""`calsheq hidden-targets`: target files from hidden profiles of the market."""

from __future__ import annotations

import argparse
from typing import Any

from rllib_calsheq.core.configuration import require
from rllib_calsheq.experiments.paper_settings import (
    HIDDEN_EPISODES,
    HIDDEN_STAGES,
    SETTING_PROFILES,
    SETTINGS,
    hidden_profile,
)

#: What stands for a hidden profile's name in an output file's.
PROFILE_PLACE = "{profile}"


def add_hidden_targets_command(commands: Any) -> None:
    """Adds `hidden-targets` to the commands of `calsheq`."""
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


def _hidden_targets(args: argparse.Namespace) -> int:
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
