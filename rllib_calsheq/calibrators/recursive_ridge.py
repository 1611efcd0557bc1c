"""Ridge regression that takes its samples in batches and forgets old ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import scipy.linalg

from rllib_calsheq.core.supertypes import FloatArray


class RecursiveRidge:
    """Weighted ridge regression of several labels; every batch ages all earlier ones.

    A label that is NaN is left out of its sample. Labels that were always known together share one
    Gram matrix; one whose samples differ gets another, so that it costs only where it must.

    Args:
        num_features: p.
        num_labels: L.
        decay: Factor on the weight of all earlier samples at each batch, in (0, 1].
        ridge: Penalty on the squared coefficients, in units of samples.
    """

    def __init__(self, num_features: int, num_labels: int, decay: float, ridge: float) -> None:
        #: Gram matrices (H, p, p), and which of them each label has (L,).
        self.grams: npt.NDArray = np.zeros((1, num_features, num_features))
        self.gram_of: npt.NDArray[np.intp] = np.zeros(num_labels, dtype=np.intp)
        self.moments: npt.NDArray = np.zeros((num_features, num_labels))
        self.coefficients: npt.NDArray = np.zeros((num_features, num_labels))
        self._decay = decay
        self._ridge = ridge

    def update(self, features: FloatArray, labels: FloatArray) -> None:
        """Adds samples, features (M, p) and labels (M, L) or NaN, and fits again."""
        known = ~np.isnan(labels)
        self._split_grams(known)
        self.grams *= self._decay
        for h, gram in enumerate(self.grams):
            seen = known[:, np.argmax(self.gram_of == h)]
            rows = features if seen.all() else features[seen]
            gram += rows.T @ rows
        self.moments = self._decay * self.moments + features.T @ np.where(known, labels, 0.0)
        self._solve()

    def _split_grams(self, known: npt.NDArray[np.bool_]) -> None:
        """Gives labels that are known in other samples than their gram's first one's their own."""
        grams: list[npt.NDArray] = []
        index: dict[tuple[int, bytes], int] = {}
        gram_of = np.empty_like(self.gram_of)
        for label, h in enumerate(self.gram_of):
            key = (int(h), known[:, label].tobytes())
            if key not in index:
                index[key] = len(grams)
                grams.append(self.grams[h])
            gram_of[label] = index[key]
        if len(grams) > len(self.grams):
            self.grams = np.stack(grams)
        self.gram_of = gram_of

    def _solve(self) -> None:
        for h, gram in enumerate(self.grams):
            labels = self.gram_of == h
            self.coefficients[:, labels] = solve_ridge(gram, self._ridge, self.moments[:, labels])

    def predict(self, features: npt.NDArray, labels: slice = slice(None)) -> npt.NDArray:
        """Expected labels (M, L), or some of them, of features (M, p), in these's precision."""
        coefficients = self.coefficients[:, labels]
        return np.asarray(features @ coefficients.astype(features.dtype, copy=False))

    def state_dict(self) -> dict[str, npt.NDArray]:
        """All that was learned, as arrays."""
        return {name: getattr(self, name).copy() for name in ("grams", "gram_of", "moments")}

    def load_state_dict(self, state: Mapping[str, npt.NDArray]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If it was saved before labels could be left out.
        """
        if "grams" not in state:
            raise ValueError(
                "the saved critic is one of an older version of rllib-calsheq, which this one "
                "cannot go on from: use that version, or start the run again"
            )
        for name in self.state_dict():
            setattr(self, name, np.array(state[name]))
        self._solve()


def solve_ridge(gram: FloatArray, ridge: float, moments: FloatArray) -> FloatArray:
    """Coefficients of a ridge regression, shape of ``moments``."""
    # In Fortran's order, so that LAPACK need not make a copy of its own.
    penalised = gram.T.copy(order="F")
    np.fill_diagonal(penalised, penalised.diagonal() + ridge)
    # The sizes are checked, and so is that the outcomes are finite.
    factor = scipy.linalg.cho_factor(penalised, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(scipy.linalg.cho_solve(factor, moments, check_finite=False))
