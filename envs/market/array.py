"""The market's core: E episodes of n merchants stepped at once as arrays (section 4).

Every random number belongs to one episode's generator and, where it concerns a merchant,
to that merchant: permuting merchants permutes observations and rewards exactly
(type symmetry), and two profiles that share a seed share their randomness.
"""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.outcomes import by_name
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.envs.market.config import (
    ABS_INVENTORY,
    HALF_SPREAD,
    SHARE,
    MarketConfig,
    outcome_name,
    percentile,
)
from rllib_calsheq.envs.market.percentiles import percentiles_of_counts

#: Observation entries before the type: inventory, last price step, time, own two last
#: half-spreads, own last bought and sold volume.
NUM_STATE_OBSERVATIONS = 7

BID, ASK = 0, 1
#: Memory for the noise of customers' choices: several steps are drawn at once.
MAX_NOISE_BYTES = 1 << 21
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
        self.outcomes = config.outcomes
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
        self._draw_prices_and_arrivals()

        self._t = 0
        self._inventory = np.zeros((E, n))
        self._half_spreads = np.zeros((E, n, 2))
        self._volumes = np.zeros((E, n, 2))
        self._price_step = np.zeros(E)
        #: Of every trade: (episode, supertype, rank of its quantity) as one flat index.
        self._trades: list[npt.NDArray[np.intp]] = []
        self._noise_end = 0
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

    def _draw_prices_and_arrivals(self) -> None:
        """Price steps (E, T) and, as flat arrays ordered by (step, episode), all arrivals."""
        cfg = self.config
        T, C = cfg.episode_length, cfg.num_customers
        quantities, cumulative = cfg.quantity_table
        limit = cfg.price_truncation
        steps, when, who, side, level = [], [], [], [], []
        for rng in self._rngs:
            steps.append(np.clip(rng.standard_normal(T), -limit, limit) * cfg.price_volatility)
            arrived = _successes(rng, T * C, cfg.arrival_probability)
            when.append(arrived // C)
            who.append(arrived % C)
            side.append(rng.integers(0, 2, size=len(arrived), dtype=np.int8))
            level.append(rng.random(len(arrived), dtype=np.float32))
        self._price_steps = np.array(steps)
        counts = [len(w) for w in when]
        episode = np.repeat(np.arange(len(counts)), counts)
        when_flat = np.concatenate(when)
        order = np.argsort(when_flat.astype(np.int16 if T < 2**15 else np.int64), kind="stable")
        self._episode = episode[order]
        self._customer = np.concatenate(who)[order]
        self._side = np.concatenate(side)[order].astype(np.intp)
        #: Rows of each arrival's customer among the connections, and of its quotes.
        self._customer_row = self._episode * C + self._customer
        self._quote_row = self._episode * 2 + self._side
        cluster = self._cluster[self._customer]
        if cfg.cluster_quantities is None:
            row = (np.concatenate(level)[order] * quantities.shape[1]).astype(np.intp)
        else:
            # Inverse CDF of each cluster: clusters are kept apart by adding their index.
            keys = (cumulative + np.arange(cfg.num_clusters)[:, None]).ravel()
            position = np.searchsorted(keys, np.concatenate(level)[order] + cluster, side="right")
            row = np.minimum(position - cluster * quantities.shape[1], quantities.shape[1] - 1)
        self._quantity = quantities[cluster, row]
        self._rank = self._ranks[cluster, row]
        # First arrival of every step, and of every episode within a step.
        E = len(counts)
        per_cell = np.bincount(when_flat * E + episode, minlength=T * E).reshape(T, E)
        self._per_episode = per_cell
        self._first = np.concatenate([[0], np.cumsum(per_cell.sum(axis=1))])

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
            ValueError: If the actions have another shape or one of them is NaN.
        """
        cfg = self.config
        if self._t >= cfg.episode_length:
            raise RuntimeError("the episodes are over: call reset() before step()")
        unit = np.clip((np.asarray(actions, dtype=np.float64) + 1.0) / 2.0, 0.0, 1.0)
        if unit.shape != self._half_spreads.shape:
            raise ValueError(
                f"actions must have shape {self._half_spreads.shape}, but have {unit.shape}"
            )
        if np.isnan(unit).any():
            raise ValueError("an action is NaN: the policy that gave it has diverged")
        self._half_spreads = unit * cfg.max_half_spread
        quoting = unit < 1.0

        arrivals = slice(self._first[self._t], self._first[self._t + 1])
        merchant, trades = self._choose(arrivals, quoting)
        merchant = merchant[trades]
        episode, side = self._episode[arrivals][trades], self._side[arrivals][trades]
        quantity = self._quantity[arrivals][trades]
        self._record(episode, merchant, self._rank[arrivals][trades])

        E, n = self._inventory.shape
        cell = (episode * n + merchant) * 2 + side
        lots = quantity / cfg.lot_size
        volumes = np.bincount(cell, weights=lots, minlength=E * n * 2)
        self._volumes = volumes.astype(np.float64).reshape(E, n, 2)
        income = (self._volumes * self._half_spreads).sum(axis=-1)
        self._inventory += self._volumes[..., BID] - self._volumes[..., ASK]
        self._price_step = self._price_steps[:, self._t]
        gain = self._inventory * self._price_step[:, None]
        penalty = cfg.risk_aversion * (1.0 - self._tolerance) * np.abs(gain)
        rewards = (income + gain - penalty) / cfg.reward_scale

        weight = 1.0 if cfg.share_by == "count" else quantity
        self._traded += np.bincount(
            episode * n + merchant, np.broadcast_to(weight, quantity.shape), minlength=E * n
        ).reshape(E, n)
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

    def _choose(
        self, arrivals: slice, quoting: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Merchant that each arriving customer picks, and whether it trades at all.

        The logit choice is an exponential race: the smallest of Exp(1)·exp(δ/τ) wins with
        probability proportional to exp(-δ/τ), and each racer has its own random number.
        """
        cfg = self.config
        racers, leaver = self._race_noise(arrivals)
        quotes = self._quote_row[arrivals]
        n = quoting.shape[1]
        if cfg.choice_rule == "logit":
            slowness = np.where(
                quoting, np.exp(self._half_spreads / cfg.choice_temperature), np.inf
            )
            slowness = slowness.transpose(0, 2, 1).reshape(-1, n).astype(np.float32)
            race = slowness.take(quotes, axis=0)
            race *= racers
            merchant = race.argmin(axis=1)
            best = race.ravel()[np.arange(0, race.size, n) + merchant]
            if not cfg.outside_option:
                return merchant, np.isfinite(best)
            leaves = leaver * np.exp(cfg.reservation_half_spread / cfg.choice_temperature)
            return merchant, best < leaves
        price = np.where(quoting, self._half_spreads, np.inf).transpose(0, 2, 1).reshape(-1, n)
        offered = np.where(np.isfinite(racers), price.take(quotes, axis=0), np.inf)
        lowest = offered.min(axis=1, keepdims=True)
        merchant = np.where(offered == lowest, racers, np.inf).argmin(axis=1)
        return merchant, (lowest[:, 0] <= cfg.reservation_half_spread) & np.isfinite(lowest[:, 0])

    def _race_noise(
        self, arrivals: slice
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Exp(1) of a step's M arrivals: one a merchant (M, n), and one for leaving (M,).

        Infinite for a merchant that the customer is not connected to.
        """
        if self._t >= self._noise_end:
            self._draw_noise()
        rows = slice(arrivals.start - self._noise_first, arrivals.stop - self._noise_first)
        return self._racers[rows], self._leavers[rows]

    def _draw_noise(self) -> None:
        """Draws the race's noise of as many steps as fit into `MAX_NOISE_BYTES`, at least one."""
        racers = self.config.num_merchants + 1
        allowed = MAX_NOISE_BYTES // (4 * racers)
        within = np.searchsorted(self._first, self._first[self._t] + allowed, side="right") - 1
        self._noise_end = end = max(int(within), self._t + 1)
        counts = self._per_episode[self._t : end]
        per_episode = counts.sum(axis=0)
        starts = np.concatenate([[0], np.cumsum(per_episode)])
        noise = self._draw_exponentials(starts)
        # A merchant that does not quote is infinitely slow, and 0 times infinity is no number.
        np.maximum(noise, np.finfo(np.float32).tiny, out=noise)
        # Drawn episode by episode, wanted step by step: row of each arrival, in arrival order.
        cells = counts.ravel()
        first_row = starts[:-1] + np.cumsum(counts, axis=0) - counts
        before = np.cumsum(cells) - cells
        row = np.repeat(first_row.ravel() - before, cells) + np.arange(cells.sum())
        noise = noise.take(row, axis=0)
        self._noise_first = int(self._first[self._t])
        arrivals = slice(self._noise_first, int(self._first[end]))
        connected = self._connected.take(self._customer_row[arrivals], axis=0)
        self._racers = np.where(connected, noise[:, :-1], np.float32(np.inf))
        self._leavers = noise[:, -1].copy()

    def _draw_exponentials(self, starts: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Exp(1), (starts[-1], n + 1): rows starts[e] to starts[e + 1] are episode e's own."""
        noise = np.empty((starts[-1], self.config.num_merchants + 1), dtype=np.float32)
        for e, rng in enumerate(self._rngs):
            rng.standard_exponential(dtype=np.float32, out=noise[starts[e] : starts[e + 1]])
        return noise

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
        return by_name(self.outcomes, found)

    def _quantity_percentiles(self) -> FloatArray:
        """Percentiles (E, G, P) of transaction quantities, pooled over a supertype's merchants."""
        cells = len(self._inventory) * len(self.supertype_space.supertypes)
        values = len(self._distinct)
        trades = np.concatenate(self._trades) if self._trades else np.empty(0, dtype=np.intp)
        counts = np.bincount(trades, minlength=cells * values).reshape(cells, values)
        found = percentiles_of_counts(self._distinct, counts, self.config.percentiles)
        return found.reshape(len(self._inventory), -1, found.shape[1])


def _successes(rng: np.random.Generator, trials: int, probability: float) -> npt.NDArray[np.int64]:
    """Which of independent trials succeed, ascending: drawn by the gaps between successes.

    One number a success instead of one a trial.
    """
    if probability <= 0:
        return np.empty(0, dtype=np.int64)
    expected = trials * probability
    # Enough, but for a few times in a billion.
    size = int(expected + 6.0 * np.sqrt(expected) + 20.0)
    found = rng.geometric(probability, size=size).cumsum() - 1
    while found[-1] < trials:
        found = np.append(found, found[-1] + rng.geometric(probability, size=size).cumsum())
    return found[: np.searchsorted(found, trials)]
