"""Tables of transactions: reading and checking them, and the customer clusters they imply.

Every error says what was given, what is allowed and what to do, since the table is the
user's own.
"""

from __future__ import annotations

import difflib
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.supertypes import FloatArray

#: File name endings that `read_transactions` reads.
SUFFIXES = (".csv", ".csv.zip", ".csv.gz")
#: Customer clusters, as in the paper's market: one a tenth of the transactions.
NUM_CLUSTERS = 10
#: The other merchants' connection probability at the start, unless the seller's share of a
#: cluster is too large for it.
START_CONNECTION = 0.5
#: No connection probability starts below this: from 0 there is nothing to learn from.
MIN_START_CONNECTION = 0.02
#: A tenth with more distinct quantities than this is reduced to `QUANTILES_PER_CLUSTER`.
MAX_DISTINCT_QUANTITIES = 100
#: Equally likely quantities that stand for a tenth with many distinct ones.
QUANTILES_PER_CLUSTER = 50
#: Quantities that a market can count in lots, whatever their unit.
QUANTITY_RANGE = (1e-20, 1e20)
#: How many sellers an error message lists.
SELLERS_LISTED = 10
#: Rows of a seller for each of its percentiles from which on no word is lost on their number.
ROWS_PER_PERCENTILE = 10
#: What separates columns in files that are called CSV, and words for what is hard to type.
SEPARATORS = (";", "\t", "|", ",")
SEPARATOR_WORDS = {"tab": "\t"}
#: A column of texts is one of numbers, a few of them wrong, if this part of it can be read as such.
MOSTLY_NUMBERS = 0.5


class WrongSeparatorError(ValueError):
    """A table whose columns are separated by another character than was said."""


def read_transactions(path: str | Path, sep: str = ",", decimal: str = ".") -> pd.DataFrame:
    """Reads a table of transactions from a .csv, .csv.zip or .csv.gz file.

    The first line must hold the column names and the text must be UTF-8.

    Args:
        path: The file.
        sep: The character between two columns; ``tab`` stands for the tabulator.
        decimal: The character before a number's fraction, ``.`` or ``,``.

    Raises:
        ValueError: If the file is missing, empty, of another type or has no header, or is not
            separated like that.
    """
    path, sep = Path(path), SEPARATOR_WORDS.get(sep, sep)
    fits = (len(sep) == 1 and sep.isprintable()) or sep == "\t"
    require(fits, "--sep", sep, "one character, or tab")
    require(decimal in (".", ","), "--decimal", decimal, "'.' or ','")
    require(sep != decimal, "--sep", sep, f"another character than --decimal, {decimal!r}")
    if not path.is_file():
        near = difflib.get_close_matches(path.name, _names_beside(path), n=1)
        hint = f"; did you mean {str(path.parent / near[0])!r}?" if near else ": check the path"
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ValueError(f"the transactions file {str(path)!r} {what}{hint}")
    expected = f"expected a UTF-8 table with column names in its first line ({', '.join(SUFFIXES)})"
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"the transactions file {str(path)!r} ends in {path.suffix or 'nothing'!r}; "
            f"{expected}: save the table as CSV and give that file"
        )
    try:
        header = list(map(str, pd.read_csv(path, sep=sep, nrows=0).columns))
        _check_separator(path, header, sep)
        table = pd.read_csv(path, sep=sep, decimal=decimal, low_memory=False)
    except pd.errors.EmptyDataError:
        raise ValueError(f"the transactions file {str(path)!r} is empty; {expected}") from None
    except WrongSeparatorError:
        raise
    # Decoding and parsing errors of pandas are ValueErrors; the rest is broken archives.
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"the transactions file {str(path)!r} cannot be read as CSV ({error}); {expected}: "
            "check its type, or save the table as CSV again"
        ) from error
    _check_columns(path, table, expected)
    if decimal == ",":
        table = table.apply(_with_decimal_commas)
    return table


def _with_decimal_commas(column: pd.Series) -> pd.Series:
    """A column that pandas left as text for a few entries: those that are numbers become some."""
    texts = column.dropna()
    if not pd.api.types.is_string_dtype(texts.dtype) and texts.dtype != object:
        return column
    numbers = texts.astype(str).str.fullmatch(r"\s*[+-]?\d+(,\d+)?\s*")
    commas = texts[numbers].astype(str).str.contains(",")
    if not commas.any() or numbers.mean() < MOSTLY_NUMBERS:
        return column
    found = column.astype(object)
    read = texts[numbers].astype(str).str.replace(",", ".").astype(float)
    found[read.index] = read
    return found


def _check_separator(path: Path, header: list[str], sep: str) -> None:
    """Refuses a first line in which another separator than the given one is all there is."""
    other = next((s for s in SEPARATORS if s != sep and s in header[0]), None)
    if len(header) == 1 and other is not None:
        word = next((w for w, s in SEPARATOR_WORDS.items() if s == other), other)
        raise WrongSeparatorError(
            f"{str(path)!r} separates its columns by {other!r}, not by {sep!r}: read it with "
            f"--sep {word!r}, and with --decimal ',' if its numbers have decimal commas"
        )


def _check_columns(path: Path, table: pd.DataFrame, expected: str) -> None:
    """Refuses a table that is no text, or whose first line does not name its columns."""
    names = [str(name) for name in table.columns]
    if any("\x00" in name or "\ufffd" in name for name in names):
        raise ValueError(f"the transactions file {str(path)!r} is not text; {expected}")
    numeric = [name for name in names if _is_number(name)]
    if numeric:
        raise ValueError(
            f"the first line of {str(path)!r} holds the numbers {numeric[:3]} where column names "
            f"belong; {expected}: add a line such as `seller,quantity` on top"
        )
    if len(table) and not isinstance(table.index, pd.RangeIndex):
        raise ValueError(
            f"the rows of {str(path)!r} have more fields than its first line has column names "
            f"({names}); {expected}: name every column"
        )


def required_rows(
    table: pd.DataFrame, seller: str, quantity: str, require: Sequence[str]
) -> tuple[pd.DataFrame, int]:
    """The rows that have all required values, and how many have not."""
    columns = list(table.columns)
    for option, column in (
        ("seller", seller),
        ("quantity", quantity),
        *(("require", c) for c in require),
    ):
        if column not in columns:
            near = difflib.get_close_matches(str(column), map(str, columns), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"the table has no column {column!r}, given as {option}{hint}; its columns are "
                f"{columns}"
            )
    if seller == quantity:
        raise ValueError(
            f"{seller!r} is given both as the seller and as the quantity: name the column of each"
        )
    if table.empty:
        raise ValueError(
            f"the table has the columns {columns} but no rows: give a table with one row a "
            "transaction"
        )
    kept = table.dropna(subset=list(require)) if require else table
    return kept, len(table) - len(kept)


def positive_quantities(column: pd.Series) -> FloatArray:
    """The quantities (M,) as floats, checked."""
    if pd.api.types.is_bool_dtype(column) or isinstance(
        column.iloc[0], (pd.Timestamp, pd.Timedelta)
    ):
        # pandas would turn both into numbers that mean nothing here.
        numbers = pd.Series(np.nan, index=column.index)
    else:
        texts = column.map(lambda entry: isinstance(entry, str))
        # Among numbers, a text is one that could not be read as they were.
        numbers = column.mask(texts) if texts.any() and not texts.all() else column
        numbers = pd.to_numeric(numbers, errors="coerce").astype(float)
    smallest, largest = QUANTITY_RANGE
    beyond = (numbers < smallest) | (numbers > largest)
    for bad, what in (
        (~np.isfinite(numbers), "not numbers"),
        (numbers <= 0, "not positive"),
        (beyond, f"not in [{smallest:g}, {largest:g}]"),
    ):
        if bad.any():
            examples = column[bad].unique()[:3].tolist()
            commas = all(re.fullmatch(r"\s*\d+,\d+\s*", str(example)) for example in examples)
            hint = "; for decimal commas, read the file with --decimal ','" if commas else ""
            raise ValueError(
                f"{int(bad.sum())} of the {len(column)} quantities in column {column.name!r} are "
                f"{what}, e.g. {examples}; quantities must be positive numbers (no thousands "
                "separators or units): clean the column, choose another unit or name another one"
                f"{hint}"
            )
    return numbers.to_numpy()


def seller_names(column: pd.Series) -> pd.Series:
    """Seller names as text; whole numbers that a missing value made floats lose their ``.0``."""
    if pd.api.types.is_float_dtype(column) and bool((column % 1 == 0).all()):
        column = column.astype("int64")
    return column.astype(str)


def few_rows_warning(merchant: str, rows: int, percentiles: int) -> str | None:
    """What to say of a seller with few rows for its percentiles; None if there are enough.

    Args:
        merchant: The seller.
        rows: Its transactions.
        percentiles: How many of their percentiles are targets.
    """
    enough = ROWS_PER_PERCENTILE * percentiles
    if rows >= enough:
        return None
    number = f"{merchant!r} has {rows} transaction{'s' * (rows != 1)}, of which"
    if rows < percentiles:
        return (
            f"{number} {percentiles} percentiles were made up: so few rows do not show them, and "
            "their standard errors mean nothing. Give a table with more of its transactions "
            f"({enough} or more are good), or choose another seller"
        )
    return (
        f"{number} {percentiles} percentiles were taken: their standard errors are large, and "
        f"other rows could give quite other targets; {enough} transactions or more are good"
    )


def check_sellers(merchant: str, ranked: list[str], column: str) -> None:
    """Refuses a merchant that is not among the sellers, largest first, or is the only one."""
    if merchant not in ranked:
        folded = {name.casefold(): name for name in reversed(ranked)}
        near = difflib.get_close_matches(merchant.casefold(), list(folded), n=1)
        hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
        more = f" and {len(ranked) - SELLERS_LISTED} more" if len(ranked) > SELLERS_LISTED else ""
        raise ValueError(
            f"no seller {merchant!r} in column {column!r}{hint}; the largest are "
            f"{ranked[:SELLERS_LISTED]}{more}: choose one of them as the merchant"
        )
    if len(ranked) < 2:
        raise ValueError(
            f"{merchant!r} is the only seller in column {column!r}, but a market needs at least "
            "two: give a table that holds its competitors' transactions too"
        )


def cluster_quantities(quantities: npt.ArrayLike) -> list[list[list[float]]]:
    """``[quantity, weight]`` pairs of each tenth of the quantities (M,), smallest tenth first.

    Every tenth holds exactly a tenth of the mass: a quantity that lies across a border is
    split between its two tenths. A tenth with at most `MAX_DISTINCT_QUANTITIES` distinct
    quantities lists them all, weighted by their number of transactions; one with more is
    reduced to the medians of `QUANTILES_PER_CLUSTER` equal slices.
    """
    values, counts = np.unique(np.asarray(quantities, dtype=np.float64), return_counts=True)
    # In units of a tenth of a transaction every border is an integer, so nothing is rounded.
    ends = np.cumsum(counts) * NUM_CLUSTERS
    tenth = int(counts.sum())
    clusters = []
    for k in range(NUM_CLUSTERS):
        low, high = k * tenth, (k + 1) * tenth
        weights = np.minimum(ends, high) - np.maximum(ends - counts * NUM_CLUSTERS, low)
        inside = weights > 0
        distinct, mass = values[inside], weights[inside] / NUM_CLUSTERS
        if len(distinct) > MAX_DISTINCT_QUANTITIES:
            middle = low + (np.arange(QUANTILES_PER_CLUSTER) + 0.5) * tenth / QUANTILES_PER_CLUSTER
            picked = values[np.searchsorted(ends, middle, side="right")]
            distinct, mass = np.unique(picked, return_counts=True)
        clusters.append(
            [[plain_number(q), plain_number(w)] for q, w in zip(distinct, mass, strict=True)]
        )
    return clusters


def plain_number(value: float) -> float:
    """A number as YAML should show it: eight digits are enough, whole floats are integers."""
    rounded = float(f"{float(value):.8g}")
    return int(rounded) if rounded.is_integer() else rounded


def _names_beside(path: Path) -> list[str]:
    return [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def starting_supertypes(counts: npt.NDArray[np.integer], num_merchants: int) -> dict[str, float]:
    """A start Λ_0 that the data suggest: connections by the seller's share of each tenth.

    If all quote alike and every other merchant is connected with probability q, a customer of
    a cluster that merchant 1 is connected to with probability p picks it with probability p·E,
    E = (1 − (1 − q)^n) / (n q), the mean of 1 / (1 + number of connected rivals). So p is the
    seller's share of the cluster's transactions over E, with the largest q up to
    `START_CONNECTION` for which that is a probability. Quotes differ in equilibrium, so this
    is where the calibration starts, not where it ends.

    Args:
        counts: How often the seller (row 0) and the others (row 1) trade each distinct
            quantity, in ascending order of the quantities, shape (2, V).
        num_merchants: n.

    Returns:
        ``{parameter: value}`` of all connection probabilities of the market.
    """
    mass = counts.sum(axis=0) / counts.sum()
    above = np.cumsum(mass)
    below = above - mass
    edges = np.arange(NUM_CLUSTERS + 1) / NUM_CLUSTERS
    overlap = np.minimum(above, edges[1:, None]) - np.maximum(below, edges[:-1, None])
    of_seller = counts[0] / counts.sum(axis=0)
    shares = np.maximum(overlap, 0.0) @ of_seller * NUM_CLUSTERS
    rivals = np.linspace(START_CONNECTION, MIN_START_CONNECTION, 100)
    reach = (1.0 - (1.0 - rivals) ** num_merchants) / (num_merchants * rivals)
    enough = np.flatnonzero(reach >= shares.max())
    chosen = int(enough[0]) if len(enough) else len(rivals) - 1
    connections = np.clip(shares / reach[chosen], MIN_START_CONNECTION, 1.0)
    start = {f"supertype_1.connection_{k}": float(p) for k, p in enumerate(connections, start=1)}
    for k in range(1, NUM_CLUSTERS + 1):
        start[f"supertype_2.connection_{k}"] = float(rivals[chosen])
    return {name: round(value, 3) for name, value in start.items()}
