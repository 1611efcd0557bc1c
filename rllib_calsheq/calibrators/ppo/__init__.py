"""CALSHEQ's own calibrator: a policy of increments, trained by PPO."""

from rllib_calsheq.calibrators.entry import Entry
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig

ENTRIES = (
    Entry(
        "ppo",
        f"{__name__}.calibrator.PPOCalibrator",
        label="CALSHEQ (ppo)",
        colour="#0072b2",
        config_class=PPOCalibratorConfig,
        order=0,
    ),
)
