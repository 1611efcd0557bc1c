"""What can be wrong between a target and a predicted mean outcome, each source apart.

All in scales of the targets. Shapes: K targets, M profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: A covariance's least eigenvalue, as a part of its mean variance, so that it can be inverted.
LEAST_EIGENVALUE = 1e-9


@dataclass(frozen=True, eq=False)
class TargetErrors:
    """Standard deviations of the errors of targets, in their scales, and what goes together.

    Attributes:
        observation: Of the targets as observed, (K,).
        stated: Whether that is a known standard error and not the target's scale, (K,).
        simulation: Of the emulated means, for the noise of finitely many episodes, (K,).
        emulator: Of the emulated means, for their lack of fit, (K,).
        lag: Of what the shared policy, trained on at a profile, would change, (K,).
        discrepancy: Of what the model leaves out, as the user says, (K,).
        residuals: Covariance of single episodes' outcomes, (K, K).
    """

    observation: FloatArray
    stated: npt.NDArray[np.bool_]
    simulation: FloatArray
    emulator: FloatArray
    lag: FloatArray
    discrepancy: FloatArray
    residuals: FloatArray

    @property
    def total(self) -> FloatArray:
        """All of them together, (K,)."""
        parts = (self.observation, self.simulation, self.emulator, self.lag, self.discrepancy)
        return np.asarray(np.sqrt(sum(np.square(part) for part in parts)))

    @cached_property
    def fixed(self) -> FloatArray:
        """Covariance (K, K) of all but the simulation's error, which depends on the profile.

        Known observation errors are correlated as the outcomes of one episode are: who observed
        outcomes observed them together. All others are independent.
        """
        scatter = np.sqrt(np.maximum(np.diag(self.residuals), 1e-300))
        known = np.where(self.stated, self.observation, 0.0)
        together = self.residuals / np.outer(scatter, scatter) * np.outer(known, known)
        np.fill_diagonal(together, 0.0)
        alone = np.square(self.total) - np.square(self.simulation)
        return np.asarray(together + np.diag(alone))


def observation_errors(
    targets: TargetSet, standard_errors: Mapping[str, float]
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Standard deviation (K,) of each target as observed, in scales, and whether it is known (K,).

    Args:
        targets: The targets.
        standard_errors: Those that the target file states; the scale of the others counts.
    """
    given = np.array([standard_errors.get(t.outcome, np.nan) for t in targets.targets])
    known = given > 0
    return np.where(known, given / targets.scales, 1.0), known


class GaussianMisses:
    """Log-likelihood of targets, whose error's covariance is fixed + leverage · residuals.

    Args:
        values: The targets, (K,), in scales.
        errors: Their errors.
    """

    def __init__(self, values: FloatArray, errors: TargetErrors) -> None:
        self._values = values
        eigenvalues, vectors = np.linalg.eigh(_regular(errors.fixed))
        whiten = vectors / np.sqrt(eigenvalues)
        # Both covariances are diagonal in these coordinates.
        inner = whiten.T @ errors.residuals @ whiten
        self._noise, rotation = np.linalg.eigh(inner)
        self._noise = np.maximum(self._noise, 0.0)
        self._project = whiten @ rotation

    def squares(self, means: FloatArray, leverage: FloatArray) -> FloatArray:
        """Squared Mahalanobis distances (M,) of means (M, K) with leverages (M,)."""
        variance = 1.0 + leverage[:, None] * self._noise
        return np.asarray(
            (np.square((means - self._values) @ self._project) / variance).sum(axis=1)
        )

    def log_likelihood(self, means: FloatArray, leverage: FloatArray) -> FloatArray:
        """Log-likelihood (M,), up to a constant."""
        variance = 1.0 + leverage[:, None] * self._noise
        return np.asarray(-0.5 * (self.squares(means, leverage) + np.log(variance).sum(axis=1)))


def _regular(covariance: FloatArray) -> FloatArray:
    """A covariance (K, K) that can be inverted."""
    mean = float(np.trace(covariance)) / len(covariance)
    return covariance + max(LEAST_EIGENVALUE * mean, 1e-300) * np.eye(len(covariance))
