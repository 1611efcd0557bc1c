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


class TestMiddles:
    def test_lines_between_the_middles_of_the_steps(self):
        # Steps of 0.2, 0 and 0.8: middles at 0.1 and 0.6, whatever nobody traded.
        values, counts = np.array([1.0, 5.0, 11.0]), np.array([[2, 0, 8]])
        found = percentiles_of_counts(values, counts, (0, 10, 35, 60, 100), "mid")
        np.testing.assert_allclose(found, [[1.0, 1.0, 6.0, 11.0, 11.0]])

    def test_a_sample_of_nothing_has_none_and_of_one_value_has_that(self):
        found = percentiles_of_counts(
            np.array([3.0, 4.0]), np.array([[0, 0], [0, 7]]), (10, 50), "mid"
        )
        assert np.isnan(found[0]).all()
        assert (found[1] == 4.0).all()

    def test_they_move_where_the_usual_ones_jump(self):
        values = np.array([100.0, 200.0])
        counts = np.array([[49, 51], [50, 50], [51, 49]])
        usual = percentiles_of_counts(values, counts, (50,))[:, 0]
        middle = percentiles_of_counts(values, counts, (50,), "mid")[:, 0]
        assert usual[0] - usual[2] == 100.0
        assert middle.tolist() == pytest.approx([151.0, 150.0, 149.0], abs=0.1)

    def test_of_many_different_values_both_rules_agree(self):
        rng = np.random.default_rng(0)
        values = np.arange(2000.0)
        counts = rng.integers(0, 2, size=(3, 2000))
        asked = (10, 50, 90)
        np.testing.assert_allclose(
            percentiles_of_counts(values, counts, asked, "mid"),
            percentiles_of_counts(values, counts, asked),
            atol=4,
        )
