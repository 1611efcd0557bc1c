"""What an environment shows beside its outcomes, by groups of its own: for people, not for targets.

An `ArrayEnv` may have a method ``episode_breakdowns()`` that returns ``{title: Breakdown}`` of its
finished episodes. Evaluations keep the means, and reports show them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_calsheq.core.supertypes import FloatArray


@dataclass(frozen=True)
class Breakdown:
    """A quantity of R rows, such as supertypes, by C columns, such as clusters of customers.

    Attributes:
        rows: Names of the rows, R.
        columns: Names of the columns, C.
        values: Its value in each of E episodes, (E, R, C); NaN where there is none.

    Raises:
        ValueError: If the values are not of that shape.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: FloatArray

    def __post_init__(self) -> None:
        wanted = len(self.rows), len(self.columns)
        if self.values.ndim != 3 or self.values.shape[1:] != wanted:
            raise ValueError(
                f"the values of a breakdown have the shape {self.values.shape}; with its rows and "
                f"columns it must be (number of episodes, {wanted[0]}, {wanted[1]})"
            )

    def to_mapping(self) -> dict[str, Any]:
        """Names, means over episodes and their standard errors, (R, C), as JSON holds them."""
        happened = np.maximum((~np.isnan(self.values)).sum(axis=0), 1)
        total = np.nansum(self.values, axis=0)
        mean = np.where(np.isnan(self.values).all(axis=0), np.nan, total / happened)
        spread = np.sqrt(np.nansum((self.values - mean) ** 2, axis=0) / happened)
        return {
            "rows": list(self.rows),
            "columns": list(self.columns),
            "values": mean.tolist(),
            "stderr": (spread / np.sqrt(happened)).tolist(),
        }


def joined(parts: Sequence[Mapping[str, Breakdown]]) -> dict[str, Breakdown]:
    """The breakdowns of several blocks of episodes as one; each block has the same ones."""
    first = parts[0] if parts else {}
    return {
        title: Breakdown(
            one.rows, one.columns, np.concatenate([part[title].values for part in parts])
        )
        for title, one in first.items()
    }
