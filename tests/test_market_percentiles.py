"""Percentiles by counting, against those by sorting."""

import numpy as np
import pytest

from rllib_calsheq.envs.market.percentiles import percentiles_of_counts


@pytest.mark.parametrize("seed", range(3))
def test_counting_gives_what_sorting_gives(seed):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.choice(1000, size=17, replace=False)).astype(float)
    counts = rng.integers(0, 4, size=(9, 17))
    counts[4] = 0
    counts[5] = 0
    counts[5, 3] = 1
    asked = (0, 10, 37.5, 50, 99, 100)
    found = percentiles_of_counts(values, counts, asked)
    assert found.shape == (9, 6)
    assert np.isnan(found[4]).all()
    assert (found[5] == values[3]).all()
    for row, count in zip(found, counts, strict=True):
        if count.any():
            np.testing.assert_allclose(row, np.percentile(np.repeat(values, count), asked))
