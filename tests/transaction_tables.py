"""A table of transactions to backtest on, and how it is read."""

import numpy as np
import pandas as pd

from rllib_calsheq.backtest.config import BacktestConfig, Reading

READING = Reading(seller="shop", quantity="kilograms", merchant="A", share_by="count")
BY_WEEK = BacktestConfig(split="week", folds=2, bootstrap=10)
#: Fields of a calibration of seconds.
SMALL = {
    "num_particles": 8,
    "minibatch_size": 64,
    "env_config": {"customers_per_cluster": 10, "episode_length": 5},
}


def make_table(weeks=8, rows=160, seed=0):
    """Shop A sells a third, of smaller quantities; weeks in the table's order, days within."""
    rng = np.random.default_rng(seed)
    count = weeks * rows
    is_a = rng.random(count) < 1 / 3
    week = np.repeat(np.arange(weeks), rows)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * week + rng.integers(0, 7, count), "D")
    return pd.DataFrame(
        {
            "shop": np.where(is_a, "A", rng.choice(["B", "C", "D"], count)),
            "kilograms": np.round(rng.gamma(np.where(is_a, 4.0, 6.0), 5.0) + 1.0, 1),
            "week": week,
            "day": day.strftime("%Y-%m-%d"),
        }
    )
