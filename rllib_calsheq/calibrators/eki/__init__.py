"""Ensemble Kalman inversion."""

from rllib_calsheq.calibrators.eki.config import EKIConfig
from rllib_calsheq.calibrators.entry import Entry

ENTRIES = (
    Entry(
        "eki",
        f"{__name__}.calibrator.EKICalibrator",
        label="ensemble Kalman inversion (eki)",
        colour="#56b4e9",
        config_class=EKIConfig,
        order=15,
    ),
)
