"""The columns of outcome vectors: an environment's own outcomes, then its supertypes' returns.

An environment reports its N outcomes; the mean return of each of its G supertypes' agents is
known without it. They travel apart, and `OutcomeColumns.join` makes one vector of them, in which
targets find both by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.faults import BadEnvironmentError
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import Outcome


def return_name(supertype: str) -> str:
    """Name under which the mean return of a supertype's agents can be a target."""
    return f"{supertype}.reward"


@dataclass(frozen=True)
class OutcomeColumns:
    """What the entries of an environment's outcome vectors (N + G,) are.

    Attributes:
        own: The outcomes that the environment reports, N.
        supertypes: Names of its supertypes, G.
        environment: Name of its class, for messages.

    Raises:
        ValueError: If two columns would have one name.
    """

    own: tuple[Outcome, ...]
    supertypes: tuple[str, ...]
    environment: str = "the environment"

    def __post_init__(self) -> None:
        names = [o.name for o in self.own]
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            raise ValueError(
                f"{self.environment}.outcomes must have unique names, but {repeated} stand there "
                "more than once: rename all but one"
            )
        for supertype in self.supertypes:
            if return_name(supertype) in names:
                raise ValueError(
                    f"{self.environment} reports an outcome {return_name(supertype)!r}, which is "
                    f"the name of the mean return of supertype {supertype!r}: give the outcome "
                    "another name"
                )

    @classmethod
    def of(cls, env: Any) -> OutcomeColumns:
        """The columns of an environment, in either form."""
        return cls(tuple(env.outcomes), env.supertype_space.supertypes, type(env).__name__)

    @cached_property
    def returns(self) -> tuple[Outcome, ...]:
        """The mean undiscounted return of each supertype's agents, as an outcome."""
        return tuple(
            Outcome(return_name(s), scale=1.0, description="mean undiscounted return of its agents")
            for s in self.supertypes
        )

    @cached_property
    def all(self) -> tuple[Outcome, ...]:
        """All N + G columns, in order."""
        return self.own + self.returns

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, in order."""
        return tuple(o.name for o in self.all)

    def join(self, outcomes: npt.ArrayLike, returns: npt.ArrayLike) -> FloatArray:
        """Outcome vectors (E, N + G) of outcomes (E, N) and returns (E, G).

        Raises:
            ValueError: If there are more or fewer of either than there are names.
        """
        parts = []
        for what, values, named in (
            ("outcomes", outcomes, self.own),
            ("returns of supertypes", returns, self.returns),
        ):
            array = np.asarray(values, dtype=np.float64)
            if array.ndim != 2 or array.shape[1] != len(named):
                raise ValueError(
                    _wrong_number(self.environment, what, [o.name for o in named], array.shape)
                )
            parts.append(array)
        return np.concatenate(parts, axis=1)


def by_name(outcomes: Sequence[Outcome], values: Mapping[str, npt.ArrayLike]) -> FloatArray:
    """Outcome vectors (E, N) of named values (E,): each finds its column by its name.

    Raises:
        ValueError: If an outcome has no value, or a value is no outcome's.
    """
    names = [o.name for o in outcomes]
    if set(names) != set(values):
        missing, unknown = (
            sorted(set(one) - set(other)) for one, other in ((names, values), (values, names))
        )
        raise ValueError(
            f"outcomes and their values must have the same names, but {missing} have no value and "
            f"{unknown} are no outcomes: state each outcome where `outcomes` is made, and give its "
            "value under the same name where episode_outcomes() is"
        )
    return np.stack([np.asarray(values[name], dtype=np.float64) for name in names], axis=1)


def read_outcomes(env: Any, *episodes: int) -> FloatArray:
    """The outcomes (*episodes, N) of an environment's finished episodes, by either form.

    Args:
        env: The environment.
        *episodes: E for an array form, nothing for a plain one.

    Raises:
        BadEnvironmentError: If they are not as many as the environment's `outcomes` names.
    """
    values = np.asarray(env.episode_outcomes(), dtype=np.float64)
    if values.shape != (*episodes, len(env.outcomes)):
        names = [o.name for o in env.outcomes]
        raise BadEnvironmentError(
            _wrong_number(type(env).__name__, "outcomes", names, values.shape)
        )
    return values


def _wrong_number(environment: str, what: str, names: list[str], given: tuple[int, ...]) -> str:
    return (
        f"{environment} gave {what} of shape {given}, but each episode must have {len(names)}, "
        f"{names}: let episode_outcomes() return one number for each name in `outcomes`, in their "
        "order (rllib_calsheq.conformance.plain.check_environment finds such things)"
    )
