"""`calsheq targets`: a target file from a table of transactions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from rllib_calsheq.envs.market.config import PERCENTILE_SCALE_FLOOR


def add_targets_command(commands: Any) -> None:
    """Adds `targets` to the commands of `calsheq`."""
    targets = commands.add_parser("targets", help="targets from a table of transactions")
    add_table_arguments(targets)
    targets.add_argument(
        "-o", "--output", metavar="FILE.yaml", help="target file (default: print it)"
    )
    targets.set_defaults(function=_targets)


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says how a table of transactions is read as a market."""
    parser.add_argument("file", metavar="FILE.csv", help="the transactions, one a row")
    parser.add_argument(
        "--sep",
        default=",",
        metavar="CHAR",
        help="what separates columns, e.g. ; or tab (default: ,)",
    )  # fmt: skip
    parser.add_argument(
        "--decimal", default=".", metavar="CHAR",
        help="what begins a number's fraction, . or , (default: .)",
    )  # fmt: skip
    parser.add_argument("--seller", required=True, metavar="COL", help="column of the seller")
    parser.add_argument("--quantity", required=True, metavar="COL", help="column of the quantity")
    parser.add_argument("--merchant", required=True, metavar="NAME", help="the seller to match")
    parser.add_argument("--num-merchants", type=int, metavar="N", help="merchants in the market")
    parser.add_argument(
        "--share-by", choices=("quantity", "count"), default="quantity",
        help="whether shares count traded quantity or transactions (default: quantity)",
    )  # fmt: skip
    parser.add_argument(
        "--require", action="append", default=[], metavar="COL",
        help="leave out rows in which this column is missing (may be given several times)",
    )  # fmt: skip
    parser.add_argument(
        "--percentile-floor", type=float, default=PERCENTILE_SCALE_FLOOR, metavar="F",
        help="smallest scale of a percentile, as a fraction of its target "
        f"(default: {PERCENTILE_SCALE_FLOOR:g})",
    )  # fmt: skip
    parser.add_argument(
        "--percentile-rule", choices=("linear", "mid"), default="linear",
        help="how percentiles lie between quantities; mid suits lumpy ones (default: linear)",
    )  # fmt: skip
    parser.add_argument("--supertype-2", action="store_true", help="targets for the others too")


def _targets(args: argparse.Namespace) -> int:
    from rllib_calsheq.data.target_files import TargetFile
    from rllib_calsheq.data.transactions import few_rows_warning
    from rllib_calsheq.envs.market.data import read_transactions, targets_from_transactions

    found = targets_from_transactions(
        read_transactions(args.file, args.sep, args.decimal),
        seller=args.seller,
        quantity=args.quantity,
        merchant=args.merchant,
        num_merchants=args.num_merchants,
        share_by=args.share_by,
        require=tuple(args.require),
        supertype_2=args.supertype_2,
        percentile_floor=args.percentile_floor,
        percentile_rule=args.percentile_rule,
        file=Path(args.file).name,
    )
    target_file = TargetFile.load(found)
    if args.output:
        target_file.save(args.output)
        print(f"wrote {args.output}: {len(target_file.targets)} targets")
    else:
        print(yaml.safe_dump(target_file.to_mapping(), sort_keys=False, default_flow_style=None))
    source, percentiles = found["source"], len(found["env_config"]["percentiles"])
    if dropped := source["dropped_rows"]:
        were = "row has" if dropped == 1 else "rows have"
        print(
            f"warning: {dropped} {were} no {args.seller!r} or no {args.quantity!r} and "
            f"{'is' if dropped == 1 else 'are'} left out; {source['rows']} are used",
            file=sys.stderr,
        )
    if text := few_rows_warning(source["merchant"], source["merchant_rows"], percentiles):
        print(f"warning: {text}", file=sys.stderr)
    return 0
