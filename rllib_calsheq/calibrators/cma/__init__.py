"""CMA-ES, from the `cma` package."""

from rllib_calsheq.calibrators.cma.config import CMAConfig
from rllib_calsheq.calibrators.entry import Entry

ENTRIES = (
    Entry(
        "cma",
        f"{__name__}.calibrator.CMACalibrator",
        label="CMA-ES (cma)",
        colour="#009e73",
        config_class=CMAConfig,
        order=20,
    ),
)
