"""The market's customers: who arrives when, wants how much, and picks which merchant.

Every random number is of the generator of the episode that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.envs.market.config import MarketConfig

#: Memory for the noise of customers' choices: several steps are drawn at once.
MAX_NOISE_BYTES = 1 << 21


class Customers:
    """All arrivals of E episodes, as flat arrays ordered by (step, episode), and their choices.

    Args:
        config: The market's configuration.
        rngs: Each episode's generator, E.
        connected: Whether each customer is connected to each merchant: row e·C + c is customer c
            of episode e, (E·C, n).
        ranks: Place of each entry of the quantity table among the distinct quantities.

    Attributes:
        episode: Episode of each arrival.
        side: 0 for a customer that sells at the bid, 1 for one that buys at the ask.
        quantity: What it trades, in the unit of the quantities.
        rank: Place of that among the distinct quantities.
    """

    def __init__(
        self,
        config: MarketConfig,
        rngs: Sequence[np.random.Generator],
        connected: npt.NDArray[np.bool_],
        ranks: npt.NDArray[np.intp],
    ) -> None:
        self._config = cfg = config
        self._rngs = rngs
        self._connected = connected
        T, C = cfg.episode_length, cfg.num_customers
        quantities, cumulative = cfg.quantity_table
        when, who, side, level = [], [], [], []
        for rng in rngs:
            arrived = _successes(rng, T * C, cfg.arrival_probability)
            when.append(arrived // C)
            who.append(arrived % C)
            side.append(rng.integers(0, 2, size=len(arrived), dtype=np.int8))
            level.append(rng.random(len(arrived), dtype=np.float32))
        counts = [len(w) for w in when]
        episode = np.repeat(np.arange(len(counts)), counts)
        when_flat = np.concatenate(when)
        order = np.argsort(when_flat.astype(np.int16 if T < 2**15 else np.int64), kind="stable")
        self.episode = episode[order]
        customer = np.concatenate(who)[order]
        self.side = np.concatenate(side)[order].astype(np.intp)
        #: Rows of each arrival's customer among the connections, and of its quotes.
        self._customer_row = self.episode * C + customer
        self._quote_row = self.episode * 2 + self.side
        cluster = customer // cfg.customers_per_cluster
        if cfg.cluster_quantities is None:
            row = (np.concatenate(level)[order] * quantities.shape[1]).astype(np.intp)
        else:
            # Inverse CDF of each cluster: clusters are kept apart by adding their index.
            keys = (cumulative + np.arange(cfg.num_clusters)[:, None]).ravel()
            position = np.searchsorted(keys, np.concatenate(level)[order] + cluster, side="right")
            row = np.minimum(position - cluster * quantities.shape[1], quantities.shape[1] - 1)
        self.quantity = quantities[cluster, row]
        self.rank = ranks[cluster, row]
        # First arrival of every step, and of every episode within a step.
        E = len(counts)
        per_cell = np.bincount(when_flat * E + episode, minlength=T * E).reshape(T, E)
        self._per_episode = per_cell
        self._first = np.concatenate([[0], np.cumsum(per_cell.sum(axis=1))])
        self._noise_end = 0

    @property
    def cluster(self) -> npt.NDArray[np.intp]:
        """Cluster of each arrival's customer, from 0."""
        customer = self._customer_row % self._config.num_customers
        return customer // self._config.customers_per_cluster

    def arrivals(self, step: int) -> slice:
        """A step's M arrivals among all."""
        return slice(self._first[step], self._first[step + 1])

    def choose(
        self, step: int, half_spreads: FloatArray, quoting: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Merchant that each customer of a step's M arrivals picks, and whether it trades at all.

        The logit choice is an exponential race: the smallest of Exp(1)·exp(δ/τ) wins with
        probability proportional to exp(-δ/τ), and each racer has its own random number.
        """
        cfg = self._config
        arrivals = self.arrivals(step)
        racers, leaver = self._race_noise(step)
        quotes = self._quote_row[arrivals]
        n = quoting.shape[1]
        if cfg.choice_rule == "logit":
            slowness = np.where(quoting, np.exp(half_spreads / cfg.choice_temperature), np.inf)
            slowness = slowness.transpose(0, 2, 1).reshape(-1, n).astype(np.float32)
            race = slowness.take(quotes, axis=0)
            race *= racers
            merchant = race.argmin(axis=1)
            best = race.ravel()[np.arange(0, race.size, n) + merchant]
            if not cfg.outside_option:
                return merchant, np.isfinite(best)
            leaves = leaver * np.exp(cfg.reservation_half_spread / cfg.choice_temperature)
            return merchant, best < leaves
        price = np.where(quoting, half_spreads, np.inf).transpose(0, 2, 1).reshape(-1, n)
        offered = np.where(np.isfinite(racers), price.take(quotes, axis=0), np.inf)
        lowest = offered.min(axis=1, keepdims=True)
        merchant = np.where(offered == lowest, racers, np.inf).argmin(axis=1)
        return merchant, (lowest[:, 0] <= cfg.reservation_half_spread) & np.isfinite(lowest[:, 0])

    def _race_noise(self, step: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Exp(1) of a step's M arrivals: one a merchant (M, n), and one for leaving (M,).

        Infinite for a merchant that the customer is not connected to.
        """
        if step >= self._noise_end:
            self._draw_noise(step)
        arrivals = self.arrivals(step)
        rows = slice(arrivals.start - self._noise_first, arrivals.stop - self._noise_first)
        return self._racers[rows], self._leavers[rows]

    def _draw_noise(self, step: int) -> None:
        """Draws the race's noise of as many steps as fit into `MAX_NOISE_BYTES`, at least one."""
        racers = self._config.num_merchants + 1
        allowed = MAX_NOISE_BYTES // (4 * racers)
        within = np.searchsorted(self._first, self._first[step] + allowed, side="right") - 1
        self._noise_end = end = max(int(within), step + 1)
        counts = self._per_episode[step:end]
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
        self._noise_first = int(self._first[step])
        arrivals = slice(self._noise_first, int(self._first[end]))
        connected = self._connected.take(self._customer_row[arrivals], axis=0)
        self._racers = np.where(connected, noise[:, :-1], np.float32(np.inf))
        self._leavers = noise[:, -1].copy()

    def _draw_exponentials(self, starts: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Exp(1), (starts[-1], n + 1): rows starts[e] to starts[e + 1] are episode e's own."""
        noise = np.empty((starts[-1], self._config.num_merchants + 1), dtype=np.float32)
        for e, rng in enumerate(self._rngs):
            rng.standard_exponential(dtype=np.float32, out=noise[starts[e] : starts[e + 1]])
        return noise


def _successes(rng: np.random.Generator, trials: int, probability: float) -> npt.NDArray[np.int64]:
    """Which of independent trials succeed, ascending: drawn by the gaps between successes.

    One number a success instead of one a trial.
    """
    if probability <= 0:
        return np.empty(0, dtype=np.int64)
    expected = trials * probability
    # Enough, but for a few times in a billion.
    size = int(expected + 6.0 * np.sqrt(expected) + 20.0)

    def gaps() -> npt.NDArray[np.int64]:
        # Of a tiny probability they are so long that their sums would overflow.
        return np.minimum(rng.geometric(probability, size=size), trials + 1)

    found = gaps().cumsum() - 1
    while found[-1] < trials:
        found = np.append(found, found[-1] + gaps().cumsum())
    return found[: np.searchsorted(found, trials)]
