"""Targets from a table of transactions: a user's own data as the f_* of section 3.

One row is one transaction: somebody *sold* a *quantity*. Read as the market of section 4,
the chosen seller is merchant 1 (supertype 1) and the other sellers share supertype 2. Customer
cluster k trades the quantities of the k-th tenth of all transactions, so that the market
spans the data's own range and units, and an evenly connected merchant reproduces the
pooled distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from rllib_calsheq.core import configuration
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import DECILES
from rllib_calsheq.data.transactions import (
    NUM_CLUSTERS,
    check_sellers,
    cluster_quantities,
    plain_number,
    positive_quantities,
    read_transactions,
    required_rows,
    seller_names,
    starting_supertypes,
)
from rllib_calsheq.envs.market.config import (
    PERCENTILE_SCALE_FLOOR,
    SHARE,
    SUPERTYPE_1,
    SUPERTYPE_2,
    outcome_name,
    percentile,
)
from rllib_calsheq.envs.market.percentiles import PercentileRule, percentiles_of_counts

__all__ = [
    "cluster_quantities",
    "read_transactions",
    "targets_from_transactions",
    "transaction_outcomes",
]

#: The paper's largest market.
MAX_DEFAULT_MERCHANTS = 10
#: Mean quantity of the standard market (the integers 1..100) in lots; its scales fit it.
MEAN_LOTS = 50.5
#: Weight of the market share among the targets.
SHARE_WEIGHT = 0.25
#: Largest floor of a scale: no miss would matter beside it.
MAX_FLOOR = 1e6
#: Smallest scale of the market share: 1.5 times its deviation from episode to episode.
SHARE_SCALE_FLOOR = 0.02


def transaction_outcomes(
    merchants: npt.ArrayLike,
    quantities: npt.ArrayLike,
    num_merchants: int,
    share_by: Literal["quantity", "count"] = "quantity",
    percentiles: Sequence[float] = DECILES,
    percentile_rule: PercentileRule = "linear",
) -> dict[str, float]:
    """What the market reports as outcomes if it traded these M transactions.

    Share is the mean share of a supertype's merchants in the traded quantity (or count);
    percentiles are of the pooled transactions of a supertype's merchants.

    Args:
        merchants: Index of each transaction's merchant, shape (M,); 0 is merchant 1.
        quantities: Quantity of each transaction, shape (M,), in the user's unit.
        num_merchants: n.
        share_by: Whether a share counts quantities or transactions.
        percentiles: Percentiles in [0, 100].
        percentile_rule: How they lie between quantities; see `percentiles_of_counts`.

    Returns:
        Outcomes by name; NaN for the percentiles of a supertype without a transaction.
    """
    values, counts = _count(np.asarray(merchants) != 0, quantities)
    vector = _outcomes_of_counts(
        values, counts, num_merchants, share_by, percentiles, percentile_rule
    )
    return dict(zip(_outcome_names(percentiles), vector.tolist(), strict=True))


def targets_from_transactions(
    table: pd.DataFrame,
    *,
    seller: str,
    quantity: str,
    merchant: object,
    num_merchants: int | None = None,
    share_by: Literal["quantity", "count"] = "quantity",
    percentiles: Sequence[float] = DECILES,
    percentile_rule: PercentileRule = "linear",
    supertype_2: bool = False,
    require: Sequence[str] = (),
    share_weight: float = SHARE_WEIGHT,
    share_floor: float = SHARE_SCALE_FLOOR,
    percentile_floor: float = PERCENTILE_SCALE_FLOOR,
    bootstrap: int = 200,
    seed: int = 0,
    file: str | None = None,
) -> dict[str, Any]:
    """The content of a targets file, and the market that can reach it, for one seller.

    The scale of a target is its bootstrap standard error, which says how well the data
    know it, but at least a floor: the calibrator's reward compares the target with *one*
    simulated episode of some hundred trades a merchant, whose own noise (about 0.013 in
    share, 2 to 3 lots of a mean of 50 in a decile) is mostly far above the standard error
    of a large table. A scale below that noise would score a perfect fit as a bad one.

    Rows are resampled independently, so the standard errors take transactions for
    independent of each other.

    Args:
        table: One row a transaction.
        seller: Column with the seller's name.
        quantity: Column with the traded quantity, positive, in any unit.
        merchant: The seller that becomes merchant 1.
        num_merchants: Number n of merchants, at least 2; min(number of sellers, 10) when
            None. With more sellers than merchants, the smallest sellers are merged into
            one merchant ``other``; the chosen merchant always stays itself.
        share_by: Whether market share counts traded ``quantity`` or the ``count`` of rows.
        percentiles: Percentiles of the quantities that become targets, in [0, 100].
        percentile_rule: How they lie between quantities; see `percentiles_of_counts`. The market
            gets the same.
        supertype_2: Whether the percentiles of the other sellers, pooled, are targets too.
        require: Columns that must not be missing: other rows are left out (not every row
            of a table may be a transaction that took place).
        share_weight: Weight of the share, in [0, 1]; the percentiles share the rest equally.
        share_floor: Smallest scale of the share.
        percentile_floor: Smallest scale of a percentile, as a fraction of its value.
        bootstrap: Number of bootstrap samples, at least 2.
        seed: Seed of the bootstrap.
        file: Name of the table's file, for the record.

    Returns:
        Plain numbers, lists and strings, ready for YAML: ``targets`` (``{outcome: {value,
        weight, scale}}``), ``standard_errors`` by outcome, ``env_config`` (fields of
        `MarketConfig`) and ``source`` (where the numbers come from).

    Raises:
        ValueError: If a column or the merchant is not in the table, a quantity is not a
            positive number, no row or only one seller is left, or an option is out of range.
    """
    configuration.require(
        share_by in ("quantity", "count"), "share_by", share_by, "'quantity' or 'count'"
    )
    configuration.require(
        percentile_rule in get_args(PercentileRule),
        "percentile_rule",
        percentile_rule,
        "'linear' or 'mid'",
    )
    configuration.require(0 <= share_weight <= 1, "share_weight", share_weight, "numbers in [0, 1]")
    for name, floor in (("share_floor", share_floor), ("percentile_floor", percentile_floor)):
        configuration.require(0 < floor <= MAX_FLOOR, name, floor, f"numbers in (0, {MAX_FLOOR:g}]")
    configuration.require(bootstrap >= 2, "bootstrap", bootstrap, "integers from 2")
    configuration.require(
        len(set(percentiles)) == len(percentiles) > 0 and all(0 <= p <= 100 for p in percentiles),
        "percentiles",
        percentiles,
        "a list of different numbers in [0, 100]",
    )
    percentiles = [plain_number(p) for p in percentiles]
    kept, filtered = required_rows(table, seller, quantity, require)
    rows = kept.dropna(subset=[seller, quantity])
    if rows.empty:
        raise ValueError(
            f"no transaction is left: of the table's {len(table)} rows, {filtered} lack a value in "
            f"a required column {list(require)} and the other {len(kept)} lack a {seller!r} or a "
            f"{quantity!r}: name columns that are filled, or check how the file was read"
        )
    amounts = positive_quantities(rows[quantity])
    sellers = seller_names(rows[seller])
    name = str(merchant)
    by_seller = pd.DataFrame({"seller": sellers, "quantity": amounts}).groupby("seller").quantity
    size = by_seller.sum() if share_by == "quantity" else by_seller.count()
    ranked = [str(s) for s in size.sort_values(ascending=False, kind="stable").index]
    check_sellers(name, ranked, seller)
    n = min(len(ranked), MAX_DEFAULT_MERCHANTS) if num_merchants is None else num_merchants
    configuration.require(
        isinstance(n, (int, np.integer)) and 2 <= n <= len(ranked),
        "num_merchants",
        n,
        f"integers from 2 to the number of sellers, {len(ranked)}",
    )

    is_other = (sellers != name).to_numpy()
    values = transaction_outcomes(is_other, amounts, n, share_by, percentiles, percentile_rule)
    errors = _standard_errors(
        is_other, amounts, n, share_by, percentiles, percentile_rule, bootstrap, seed
    )
    groups = (SUPERTYPE_1, SUPERTYPE_2) if supertype_2 else (SUPERTYPE_1,)
    chosen = [outcome_name(group, percentile(p)) for group in groups for p in percentiles]
    share = outcome_name(SUPERTYPE_1, SHARE)
    targets = {
        share: {
            "value": plain_number(values[share]),
            "weight": float(share_weight),
            "scale": plain_number(max(errors[share], share_floor)),
        }
    }
    for outcome in chosen:
        targets[outcome] = {
            "value": plain_number(values[outcome]),
            "weight": (1.0 - share_weight) / len(chosen),
            "scale": plain_number(max(errors[outcome], percentile_floor * values[outcome])),
        }
    clusters = cluster_quantities(amounts)
    # Every tenth is equally likely, whatever the sum of its weights.
    mean = np.mean([np.average(q, weights=w) for q, w in (np.transpose(c) for c in clusters)])
    return {
        "targets": targets,
        "standard_errors": {outcome: plain_number(errors[outcome]) for outcome in targets},
        "env_config": {
            "num_merchants": int(n),
            "num_clusters": NUM_CLUSTERS,
            "share_by": share_by,
            "percentiles": percentiles,
            "percentile_rule": percentile_rule,
            "lot_size": plain_number(mean / MEAN_LOTS),
            "cluster_quantities": clusters,
            "supertypes": starting_supertypes(_count(is_other, amounts)[1], int(n)),
        },
        "source": {
            "file": file,
            "seller": seller,
            "quantity": quantity,
            "merchant": name,
            "required": list(require),
            "rows": len(rows),
            "merchant_rows": int((~is_other).sum()),
            "filtered_rows": filtered,
            "dropped_rows": len(kept) - len(rows),
            "sellers": _seller_shares(by_seller.count(), by_seller.sum(), name, ranked, n),
        },
    }


def _outcome_names(percentiles: Sequence[float]) -> list[str]:
    """Names of both supertypes' share and percentiles, in the order of the vectors below."""
    measures = [SHARE, *map(percentile, percentiles)]
    return [outcome_name(s, m) for s in (SUPERTYPE_1, SUPERTYPE_2) for m in measures]


def _count(is_other: npt.ArrayLike, quantities: npt.ArrayLike) -> tuple[FloatArray, npt.NDArray]:
    """The V distinct quantities in order, and how often each supertype trades them, (2, V)."""
    values, row = np.unique(np.asarray(quantities, dtype=np.float64), return_inverse=True)
    cell = np.asarray(is_other, dtype=np.intp) * len(values) + row
    return values, np.bincount(cell, minlength=2 * len(values)).reshape(2, -1)


def _outcomes_of_counts(
    values: FloatArray,
    counts: npt.NDArray,
    num_merchants: int,
    share_by: str,
    percentiles: Sequence[float],
    percentile_rule: PercentileRule,
) -> FloatArray:
    """Share and percentiles of both supertypes, flat, from what `_count` returns."""
    mass = (counts * (1.0 if share_by == "count" else values)).sum(axis=1)
    shares = mass / [1, num_merchants - 1] / (mass.sum() or np.nan)
    quantiles = percentiles_of_counts(values, counts, percentiles, percentile_rule)
    return np.column_stack([shares, quantiles]).ravel()


def _standard_errors(
    is_other: npt.NDArray[np.bool_],
    quantities: FloatArray,
    num_merchants: int,
    share_by: str,
    percentiles: Sequence[float],
    percentile_rule: PercentileRule,
    samples: int,
    seed: int,
) -> dict[str, float]:
    """Bootstrap standard error of every outcome of `transaction_outcomes`."""
    rng = stream_rng(Stream.DATA_BOOTSTRAP, seed)
    values, row = np.unique(quantities, return_inverse=True)
    cell = is_other.astype(np.intp) * len(values) + row
    resampled = np.empty((samples, 2 * (1 + len(percentiles))))
    for i in range(samples):
        drawn = cell[rng.integers(len(cell), size=len(cell))]
        counts = np.bincount(drawn, minlength=2 * len(values)).reshape(2, -1)
        resampled[i] = _outcomes_of_counts(
            values, counts, num_merchants, share_by, percentiles, percentile_rule
        )
    # A seller with very few rows may be absent from a sample, which then says nothing on it.
    present = ~np.isnan(resampled)
    error = [
        col[ok].std() if ok.any() else 0.0 for col, ok in zip(resampled.T, present.T, strict=True)
    ]
    return dict(zip(_outcome_names(percentiles), map(float, error), strict=True))


def _seller_shares(
    count: pd.Series, quantity: pd.Series, merchant: str, ranked: list[str], num_merchants: int
) -> dict[str, dict[str, float]]:
    """Shares of the merchants: the chosen one, then the others by size, the smallest merged."""
    others = [name for name in ranked if name != merchant]
    single = others if len(others) < num_merchants else others[: num_merchants - 2]
    merged = others[len(single) :]
    groups = {name: [name] for name in [merchant, *single]}
    if merged:
        groups[f"other ({len(merged)} sellers)"] = merged
    return {
        name: {
            "share_count": plain_number(count[members].sum() / count.sum()),
            "share_quantity": plain_number(quantity[members].sum() / quantity.sum()),
        }
        for name, members in groups.items()
    }
