"""No calibration: the profile stays at Λ_0. The reference that any calibrator must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rllib_calsheq.calibrators.entry import Entry
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.supertypes import FloatArray

ENTRIES = (
    Entry(
        "fixed",
        f"{__name__}.FixedCalibrator",
        label="no calibration (fixed)",
        colour="#555555",
        # It is what all others are compared with.
        order=99,
        needs_targets=False,
    ),
)


class FixedCalibrator(Calibrator):
    """Keeps every particle at Λ_0 and learns nothing."""

    def _propose(self) -> FloatArray:
        return self.profiles

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        return {}
