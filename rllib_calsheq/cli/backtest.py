"""`calsheq backtest`: calibrated to a part of a table's rows, judged by the others."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, get_args

from rllib_calsheq.cli.jobs import add_numbers, add_workers, begin, numbers_of, workers_of
from rllib_calsheq.cli.targets import add_table_arguments
from rllib_calsheq.core.defaults import STORAGE

#: Exit code of what Ctrl-C has ended.
INTERRUPTED = 130
#: Options of the backtest and of its inferences, and their defaults: a fold's inferences take about
#: as long as a third of its calibration.
FOLDS, STAGES, HALF_SPREAD, SEED = 3, 100, 0.25, 0
INFERENCE = {
    "waves": 3,
    "episodes": 1024,
    "held-out": 48,
    "steps": 600,
    "relearned": 0,
    "settling": 20,
    "discrepancy": 0.0,
}
MEANINGS = {
    "waves": "rounds of simulation of each inference",
    "episodes": "episodes of a round, one at each of so many profiles",
    "held-out": "profiles that an emulator is judged at",
    "steps": "steps of each walker that samples the set",
    "relearned": "profiles of the set at which the policy is trained on, 0 for none",
    "settling": "stages that it is trained on there",
    "discrepancy": "standard deviation, in scales, of what the model leaves out",
}
HELD_OUT_EPISODES = 16


def add_backtest_command(commands: Any) -> None:
    """Adds `backtest` to the commands of `calsheq`."""
    backtest = commands.add_parser(
        "backtest", help="calibrate to a part of a table's rows and predict the others"
    )
    add_table_arguments(backtest)
    backtest.add_argument("--split", required=True, metavar="TIME_COL|random",
        help="column of the time, each fold being predicted from what was before it; or random",
    )  # fmt: skip
    backtest.add_argument("--folds", type=int, default=FOLDS, metavar="K",
        help=f"how often some rows are predicted from others (default: {FOLDS})",
    )  # fmt: skip
    backtest.add_argument("--period", default="value", choices=_periods(),
        help="what of the time, or of the group, belongs together (default: value, as it stands)",
    )  # fmt: skip
    backtest.add_argument("--group", metavar="COL",
        help="column whose values stay together in a random split, e.g. the day",
    )  # fmt: skip
    backtest.add_argument("--withhold", action="append", default=[], metavar="OUTCOME",
        help="predict this outcome without targeting it, e.g. supertype_1.share (repeatable)",
    )  # fmt: skip
    backtest.add_argument("--experiment", metavar="FILE.yaml",
        help="experiment file whose config the calibrations take, but for its targets",
    )  # fmt: skip
    backtest.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="PATH.TO.KEY=VALUE",
        help="override a key of the experiment, e.g. --set config.num_particles=32",
    )  # fmt: skip
    backtest.add_argument("--stages", type=int, default=STAGES, metavar="N",
        help=f"stages of each fold's calibration (default: {STAGES})",
    )  # fmt: skip
    add_numbers(backtest, INFERENCE, MEANINGS)
    backtest.add_argument("--half-spread", type=float, default=HALF_SPREAD, metavar="F",
        help="what everyone quotes in the rival market without learning, in ticks "
        f"(default: {HALF_SPREAD:g})",
    )  # fmt: skip
    backtest.add_argument("--seed", type=int, default=SEED, metavar="N",
        help=f"seed of everything (default: {SEED})",
    )  # fmt: skip
    backtest.add_argument("-o", "--output", metavar="FOLDER",
        help=f"folder of calibrations and findings (default: {STORAGE}/backtest/NAME)",
    )  # fmt: skip
    add_workers(backtest, "simulations")
    backtest.add_argument("--json", action="store_true", help="print the findings as JSON")
    backtest.set_defaults(function=_backtest)


def _periods() -> tuple[str, ...]:
    from rllib_calsheq.backtest.config import Period

    return get_args(Period)


def _backtest(args: argparse.Namespace) -> int:
    from rllib_calsheq.backtest.config import BacktestConfig, Reading
    from rllib_calsheq.data.transactions import read_transactions
    from rllib_calsheq.inference.config import InferenceConfig

    reading = Reading(
        seller=args.seller, quantity=args.quantity, merchant=args.merchant,
        num_merchants=args.num_merchants, share_by=args.share_by,
        percentile_rule=args.percentile_rule, percentile_floor=args.percentile_floor,
        supertype_2=args.supertype_2, require=tuple(args.require),
    )  # fmt: skip
    config = BacktestConfig(
        split=args.split, folds=args.folds, period=args.period, group=args.group,
        withhold=tuple(args.withhold), stages=args.stages, half_spread=args.half_spread,
        seed=args.seed,
    )  # fmt: skip
    inference = InferenceConfig(**numbers_of(args, INFERENCE), held_out_episodes=HELD_OUT_EPISODES)
    workers = workers_of(args)
    table = read_transactions(args.file)

    progress = begin(args)
    from rllib_calsheq.backtest.backtest import RESULT_FILE, ROWS_FILE, backtest
    from rllib_calsheq.core.files import json_text

    name = Path(args.file).name.split(".")[0]
    try:
        found = backtest(
            table, reading, config, inference, _base(args),
            args.output or Path(STORAGE).expanduser() / "backtest" / name, workers,
            progress, shlex.join(["calsheq", *args.line]),
        )  # fmt: skip
    except KeyboardInterrupt:
        print("stopped; the same command goes on from what was stored", file=sys.stderr)
        return INTERRUPTED
    folder = Path(found["folder"])
    picture = _draw(found, folder)
    if args.json:
        print(json_text(found))
    else:
        show_backtest(found)
        for path in (folder / RESULT_FILE, folder / ROWS_FILE, picture):
            print(f"wrote {path}")
    return 0


def _base(args: argparse.Namespace) -> dict[str, Any]:
    """The configuration that all folds' calibrations share."""
    if args.experiment is None:
        if args.overrides:
            raise ValueError("--set overrides keys of an experiment, but no --experiment is given")
        return {}
    from rllib_calsheq.data.experiment_files import load_experiments, variants

    found = [e for e in load_experiments(args.experiment, args.overrides) if e.is_calsheq]
    own = [{k: v for k, v in e.config.items() if k != "targets"} for e in found]
    configs = [variant for config in own for variant in variants(config)]
    if len(configs) != 1:
        raise ValueError(
            f"{args.experiment} has {len(configs)} configurations of CALSHEQ, but a backtest takes "
            "one: leave out grids and further experiments with --set"
        )
    return configs[0]


def _draw(found: dict[str, Any], folder: Path) -> Path:
    import pandas as pd

    from rllib_calsheq.backtest.backtest import ROWS_FILE
    from rllib_calsheq.backtest.pictures import draw_backtest

    return draw_backtest(found, pd.read_csv(folder / ROWS_FILE, dtype={"part": str}), folder)


def show_backtest(found: dict[str, Any]) -> None:
    """Prints findings as tables and sentences."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 120)
    folds = Table(title="folds")
    for heading in ("fold", "learned from", "predicted", "calibration, on fresh episodes"):
        folds.add_column(heading)
    for row in found["folds"]:
        spans = [_span(row[key]) for key in ("train", "test")]
        folds.add_row(str(row["fold"]), *spans, row["calibration"]["summary"])
    console.print(folds)
    table = Table(title="predictions of rows that were not learned from; errors in scales")
    table.add_column("outcomes")
    table.add_column("predicted by")
    for heading in ("number", "RMSE", "CRPS", "in 50 %", "in 90 %", "width of 90 %"):
        table.add_column(heading, justify="right")
    for row in found["scores"]:
        table.add_row(
            row["role"], row["predictor"], str(row["predictions"]), f"{row['rmse']:.3f}",
            f"{row['crps']:.3f}", f"{row['coverage_50']:.0%}", f"{row['coverage_90']:.0%}",
            f"{row['width_90']:.2f}",
        )  # fmt: skip
    console.print(table)
    for line in found["in_words"]:
        console.print(line)


def _span(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)})"
