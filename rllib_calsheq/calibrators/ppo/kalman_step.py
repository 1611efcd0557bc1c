"""The step that a classical optimiser would take: a Bayesian's guess of the profile that fits.

A model that is linear in the profile near Λ predicts the misses m + J δ of Λ + δ, with an
uncertainty that grows away from the profiles that were played. The step is the δ that makes the
expected squared misses smallest, together with a Gaussian prior around Λ_0 that decides what the
targets leave open: the update of a Kalman filter, or a Gauss-Newton step, within the unit cube.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rllib_calsheq.core.supertypes import FloatArray

#: Times that the step is solved for, each with other parameters held at the faces of the cube.
MAX_ACTIVE_SETS = 6
#: Rounds over all parameters afterwards.
SWEEPS = 20


@dataclass(frozen=True)
class LocalModel:
    """What is predicted of M profiles and, to first order, around them.

    Attributes:
        misses: Expected signed misses m in scales, (M, K).
        jacobian: Their derivatives J by the parameters (unit cube), (M, K, d).
        variance_slope: Half the gradient of the variance of a predicted miss, (M, d), in units
            of the variance of one episode's.
        variance_curvature: Half its matrix of second derivatives, (M, d, d).
        noise: Standard deviation of one episode's miss, (K,).
    """

    misses: FloatArray
    jacobian: FloatArray
    variance_slope: FloatArray
    variance_curvature: FloatArray
    noise: FloatArray


def kalman_step(
    profiles: FloatArray,
    model: LocalModel,
    start: FloatArray,
    precision: FloatArray,
    prior_precision: float,
) -> FloatArray:
    """argmin over δ of Σ_k a_k E[(m_k + J_k δ)²] + ρ |Λ + δ − Λ_0|², Λ + δ in the unit cube.

    Args:
        profiles: Λ, (M, d).
        model: The local model at each of them.
        start: Λ_0, (d,).
        precision: a_k, (K,).
        prior_precision: ρ > 0.

    Returns:
        δ, (M, d).
    """
    weighted = model.jacobian * precision[:, None]
    caution = float(precision @ np.square(model.noise))
    curvature = np.swapaxes(weighted, 1, 2) @ model.jacobian + caution * model.variance_curvature
    curvature += prior_precision * np.eye(profiles.shape[1])
    slope = np.einsum("mkd,mk->md", weighted, model.misses) + caution * model.variance_slope
    slope += prior_precision * (profiles - start)
    return _within_cube(curvature, slope, -profiles, 1.0 - profiles)


def _within_cube(
    curvature: FloatArray, slope: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """Minimises ½ δᵀ A δ + bᵀ δ for low ≤ δ ≤ high: (M, d) from A (M, d, d) and b (M, d).

    A parameter that would leave is held at its bound while the others are solved for again; then
    each in turn takes its best value given the others, so that one held for no good reason is let
    go.
    """
    M, d = slope.shape
    step = np.zeros((M, d))
    free = np.ones((M, d), dtype=bool)
    for _ in range(MAX_ACTIVE_SETS):
        both = free[:, :, None] & free[:, None, :]
        held = np.where(free, 0.0, step)
        pull = slope + (curvature @ held[..., None])[..., 0]
        matrix = np.where(both, curvature, np.eye(d))
        step = np.linalg.solve(matrix, np.where(free, -pull, held)[..., None])[..., 0]
        leaves = (step < low) | (step > high)
        step = np.clip(step, low, high)
        if not leaves.any():
            break
        free &= ~leaves
    for _ in range(SWEEPS if not free.all() else 0):
        for i in range(d):
            gradient = slope[:, i] + (curvature[:, i] * step).sum(axis=1)
            moved = step[:, i] - gradient / curvature[:, i, i]
            step[:, i] = np.clip(moved, low[:, i], high[:, i])
    return step
