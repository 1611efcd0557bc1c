"""Splits of a table's rows into what is learned from and what is predicted.

Rows that are observed together are a *part*: a period, a group, or all that a random fold has
drawn. By time, each fold learns from all periods before those that it predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from rllib_calsheq.backtest.config import Period
from rllib_calsheq.core.configuration import require

#: Parts that a fold learns from, at least: their scatter is what bands are made of.
LEAST_TRAINED = 3
#: Rows of the merchant, and of the others, that each part must have: deciles need some.
LEAST_ROWS = 20
#: Letters of pandas for the periods of a calendar.
CALENDAR = {"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}
#: What an error suggests for times that have no order.
DATES = "numbers or dates such as 2013-05-31 (or 2013-05-31T08:00)"

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows that are observed together.

    Attributes:
        name: The period, the group, or the fold.
        rows: Their positions, ascending, (m,).
    """

    name: str
    rows: Rows


@dataclass(frozen=True, eq=False)
class Fold:
    """What is predicted, and from what.

    Attributes:
        number: From 1.
        train: Parts that are learned from, in order.
        test: Parts that are predicted, in order.
        ahead: How many parts after the last one of ``train`` each of them is; None without order.
        has_parts: Whether the scatter of parts says how far a new part may be off; if not, rows
            were drawn one by one, and theirs does.
    """

    number: int
    train: tuple[Part, ...]
    test: tuple[Part, ...]
    ahead: tuple[int, ...] | None
    has_parts: bool

    @cached_property
    def train_rows(self) -> Rows:
        """Positions of all rows that are learned from, ascending."""
        return np.sort(np.concatenate([part.rows for part in self.train]))


def label_rows(column: pd.Series, period: Period, ordered: bool) -> tuple[Rows, list[str]]:
    """The period of each row, (M,), as a position in the list of their names.

    Args:
        column: The time, or the group, of each row.
        period: What belongs together.
        ordered: Whether the values must have an order.

    Raises:
        ValueError: If a value is missing, or the values have no order although they must, or are no
            dates although a part of the calendar is asked for.
    """
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(
            f"{missing} of the {len(column)} rows have no value in column {column.name!r}, by "
            f"which they are split: leave them out with --require {column.name}, or name "
            "another column"
        )
    values: pd.Series = column
    if period != "value":
        values = _dates(column).dt.to_period(CALENDAR[period])
    elif ordered and not _is_number(column):
        values = _dates(column)
    codes, distinct = pd.factorize(values, sort=ordered or period != "value")
    return codes.astype(np.intp), [_name(value) for value in distinct]


def time_folds(codes: Rows, names: Sequence[str], folds: int, column: str) -> list[Fold]:
    """Folds that learn from all periods before those that they predict.

    Args:
        codes: The period of each row, (M,).
        names: Names of the P periods, in order.
        folds: K. The last K · b periods are predicted, b at a time, with the largest b that leaves
            each fold at least as much to learn from, and `LEAST_TRAINED` periods.
        column: Name of the column, for messages.

    Raises:
        ValueError: If there are too few periods.
    """
    parts = _parts(codes, names)
    most = len(parts) - LEAST_TRAINED
    if most < 1:
        raise ValueError(
            f"column {column!r} has {len(parts)} periods, {list(names)}, but a split by time needs "
            f"at least {LEAST_TRAINED + 1}: {LEAST_TRAINED} to learn from and one to predict. "
            "Choose shorter periods (--period), or --split random"
        )
    if folds > most:
        raise ValueError(
            f"--folds is {folds}, but column {column!r} has {len(parts)} periods, of which "
            f"{LEAST_TRAINED} are needed to learn from and one for each fold to predict; allowed: "
            f"integers from 1 to {most}, or shorter periods (--period)"
        )
    size = min(len(parts) // (folds + 1), most // folds)
    first = len(parts) - folds * size
    return [
        Fold(
            number=k + 1,
            train=tuple(parts[: first + k * size]),
            test=tuple(parts[first + k * size : first + (k + 1) * size]),
            ahead=tuple(range(1, size + 1)),
            has_parts=True,
        )
        for k in range(folds)
    ]


def random_folds(count: int, folds: int, rng: np.random.Generator) -> list[Fold]:
    """Folds of rows that are drawn one by one: each row is predicted once.

    Args:
        count: M, the number of rows.
        folds: K, at least 2.
        rng: Where the draws come from.
    """
    require(2 <= folds <= count, "--folds", folds, f"integers from 2 to the {count} rows")
    chosen = _even(count, folds, rng)
    found = []
    for k in range(folds):
        train, test = (np.flatnonzero(which) for which in (chosen != k, chosen == k))
        found.append(
            Fold(
                k + 1, (Part("the other rows", train),), (Part(f"part {k + 1}", test),), None, False
            )
        )
    return found


def group_folds(
    codes: Rows, names: Sequence[str], folds: int, column: str, rng: np.random.Generator
) -> list[Fold]:
    """Folds of whole groups that are drawn: each group is predicted once.

    Args:
        codes: The group of each row, (M,).
        names: Names of the groups.
        folds: K, at least 2.
        column: Name of the column, for messages.
        rng: Where the draws come from.

    Raises:
        ValueError: If there are too few groups.
    """
    parts = _parts(codes, names)
    count = len(parts)
    if not 2 <= folds <= count or count - -(-count // folds) < LEAST_TRAINED:
        allowed = [k for k in range(2, count + 1) if count - -(-count // k) >= LEAST_TRAINED]
        words = f"integers from {allowed[0]} to {count}" if allowed else "no number"
        raise ValueError(
            f"--folds is {folds}, but column {column!r} has {count} groups, of which each fold "
            f"predicts some and needs {LEAST_TRAINED} to learn from; allowed: {words}, or a column "
            "with more groups"
        )
    chosen = _even(len(parts), folds, rng)
    return [
        Fold(
            number=k + 1,
            train=tuple(part for part, fold in zip(parts, chosen, strict=True) if fold != k),
            test=tuple(part for part, fold in zip(parts, chosen, strict=True) if fold == k),
            ahead=None,
            has_parts=True,
        )
        for k in range(folds)
    ]


def check_sizes(folds: Sequence[Fold], is_other: npt.NDArray[np.bool_], merchant: str) -> None:
    """Checks that each part has enough rows of the merchant, and of the others.

    Args:
        folds: The folds.
        is_other: Whether each row is another seller's, (M,).
        merchant: The seller whose deciles are predicted.

    Raises:
        ValueError: If one has too few.
    """
    for fold in folds:
        for part in (*fold.train, *fold.test):
            others = int(is_other[part.rows].sum())
            own = len(part.rows) - others
            if min(own, others) < LEAST_ROWS:
                raise ValueError(
                    f"fold {fold.number}: {part.name!r} has {own} rows of {merchant!r} and "
                    f"{others} of all others, but deciles need at least {LEAST_ROWS} of each: "
                    "choose longer periods (--period), fewer folds (--folds) or another merchant"
                )


def _parts(codes: Rows, names: Sequence[str]) -> list[Part]:
    order = np.argsort(codes, kind="stable")
    borders = np.searchsorted(codes[order], np.arange(1, len(names)))
    return [Part(n, rows) for n, rows in zip(names, np.split(order, borders), strict=True)]


def _even(count: int, folds: int, rng: np.random.Generator) -> Rows:
    """The fold of each of ``count`` things, as even as can be, at random."""
    return np.asarray(rng.permutation(np.arange(count) % folds), dtype=np.intp)


def _is_number(column: pd.Series) -> bool:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return bool(numeric and np.isfinite(column.to_numpy(dtype=float)).all())


def _dates(column: pd.Series) -> pd.Series:
    """A column as dates.

    Raises:
        ValueError: If a value is none.
    """
    # Numbers would be taken for nanoseconds since 1970.
    text = column.astype(str)
    dates = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
    numbers = pd.api.types.is_numeric_dtype(column)
    bad = np.ones(len(column), dtype=bool) if numbers else dates.isna().to_numpy()
    if bad.any():
        examples = [str(value) for value in column[bad].unique()[:3]]
        raise ValueError(
            f"column {column.name!r} cannot be put in order as times: {int(bad.sum())} of "
            f"{len(column)} values are no dates, e.g. {examples}; allowed: {DATES}. Write them so, "
            "add a column that numbers the periods, or use --split random --group "
            f"{column.name}"
        )
    return dates.dt.tz_convert(None)


def _name(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return value.isoformat().removesuffix("T00:00:00")
    return str(value)
