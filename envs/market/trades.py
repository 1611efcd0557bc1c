"""The trades of finished episodes, for outcomes of one's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray


@dataclass(frozen=True, eq=False)
class Trades:
    """All M trades of E episodes, in the order in which they took place.

    Attributes:
        episode: Episode of each trade, in 0 .. E-1, shape (M,).
        step: Step in which it took place, in 0 .. T-1, shape (M,).
        merchant: Merchant that traded, in 0 .. n-1, shape (M,); 0 is merchant 1.
        quantity: What was traded, in the unit of the quantities, shape (M,).
        shape: (E, T, n).
    """

    episode: npt.NDArray[np.intp]
    step: npt.NDArray[np.intp]
    merchant: npt.NDArray[np.intp]
    quantity: FloatArray
    shape: tuple[int, int, int]

    def volumes(self) -> FloatArray:
        """Traded quantity by episode, step and merchant, (E, T, n)."""
        cell = np.ravel_multi_index((self.episode, self.step, self.merchant), self.shape)
        size = int(np.prod(self.shape))
        sums = np.bincount(cell, weights=self.quantity, minlength=size)
        return sums.astype(np.float64, copy=False).reshape(self.shape)

    def quantities(self, episode: int, merchant: int | None = None) -> FloatArray:
        """Quantities of one episode's trades, those of one merchant or of all, in their order."""
        chosen = self.episode == episode
        if merchant is not None:
            chosen &= self.merchant == merchant
        return self.quantity[chosen]
