"""What is believed of a profile before any target is looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc, truncnorm, uniform

from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.core.supertypes import FloatArray


@dataclass(frozen=True, eq=False)
class BoxPrior:
    """Independent parameters: uniform on the box or, where the user says so, Gaussian inside of it.

    Attributes:
        mean: Means of the Gaussian ones in the unit cube, (f,).
        std: Their standard deviations; NaN for a uniform parameter, (f,).
    """

    mean: FloatArray
    std: FloatArray

    @classmethod
    def of(cls, parameters: ParameterMap) -> BoxPrior:
        """The prior of what a user states of the parameters."""
        f = len(parameters.free)
        if parameters.prior is None:
            return cls(np.full(f, 0.5), np.full(f, np.nan))
        return cls(parameters.prior.mean, parameters.prior.std)

    def __len__(self) -> int:
        return len(self.mean)

    def log_density(self, profiles: FloatArray) -> FloatArray:
        """Log-density (M,) of profiles (M, f) in the unit cube, up to a constant."""
        stated = ~np.isnan(self.std)
        distance = (profiles[:, stated] - self.mean[stated]) / self.std[stated]
        return np.asarray(-0.5 * np.square(distance).sum(axis=1))

    def draw(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Draws (count, f), spread evenly (a scrambled Sobol sequence)."""
        even = qmc.Sobol(len(self), rng=rng).random_base2(int(np.ceil(np.log2(max(count, 2)))))
        return self._quantiles(even[rng.permutation(len(even))[:count]])

    def _quantiles(self, even: FloatArray) -> FloatArray:
        even = np.clip(even, 1e-9, 1 - 1e-9)
        columns = [self._marginal(j).ppf(even[:, j]) for j in range(len(self))]
        return np.stack(columns, axis=1)

    def _marginal(self, j: int):  # type: ignore[no-untyped-def]
        mean, std = self.mean[j], self.std[j]
        if np.isnan(std):
            return uniform()
        return truncnorm((0.0 - mean) / std, (1.0 - mean) / std, loc=mean, scale=std)

    @property
    def deviations(self) -> FloatArray:
        """Standard deviation of each parameter, (f,)."""
        return np.array([self._marginal(j).std() for j in range(len(self))])

    @property
    def in_words(self) -> str:
        """The prior in words."""
        stated = int((~np.isnan(self.std)).sum())
        if not stated:
            return "uniform on the box"
        return f"Gaussian inside the box for {stated} parameters as stated, uniform for the others"
