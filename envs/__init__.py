"""Environments that can be calibrated: the n-player market and a city with a subway."""

if __name__ != "rllib_calsheq.envs":
    raise ImportError(
        "this folder is the package `rllib_calsheq.envs`, but it was imported as "
        f"`{__name__}`: install the project (`pip install -e .`) and import "
        "`rllib_calsheq.envs` instead, so that there is one copy of every class"
    )

from rllib_calsheq.envs.market import ArrayMarket, MarketConfig, MarketEnv
from rllib_calsheq.envs.subway import ArraySubway, SubwayConfig, SubwayEnv

__all__ = [
    "ArrayMarket",
    "ArraySubway",
    "MarketConfig",
    "MarketEnv",
    "SubwayConfig",
    "SubwayEnv",
]
