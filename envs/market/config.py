"""Configuration of the market: every number that the paper leaves open, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from rllib_calsheq.core.configuration import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    configuration,
    require,
)
from rllib_calsheq.core.memory import require_memory
from rllib_calsheq.core.supertypes import FloatArray, Parameter, SupertypeSpace
from rllib_calsheq.core.targets import DECILES, Outcome
from rllib_calsheq.envs.market.percentiles import PercentileRule

SUPERTYPE_1 = "supertype_1"
SUPERTYPE_2 = "supertype_2"
#: What an outcome measures; its name is `outcome_name` of a supertype and of this.
SHARE, HALF_SPREAD, ABS_INVENTORY = "share", "half_spread", "abs_inventory"

#: Scale of a miss in market share: a miss of five points halves the fit.
SHARE_SCALE = 0.05
#: Largest half-spread / temperature of the logit rule: exp() of more overflows single precision.
MAX_CHOICE_EXPONENT = 80.0
#: Rewards, observations and quantities stay below, so that single precision holds sums of them.
LARGEST_NUMBER = 1e30
#: Bytes of one of the market's Python objects, about; a parameter is one.
OBJECT_BYTES = 1000
#: Scale of a miss in a percentile of the transaction quantities, in lots.
PERCENTILE_SCALE = 5.0
#: Smallest scale of a percentile that is a target from data, as a fraction of its value (median:
#: 2.5 of 50.5 lots).
PERCENTILE_SCALE_FLOOR = 0.05


def percentile(p: float) -> str:
    """The measure that is the p % percentile of the quantities of a supertype's transactions."""
    return f"quantity_p{p:g}"


def outcome_name(supertype: str, measure: str) -> str:
    """Name of an outcome of the market, e.g. ``supertype_1.share``."""
    return f"{supertype}.{measure}"


@configuration
class MarketConfig:
    """The market's fields. Quantities are in the user's unit; one lot is ``lot_size`` of it.

    Attributes:
        num_merchants: n, at least 2. Merchant 1 has supertype 1, the others supertype 2.
        episode_length: T, steps in an episode.
        price_volatility: Standard deviation σ of the reference price's step, in ticks.
        price_truncation: Price steps are limited to this many σ, so that rewards are bounded.
        num_clusters: Number of customer clusters.
        customers_per_cluster: Customers in each cluster.
        arrival_probability: Probability that a customer arrives in a step.
        cluster_quantities: For each cluster the ``[quantity, weight]`` pairs that its
            transactions are drawn from, with probability proportional to the weight. None
            for the standard market: cluster k trades the integers 10(k-1)+1 .. 10k.
        lot_size: Size of one lot in the unit of the quantities. Inventories, incomes
            and observations are counted in lots.
        choice_rule: How a customer picks a merchant: ``logit`` (probability proportional
            to exp(-half-spread / choice_temperature), with an outside option at
            ``reservation_half_spread``) or ``best_price`` (lowest half-spread up to the
            reservation, ties at random).
        choice_temperature: τ of the logit rule, in ticks.
        reservation_half_spread: The half-spread at which a customer leaves, in ticks.
        outside_option: Whether customers may leave without a trade (logit rule).
        max_half_spread: Half-spread of the action +1, in ticks; a quote this wide is none.
        risk_aversion: γ_max, the penalty on |inventory gain| of a merchant of tolerance 0.
        reward_scale: Rewards are divided by it.
        inventory_scale: Unit of the inventory in observations, in lots.
        volume_scale: Unit of traded volumes in observations, in lots.
        max_tolerance_variance: Upper bound of supertype 2's variance of the tolerance.
        share_by: Whether market share counts traded ``quantity`` or the ``count`` of trades.
        percentiles: Percentiles of the transaction quantities that are outcomes.
        percentile_rule: How percentiles lie between quantities: ``linear`` between order
            statistics, or ``mid``, between the middles of the distribution function's steps,
            which suits lumpy quantities.
        supertypes: ``{parameter: value}`` of the start Λ_0; the middle of its range for
            every parameter that is left out.
    """

    num_merchants: Annotated[int, Field(ge=2)] = 5
    episode_length: Count = 60
    price_volatility: NonNegative = 0.1
    price_truncation: NonNegative = 4.0
    num_clusters: Count = 10
    customers_per_cluster: Count = 50
    arrival_probability: Fraction = 0.1
    cluster_quantities: Sequence[Any] | None = None
    lot_size: Positive = 1.0
    choice_rule: Literal["logit", "best_price"] = "logit"
    choice_temperature: Positive = 0.2
    reservation_half_spread: NonNegative = 1.0
    outside_option: bool = True
    max_half_spread: Positive = 1.0
    risk_aversion: NonNegative = 1.0
    reward_scale: Positive = 100.0
    inventory_scale: Positive = 1000.0
    volume_scale: Positive = 500.0
    max_tolerance_variance: Positive = 0.05
    share_by: Literal["quantity", "count"] = "quantity"
    percentiles: Sequence[Annotated[float, Field(ge=0, le=100)]] = DECILES
    percentile_rule: PercentileRule = "linear"
    supertypes: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        require(
            len(self.percentiles) > 0 and len(set(self.percentiles)) == len(self.percentiles),
            "percentiles",
            self.percentiles,
            "a list of different numbers in [0, 100]",
        )
        steepest = max(self.max_half_spread, self.reservation_half_spread) / self.choice_temperature
        require(
            steepest <= MAX_CHOICE_EXPONENT,
            "choice_temperature",
            self.choice_temperature,
            f"at least the widest half-spread (max_half_spread, reservation_half_spread) / "
            f"{MAX_CHOICE_EXPONENT:g}; below that use choice_rule: best_price, its limit",
        )
        if self.cluster_quantities is not None:
            self._check_quantities(self.cluster_quantities)
        # Before anything is built that grows with these numbers.
        require_memory(
            self.episode_bytes + 2 * self.num_clusters * OBJECT_BYTES,
            f"one episode of a market with num_merchants = {self.num_merchants}, episode_length = "
            f"{self.episode_length}, num_clusters = {self.num_clusters} and customers_per_cluster "
            f"= {self.customers_per_cluster}",
            "one of these",
        )
        self._check_magnitude()
        # Built here so that a bad start is refused with the rest of the configuration.
        assert len(self.supertype_space) == 2 * self.num_clusters + 3

    def _check_quantities(self, tables: Sequence[Sequence[Sequence[float]]]) -> None:
        require(
            isinstance(tables, (list, tuple)) and len(tables) == self.num_clusters,
            "cluster_quantities",
            tables,
            f"num_clusters = {self.num_clusters} lists of [quantity, weight] pairs",
        )
        for k, table in enumerate(tables, start=1):
            try:
                pairs = np.asarray(table, dtype=np.float64)
            except (OverflowError, TypeError, ValueError):
                pairs = np.empty(0)
            with np.errstate(over="ignore"):
                sums = pairs.sum(axis=0)
            require(
                pairs.ndim == 2
                and pairs.shape[1] == 2
                and bool((pairs > 0).all())
                and bool(np.isfinite([*pairs.ravel(), sums[1]]).all()),
                f"cluster {k} of cluster_quantities",
                table,
                "a list of [quantity, weight] pairs of positive numbers, with weights whose sum is "
                "a number",
            )

    def _check_magnitude(self) -> None:
        """Checks that rewards, observations and sums of quantities can be held as numbers."""
        with np.errstate(over="ignore", under="ignore"):
            traded = self.quantity_table[0].max() * self.num_customers * self.episode_length
            lots = traded / self.lot_size
            price = self.price_volatility * self.price_truncation * (1.0 + self.risk_aversion)
            reward = lots * (self.max_half_spread + price) / self.reward_scale
            seen = max(lots / self.inventory_scale, lots / self.volume_scale, self.price_truncation)
            largest = max(reward, seen, lots, traded, self.lot_size)
        if not largest < LARGEST_NUMBER:
            lower = ("price_volatility", "price_truncation", "risk_aversion", "max_half_spread")
            higher = ("reward_scale", "inventory_scale", "volume_scale")

            def given(names: tuple[str, ...]) -> str:
                return ", ".join(f"{name} = {getattr(self, name):g}" for name in names)

            raise ValueError(
                f"rewards may be up to {reward:.3g}, observations {seen:.3g} and traded quantities "
                f"{traded:.3g} ({lots:.3g} lots), more than single precision holds: lower "
                f"{given(lower)} or cluster_quantities, raise {given(higher)}, or choose a "
                f"lot_size, {self.lot_size:g}, near the quantities"
            )

    @property
    def num_customers(self) -> int:
        """Customers in all clusters together."""
        return self.num_clusters * self.customers_per_cluster

    @property
    def episode_bytes(self) -> float:
        """Memory that one episode takes in the array core, in bytes, about."""
        # Floats, since an integer that a user gives may have hundreds of digits.
        n, customers = self.num_merchants, float(self.num_clusters) * self.customers_per_cluster
        arrivals = customers * self.arrival_probability
        # Uniforms, probabilities and connections; the race of a step's arrivals.
        pairs = n * (15 * customers + 8 * arrivals)
        # Types, observations and a dozen numbers of each merchant; ten of each arrival.
        state = n * (12 * (self.num_clusters + 8) + 100)
        return pairs + state + 80.0 * arrivals * self.episode_length

    @cached_property
    def supertype_space(self) -> SupertypeSpace:
        """The profile Λ: connection probabilities, then tolerance, of each supertype."""

        def connections(supertype: str) -> list[Parameter]:
            return [
                Parameter(f"connection_{k}", supertype) for k in range(1, self.num_clusters + 1)
            ]

        return SupertypeSpace(
            (
                *connections(SUPERTYPE_1),
                Parameter("tolerance", SUPERTYPE_1),
                *connections(SUPERTYPE_2),
                Parameter("tolerance_mean", SUPERTYPE_2),
                Parameter("tolerance_variance", SUPERTYPE_2, high=self.max_tolerance_variance),
            )
        ).with_start(self.supertypes)

    @cached_property
    def agent_supertypes(self) -> tuple[str, ...]:
        """Supertype of each merchant, length n."""
        return (SUPERTYPE_1,) + (SUPERTYPE_2,) * (self.num_merchants - 1)

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes of an episode; `ArrayMarket.episode_outcomes` has a value for each name."""
        found: list[Outcome] = []
        quantities = self.quantity_table[0]
        # Shares of all merchants sum to 1, so that their mean over k of them is at most 1 / k.
        largest_shares = {SUPERTYPE_1: 1.0, SUPERTYPE_2: 1.0 / (self.num_merchants - 1)}
        for s in self.supertype_space.supertypes:
            found.append(
                Outcome(
                    outcome_name(s, SHARE),
                    SHARE_SCALE,
                    f"mean share of a merchant in traded {self.share_by}",
                    low=0.0,
                    high=largest_shares[s],
                )
            )
            found.extend(
                Outcome(
                    outcome_name(s, percentile(p)),
                    PERCENTILE_SCALE * self.lot_size,
                    f"{p:g} % percentile of the quantities of its transactions",
                    low=float(quantities.min()),
                    high=float(quantities.max()),
                )
                for p in self.percentiles
            )
            found.append(
                Outcome(
                    outcome_name(s, HALF_SPREAD),
                    0.05,
                    "mean quoted half-spread in ticks",
                    low=0.0,
                    high=self.max_half_spread,
                )
            )
            found.append(
                Outcome(outcome_name(s, ABS_INVENTORY), 100.0, "mean |inventory| in lots", low=0.0)
            )
        return tuple(found)

    @cached_property
    def quantity_table(self) -> tuple[FloatArray, FloatArray]:
        """Quantities (num_clusters, L) and cumulative probabilities (num_clusters, L).

        Shorter tables are filled up with their last quantity at probability 0.
        """
        if self.cluster_quantities is None:
            quantities = np.arange(1.0, 10 * self.num_clusters + 1).reshape(self.num_clusters, 10)
            return quantities, np.tile(np.arange(1, 11) / 10, (self.num_clusters, 1))
        tables = [np.asarray(t, dtype=np.float64) for t in self.cluster_quantities]
        length = max(len(t) for t in tables)
        quantities = np.stack([np.pad(t[:, 0], (0, length - len(t)), mode="edge") for t in tables])
        cumulative = np.stack(
            [
                np.pad(
                    np.cumsum(t[:, 1]) / t[:, 1].sum(), (0, length - len(t)), constant_values=1.0
                )
                for t in tables
            ]
        )
        cumulative[:, -1] = 1.0
        return quantities, cumulative
