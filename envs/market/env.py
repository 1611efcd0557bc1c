"""The market as an RLlib `MultiAgentEnv`: one episode of the array core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rllib_calsheq.core.configuration import from_mapping
from rllib_calsheq.envs.market.array import ArrayMarket
from rllib_calsheq.envs.market.config import MarketConfig
from rllib_calsheq.envs.market.quoting_rules import Rule, quoting_rules
from rllib_calsheq.envs.one_episode import OneEpisodeEnv


class MarketEnv(OneEpisodeEnv):
    """The n-player market of section 4, all of whose merchants share one policy.

    Agents are ``merchant_1`` .. ``merchant_n``; merchant 1 has supertype 1.

    Example:
        >>> from rllib_calsheq import MarketEnv
        >>> market = MarketEnv({"num_merchants": 3})
        >>> market.possible_agents
        ['merchant_1', 'merchant_2', 'merchant_3']
        >>> [outcome.name for outcome in market.outcomes][:2]
        ['supertype_1.share', 'supertype_1.quantity_p10']

    Args:
        config: Fields of `MarketConfig`, as a mapping or an instance.
    """

    agent_name = "merchant"
    #: The array form's class; a subclass names one with outcomes of its own here.
    market: ClassVar[type[ArrayMarket]] = ArrayMarket

    @classmethod
    def array_form(cls, config: Mapping[str, Any] | MarketConfig | None = None) -> ArrayMarket:
        """The market's array form for an environment configuration."""
        return cls.market(from_mapping(MarketConfig, config, "the market"))

    @classmethod
    def deviations(
        cls, config: Mapping[str, Any] | MarketConfig | None = None
    ) -> Mapping[str, Rule]:
        """Quoting rules that a certificate tries as deviations of one merchant."""
        return quoting_rules(from_mapping(MarketConfig, config, "the market"))
