"""Playing the market with fixed quotes, and what comes of it."""

import numpy as np

from rllib_calsheq.envs import MarketConfig

from recording_market import RecordingMarket

NO_QUOTE = 1.0
#: Deviations beyond which a sampled frequency counts as wrong.
SIGMAS = 4.5


def make(**fields):
    return RecordingMarket(MarketConfig(**fields))


def profile_of(market, connection=0.5, tolerance=0.0, variance=0.0, **named):
    """A profile (d,) with the same value for every probability and both tolerances."""
    space = market.supertype_space
    values = {name: connection for name in space.names if ".connection_" in name}
    values["supertype_1.tolerance"] = values["supertype_2.tolerance_mean"] = tolerance
    values["supertype_2.tolerance_variance"] = variance
    return space.from_mapping(values | {k.replace("__", "."): v for k, v in named.items()})


def play(market, profile, episodes, quote, first_seed=0):
    """Plays fixed half-spreads or ``quote(observations)``; returns observations, rewards.

    Shapes: observations (T + 1, E, n, o), rewards (T, E, n).
    """
    profiles = np.broadcast_to(profile, (episodes, len(market.supertype_space)))
    seen = [market.reset(profiles, range(first_seed, first_seed + episodes))]
    earned = []
    shape = (episodes, market.config.num_merchants, 2)
    for _ in range(market.episode_length):
        half_spreads = quote(seen[-1]) if callable(quote) else np.broadcast_to(quote, shape)
        observations, rewards = market.step(2.0 * half_spreads - 1.0)
        seen.append(observations)
        earned.append(rewards)
    return np.array(seen), np.array(earned)


def trades(market):
    """Episode, merchant and quantity of every trade so far."""
    return market.trades()


def outcomes(market):
    """Outcome columns (E,) by name."""
    return {o.name: c for o, c in zip(market.outcomes, market.episode_outcomes().T, strict=True)}


def assert_frequency(count, total, probability):
    deviation = np.sqrt(probability * (1 - probability) / total)
    assert abs(count / total - probability) < SIGMAS * deviation
