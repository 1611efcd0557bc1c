"""How much of a payoff matrix is transitive and how much goes round in circles.

A measure beside Assumption 1, which knows only yes and no. With ``payoff[y, x] = u(y, x)``, the
gains u(y, x) − u(x, x) are split into three parts that are orthogonal in the Frobenius norm:

    gains = transitive + cyclic + mutual.

*Transitive* is f_y − f_x with one number a policy. *Cyclic* is antisymmetric with rows that sum to
0, such as rock-paper-scissors; it is at the same time the cyclic part of (payoff − payoffᵀ) / 2 in
the Hodge decomposition of Balduzzi et al. (2019), the paper's reference [3], since the diagonal of
the payoffs changes the transitive part alone. *Mutual* is symmetric: what both y and x gain against
a population of the other, as where it pays to be different (positive) or alike (negative). In a
zero-sum game it is 0.

Without a cyclic part and with no positive mutual one, Assumption 1 holds with T = f and δ_ε = ε.
The converse is false: a monotonic game σ(t(x) − t(y)) with a curved σ mostly has a cyclic part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.transitivity import gains, square


@dataclass(frozen=True, eq=False)
class GainDecomposition:
    """The parts of a matrix of gains; all are (m, m) but ``skill``.

    Attributes:
        skill: f, (m,), with mean 0: a candidate for T.
        transitive: f_y − f_x.
        cyclic: Antisymmetric, rows sum to 0.
        mutual: Symmetric.
    """

    skill: FloatArray
    transitive: FloatArray
    cyclic: FloatArray
    mutual: FloatArray

    @property
    def shares(self) -> dict[str, float]:
        """Each part's share of the squared norm of the gains; all 0 if there are no gains."""
        norms = {
            name: float((getattr(self, name) ** 2).sum())
            for name in ("transitive", "cyclic", "mutual")
        }
        total = sum(norms.values())
        return {name: norm / total if total else 0.0 for name, norm in norms.items()}


def decompose(payoff: npt.ArrayLike) -> GainDecomposition:
    """Splits the gains of a payoff matrix.

    Args:
        payoff: u(y, x), (m, m).

    Raises:
        ValueError: If ``payoff`` is not a square matrix of finite numbers.
    """
    gain = gains(payoff)
    mutual, antisymmetric = (gain + gain.T) / 2, (gain - gain.T) / 2
    skill = antisymmetric.mean(axis=1)
    transitive = skill[:, None] - skill
    return GainDecomposition(skill, transitive, antisymmetric - transitive, mutual)


def cyclic_p_value(payoff: npt.ArrayLike, noise: npt.ArrayLike) -> float:
    """How often noise alone shows a cyclic part as large as the measured one.

    Noise always looks cyclic to some degree, and the more so the more policies there are. The
    cyclic part is linear in the payoffs, so that without a true one it is that of the noise.

    Args:
        payoff: Measured u(y, x), (m, m).
        noise: Draws of the noise of all entries, (D, m, m), as `independent_noise` or
            `episode_noise` makes them. The result is at least 1 / (D + 1).

    Returns:
        A p-value: small where the cyclic part is beyond noise.

    Raises:
        ValueError: If shapes differ.
    """
    payoff = square(payoff, "payoff")
    draws = np.asarray(noise, dtype=np.float64)
    if draws.ndim != 3 or draws.shape[1:] != payoff.shape:
        raise ValueError(
            f"noise has shape {draws.shape} for payoffs of shape {payoff.shape}; give one matrix "
            "of the payoffs' shape a draw"
        )
    measured = np.linalg.norm(decompose(payoff).cyclic)
    larger = sum(np.linalg.norm(decompose(draw).cyclic) >= measured for draw in draws)
    return float(1 + larger) / (1 + len(draws))


def independent_noise(
    errors: npt.ArrayLike, rng: np.random.Generator, draws: int = 2000
) -> FloatArray:
    """Normal noise (draws, m, m) of payoffs that were measured independently of each other.

    Args:
        errors: Standard error of each entry, (m, m).
        rng: Source of the draws.
        draws: Number of draws.

    Raises:
        ValueError: If an error is negative or not finite.
    """
    errors = square(errors, "errors")
    errors = standard_errors(errors, errors, "errors")
    return errors * rng.standard_normal((draws, *errors.shape))


def episode_noise(
    samples: npt.ArrayLike, rng: np.random.Generator, draws: int = 2000
) -> FloatArray:
    """Bootstrap noise (draws, m, m) of means over episodes that all entries share.

    Args:
        samples: Payoffs, or gains, in each episode, (E, m, m).
        rng: Source of the draws.
        draws: Number of draws.
    """
    values = np.asarray(samples, dtype=np.float64)
    E = len(values)
    centred = (values - values.mean(axis=0)).reshape(E, -1)
    weights = rng.multinomial(E, np.full(E, 1 / E), draws) / E
    return np.asarray((weights @ centred).reshape(draws, *values.shape[1:]))


def standard_errors(errors: npt.ArrayLike, of: FloatArray, what: str) -> FloatArray:
    """``errors`` as floats, or a ValueError unless there is one >= 0 for each entry of ``of``."""
    array = np.asarray(errors, dtype=np.float64)
    if array.shape != of.shape or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(
            f"{what} has shape {array.shape} for values of shape {of.shape}; give one finite "
            "standard error >= 0 for each value"
        )
    return array
