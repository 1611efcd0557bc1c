"""Supertypes: the named, bounded parameters Λ that a calibrator moves (section 2).

A *supertype* Λ_i parameterises the distribution p_{Λ_i} from which an agent draws
its *type* λ_i at the start of every episode. All supertypes of an environment
together form the *profile* Λ, a flat vector in one documented order. Calibrators
see the profile in its *unit-cube form*, in which every parameter spans [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.configuration import configuration, is_number

FloatArray = npt.NDArray[np.floating]


@configuration
class Parameter:
    """One entry of the supertype profile.

    Example:
        >>> from rllib_calsheq import Parameter
        >>> Parameter("mean_cost", "firm", low=0.0, high=0.6).full_name
        'firm.mean_cost'

    Attributes:
        name: Name of the parameter within its supertype, e.g. ``connection_1``.
        supertype: Name of the supertype that it belongs to.
        low: Smallest allowed value, in the parameter's own unit.
        high: Largest allowed value; above ``low``.
        start: Value in Λ_0; the middle of the range when None.
    """

    SUBJECT: ClassVar[str] = "parameter '{supertype}.{name}'"

    name: str
    supertype: str
    low: float = 0.0
    high: float = 1.0
    start: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                f"parameter {self.full_name!r} has the range [{self.low}, {self.high}]: "
                "the lower end must be below the upper one"
            )
        if self.start is not None and not self.low <= self.start <= self.high:
            raise ValueError(
                f"parameter {self.full_name!r} starts at {self.start}, outside its range "
                f"[{self.low}, {self.high}]"
            )

    @property
    def full_name(self) -> str:
        """``<supertype>.<name>``, unique within a space."""
        return f"{self.supertype}.{self.name}"


@dataclass(frozen=True)
class SupertypeSpace:
    """The box in which the supertype profile Λ lives.

    Example:
        >>> from rllib_calsheq import Parameter, SupertypeSpace
        >>> space = SupertypeSpace((Parameter("mean_cost", "firm", low=0.0, high=0.6),))
        >>> float(space.to_unit([0.15])[0]), space.names
        (0.25, ('firm.mean_cost',))

    Attributes:
        parameters: The entries of the flat profile vector, in order.
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("a supertype space needs at least one parameter")
        names = [p.full_name for p in self.parameters]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"parameter names must be unique; repeated: {repeated}")

    def __len__(self) -> int:
        return len(self.parameters)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Full names of all parameters, in the order of the profile vector."""
        return tuple(p.full_name for p in self.parameters)

    @cached_property
    def supertypes(self) -> tuple[str, ...]:
        """Names of the supertypes, in order of first appearance."""
        return tuple(dict.fromkeys(p.supertype for p in self.parameters))

    @cached_property
    def low(self) -> FloatArray:
        """Lower bounds, shape (d,)."""
        return np.array([p.low for p in self.parameters])

    @cached_property
    def high(self) -> FloatArray:
        """Upper bounds, shape (d,)."""
        return np.array([p.high for p in self.parameters])

    @cached_property
    def start(self) -> FloatArray:
        """The initial profile Λ_0 of algorithm 1, shape (d,)."""
        return np.array(
            [(p.low + p.high) / 2 if p.start is None else p.start for p in self.parameters]
        )

    def indices(self, supertype: str) -> npt.NDArray[np.int64]:
        """Positions in the profile vector of one supertype's parameters."""
        if supertype not in self.supertypes:
            raise KeyError(f"no supertype {supertype!r}; there are {list(self.supertypes)}")
        return np.array([i for i, p in enumerate(self.parameters) if p.supertype == supertype])

    def to_unit(self, profile: npt.ArrayLike) -> FloatArray:
        """Maps profiles (..., d) in natural units to the unit cube."""
        return (np.asarray(profile, dtype=np.float64) - self.low) / (self.high - self.low)

    def from_unit(self, unit: npt.ArrayLike) -> FloatArray:
        """Maps profiles (..., d) in the unit cube to natural units, within the bounds."""
        values = self.low + np.asarray(unit, dtype=np.float64) * (self.high - self.low)
        return np.clip(values, self.low, self.high)

    def validate(self, profile: npt.ArrayLike) -> FloatArray:
        """Checks profiles in natural units, shape (..., d), and returns a copy of them as floats.

        Raises:
            ValueError: If the last axis is not d or a value is outside its bounds.
        """
        values = np.array(profile, dtype=np.float64)
        if values.ndim == 0 or values.shape[-1] != len(self):
            raise ValueError(
                f"a profile has {len(self)} entries ({self.names[0]} ... {self.names[-1]}), "
                f"but an array of shape {values.shape} was given"
            )
        # Written as "not inside" so that NaN counts as outside.
        outside = ~((values >= self.low) & (values <= self.high))
        if outside.any():
            where = np.argwhere(outside)[0]
            parameter = self.parameters[where[-1]]
            raise ValueError(
                f"{parameter.full_name} = {values[tuple(where)]:g} is outside its allowed range "
                f"[{parameter.low:g}, {parameter.high:g}]"
            )
        return values

    def validate_one(self, profile: npt.ArrayLike) -> FloatArray:
        """Checks one profile in natural units, shape (d,), and returns a copy of it as floats.

        Raises:
            ValueError: If it has another shape or a value is outside its bounds.
        """
        values = self.validate(profile)
        if values.ndim != 1:
            raise ValueError(f"one profile of shape (d,) is needed, not {values.shape}")
        return values

    def from_mapping(
        self, values: Mapping[str, Any], default: npt.ArrayLike | None = None
    ) -> FloatArray:
        """Builds a profile (d,) from ``{full name: value}``; missing names keep ``default``.

        Args:
            values: Values in natural units by full parameter name.
            default: Profile (d,) for the names that ``values`` lacks; Λ_0 when None.

        Raises:
            ValueError: On an unknown name, or a value that is no number or outside its bounds.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"supertypes must be a mapping of parameter to value, not {values!r}")
        unknown = [name for name in values if name not in self.names]
        if unknown:
            raise ValueError(
                f"unknown supertype parameter(s) {unknown}; the parameters are {list(self.names)}"
            )
        profile = np.array(self.start if default is None else default, dtype=np.float64)
        for name, value in values.items():
            if not is_number(value):
                raise ValueError(f"{name} = {value!r} is not a number")
            profile[self.names.index(name)] = value
        return self.validate(profile)

    def with_start(self, values: Mapping[str, float] | None) -> SupertypeSpace:
        """The same space with ``{full name: value}`` as the start Λ_0 of those parameters.

        Raises:
            ValueError: On an unknown name or a value outside its bounds.
        """
        if not values:
            return self
        start = self.from_mapping(values)
        return SupertypeSpace(
            tuple(replace(p, start=float(v)) for p, v in zip(self.parameters, start, strict=True))
        )

    def to_mapping(self, profile: Sequence[float] | FloatArray) -> dict[str, float]:
        """``{full name: value}`` of one profile (d,)."""
        return {name: float(v) for name, v in zip(self.names, profile, strict=True)}
