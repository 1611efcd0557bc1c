"""Draws from a density over the unit cube, by ensembles of walkers (emcee).

Walkers move in logits, in which the cube has no walls. Several ensembles start apart, so that their
agreement (split R̂) says something.

Shapes: M profiles, f coordinates, C ensembles, W walkers of each, S kept steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, logit

from rllib_calsheq.core.supertypes import FloatArray

#: Log-density (M,), up to a constant, of profiles (M, f) in the unit cube.
LogDensity = Callable[[FloatArray], FloatArray]

ENSEMBLES = 4
#: Walkers of an ensemble for each coordinate, and at least.
WALKERS_PER_COORDINATE, LEAST_WALKERS = 3, 16
#: First part of all steps, which is left out.
WARM_UP = 0.4
#: Logits beyond this are where the cube's wall is.
LARGEST_LOGIT = 12.0


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws from a density over the unit cube.

    Attributes:
        chains: The draws, (C, S, W, f).
    """

    chains: FloatArray

    @property
    def profiles(self) -> FloatArray:
        """All draws, (C · S · W, f)."""
        return self.chains.reshape(-1, self.chains.shape[-1])

    def effective_size(self) -> FloatArray:
        """Effective number of draws of each coordinate, (f,): all over their autocorrelation."""
        from emcee.autocorr import integrated_time  # type: ignore[import-untyped]

        C, S, W, _ = self.chains.shape
        times = np.stack([integrated_time(chain, tol=0, quiet=True) for chain in self.chains])
        return np.asarray(C * S * W / np.maximum(np.nan_to_num(times, nan=S), 1.0).mean(axis=0))

    def split_r_hat(self) -> FloatArray:
        """Split R̂ of each coordinate, (f,): 1 where the ensembles' halves agree."""
        C, S, W, f = self.chains.shape
        half = S // 2
        parts = self.chains[:, : 2 * half].reshape(C * 2, half * W, f)
        within = parts.var(axis=1, ddof=1).mean(axis=0)
        means = parts.mean(axis=1)
        # An ensemble's walkers stand for one chain: its mean has the error of few draws.
        between = means.var(axis=0, ddof=1)
        return np.asarray(np.sqrt(1.0 + between / np.maximum(within, 1e-300)))

    def thinned(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Some draws (count, f), at random without repetition while there are enough."""
        profiles = self.profiles
        return profiles[rng.choice(len(profiles), count, replace=len(profiles) < count)]


def sample(
    log_density: LogDensity,
    starts: FloatArray,
    steps: int,
    rng: np.random.Generator,
    ensembles: int = ENSEMBLES,
) -> Draws:
    """Samples a density over the unit cube.

    Args:
        log_density: The density there, with respect to the cube's volume.
        starts: Profiles (M, f) that the walkers' starts are drawn from; of a broad spread.
        steps: Steps of each walker, those of the warm-up included.
        rng: Generator of everything.
        ensembles: C.

    Raises:
        ValueError: If emcee is missing.
    """
    try:
        from emcee import EnsembleSampler  # type: ignore[import-untyped]
        from emcee.moves import (  # type: ignore[import-untyped]
            DEMove,
            DESnookerMove,
            StretchMove,
        )
    except ImportError:
        raise ValueError(
            "inference needs emcee, which is not installed: pip install 'rllib-calsheq[infer]'"
        ) from None

    f = starts.shape[1]
    walkers = max(LEAST_WALKERS, 2 * (WALKERS_PER_COORDINATE * f // 2 + 1))

    def density(logits: FloatArray) -> FloatArray:
        # The density of logits is that of the profile times Λ (1 − Λ) for each coordinate.
        volume = (log_expit(logits) + log_expit(-logits)).sum(axis=1)
        return log_density(expit(logits)) + volume

    chains = []
    for _ in range(ensembles):
        chosen = starts[rng.choice(len(starts), walkers, replace=len(starts) < walkers)]
        first = np.clip(logit(np.clip(chosen, 1e-5, 1 - 1e-5)), -LARGEST_LOGIT, LARGEST_LOGIT)
        first = first + 1e-3 * rng.standard_normal(first.shape)
        moves = [(DEMove(), 0.75), (DESnookerMove(), 0.1), (StretchMove(), 0.15)]
        sampler = EnsembleSampler(walkers, f, density, moves=moves, vectorize=True)
        state = np.random.RandomState(rng.integers(2**32))
        sampler.random_state = state.get_state()
        sampler.run_mcmc(first, steps, skip_initial_state_check=True)
        kept = sampler.get_chain(discard=int(WARM_UP * steps))
        chains.append(expit(kept))
    return Draws(np.stack(chains))
