"""The n-player market of section 4."""

from rllib_calsheq.envs.market.array import ArrayMarket
from rllib_calsheq.envs.market.config import MarketConfig
from rllib_calsheq.envs.market.env import MarketEnv

__all__ = ["ArrayMarket", "MarketConfig", "MarketEnv"]
