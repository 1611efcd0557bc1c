"""Between what a calibrator moves and the environment's whole profile.

A user may know some parameters, narrow others and tie some together. A calibrator sees none of
that: its unit cube has one coordinate for each parameter that is left, and for all that are tied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace

#: What a fixed parameter follows.
NONE = -1


@dataclass(frozen=True, eq=False)
class Prior:
    """Where parameters are expected to be: an independent Gaussian for each.

    Attributes:
        mean: Its mean in the unit cube, shape (f,).
        std: Its standard deviation there, shape (f,); NaN where the user stated none.
    """

    mean: FloatArray
    std: FloatArray

    @classmethod
    def around(cls, start: FloatArray) -> Prior:
        """That of a user who stated none: around the start Λ_0, shape (f,)."""
        return cls(np.array(start, dtype=np.float64), np.full(len(start), np.nan))

    def std_or(self, usual: npt.ArrayLike) -> FloatArray:
        """The standard deviations (f,), with ``usual`` ones where none was stated."""
        return np.where(np.isnan(self.std), usual, self.std)


@dataclass(frozen=True, eq=False)
class ParameterMap:
    """Which parameters a calibrator moves, and what all others are meanwhile.

    Attributes:
        space: All d parameters in the environment's own ranges; its start is the run's Λ_0.
        free: The f parameters that a calibrator moves, in the ranges that the user left. Those
            that are tied are one, which has the name of the first.
        follows: Which of ``free`` gives each parameter its value, shape (d,); `NONE` for a fixed
            one, which keeps its start.
        prior: What is expected of ``free``, if the user said so.
        stated: What the user stated, as plain data.
    """

    space: SupertypeSpace
    free: SupertypeSpace
    follows: npt.NDArray[np.intp]
    prior: Prior | None = None
    stated: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, space: SupertypeSpace) -> ParameterMap:
        """The map of a user who states nothing: all parameters are free."""
        return cls(space, space, np.arange(len(space)))

    @property
    def moving(self) -> npt.NDArray[np.bool_]:
        """Whether a parameter is not fixed, shape (d,)."""
        return self.follows != NONE

    @cached_property
    def narrowed(self) -> SupertypeSpace:
        """The parameters that are not fixed, each in the range that the user left."""
        own = [p for p, moves in zip(self.space.parameters, self.moving, strict=True) if moves]
        ranges = [self.free.parameters[j] for j in self.follows[self.moving]]
        return SupertypeSpace(
            tuple(
                replace(p, low=r.low, high=r.high, start=r.start)
                for p, r in zip(own, ranges, strict=True)
            )
        )

    def expand(self, unit: npt.ArrayLike) -> FloatArray:
        """Whole profiles (..., d) in natural units of the free coordinates (..., f)."""
        values = self.free.from_unit(unit)
        return np.where(self.moving, values[..., self.follows], self.space.start)

    def reduce(self, profiles: npt.ArrayLike) -> FloatArray:
        """Free coordinates (..., f) of whole profiles (..., d) in natural units.

        Of tied parameters it takes the mean, and it leaves fixed ones out: `expand` gives the
        nearest profile that the user allows, within the ranges that are left.
        """
        one = self.follows[:, None] == np.arange(len(self.free))
        mean = np.asarray(profiles, dtype=np.float64) @ (one / one.sum(axis=0))
        return np.clip(self.free.to_unit(mean), 0.0, 1.0)
