"""Bayesian optimisation, from BoTorch."""

from rllib_calsheq.calibrators.bayesian.config import BayesianConfig, TrustRegionConfig
from rllib_calsheq.calibrators.entry import Entry

ENTRIES = (
    Entry(
        "bo",
        f"{__name__}.calibrator.BayesianCalibrator",
        label="Bayesian optimisation (bo)",
        colour="#d55e00",
        config_class=BayesianConfig,
        order=10,
        package="botorch",
        extra="bo",
    ),
    Entry(
        "bo_tr",
        f"{__name__}.trust_region.TrustRegionCalibrator",
        label="trust-region BO (bo_tr)",
        colour="#e69f00",
        config_class=TrustRegionConfig,
        order=11,
        package="botorch",
        extra="bo",
    ),
)
