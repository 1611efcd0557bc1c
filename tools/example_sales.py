"""Writes docs/data/sales.csv, the table of the Start page: three shops of known types.

How to run: python tools/example_sales.py

Shops learn what to charge at a profile that is fixed here, and the sales of one episode after that
are the table. So targets that are made of it can be met, and what is found can be compared.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq import Outcome, calibrate
from rllib_calsheq.envs import ArrayMarket, MarketEnv

FILE = Path(__file__).resolve().parent.parent / "docs" / "data" / "sales.csv"
SHOPS = ("Corner shop", "Green market", "Bridge store")
#: The corner shop is known to buyers of little, the others to buyers of much.
PROFILE = {
    **{f"supertype_1.connection_{k}": 0.9 - 0.08 * (k - 1) for k in range(1, 11)},
    **{f"supertype_2.connection_{k}": 0.3 + 0.05 * (k - 1) for k in range(1, 11)},
}
KILOGRAMS = 0.1  # of a lot
STAGES = 60


class Recorded(ArrayMarket):
    """A market whose last trades can be asked for."""

    trades: Any = None

    def own_outcomes(self) -> tuple[Outcome]:
        """The number of trades, for which trades are looked at."""
        return (Outcome("trades", scale=100.0),)

    def measure(self, trades: Any) -> dict[str, Any]:
        """Keeps the trades."""
        Recorded.trades = trades
        return {"trades": np.bincount(trades.episode, minlength=trades.shape[0])}


class RecordedEnv(MarketEnv):
    """Its plain form."""

    market = Recorded


def main() -> None:
    """Trains, plays and writes."""
    with tempfile.TemporaryDirectory() as folder:
        result = calibrate(
            RecordedEnv,
            {"supertype_1.share": 0.3},
            env_config={"num_merchants": len(SHOPS)},
            parameters={"fixed": PROFILE},
            stages=STAGES,
            seed=0,
            folder=Path(folder) / "shops",
        )
        result.simulate(episodes=1, seed=1)
    trades = Recorded.trades
    # Nobody sells in steps of a lot: so that deciles are not lumpy (docs/targets.md).
    within = np.random.default_rng(0).uniform(-0.5, 0.5, len(trades.quantity))
    table = pd.DataFrame(
        {
            "day": trades.step + 1,
            "shop": np.array(SHOPS)[trades.merchant],
            "kilograms": np.round((trades.quantity + within) * KILOGRAMS, 2),
        }
    )
    FILE.parent.mkdir(exist_ok=True)
    table.sort_values("day", kind="stable").to_csv(FILE, index=False)
    print(f"wrote {len(table)} rows to {FILE}")


if __name__ == "__main__":
    main()
