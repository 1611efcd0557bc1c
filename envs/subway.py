"""A city whose inhabitants take the subway or drive (the paper's introduction).

A second, tiny implementation of the protocol. An inhabitant's type is its distance to
work; its supertype is where it lives: the *suburbs* (far, spread out) or *inside* the city
(near). Each day everyone picks the subway (action 1) or the car (action 0). Driving takes
longer the more people drive; the subway takes a fixed time plus a walk. The calibrated
profile is the mean distance of each supertype, and the outcomes are how often each of them
takes the subway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from pydantic import Field

from rllib_calsheq.core.configuration import Count, configuration, from_mapping
from rllib_calsheq.core.memory import require_memory
from rllib_calsheq.core.supertypes import FloatArray, Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome
from rllib_calsheq.envs.one_episode import OneEpisodeEnv

SUBURBS, INSIDE = "suburbs", "inside"
SUBWAY = 1

#: Times and distances of a city that somebody could live in; far below what overflows.
Size = Annotated[float, Field(ge=0, le=100)]
#: A shock of exp(3) is a car that takes twenty times as long.
Noise = Annotated[float, Field(ge=0, le=3)]


@configuration
class SubwayConfig:
    """The city's fields. Times are in units of an hour, distances in 10 km.

    Attributes:
        num_suburbs: Inhabitants that live in the suburbs.
        num_inside: Inhabitants that live inside the city.
        episode_length: Days in an episode.
        distance_spread: Standard deviation of an inhabitant's distance round its
            supertype's mean.
        subway_walk: Time to and from the subway, whatever the distance.
        subway_pace: Time of the subway for a unit of distance.
        car_pace: Time of a car for a unit of distance on an empty road.
        congestion: How much slower the car is when everyone drives, as a factor on top.
        time_noise: Standard deviation of a day's shock to the car's pace.
        supertypes: ``{parameter: value}`` of the start Λ_0; the middle of its range for
            every parameter that is left out.
    """

    num_suburbs: Count = 6
    num_inside: Count = 4
    episode_length: Count = 20
    distance_spread: Size = 0.3
    subway_walk: Size = 0.5
    subway_pace: Size = 0.6
    car_pace: Size = 0.5
    congestion: Size = 2.0
    time_noise: Noise = 0.1
    supertypes: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # Before anything is built that grows with these numbers.
        require_memory(
            self.episode_bytes,
            f"one episode of a city with num_suburbs = {self.num_suburbs}, num_inside = "
            f"{self.num_inside} and episode_length = {self.episode_length}",
            "one of these",
        )

    @property
    def episode_bytes(self) -> float:
        """Memory that one episode takes as arrays, in bytes, about."""
        # Distances, rides, observations and what a step makes of them; each day's noise, twice.
        return 100.0 * (float(self.num_suburbs) + self.num_inside) + 16.0 * self.episode_length


class ArraySubway:
    """E episodes of the city as arrays; shapes as in `rllib_calsheq.core.protocol.ArrayEnv`."""

    def __init__(self, config: SubwayConfig | None = None) -> None:
        self.config = config = config or SubwayConfig()
        self.supertype_space = SupertypeSpace(
            (
                Parameter("mean_distance", SUBURBS, 0.0, 3.0),
                Parameter("mean_distance", INSIDE, 0.0, 3.0),
            )
        ).with_start(config.supertypes)
        self.outcomes = tuple(
            Outcome(
                f"{s}.subway_rate",
                0.1,
                "fraction of days on which its people take the subway",
                low=0.0,
                high=1.0,
            )
            for s in (SUBURBS, INSIDE)
        )
        self.agent_supertypes = (SUBURBS,) * config.num_suburbs + (INSIDE,) * config.num_inside
        self.episode_length = config.episode_length
        self.episode_bytes = config.episode_bytes
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space: gym.Space = gym.spaces.Discrete(2)
        self._group = np.array([s == INSIDE for s in self.agent_supertypes], dtype=np.intp)

    def reset(self, profiles: npt.ArrayLike, seeds: Sequence[int]) -> npt.NDArray[np.float32]:
        """Draws every inhabitant's distance; observations are (distance, day / T)."""
        profiles = self.supertype_space.validate(profiles)
        if profiles.shape != (len(seeds), len(self.supertype_space)):
            raise ValueError(
                f"{len(seeds)} seeds need as many profiles, not shape {profiles.shape}"
            )
        rngs = [np.random.default_rng(seed) for seed in seeds]
        spread = self.config.distance_spread
        shocks = np.stack([rng.standard_normal(len(self._group)) for rng in rngs])
        self._distance = np.maximum(profiles[:, self._group] + spread * shocks, 0.0)
        days = self.config.episode_length
        self._noise = np.stack([rng.standard_normal(days) for rng in rngs]) * self.config.time_noise
        self._rides = np.zeros_like(self._distance)
        self._t = 0
        return self._observe()

    def step(
        self, actions: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """One day: actions (E, n) of 0 (car) or 1 (subway); the reward is minus the time."""
        cfg = self.config
        if self._t >= cfg.episode_length:
            raise RuntimeError("the episodes are over: call reset() before step()")
        if np.shape(actions) != self._rides.shape:
            raise ValueError(
                f"actions must have shape {self._rides.shape}, but have {np.shape(actions)}"
            )
        if not np.isin(actions, (0, SUBWAY)).all():
            raise ValueError("an action is neither 0 (car) nor 1 (subway)")
        rides = np.asarray(actions) == SUBWAY
        drivers = 1.0 - rides.mean(axis=1, keepdims=True)
        pace = cfg.car_pace * np.exp(self._noise[:, self._t, None]) * (1 + cfg.congestion * drivers)
        subway_time = cfg.subway_walk + cfg.subway_pace * self._distance
        time = np.where(rides, subway_time, pace * self._distance)
        self._rides += rides
        self._t += 1
        return self._observe(), (-time).astype(np.float32)

    def _observe(self) -> npt.NDArray[np.float32]:
        day = np.full_like(self._distance, self._t / self.config.episode_length)
        return np.stack([self._distance, day], axis=-1).astype(np.float32)

    def episode_outcomes(self) -> FloatArray:
        """Fraction of days that each supertype's inhabitants took the subway, (E, 2)."""
        rate = self._rides / max(self._t, 1)
        return np.stack([rate[:, self._group == g].mean(axis=1) for g in (0, 1)], axis=1)


class SubwayEnv(OneEpisodeEnv):
    """The city as a `MultiAgentEnv`; agents are ``inhabitant_1`` .. ``inhabitant_n``."""

    agent_name = "inhabitant"

    @classmethod
    def array_form(cls, config: Mapping[str, Any] | SubwayConfig | None = None) -> ArraySubway:
        """The city's array form for an environment configuration."""
        return ArraySubway(from_mapping(SubwayConfig, config, "the subway"))
