"""Percentiles by counting: quantities come from a table, so that nothing need be sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray


def percentiles_of_counts(
    values: FloatArray, counts: npt.NDArray[np.integer], percentiles: npt.ArrayLike
) -> FloatArray:
    """Percentiles of samples of which one knows how often each value is in them.

    They lie between the two order statistics that cumulative counts lead to: a row equals
    ``numpy.percentile(numpy.repeat(values, counts), percentiles)``.

    Args:
        values: The V distinct values, ascending, (V,).
        counts: How often each is in each of R samples, (R, V).
        percentiles: P numbers in [0, 100].

    Returns:
        Shape (R, P); NaN for a sample of nothing.
    """
    ends = counts.cumsum(axis=1)
    total = ends[:, -1:]
    last = np.maximum(total - 1, 0)
    rank = np.asarray(percentiles) / 100.0 * last
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
