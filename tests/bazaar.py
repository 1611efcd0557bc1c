"""A PettingZoo environment of one's own, written from its documentation, and made calibratable.

Each round every buyer sees the ask of a seller that it is sent to, and buys or walks on. Who has
bought goes home; sellers ask anew. Buyers and sellers see and do different things.
"""

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv

from rllib_calsheq import Outcome, Parameter, SupertypeSpace, from_pettingzoo

ASKS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
#: Each class shares a policy.
CLASSES = {"buyer": "buyers", "seller": "sellers"}
SPACE = SupertypeSpace((Parameter("value", "buyer"), Parameter("cost", "seller", high=0.5)))


class Bazaar(ParallelEnv):
    metadata = {"name": "bazaar_v0"}  # noqa: RUF012 - as PettingZoo has it

    def __init__(self, num_buyers=3, num_sellers=1, rounds=3):
        self._rounds = rounds
        self._buyers = [f"buyer_{i}" for i in range(num_buyers)]
        self._sellers = [f"seller_{i}" for i in range(num_sellers)]
        self.possible_agents = [*self._buyers, *self._sellers]
        #: A buyer's value or a seller's cost.
        self.worth = dict.fromkeys(self.possible_agents, 0.5)

    def observation_space(self, agent):
        if agent in self._buyers:
            return gym.spaces.Dict({"ask": gym.spaces.Box(0.0, 1.0, (1,), np.float32)})
        counts = {"asked": gym.spaces.Discrete(len(ASKS)), "sold": gym.spaces.Box(0.0, 1.0, (1,))}
        return gym.spaces.Dict(counts)

    def action_space(self, agent):
        # Walk on or buy; what to ask next.
        return gym.spaces.Discrete(2 if agent in self._buyers else len(ASKS))

    def reset(self, seed=None, options=None):
        self._rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._asks = {seller: int(self._rng.integers(len(ASKS))) for seller in self._sellers}
        self._t, self._sold = 0, 0
        self._send_out()
        return self._observe(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions):
        self._t += 1
        there, rewards, prices = self.agents, dict.fromkeys(self.agents, 0.0), {}
        for buyer in [a for a in there if a in self._buyers and actions[a] == 1]:
            seller = self._met[buyer]
            prices[buyer] = ASKS[self._asks[seller]]
            rewards[buyer] = self.worth[buyer] - prices[buyer]
            rewards[seller] += prices[buyer] - self.worth[seller]
        self._sold += len(prices)
        for seller in self._sellers:
            self._asks[seller] = int(actions[seller])
        sold_out = self._sold == len(self._buyers)
        terminations = {a: sold_out or a in prices for a in there}
        truncations = {a: self._t == self._rounds and not terminations[a] for a in there}
        self._send_out()
        seen, infos = self._observe(there), {a: {"price": prices.get(a)} for a in there}
        self.agents = [a for a in there if not (terminations[a] or truncations[a])]
        return seen, rewards, terminations, truncations, infos

    def _send_out(self):
        self._met = {b: self._sellers[self._rng.integers(len(self._sellers))] for b in self._buyers}

    def _observe(self, agents):
        seen = {}
        for agent in agents:
            if agent in self._buyers:
                ask = ASKS[self._asks[self._met[agent]]]
                seen[agent] = {"ask": np.array([ask], np.float32)}
            else:
                sold = np.array([self._sold / len(self._buyers)], np.float32)
                seen[agent] = {"asked": self._asks[agent], "sold": sold}
        return seen


def draw_worth(env, profile, rng):
    """What each buyer's thing is worth to it, and what each seller's cost it; only they know."""
    means = {"buyer": profile["buyer.value"], "seller": profile["seller.cost"]}
    for agent in env.possible_agents:
        env.worth[agent] = means[agent.partition("_")[0]] + rng.uniform(-0.2, 0.2)
    return {agent: [worth] for agent, worth in env.worth.items()}


def prices(episode):
    return [i["price"] for infos in episode.infos for i in infos.values() if i.get("price")]


def sold(episode):
    return len(prices(episode)) / sum(a.startswith("buyer") for a in episode.env.possible_agents)


def price(episode):
    return np.mean(prices(episode)) if prices(episode) else np.nan


def worth(episode):
    """Mean worth, to those who bought, of what they bought."""
    bought = {a for infos in episode.infos for a, i in infos.items() if i.get("price")}
    return np.mean([episode.env.worth[a] for a in bought]) if bought else np.nan


BazaarEnv = from_pettingzoo(
    Bazaar,
    SPACE,
    draw_worth,
    {
        Outcome("sold", scale=0.4, low=0.0, high=1.0): sold,
        Outcome("price", scale=0.1, low=0.0, high=1.0): price,
        Outcome("worth", scale=0.3): worth,
    },
)
