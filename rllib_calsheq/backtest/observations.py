"""A table's rows as the market's outcomes, and the targets of what a fold learns from.

Nothing here looks at a row that it was not given: targets, scales, clusters and the scatter of
parts are those of training rows alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rllib_calsheq.backtest.config import RANDOM, BacktestConfig, Reading
from rllib_calsheq.backtest.folds import (
    Fold,
    Rows,
    check_sizes,
    group_folds,
    label_rows,
    random_folds,
    time_folds,
)
from rllib_calsheq.backtest.rivals import Scatter
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import DECILES
from rllib_calsheq.data.transactions import (
    plain_number,
    positive_quantities,
    required_rows,
    seller_names,
)
from rllib_calsheq.envs.market.config import (
    SHARE,
    SUPERTYPE_1,
    SUPERTYPE_2,
    outcome_name,
    percentile,
)
from rllib_calsheq.envs.market.data import (
    SHARE_WEIGHT,
    targets_from_transactions,
    transaction_outcomes,
)

SHARE_NAME = outcome_name(SUPERTYPE_1, SHARE)
#: What is predicted: the chosen seller's share, and the deciles of its and of the others' sales.
PREDICTED = (
    SHARE_NAME,
    *(outcome_name(s, percentile(p)) for s in (SUPERTYPE_1, SUPERTYPE_2) for p in DECILES),
)


@dataclass(frozen=True, eq=False)
class Observations:
    """Transactions, as outcomes of any of their rows.

    Attributes:
        table: The M rows that count.
        reading: How they are read.
        is_other: Whether each is another seller's than the chosen one's, (M,).
        quantities: What each traded, (M,).
    """

    table: pd.DataFrame
    reading: Reading
    is_other: npt.NDArray[np.bool_]
    quantities: FloatArray

    @classmethod
    def of(cls, table: pd.DataFrame, reading: Reading, split: BacktestConfig) -> Observations:
        """From a table of transactions.

        Raises:
            ValueError: If a column is missing or a quantity is no positive number.
        """
        kept, _ = required_rows(table, reading.seller, reading.quantity, reading.require)
        for option, column in (("--split", split.split), ("--group", split.group)):
            if column not in (None, RANDOM):
                require(
                    column in table.columns,
                    f"{option}, a column of the table,",
                    column,
                    f"{RANDOM!r} or one of {list(table.columns)}"
                    if option == "--split"
                    else str(list(table.columns)),
                )
        rows = kept.dropna(subset=[reading.seller, reading.quantity]).reset_index(drop=True)
        if rows.empty:
            raise ValueError(
                f"no transaction is left of the table's {len(table)} rows: name columns that are "
                "filled, or check how the file was read"
            )
        sellers = seller_names(rows[reading.seller])
        return cls(
            table=rows,
            reading=reading,
            is_other=(sellers != reading.merchant).to_numpy(),
            quantities=positive_quantities(rows[reading.quantity]),
        )

    def outcomes(self, rows: Rows) -> FloatArray:
        """Outcomes (N,) of some rows, in the order of `PREDICTED`."""
        found = transaction_outcomes(
            self.is_other[rows],
            self.quantities[rows],
            2,  # What the others' mean share is divided by; it is not predicted.
            self.reading.share_by,
            DECILES,
            self.reading.percentile_rule,
        )
        return np.array([found[name] for name in PREDICTED])

    def resampled(
        self, rows: Rows, size: int, samples: int, rng: np.random.Generator
    ) -> FloatArray:
        """Standard deviation (N,) of the outcomes of ``size`` rows drawn from some (bootstrap)."""
        drawn = [self.outcomes(rng.choice(rows, size)) for _ in range(samples)]
        return np.asarray(np.nanstd(drawn, axis=0))

    @cached_property
    def fingerprint(self) -> str:
        """A short name of all rows that count."""
        hashes = pd.util.hash_pandas_object(self.table, index=False).to_numpy()
        return hashlib.sha256(hashes.tobytes()).hexdigest()[:16]


def split_rows(seen: Observations, config: BacktestConfig) -> list[Fold]:
    """The folds that a configuration asks for, checked.

    Raises:
        ValueError: If the column has no order, or there are too few rows or periods.
    """
    rng = stream_rng(Stream.BACKTEST_SPLIT, config.seed)
    if config.split != RANDOM:
        require(config.group is None, "--group", config.group, f"for --split {RANDOM} only")
        column = seen.table[config.split]
        folds = time_folds(*label_rows(column, config.period, True), config.folds, config.split)
    elif config.group is not None:
        labels = label_rows(seen.table[config.group], config.period, False)
        folds = group_folds(*labels, config.folds, config.group, rng)
    else:
        require(
            config.period == "value", "--period", config.period, "given with --group or a column"
        )
        folds = random_folds(len(seen.table), config.folds, rng)
    check_sizes(folds, seen.is_other, seen.reading.merchant)
    return folds


@dataclass(frozen=True, eq=False)
class Lesson:
    """All that a fold's training rows say.

    Attributes:
        content: Content of the target file.
        is_target: Whether each outcome is a target, (N,).
        scales: Scale of each outcome, (N,).
        pooled: Outcomes of all training rows, (N,).
        parts: Outcomes of each training part, (U, N).
        scatter: How far a test part may be from the mean, one for each.
    """

    content: dict[str, Any]
    is_target: npt.NDArray[np.bool_]
    scales: FloatArray
    pooled: FloatArray
    parts: FloatArray
    scatter: tuple[Scatter, ...]


def learn(seen: Observations, fold: Fold, config: BacktestConfig) -> Lesson:
    """What a fold learns from its training rows.

    Raises:
        ValueError: If they are no market, or nothing is left as a target.
    """
    rows, reading = fold.train_rows, seen.reading
    try:
        whole = targets_from_transactions(
            seen.table.iloc[rows],
            seller=reading.seller,
            quantity=reading.quantity,
            merchant=reading.merchant,
            num_merchants=reading.num_merchants,
            share_by=reading.share_by,
            percentile_rule=reading.percentile_rule,
            percentile_floor=reading.percentile_floor,
            supertype_2=True,
            bootstrap=config.bootstrap,
            seed=config.seed,
        )
    except ValueError as error:
        raise ValueError(f"fold {fold.number}: {error}") from None
    possible = [n for n in PREDICTED if reading.supertype_2 or n.startswith(SUPERTYPE_1)]
    for name in config.withhold:
        require(name in possible, "--withhold", name, f"targets, which are {possible}")
    chosen = [name for name in possible if name not in config.withhold]
    if not chosen:
        raise ValueError("--withhold leaves no target: withhold fewer of them")
    parts = np.stack([seen.outcomes(part.rows) for part in fold.train])
    errors = np.array([whole["standard_errors"][name] for name in PREDICTED])
    scatter = _scatter(seen, fold, config, parts, errors)
    content = _target_file(whole, chosen, errors, scatter[0], fold)
    return Lesson(
        content=content,
        is_target=np.isin(PREDICTED, chosen),
        scales=np.array([whole["targets"][name]["scale"] for name in PREDICTED]),
        pooled=seen.outcomes(rows),
        parts=parts,
        scatter=scatter,
    )


def _scatter(
    seen: Observations, fold: Fold, config: BacktestConfig, parts: FloatArray, errors: FloatArray
) -> tuple[Scatter, ...]:
    if fold.has_parts:
        return (Scatter.of_parts(parts),) * len(fold.test)
    rng = stream_rng(Stream.BACKTEST_SPLIT, config.seed, fold.number)
    return tuple(
        Scatter(
            seen.resampled(fold.train_rows, len(part.rows), config.bootstrap, rng), errors, np.inf
        )
        for part in fold.test
    )


def _target_file(
    whole: dict[str, Any], chosen: list[str], errors: FloatArray, scatter: Scatter, fold: Fold
) -> dict[str, Any]:
    """Content of the target file, with the weights of `targets_from_transactions`.

    Where parts scatter, the standard error of a target holds the error of their mean, too.
    """
    deciles = [name for name in chosen if name != SHARE_NAME]
    of_share = (SHARE_WEIGHT if deciles else 1.0) if SHARE_NAME in chosen else 0.0
    weights = {name: (1.0 - of_share) / len(deciles) for name in deciles} | {SHARE_NAME: of_share}
    all_errors = np.hypot(errors, scatter.mean_error) if fold.has_parts else errors
    by_name = dict(zip(PREDICTED, all_errors, strict=True))
    return {
        "targets": {name: {**whole["targets"][name], "weight": weights[name]} for name in chosen},
        "standard_errors": {name: plain_number(by_name[name]) for name in chosen},
        "env_config": whole["env_config"],
        "source": {**whole["source"], "fold": fold.number},
    }
