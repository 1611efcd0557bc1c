"""The market's core: E episodes of n merchants stepped at once as arrays (section 4).

Every random number belongs to one episode's generator and, where it concerns a merchant,
to that merchant: permuting merchants permutes observations and rewards exactly
(type symmetry), and two profiles that share a seed share their randomness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.breakdowns import Breakdown
from rllib_calsheq.core.outcomes import by_name
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import Outcome
from rllib_calsheq.envs.market.config import (
    ABS_INVENTORY,
    HALF_SPREAD,
    SHARE,
    MarketConfig,
    outcome_name,
    percentile,
)
from rllib_calsheq.envs.market.customers import Customers
from rllib_calsheq.envs.market.percentiles import percentiles_of_counts
from rllib_calsheq.envs.market.trades import Trades

#: Observation entries before the type: inventory, last price step, time, own two last
#: half-spreads, own last bought and sold volume.
NUM_STATE_OBSERVATIONS = 7

BID, ASK = 0, 1
#: What the breakdown of shares is called.
SHARE_BY_CLUSTER = "a merchant's share by cluster of customers"
#: Random numbers drawn at once for the connections of several episodes.
MAX_UNIFORMS = 1 << 22


class ArrayMarket:
    """E episodes of the market as arrays.

    Shapes: E episodes, n merchants, C customers, T steps, d parameters, N outcomes.

    Args:
        config: The market's configuration.
    """

    def __init__(self, config: MarketConfig | None = None) -> None:
        self.config = config = config or MarketConfig()
        self.supertype_space = config.supertype_space
        own = tuple(self.own_outcomes())
        self.outcomes = (*config.outcomes, *own)
        self._measures_own = bool(own)
        self.agent_supertypes = config.agent_supertypes
        self.episode_length = config.episode_length
        self.episode_bytes = config.episode_bytes
        size = NUM_STATE_OBSERVATIONS + config.num_clusters + 1
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        names = self.supertype_space.supertypes
        self._group = np.array([names.index(s) for s in self.agent_supertypes])
        self._cluster = np.repeat(np.arange(config.num_clusters), config.customers_per_cluster)
        table = config.quantity_table[0]
        distinct, ranks = np.unique(table, return_inverse=True)
        #: Distinct quantities, ascending, and the place among them of each table entry.
        self._distinct, self._ranks = distinct, ranks.reshape(table.shape)

    # --- reset ------------------------------------------------------------------------

    def reset(self, profiles: npt.ArrayLike, seeds: Sequence[int]) -> npt.NDArray[np.float32]:
        """Starts E episodes: draws types λ_i ~ p_{Λ_i}, prices and customers.

        Args:
            profiles: Supertype profiles in natural units, shape (E, d).
            seeds: One non-negative integer an episode.

        Returns:
            Observations, shape (E, n, num_clusters + 8), float32.

        Raises:
            ValueError: If a profile is out of bounds or the lengths differ.
        """
        profiles = self.supertype_space.validate(profiles)
        if profiles.ndim != 2 or len(profiles) != len(seeds):
            raise ValueError(
                f"profiles must have shape (number of seeds, d) = ({len(seeds)}, "
                f"{len(self.supertype_space)}), but have {profiles.shape}"
            )
        if not len(seeds):
            raise ValueError("reset() starts at least one episode, but no seed was given")
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        cfg = self.config
        E, n, C = len(seeds), cfg.num_merchants, cfg.num_customers

        self._connected = np.empty((E * C, n), dtype=bool)
        self._tolerance = np.empty((E, n))
        self._types = np.empty((E, n, cfg.num_clusters + 1))
        at_once = max(MAX_UNIFORMS // (n * C), 1)
        for first in range(0, E, at_once):
            part = slice(first, min(first + at_once, E))
            rngs = self._rngs[part]
            uniforms = np.stack([rng.random((n, C), dtype=np.float32) for rng in rngs])
            normals = np.stack([rng.standard_normal(n) for rng in rngs])
            self._draw_types(part, profiles[part], uniforms, normals)
        limit, T = cfg.price_truncation, cfg.episode_length
        steps = [np.clip(rng.standard_normal(T), -limit, limit) for rng in self._rngs]
        self._price_steps = np.array(steps) * cfg.price_volatility
        self._customers = Customers(cfg, self._rngs, self._connected, self._ranks)

        self._t = 0
        self._inventory = np.zeros((E, n))
        self._half_spreads = np.zeros((E, n, 2))
        self._volumes = np.zeros((E, n, 2))
        self._price_step = np.zeros(E)
        #: Of every trade: (episode, supertype, rank of its quantity) as one flat index.
        self._trades: list[npt.NDArray[np.intp]] = []
        #: Of every step: the merchant of each trade, and which arrivals traded.
        self._served: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]] = []
        self._sum_half_spread = np.zeros((E, n))
        self._sum_abs_inventory = np.zeros((E, n))
        self._traded = np.zeros((E, n))
        return self._observe()

    def _draw_types(
        self, part: slice, profiles: FloatArray, uniforms: npt.NDArray, normals: FloatArray
    ) -> None:
        """Connections, tolerances and types of some episodes from per-merchant draws."""
        K = self.config.num_clusters
        # Supertype 1: K connections, tolerance; supertype 2: K connections, mean, variance.
        connection = np.stack([profiles[:, :K], profiles[:, K + 1 : 2 * K + 1]], axis=1)
        mean = np.stack([profiles[:, K], profiles[:, 2 * K + 1]], axis=1)
        deviation = np.stack([np.zeros(len(profiles)), np.sqrt(profiles[:, 2 * K + 2])], axis=1)
        probability = connection[:, self._group][:, :, self._cluster]
        connected = uniforms < probability
        _, n, C = connected.shape
        # Connections of customer c of episode e in row e·C + c.
        rows = slice(part.start * C, part.stop * C)
        self._connected[rows] = connected.transpose(0, 2, 1).reshape(-1, n)
        tolerance = mean[:, self._group] + deviation[:, self._group] * normals
        self._tolerance[part] = np.clip(tolerance, 0.0, 1.0)
        shape = (-1, n, K, self.config.customers_per_cluster)
        self._types[part, :, :K] = connected.reshape(shape).mean(axis=-1)
        self._types[part, :, K] = self._tolerance[part]

    # --- step -------------------------------------------------------------------------

    def step(
        self, actions: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Advances all episodes by one step.

        Args:
            actions: Shape (E, n, 2) for (bid, ask), clipped to [-1, 1]; -1 is a
                half-spread of 0 and +1 is no quote.

        Returns:
            Observations (E, n, num_clusters + 8) and rewards (E, n), float32.

        Raises:
            RuntimeError: If the episodes are over.
            ValueError: If the actions are no numbers, have another shape or one of them is NaN.
        """
        cfg = self.config
        if self._t >= cfg.episode_length:
            raise RuntimeError("the episodes are over: call reset() before step()")
        try:
            given = np.asarray(actions, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"actions must be an array of numbers, but {error}") from None
        unit = np.clip((given + 1.0) / 2.0, 0.0, 1.0)
        if unit.shape != self._half_spreads.shape:
            raise ValueError(
                f"actions must have shape {self._half_spreads.shape}, but have {unit.shape}"
            )
        if np.isnan(unit).any():
            raise ValueError("an action is NaN: the policy that gave it has diverged")
        self._half_spreads = unit * cfg.max_half_spread
        quoting = unit < 1.0

        customers = self._customers
        arrivals = customers.arrivals(self._t)
        merchant, trades = customers.choose(self._t, self._half_spreads, quoting)
        # Places of trades among the arrivals: taken faster than chosen by a mask.
        traded = np.flatnonzero(trades)
        merchant = merchant.take(traded)
        self._served.append((merchant, trades))
        episode = customers.episode[arrivals].take(traded)
        side = customers.side[arrivals].take(traded)
        quantity = customers.quantity[arrivals].take(traded)
        self._record(episode, merchant, customers.rank[arrivals].take(traded))

        E, n = self._inventory.shape
        seller = episode * n + merchant
        lots = quantity / cfg.lot_size
        volumes = np.bincount(seller * 2 + side, weights=lots, minlength=E * n * 2)
        self._volumes = volumes.astype(np.float64, copy=False).reshape(E, n, 2)
        income = (self._volumes * self._half_spreads).sum(axis=-1)
        self._inventory += self._volumes[..., BID] - self._volumes[..., ASK]
        self._price_step = self._price_steps[:, self._t]
        gain = self._inventory * self._price_step[:, None]
        penalty = cfg.risk_aversion * (1.0 - self._tolerance) * np.abs(gain)
        rewards = (income + gain - penalty) / cfg.reward_scale

        weight = None if cfg.share_by == "count" else quantity
        self._traded += np.bincount(seller, weight, minlength=E * n).reshape(E, n)
        self._sum_half_spread += self._half_spreads.mean(axis=-1)
        self._sum_abs_inventory += np.abs(self._inventory)
        self._t += 1
        return self._observe(), rewards.astype(np.float32)

    def _record(
        self,
        episode: npt.NDArray[np.intp],
        merchant: npt.NDArray[np.intp],
        rank: npt.NDArray[np.intp],
    ) -> None:
        """Notes a step's trades for the percentiles, all arguments of shape (trades,)."""
        cell = episode * len(self.supertype_space.supertypes) + self._group[merchant]
        self._trades.append(cell * len(self._distinct) + rank)

    def _observe(self) -> npt.NDArray[np.float32]:
        """What each merchant sees of its own state and type, (E, n, num_clusters + 8)."""
        cfg = self.config
        E, n = self._inventory.shape
        observations = np.empty((E, n, self.observation_space.shape[0]), dtype=np.float32)
        observations[..., 0] = self._inventory / cfg.inventory_scale
        sigma = cfg.price_volatility or 1.0
        observations[..., 1] = (self._price_step / sigma)[:, None]
        observations[..., 2] = self._t / cfg.episode_length
        observations[..., 3:5] = self._half_spreads / cfg.max_half_spread
        observations[..., 5:7] = self._volumes / cfg.volume_scale
        observations[..., NUM_STATE_OBSERVATIONS:] = self._types
        return observations

    # --- outcomes ---------------------------------------------------------------------

    def own_outcomes(self) -> Sequence[Outcome]:
        """Outcomes that a subclass adds to those of `MarketConfig`; here none.

        It is asked once, in the constructor, when ``self.config`` is there already.
        """
        return ()

    def measure(self, trades: Trades) -> Mapping[str, npt.ArrayLike]:
        """The values of a subclass's `own_outcomes`, by name.

        Args:
            trades: All trades of the episodes so far.

        Returns:
            ``{name: (E,)}``, with NaN for the episodes in which an outcome did not happen.
        """
        return {}

    def episode_outcomes(self) -> FloatArray:
        """Outcomes f_cal of the episodes so far, shape (E, N), in the order of ``outcomes``.

        NaN where an outcome did not happen (a supertype without a trade).
        """
        total = self._traded.sum(axis=1, keepdims=True)
        share = np.where(total > 0, self._traded / np.where(total > 0, total, 1.0), np.nan)
        steps = max(self._t, 1)
        quantities = self._quantity_percentiles()
        found: dict[str, FloatArray] = {}
        for g, supertype in enumerate(self.supertype_space.supertypes):
            members = self._group == g
            measures = {
                SHARE: share[:, members].mean(axis=1),
                HALF_SPREAD: self._sum_half_spread[:, members].mean(axis=1) / steps,
                ABS_INVENTORY: self._sum_abs_inventory[:, members].mean(axis=1) / steps,
            }
            for p, column in zip(self.config.percentiles, quantities[:, g].T, strict=True):
                measures[percentile(p)] = column
            found.update({outcome_name(supertype, m): v for m, v in measures.items()})
        if self._measures_own:
            found.update({k: np.asarray(v) for k, v in self.measure(self._all_trades()).items()})
        return by_name(self.outcomes, found)

    def _all_trades(self) -> Trades:
        """The trades so far, told apart."""
        none = [np.empty(0, dtype=np.intp)]
        flat = np.concatenate(self._trades or none)
        row, rank = np.divmod(flat, len(self._distinct))
        steps = [len(trades) for trades in self._trades]
        return Trades(
            episode=row // len(self.supertype_space.supertypes),
            step=np.repeat(np.arange(len(steps)), steps),
            merchant=np.concatenate([merchant for merchant, _ in self._served] or none),
            quantity=self._distinct[rank],
            shape=(len(self._inventory), self.episode_length, self.config.num_merchants),
        )

    def episode_breakdowns(self) -> dict[str, Breakdown]:
        """Each supertype's share by cluster of customers, of the episodes so far.

        The share is what one of its merchants has, on average, of the cluster's traded quantity
        (or trades, as ``share_by`` says); NaN where a cluster did not trade.
        """
        cfg, (E, n) = self.config, self._inventory.shape
        K, clusters = cfg.num_clusters, self._customers.cluster
        traded = np.zeros(E * n * K)
        for t, (merchant, trades) in enumerate(self._served):
            arrivals = self._customers.arrivals(t)
            cell = self._customers.episode[arrivals][trades] * n + merchant
            quantity = self._customers.quantity[arrivals][trades]
            weight = np.ones(len(merchant)) if cfg.share_by == "count" else quantity
            place = cell * K + clusters[arrivals][trades]
            traded += np.bincount(place, weight, minlength=len(traded))
        by_merchant = traded.reshape(E, n, K)
        total = by_merchant.sum(axis=1, keepdims=True)
        share = np.where(total > 0, by_merchant / np.where(total > 0, total, 1.0), np.nan)
        supertypes = self.supertype_space.supertypes
        values = [share[:, self._group == g].mean(axis=1) for g in range(len(supertypes))]
        columns = tuple(f"cluster {k}" for k in range(1, K + 1))
        return {SHARE_BY_CLUSTER: Breakdown(supertypes, columns, np.stack(values, axis=1))}

    def _quantity_percentiles(self) -> FloatArray:
        """Percentiles (E, G, P) of transaction quantities, pooled over a supertype's merchants."""
        cells = len(self._inventory) * len(self.supertype_space.supertypes)
        values = len(self._distinct)
        trades = np.concatenate(self._trades) if self._trades else np.empty(0, dtype=np.intp)
        counts = np.bincount(trades, minlength=cells * values).reshape(cells, values)
        config = self.config
        found = percentiles_of_counts(
            self._distinct, counts, config.percentiles, config.percentile_rule
        )
        return found.reshape(len(self._inventory), -1, found.shape[1])
