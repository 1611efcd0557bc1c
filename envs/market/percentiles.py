"""Percentiles by counting: quantities come from a table, so that nothing need be sorted."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray

#: How percentiles lie between values: see `percentiles_of_counts`.
PercentileRule = Literal["linear", "mid"]


def percentiles_of_counts(
    values: FloatArray,
    counts: npt.NDArray[np.integer],
    percentiles: npt.ArrayLike,
    rule: PercentileRule = "linear",
) -> FloatArray:
    """Percentiles of samples of which one knows how often each value is in them.

    By the rule ``linear`` they lie between the two order statistics that cumulative counts lead to:
    a row equals ``numpy.percentile(numpy.repeat(values, counts), percentiles)``. Where few values
    are traded often, such a percentile jumps from one of them to the next. By ``mid`` they
    lie on straight lines between the middles of the steps of the distribution function (the
    sample quantiles of Ma, Genton and Parzen, 2011, for discrete distributions), and move as the
    counts do.

    Args:
        values: The V distinct values, ascending, (V,).
        counts: How often each is in each of R samples, (R, V).
        percentiles: P numbers in [0, 100].
        rule: How they lie between values.

    Returns:
        Shape (R, P); NaN for a sample of nothing.
    """
    between = _middles if rule == "mid" else _order_statistics
    return between(values, counts, np.asarray(percentiles) / 100.0)


def _middles(values: FloatArray, counts: npt.NDArray[np.integer], parts: FloatArray) -> FloatArray:
    found = np.full((len(counts), len(parts)), np.nan)
    for row, sample in enumerate(counts):
        (seen,) = np.nonzero(sample)
        if len(seen):
            ends = sample[seen].cumsum()
            middles = (ends - 0.5 * sample[seen]) / ends[-1]
            found[row] = np.interp(parts, middles, values[seen])
    return found


def _order_statistics(
    values: FloatArray, counts: npt.NDArray[np.integer], parts: FloatArray
) -> FloatArray:
    ends = counts.cumsum(axis=1)
    total = ends[:, -1:]
    last = np.maximum(total - 1, 0)
    rank = parts * last
    below = np.floor(rank).astype(np.intp)
    above = np.minimum(below + 1, last)
    # One sorted array for all samples: each one's cumulative counts are lifted above the last's.
    lift = np.arange(len(counts))[:, None] * (int(total.max(initial=0)) + 1)
    sorted_ends = (ends + lift).ravel()
    first = np.arange(len(counts))[:, None] * len(values)

    def order_statistic(k: npt.NDArray[np.intp]) -> FloatArray:
        position = np.searchsorted(sorted_ends, k + lift, side="right") - first
        return values[np.minimum(position, len(values) - 1)]

    low, high = order_statistic(below), order_statistic(above)
    found = low + (high - low) * (rank - below)
    return np.where(total > 0, found, np.nan)
