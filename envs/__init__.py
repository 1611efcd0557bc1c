"""Environments that can be calibrated: the n-player market and a city with a subway.

Each name is loaded when it is first asked for: the array forms need neither Ray nor Torch.
"""

from typing import TYPE_CHECKING

from rllib_calsheq.core.lazy import lazy_names

if __name__ != "rllib_calsheq.envs":
    raise ImportError(
        "this folder is the package `rllib_calsheq.envs`, but it was imported as "
        f"`{__name__}`: install the project (`pip install -e .`) and import "
        "`rllib_calsheq.envs` instead, so that there is one copy of every class"
    )

if TYPE_CHECKING:
    from rllib_calsheq.envs.adapters import PlayedEpisode, from_multi_agent_env, from_pettingzoo
    from rllib_calsheq.envs.market.array import ArrayMarket
    from rllib_calsheq.envs.market.config import MarketConfig
    from rllib_calsheq.envs.market.env import MarketEnv
    from rllib_calsheq.envs.one_episode import OneEpisodeEnv
    from rllib_calsheq.envs.subway import ArraySubway, SubwayConfig, SubwayEnv

__all__ = [
    "ArrayMarket",
    "ArraySubway",
    "MarketConfig",
    "MarketEnv",
    "OneEpisodeEnv",
    "PlayedEpisode",
    "SubwayConfig",
    "SubwayEnv",
    "from_multi_agent_env",
    "from_pettingzoo",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ArrayMarket": "market.array",
        "ArraySubway": "subway",
        "MarketConfig": "market.config",
        "MarketEnv": "market.env",
        "OneEpisodeEnv": "one_episode",
        "PlayedEpisode": "adapters",
        "SubwayConfig": "subway",
        "SubwayEnv": "subway",
        "from_multi_agent_env": "adapters",
        "from_pettingzoo": "adapters",
    },
)
