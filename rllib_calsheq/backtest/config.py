"""What a backtest is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from rllib_calsheq.core.configuration import Count, NonNegative, NonNegativeInt, configuration
from rllib_calsheq.envs.market.config import PERCENTILE_SCALE_FLOOR
from rllib_calsheq.envs.market.percentiles import PercentileRule

#: The split that needs no column.
RANDOM = "random"
#: What a period is: a value of the column as it stands, or a part of the calendar.
Period = Literal["value", "day", "week", "month", "quarter", "year"]


@configuration
class Reading:
    """How a table is read as a market; fields as those of `targets_from_transactions`.

    Attributes:
        seller: Column of the seller.
        quantity: Column of the quantity.
        merchant: The seller that becomes merchant 1.
        num_merchants: Merchants in the market; None for all sellers of the training rows, up to 10.
        share_by: Whether shares count traded quantity or transactions.
        percentile_rule: How percentiles lie between quantities.
        percentile_floor: Smallest scale of a percentile, as a fraction of its value.
        supertype_2: Whether the other sellers' percentiles are targets, too.
        require: Columns that must not be missing.
    """

    seller: str
    quantity: str
    merchant: str
    num_merchants: int | None = None
    share_by: Literal["quantity", "count"] = "quantity"
    percentile_rule: PercentileRule = "linear"
    percentile_floor: float = PERCENTILE_SCALE_FLOOR
    supertype_2: bool = False
    require: Sequence[str] = ()


@configuration
class BacktestConfig:
    """The fields of a backtest.

    Attributes:
        split: Column of the time, or ``random``.
        folds: K, how often some rows are predicted from others.
        period: What of the time, or of the group, belongs together.
        group: Column whose values stay together in a random split.
        withhold: Outcomes that are no targets, although they could be.
        stages: Stages of each fold's calibration.
        half_spread: What everyone quotes in the market without learning, in ticks.
        episodes: Fresh episodes at the calibrated profile.
        draws: Draws of each prediction.
        bootstrap: Bootstrap samples of what a random split's rows scatter by.
        seed: Seed of everything.
    """

    split: str
    folds: Count = 3
    period: Period = "value"
    group: str | None = None
    withhold: Sequence[str] = ()
    stages: Count = 100
    half_spread: NonNegative = 0.25
    episodes: Annotated[int, Field(ge=2)] = 256
    draws: Annotated[int, Field(ge=100)] = 2000
    bootstrap: Annotated[int, Field(ge=2)] = 200
    seed: NonNegativeInt = 0
