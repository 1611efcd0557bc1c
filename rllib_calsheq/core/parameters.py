"""What a user knows about parameters: values, bounds, ties, expectations.

In a configuration and in natural units::

    parameters:
      fixed: {supertype_1.tolerance: 0.5}
      bounds: {supertype_2.tolerance: [0.2, 0.6]}
      ties: [[supertype_1.connection_1, supertype_1.connection_2]]
      prior: {supertype_1.connection_3: {mean: 0.3, std: 0.1}}
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Any

import numpy as np

from rllib_calsheq.core.configuration import (
    Positive,
    configuration,
    from_mapping,
    is_number,
    require,
)
from rllib_calsheq.core.parameter_map import NONE, ParameterMap, Prior
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace


@configuration
class Expectation:
    """A user's prior of one parameter, in its own unit.

    Attributes:
        mean: Where it is expected; its start when None.
        std: Standard deviation of that; the calibrator's own when None.
    """

    mean: float | None = None
    std: Positive | None = None

    def __post_init__(self) -> None:
        if self.mean is None and self.std is None:
            raise ValueError("it has neither mean nor std: state one of them or both")


@configuration
class KnownParameters:
    """What a user knows about the parameters, by their full names.

    Attributes:
        fixed: ``{name: value}`` of those that are not calibrated.
        bounds: ``{name: [low, high]}``, narrower than the environment's own.
        ties: Groups of names; those of a group have one value, in a range that all of them allow.
        prior: ``{name: {mean, std}}`` that calibrators with a prior pull to.
    """

    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, Any] = field(default_factory=dict)
    ties: Any = ()
    prior: Mapping[str, Any] = field(default_factory=dict)

    def map_of(self, space: SupertypeSpace, stated_start: Collection[str] = ()) -> ParameterMap:
        """The map between a calibrator's coordinates and profiles in ``space``.

        Tied parameters share the part of their ranges that they have in common, and the mean of
        their starts. A start outside of the range that is left moves to the nearest bound, unless
        the user stated it. The start of a fixed parameter is its value.

        Args:
            space: The environment's space; its start is Λ_0 as far as nothing here changes it.
            stated_start: Names of the parameters whose start the user stated.

        Raises:
            ValueError: If something is not allowed, contradicts another, or leaves nothing to
                calibrate; the message says what to do.
        """
        if self == KnownParameters():
            return ParameterMap.of(space)
        groups = self._groups(space)
        free, follows = [], np.full(len(space), NONE, dtype=np.intp)
        for group in groups:
            low, high = self._range(group, space)
            start = self._start(group, space, (low, high), stated_start)
            first = _of(space, group[0])
            free.append(replace(first, low=low, high=high, start=start))
            follows[[space.names.index(name) for name in group]] = len(free) - 1
        reduced = SupertypeSpace(tuple(free))
        prior = self._prior(groups, reduced)
        start_of_all = np.where(follows == NONE, space.start, reduced.start[follows])
        whole = space.with_start(space.to_mapping(start_of_all) | dict(self.fixed))
        return ParameterMap(whole, reduced, follows, prior, self._plain())

    # --- groups: one parameter, or several that are tied ---------------------------------

    def _groups(self, space: SupertypeSpace) -> list[tuple[str, ...]]:
        """The names behind each free coordinate, in the order of the space."""
        for section in ("fixed", "bounds", "prior"):
            _check_names(section, getattr(self, section), space)
        for name, value in self.fixed.items():
            p = _of(space, name)
            require(
                p.low <= value <= p.high,
                f"parameters.fixed of {name}",
                value,
                f"numbers in [{p.low:g}, {p.high:g}], the environment's range",
            )
        tied = self._ties(space)
        group_of = {name: group for group in tied for name in group}
        for what, names in (("bounds", self.bounds), ("prior", self.prior), ("ties", group_of)):
            both = [name for name in names if name in self.fixed]
            if both:
                raise ValueError(
                    f"{both} stand under parameters.fixed and under parameters.{what}: a fixed "
                    "parameter has its value, so take them out of one of the two"
                )
        found = dict.fromkeys(
            group_of.get(name, (name,)) for name in space.names if name not in self.fixed
        )
        if not found:
            raise ValueError(
                "parameters.fixed names every parameter of the environment, so that nothing is "
                "left to calibrate: leave one out at least, or start where you want to stay "
                "(env_config.supertypes) with `calibrator: {name: fixed}`"
            )
        return list(found)

    def _ties(self, space: SupertypeSpace) -> list[tuple[str, ...]]:
        """The groups of names that are tied, each in the order of the space."""
        allowed = "a list of groups, each a list of two names or more"
        fits = isinstance(self.ties, Sequence) and not isinstance(self.ties, str)
        require(fits, "parameters.ties", self.ties, allowed)
        seen: set[str] = set()
        for group in self.ties:
            fits = isinstance(group, Sequence) and not isinstance(group, str) and len(group) > 1
            require(fits, "a group of parameters.ties", group, "lists of two names or more")
            _check_names("ties", group, space)
            again = sorted({name for name in group if name in seen or group.count(name) > 1})
            if again:
                raise ValueError(
                    f"parameters.ties names {again} more than once: a parameter belongs to one "
                    "group at most; make one group of those that share a value"
                )
            seen |= set(group)
        return [tuple(name for name in space.names if name in group) for group in self.ties]

    # --- range, start and prior of a group -----------------------------------------------

    def _range(self, group: tuple[str, ...], space: SupertypeSpace) -> tuple[float, float]:
        ranges = {name: self._bounds(_of(space, name)) for name in group}
        low = max(low for low, _ in ranges.values())
        high = min(high for _, high in ranges.values())
        if low >= high:
            raise ValueError(
                f"parameters.ties: {list(group)} are tied, but their ranges "
                f"{[list(r) for r in ranges.values()]} have no part in common: widen "
                "parameters.bounds, or untie them"
            )
        return low, high

    def _bounds(self, p: Parameter) -> tuple[float, float]:
        given = self.bounds.get(p.full_name, (p.low, p.high))
        fits = (
            isinstance(given, Sequence)
            and len(given) == 2
            and all(map(is_number, given))
            and p.low <= given[0] < given[1] <= p.high
        )
        require(
            fits,
            f"parameters.bounds of {p.full_name}",
            given,
            f"[low, high] with low < high within [{p.low:g}, {p.high:g}], the environment's range "
            "(a single value goes under parameters.fixed)",
        )
        return float(given[0]), float(given[1])

    def _start(
        self,
        group: tuple[str, ...],
        space: SupertypeSpace,
        bounds: tuple[float, float],
        stated: Collection[str],
    ) -> float:
        """Where a group starts: as the user stated, or as near to the default as is allowed."""
        starts = dict(zip(space.names, space.start.tolist(), strict=True))
        own = {name: starts[name] for name in group if name in stated}
        for name, start in own.items():
            require(
                bounds[0] <= start <= bounds[1],
                f"the start of {name}",
                start,
                f"numbers in [{bounds[0]:g}, {bounds[1]:g}], the range that `parameters` leaves; "
                "move the start or leave it out",
            )
        if len(set(own.values())) > 1:
            raise ValueError(
                f"parameters.ties: {list(group)} are tied, but start at {own}: state one start "
                "for all of them"
            )
        used = own or {name: starts[name] for name in group}
        return float(np.clip(sum(used.values()) / len(used), *bounds))

    def _prior(self, groups: list[tuple[str, ...]], free: SupertypeSpace) -> Prior | None:
        """The prior in the unit cube; None where none was stated."""
        if not self.prior:
            return None
        mean, std = free.start.copy(), np.full(len(free), np.nan)
        for j, (group, p) in enumerate(zip(groups, free.parameters, strict=True)):
            found = {
                name: from_mapping(Expectation, self.prior[name], f"parameters.prior of {name}")
                for name in group
                if name in self.prior
            }
            if any(one != other for one in found.values() for other in found.values()):
                raise ValueError(
                    f"parameters.prior states several for {list(found)}, which are tied: state one"
                )
            for name, expected in found.items():
                if expected.mean is not None:
                    require(
                        p.low <= expected.mean <= p.high,
                        f"mean in parameters.prior of {name}",
                        expected.mean,
                        f"numbers in [{p.low:g}, {p.high:g}], the parameter's range",
                    )
                    mean[j] = expected.mean
                if expected.std is not None:
                    std[j] = expected.std
        return Prior(free.to_unit(mean), std / (free.high - free.low))

    def _plain(self) -> dict[str, Any]:
        """What was stated, as data that JSON holds; sections that say nothing are left out."""
        sections = {
            "fixed": {name: float(value) for name, value in self.fixed.items()},
            "bounds": {name: [float(v) for v in value] for name, value in self.bounds.items()},
            "ties": sorted(sorted(group) for group in self.ties),
            "prior": {
                name: asdict(from_mapping(Expectation, value, name))
                for name, value in self.prior.items()
            },
        }
        return {name: stated for name, stated in sections.items() if stated}


def _of(space: SupertypeSpace, name: str) -> Parameter:
    return space.parameters[space.names.index(name)]


def _check_names(section: str, names: Iterable[Any], space: SupertypeSpace) -> None:
    for name in names:
        if name not in space.names:
            near = difflib.get_close_matches(str(name), space.names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"parameters.{section} names {name!r}, which the environment does not have{hint}; "
                f"its parameters are {list(space.names)}"
            )
