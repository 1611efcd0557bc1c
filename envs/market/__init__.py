"""The n-player market of section 4; each name is loaded when it is first asked for."""

from typing import TYPE_CHECKING

from rllib_calsheq.core.lazy import lazy_names

if TYPE_CHECKING:
    from rllib_calsheq.envs.market.array import ArrayMarket
    from rllib_calsheq.envs.market.config import MarketConfig
    from rllib_calsheq.envs.market.env import MarketEnv

__all__ = ["ArrayMarket", "MarketConfig", "MarketEnv"]

__getattr__, __dir__ = lazy_names(
    __name__, {"ArrayMarket": "array", "MarketConfig": "config", "MarketEnv": "env"}
)
