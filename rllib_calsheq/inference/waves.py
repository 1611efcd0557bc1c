"""The set of profiles that explain the targets, found in waves (history matching).

The first wave is simulated at profiles from the prior; an emulator of it says which of them could
explain the targets, and the next wave is simulated there. So the emulator gets better where it
matters. Its own errors count: a profile is ruled out only if no error explains its misses.

Outcomes are in their scales here. Shapes: f parameters, N outcomes, K targets, M profiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.emulator import Emulator
from rllib_calsheq.inference.errors import GaussianMisses, TargetErrors
from rllib_calsheq.inference.prior import BoxPrior
from rllib_calsheq.inference.sampling import ENSEMBLES, Draws, sample

#: By how much the first wave's log-likelihood is divided, so that little is ruled out too early;
#: half as much in each wave after it.
FIRST_TEMPERATURE = 4.0
#: Waves, the last among them, that an emulator is fitted to. The first one counts a little in all
#: of them: an emulator that knew nothing of the rest of the box would rule nothing out there.
MEMORY, FIRST_WEIGHT = 2, 0.02
#: Part of the steps that walkers take between waves.
BETWEEN = 0.4
#: Largest implausibility of a profile that is not ruled out (three standard deviations).
PLAUSIBLE = 3.0
#: Numbers of designs: waves from 0, those that judge them from this on, and that of re-learning.
JUDGES, RELEARNING = 1000, 2000


class Simulator(Protocol):
    """What plays episodes at profiles."""

    def simulate(
        self, name: str, number: int, design: Callable[[], FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Profiles (E, f) of a design, unit cube, and outcomes (E, N) of one episode at each.

        Args:
            name: Name of the design.
            number: Its number, which the random numbers depend on.
            design: Makes the profiles; it need not be called if they were made before.
        """


@dataclass(frozen=True, eq=False)
class Question:
    """What is to be explained.

    Attributes:
        prior: What is believed of the f parameters.
        index: Which outcomes the targets are of, (K,).
        values: The targets in scales, (K,).
        scales: Scales of all outcomes, (N,).
        low, high: Bounds of all outcomes in scales, (N,).
        observation: Standard deviation of each target as observed, in scales, (K,).
        stated: Whether that is a known standard error, (K,).
    """

    prior: BoxPrior
    index: npt.NDArray[np.intp]
    values: FloatArray
    scales: FloatArray
    low: FloatArray
    high: FloatArray
    observation: FloatArray
    stated: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Lag:
    """What training the shared policy on changes over the set, in scales.

    Attributes:
        shift: Mean change of each outcome, (N,).
        deviation: Standard deviation of the change between profiles, over noise, (N,).
        profiles: R, at how many it was measured.
    """

    shift: FloatArray
    deviation: FloatArray
    profiles: int

    @classmethod
    def of(cls, before: FloatArray, after: FloatArray) -> Lag:
        """From outcomes (R, E, N) at R profiles, before and after."""
        changes = np.nanmean(after - before, axis=1)
        noise = np.nanvar(after - before, axis=1).mean(axis=0) / before.shape[1]
        between = changes.var(axis=0, ddof=1) if len(changes) > 1 else np.zeros(changes.shape[1])
        deviation = np.sqrt(np.maximum(between - noise, 0.0))
        # The mean change is itself known from few profiles only.
        unsure = np.sqrt((np.square(deviation) + noise) / len(changes))
        return cls(changes.mean(axis=0), np.hypot(deviation, unsure), len(changes))


@dataclass(frozen=True, eq=False)
class Set:
    """What explains the targets, as far as an emulator can tell.

    Attributes:
        question: What was asked.
        emulator: Of all N outcomes, in scales.
        errors: Of the targets.
        draws: Draws of the posterior.
    """

    question: Question
    emulator: Emulator
    errors: TargetErrors
    draws: Draws

    @cached_property
    def _targets(self) -> Emulator:
        return self.emulator.only(self.question.index)

    @cached_property
    def _misses(self) -> GaussianMisses:
        return GaussianMisses(self.question.values, self.errors)

    def log_posterior(self, profiles: FloatArray, temperature: float = 1.0) -> FloatArray:
        """Log-density (M,) of profiles (M, f) in the unit cube, up to a constant."""
        likelihood = self._misses.log_likelihood(*self._targets.mean_and_leverage(profiles))
        return np.asarray(self.question.prior.log_density(profiles) + likelihood / temperature)

    def implausibility(self, profiles: FloatArray) -> FloatArray:
        """Misses (M, K) of profiles (M, f) in standard deviations of all errors."""
        means, leverage = self._targets.mean_and_leverage(profiles)
        variance = np.diag(self.errors.fixed) + leverage[:, None] * np.diag(self.errors.residuals)
        return np.asarray((means - self.question.values) / np.sqrt(variance))

    def squares(self, profiles: FloatArray) -> FloatArray:
        """Squared Mahalanobis distances (M,) of all targets together."""
        return self._misses.squares(*self._targets.mean_and_leverage(profiles))

    def best(self) -> FloatArray:
        """The draw (f,) that explains the targets best."""
        profiles = self.draws.profiles
        return np.asarray(profiles[int(self.squares(profiles).argmin())])

    def given_up(self, profiles: FloatArray) -> FloatArray:
        """Squared implausibilities (M,), of which no target counts for more than `PLAUSIBLE`."""
        squares = np.square(self.implausibility(profiles))
        return np.asarray(np.minimum(squares, PLAUSIBLE**2).sum(axis=1))


def explore(
    question: Question,
    simulator: Simulator,
    config: InferenceConfig,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Set, Emulator]:
    """Finds the set in waves.

    Args:
        question: What is to be explained.
        simulator: What plays episodes.
        config: What is asked for.
        progress: Called with a line a wave.

    Returns:
        The set, and the emulator of the first wave, which knows the whole prior.
    """
    prior, profiles, outcomes = question.prior, [], []
    rng = stream_rng(Stream.DESIGNS, config.seed, 0)
    source = prior.draw(max(config.episodes + config.held_out, 2), rng)
    first: Emulator | None = None
    found: Set | None = None
    for w in range(config.waves):
        rng = stream_rng(Stream.DESIGNS, config.seed, w + 1)
        order = rng.permutation(len(source))

        def wave(order=order, source=source) -> FloatArray:  # type: ignore[no-untyped-def]
            return source[np.resize(order[config.held_out :], config.episodes)]

        def judges(order=order, source=source) -> FloatArray:  # type: ignore[no-untyped-def]
            return np.repeat(source[order[: config.held_out]], config.held_out_episodes, axis=0)

        seen, came = simulator.simulate(f"wave-{w}", w, wave)
        profiles.append(seen)
        outcomes.append(came / question.scales)
        at, means = simulator.simulate(f"judges-{w}", JUDGES + w, judges)
        used = sorted({0, *range(max(w + 1 - MEMORY, 0), w + 1)})
        first_counts = 1.0 if w < MEMORY else FIRST_WEIGHT
        emulator = Emulator.fit(
            np.concatenate([profiles[i] for i in used]),
            np.concatenate([outcomes[i] for i in used]),
            question.low,
            question.high,
            np.concatenate([np.full(len(profiles[i]), 1.0 if i else first_counts) for i in used]),
        )
        repeats = (config.held_out, config.held_out_episodes, -1)
        emulator = emulator.judged(
            at.reshape(repeats)[:, 0],
            _means((means / question.scales).reshape(repeats)),
            config.held_out_episodes,
        )
        first = first or emulator
        temperature = max(1.0, FIRST_TEMPERATURE / 2**w)
        found = draw(question, emulator, None, config, source, w, temperature, final=False)
        source = found.draws.thinned(
            config.episodes + config.held_out, stream_rng(Stream.DESIGNS, config.seed, w + 1, 1)
        )
        progress(_wave_line(w, config.waves, found))
    assert found is not None
    assert first is not None
    return found, first


def draw(
    question: Question,
    emulator: Emulator,
    lag: Lag | None,
    config: InferenceConfig,
    starts: FloatArray,
    number: int,
    temperature: float = 1.0,
    final: bool = True,
) -> Set:
    """The set that an emulator tells, with draws of its posterior.

    Args:
        question: What is to be explained.
        emulator: Of all N outcomes, `judged`.
        lag: What training on changes, which is added; None where it was not measured.
        config: What is asked for.
        starts: Profiles (M, f) that walkers start from.
        number: Key of the random numbers.
        temperature: What the log-likelihood is divided by.
        final: Whether the draws are the answer, and not only where the next wave is simulated.
    """
    if lag is not None:
        emulator = emulator.shifted(lag.shift)
    targets = emulator.only(question.index)
    K = len(question.values)
    leverage = targets.mean_and_leverage(starts)[1].mean()
    errors = TargetErrors(
        observation=question.observation,
        stated=question.stated,
        simulation=targets.scatter * np.sqrt(leverage),
        emulator=targets.lack_of_fit,
        lag=np.zeros(K) if lag is None else lag.deviation[question.index],
        discrepancy=np.full(K, config.discrepancy),
        residuals=targets.residuals,
    )
    found = Set(question, emulator, errors, Draws(np.empty((0, 0, 0, len(question.prior)))))
    rng = stream_rng(Stream.WALKERS, config.seed, number)
    ensembles, steps = (ENSEMBLES, config.steps) if final else (1, between(config))
    draws = sample(lambda at: found.log_posterior(at, temperature), starts, steps, rng, ensembles)
    return replace(found, draws=draws)


def between(config: InferenceConfig) -> int:
    """Steps of a walker between waves, and on an eligibility set."""
    return max(int(BETWEEN * config.steps), 10)


def predict(
    found: Set, lag: Lag | None, profiles: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Mean outcomes (M, N) at profiles (M, f), in scales, with a draw of the errors of each."""
    means, leverage = found.emulator.mean_and_leverage(profiles)
    variance = np.square(found.emulator.lack_of_fit)
    if lag is not None:
        variance = variance + np.square(lag.deviation)
    deviation = np.sqrt(variance + leverage[:, None] * np.square(found.emulator.scatter))
    return np.asarray(means + deviation * rng.standard_normal(means.shape))


def eligible(found: Set, limit: float, steps: int, rng: np.random.Generator) -> FloatArray | None:
    """Draws (M, f), uniform over profiles whose largest implausibility is at most ``limit``.

    No prior speaks here. None where no draw of the posterior is among them.
    """

    def inside(profiles: FloatArray) -> FloatArray:
        ruled_out = np.abs(found.implausibility(profiles)).max(axis=1) > limit
        return np.where(ruled_out, -np.inf, 0.0)

    return _uniform(inside, found, steps, rng)


def confident(found: Set, limit: float, steps: int, rng: np.random.Generator) -> FloatArray | None:
    """The same for profiles whose squared Mahalanobis distance is at most ``limit``."""

    def inside(profiles: FloatArray) -> FloatArray:
        return np.where(found.squares(profiles) > limit, -np.inf, 0.0)

    return _uniform(inside, found, steps, rng)


def closest(found: Set, steps: int, rng: np.random.Generator) -> FloatArray:
    """The profile (f,) that meets as many targets as can be met together, and these best.

    The best draw serves all targets a little where one cannot be met; this one gives that one up.
    """
    starts = found.draws.profiles
    if found.given_up(found.best()[None])[0] < PLAUSIBLE**2:
        return found.best()
    wide = np.concatenate([found.draws.thinned(100, rng), found.question.prior.draw(100, rng)])
    tried = sample(lambda at: -0.5 * found.given_up(at), wide, steps, rng, 1).profiles
    tried = np.concatenate([tried, starts])
    return np.asarray(tried[int(found.given_up(tried).argmin())])


def _uniform(
    inside: Callable[[FloatArray], FloatArray], found: Set, steps: int, rng: np.random.Generator
) -> FloatArray | None:
    profiles = found.draws.profiles
    starts = profiles[np.isfinite(inside(profiles))]
    return sample(inside, starts, steps, rng, 1).profiles if len(starts) else None


def _means(values: FloatArray) -> FloatArray:
    """Means over the middle axis of (M, E, N), NaN where nothing happened in any episode."""
    happened = ~np.isnan(values)
    count = happened.sum(axis=1)
    total = np.where(happened, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _wave_line(w: int, waves: int, found: Set) -> str:
    spread = found.draws.profiles.std(axis=0) / found.question.prior.deviations
    error = np.hypot(found.errors.emulator, found.errors.simulation).max()
    return (
        f"wave {w + 1}/{waves}: the emulator is off by up to {error:.2g} scales; the set's spread "
        f"is {spread.min():.2f} to {spread.max():.2f} of the prior's"
    )
