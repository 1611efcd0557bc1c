"""MyEnv: an environment that can be calibrated. Change it into yours, piece by piece.

Sellers post prices. Each has a unit cost, its *type*, which is drawn round the mean of its
*supertype*; that mean is the parameter that is calibrated. Whoever asks less than the others
sells more: quantity = 1 - 2 · own price + mean price of the others. If all have the cost c, nobody
gains by another price than (1 + 2 c) / 3.

What `rllib_calsheq` reads of it: `supertype_space`, `outcomes`, `agent_supertypes`,
`set_supertypes` and `episode_outcomes`. All else is RLlib's `MultiAgentEnv`.
"""

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq import Outcome, Parameter, SupertypeSpace


class MyEnv(MultiAgentEnv):
    """Sellers who learn what to ask."""

    def __init__(self, config=None):
        super().__init__()
        config = dict(config or {})
        self._num_steps = config.pop("episode_length", 10)
        num_sellers = config.pop("num_sellers", 3)
        if config:
            raise ValueError(f"MyEnv has no fields {sorted(config)}")

        # What is calibrated: the parameters, with their bounds, and the supertype that each is of.
        self.supertype_space = SupertypeSpace(
            (Parameter("mean_cost", "seller", low=0.0, high=0.8),)
        )
        # What can be a target. The scale is a miss that matters, about the scatter of one episode.
        self.outcomes = (Outcome("price", scale=0.05, low=0.0, high=1.0, description="mean price"),)

        self.possible_agents = [f"seller_{i}" for i in range(1, num_sellers + 1)]
        self.agents = list(self.possible_agents)
        self.agent_supertypes = dict.fromkeys(self.possible_agents, "seller")
        # All agents share one policy, and so one space of observations and one of actions.
        self.observation_spaces = dict.fromkeys(
            self.possible_agents, gym.spaces.Box(0.0, 1.0, (2,), np.float32)
        )
        self.action_spaces = dict.fromkeys(
            self.possible_agents, gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        )
        self.set_supertypes(self.supertype_space.start)

    def set_supertypes(self, profile):
        """Takes the parameters, in effect from the next `reset`."""
        self._profile = self.supertype_space.validate(np.asarray(profile))

    def reset(self, *, seed=None, options=None):
        """Begins an episode; all its randomness comes from the seed."""
        rng = np.random.default_rng(seed)
        (mean_cost,) = self._profile
        self._costs = np.clip(rng.normal(mean_cost, 0.05, len(self.possible_agents)), 0.0, 1.0)
        self.agents = list(self.possible_agents)
        self._last_price, self._prices = 0.5, []
        return self._observe(), {}

    def step(self, action_dict):
        """One round of prices and sales."""
        actions = np.array([float(action_dict[a][0]) for a in self.possible_agents])
        prices = (np.clip(actions, -1.0, 1.0) + 1.0) / 2.0
        others = (prices.sum() - prices) / max(len(prices) - 1, 1)
        quantities = np.clip(1.0 - 2.0 * prices + others, 0.0, None)
        profits = (prices - self._costs) * quantities
        self._last_price = float(prices.mean())
        self._prices.append(self._last_price)
        over = len(self._prices) == self._num_steps
        rewards = dict(zip(self.possible_agents, profits.tolist(), strict=True))
        ends = dict.fromkeys([*self.possible_agents, "__all__"], over)
        stays = dict.fromkeys(ends, False)
        return self._observe(), rewards, ends, stays, {}

    def episode_outcomes(self):
        """The outcomes of the episode that has ended, in the order of `outcomes`."""
        return np.array([np.mean(self._prices)])

    def _observe(self):
        """What each seller sees: its own cost, which is its type, and the last mean price."""
        return {
            agent: np.array([cost, self._last_price], dtype=np.float32)
            for agent, cost in zip(self.possible_agents, self._costs, strict=True)
        }
