"""The quick answer: simulated moments at the calibrated profile, linearly.

The covariance (JᵀWJ)⁻¹JᵀWΩWJ(JᵀWJ)⁻¹ of an estimate by the method of simulated moments, with the
slopes J of the emulator, the weights W = Ω⁻¹ and the covariance Ω of all errors, and its J
statistic. Where there are more parameters than targets JᵀWJ has no inverse, so that only directions
have standard errors: those that the targets inform.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import chi2

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.inference.emulator import Emulator
from rllib_calsheq.inference.errors import TargetErrors

#: A direction counts as informed if a move over the whole range of its parameters moves the targets
#: by so many standard deviations at least.
INFORMED = 1.0
#: Part of its axis in informed directions from which a parameter has a standard error of its own.
MOSTLY = 0.5


def simulated_moments(
    emulator: Emulator, profile: FloatArray, values: FloatArray, errors: TargetErrors
) -> dict[str, Any]:
    """Standard errors and J statistic at a profile.

    Args:
        emulator: Of the K targets, in scales.
        profile: The profile (f,) in the unit cube.
        values: The targets (K,) in scales.
        errors: Their errors.

    Returns:
        ``rank`` of the informed directions, their ``stderr`` in units of the range, ``j`` with its
        ``degrees`` of freedom and ``p_value`` (None without any), and the unit cube's
        ``parameter_stderr``: None where a parameter lies in no informed direction alone.
    """
    K = len(values)
    slopes = emulator.slopes(profile)
    mean, leverage = emulator.mean_and_leverage(profile[None])
    covariance = errors.fixed + leverage[0] * errors.residuals
    weights = np.linalg.pinv(covariance, hermitian=True)
    root = np.linalg.cholesky(weights + 1e-12 * np.trace(weights) / K * np.eye(K))
    _, singular, vectors = np.linalg.svd(root.T @ slopes, full_matrices=False)
    informed = singular > INFORMED
    rank = int(informed.sum())
    miss = mean[0] - values
    j = float(miss @ weights @ miss)
    degrees = K - rank
    part = np.square(vectors[informed]).sum(axis=0)
    stderr = np.sqrt(
        (np.square(vectors[informed]) / np.square(singular[informed])[:, None]).sum(axis=0)
    )
    return {
        "rank": rank,
        "stderr": (1.0 / singular[informed]).tolist(),
        "parameter_stderr": [
            float(s) if p > 0.5 else None for s, p in zip(stderr, part, strict=True)
        ],
        "j": j,
        "degrees": degrees,
        "p_value": float(chi2.sf(j, degrees)) if degrees > 0 else None,
    }
