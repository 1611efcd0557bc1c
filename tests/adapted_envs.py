"""Environments of others, made calibratable."""

import numpy as np
from mpe2 import simple_spread_v3
from recall_env import RecallEnv

from rllib_calsheq import Outcome, Parameter, from_multi_agent_env, from_pettingzoo


def set_thrust(env, profile, rng):
    """Thrust of each, round its supertype's; everyone knows its own."""
    agents = env.unwrapped.world.agents
    for agent in agents:
        agent.accel = profile["agent.thrust"] * rng.uniform(0.9, 1.1)
    return {agent.name: [agent.accel] for agent in agents}


def speed(episode):
    """Median over agents and steps; what an agent sees begins with its own velocity."""
    seen = [own for by_agent in episode.observations[1:] for own in by_agent.values()]
    return np.median([np.linalg.norm(own[:2]) for own in seen])


#: One of PettingZoo's own.
SpreadEnv = from_pettingzoo(
    simple_spread_v3.parallel_env,
    [Parameter("thrust", "agent", low=1.0, high=9.0)],
    set_thrust,
    {Outcome("speed", scale=0.2, low=0.0): speed},
    episode_length=lambda env: env.unwrapped.max_cycles,
)


def set_heads(env, profile, rng):
    env.set_supertypes([profile["player.heads"]])


#: An RLlib environment of which nothing of the protocol is used.
PlainRecallEnv = from_multi_agent_env(
    RecallEnv,
    [Parameter("heads", "player")],
    set_heads,
    {Outcome("right", scale=0.1): lambda e: np.mean(list(e.rewards[-1].values()))},
    episode_length=3,
)
