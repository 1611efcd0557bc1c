"""What an environment must not return, found before it spreads, and said in one line.

A number that is not finite makes the weights of a whole policy NaN within one update, and an array
of another shape may be broadcast without a word.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

#: Longest text of an exception that is repeated: some hold whole tensors.
MAX_TEXT = 300


class BadEnvironmentError(ValueError):
    """An environment gave what cannot be learned from, or raised an exception."""


@dataclass
class EpisodeWatch:
    """Looks at what the E episodes of a rollout give.

    Attributes:
        environment: Name of the environment's class.
        agents: What each of the n agents is called.
        episodes: What tells each episode from all others: stage, particle, seed, profile; a text
            each, length E.
        drop: Whether an episode with a fault is left out, instead of stopping with an error.
        faults: The first fault of each episode that has one.
    """

    environment: str
    agents: Sequence[str]
    episodes: Sequence[str]
    drop: bool = False
    faults: dict[int, str] = field(default_factory=dict)

    @property
    def whole(self) -> npt.NDArray[np.intp]:
        """Episodes without a fault, ascending."""
        return np.setdiff1d(np.arange(len(self.episodes)), list(self.faults))

    def shaped(self, what: str, values: Any, shape: tuple[int, ...]) -> npt.NDArray:
        """Values as an array.

        Args:
            what: What they are, and where they come from.
            values: What the environment gave.
            shape: The shape that they must have.

        Raises:
            BadEnvironmentError: If they have another, or are no numbers.
        """
        array = np.asarray(values)
        if array.shape == shape and array.dtype.kind in "fiub":
            return array
        kind = "numbers" if array.dtype.kind in "fiub" else f"entries of type {array.dtype}"
        raise BadEnvironmentError(
            f"{self.environment}: {what} must be numbers of shape {shape}, and are {kind} of "
            f"shape {array.shape} ({len(self.episodes)} episodes of {len(self.agents)} agents). "
            "rllib_calsheq.conformance finds such things before a run"
        )

    def observations(self, step: int, values: npt.NDArray) -> npt.NDArray:
        """Observations (E, n, ...) before a step; those of a bad episode as zeros.

        Raises:
            BadEnvironmentError: If one is not finite and no episode may be dropped.
        """
        finite = np.isfinite(values)
        if not finite.all():
            self._note(f"an observation before step {step + 1}", values[None], finite[None])
            values = np.where(finite, values, 0).astype(values.dtype)
        return values

    def rewards(self, values: npt.NDArray) -> None:
        """Looks at the rewards (T, E, n) of whole episodes.

        Raises:
            BadEnvironmentError: If one is not finite and no episode may be dropped.
        """
        finite = np.isfinite(values)
        if not finite.all():
            self._note("the reward of step {step}", values, finite)

    def outcomes(self, values: npt.NDArray, names: Sequence[str]) -> None:
        """Looks at outcomes (E, N), which may be NaN where they did not happen.

        Raises:
            BadEnvironmentError: If one is infinite and no episode may be dropped.
        """
        for episode, k in np.argwhere(np.isinf(values)):
            self._fault(int(episode), f"the outcome {names[k]} is {values[episode, k]}")

    def by_agent(self, episode: int, what: str, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """What the agents of one episode got, those of a bad episode with zeros for what is bad.

        Args:
            episode: Which episode.
            what: What they are.
            values: By agent ID: numbers, arrays, or mappings and tuples of them.

        Raises:
            BadEnvironmentError: If one is not finite and no episode may be dropped.
        """
        found = {}
        for agent, value in values.items():
            bad = _first_bad(value)
            if bad is not None:
                self._fault(episode, f"{what} of agent {agent} is {bad}")
                value = _without_bad(value)
            found[agent] = value
        return found

    def _note(self, what: str, values: npt.NDArray, finite: npt.NDArray[np.bool_]) -> None:
        """Notes the first number of each episode that is not finite, in values (T, E, n, ...)."""
        bad = ~np.asarray(finite.reshape(*finite.shape[:3], -1).all(axis=3))
        for episode in np.flatnonzero(bad.any(axis=(0, 2))):
            t, agent = np.argwhere(bad[:, episode])[0]
            entries = values[t, episode, agent].ravel()
            value = entries[~np.isfinite(entries)][0]
            where = what.format(step=t + 1)
            self._fault(int(episode), f"{where} of agent {self.agents[agent]} is {value}")

    def _fault(self, episode: int, what: str) -> None:
        text = f"{self.environment}: {what} ({self.episodes[episode]})"
        if not self.drop:
            raise BadEnvironmentError(
                f"{text}. Mend the environment, or leave such episodes out (on_bad_episode: drop)"
            )
        self.faults.setdefault(episode, text)


def episode_text(stage: int, particle: int, seed: int, profile: npt.ArrayLike) -> str:
    """What tells an episode from all others, so that it can be played again."""
    numbers = ", ".join(f"{value:.6g}" for value in np.asarray(profile).ravel())
    return f"stage {stage}, particle {particle}, environment seed {seed}, profile [{numbers}]"


def exception_text(error: BaseException) -> str:
    """An exception in one line: its type, how its text begins, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = "".join(
        f"; {frame.filename}, line {frame.lineno}, in {frame.name}: {frame.line}"
        for frame in frames[-2:]
    )
    return f"{type(error).__name__}: {one_line(str(error))}{where}"


def one_line(text: str) -> str:
    """How a text begins, in one line."""
    said = " ".join(text.split())
    return f"{said[:MAX_TEXT]}..." if len(said) > MAX_TEXT else said


def _first_bad(value: Any) -> float | None:
    """The first number in a nested value that is not finite."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return next((bad for bad in map(_first_bad, value) if bad is not None), None)
    array = np.asarray(value)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return float(array[~np.isfinite(array)].ravel()[0])


def _without_bad(value: Any) -> Any:
    """A nested value with 0 for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: _without_bad(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_without_bad(part) for part in value)
    array = np.asarray(value)
    if array.dtype.kind not in "fc":
        return value
    return np.where(np.isfinite(array), array, 0).astype(array.dtype)[()]
