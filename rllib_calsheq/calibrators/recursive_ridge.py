"""Ridge regression that takes its samples in batches and forgets old ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.linalg

from rllib_calsheq.supertypes import FloatArray


class RecursiveRidge:
    """Weighted ridge regression of several labels; every batch ages all earlier ones.

    Args:
        num_features: p.
        num_labels: L.
        decay: Factor on the weight of all earlier samples at each batch, in (0, 1].
        ridge: Penalty on the squared coefficients, in units of samples.
    """

    def __init__(self, num_features: int, num_labels: int, decay: float, ridge: float) -> None:
        self.gram: npt.NDArray = np.zeros((num_features, num_features))
        self.moments: npt.NDArray = np.zeros((num_features, num_labels))
        self.coefficients: npt.NDArray = np.zeros((num_features, num_labels))
        self._decay = decay
        self._ridge = ridge

    def update(self, features: FloatArray, labels: FloatArray) -> None:
        """Adds samples, features (M, p) and labels (M, L), and fits again."""
        self.gram = self._decay * self.gram + features.T @ features
        self.moments = self._decay * self.moments + features.T @ labels
        self.coefficients = solve_ridge(self.gram, self._ridge, self.moments)

    def predict(self, features: npt.NDArray) -> npt.NDArray:
        """Expected labels (M, L) of features (M, p), in the features' precision."""
        return np.asarray(features @ self.coefficients.astype(features.dtype, copy=False))

    def state_dict(self) -> dict[str, npt.NDArray]:
        """All that was learned, as arrays."""
        return {"gram": self.gram.copy(), "moments": self.moments.copy()}

    def load_state_dict(self, state: dict[str, npt.NDArray]) -> None:
        """Restores what `state_dict` gave."""
        self.gram, self.moments = np.array(state["gram"]), np.array(state["moments"])
        self.coefficients = solve_ridge(self.gram, self._ridge, self.moments)


def solve_ridge(gram: FloatArray, ridge: float, moments: FloatArray) -> FloatArray:
    """Coefficients of a ridge regression, shape of ``moments``."""
    penalised = gram.copy()
    penalised.flat[:: len(gram) + 1] += ridge
    # The sizes are checked, and so is that the outcomes are finite.
    factor = scipy.linalg.cho_factor(penalised, overwrite_a=True, check_finite=False)
    return np.asarray(scipy.linalg.cho_solve(factor, moments, check_finite=False))
