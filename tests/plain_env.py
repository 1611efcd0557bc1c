"""Environments in their plain form only, as most of those that users have are."""

from gymnasium.spaces import Dict
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq.envs import SubwayEnv

MEMBERS = (
    "supertype_space", "outcomes", "agent_supertypes", "possible_agents", "agents",
    "observation_spaces", "action_spaces", "set_supertypes", "episode_outcomes",
)  # fmt: skip


class PlainSubway(MultiAgentEnv):
    """The subway, without its array form; with ``fault``, what arrays cannot hold."""

    def __init__(self, config=None):
        super().__init__()
        config = dict(config or {})
        self._fault = config.pop("fault", None)
        self._env = SubwayEnv(config)
        for name in MEMBERS:
            setattr(self, name, getattr(self._env, name))
        if self._fault == "dict observations":
            spaces = self.observation_spaces
            self.observation_spaces = {a: Dict({"seen": s}) for a, s in spaces.items()}

    def reset(self, *, seed=None, options=None):
        self._t, self._seed = 0, seed
        return self._env.reset(seed=seed)

    def step(self, action_dict):
        self._t += 1
        observations, rewards, ends, stays, infos = self._env.step(action_dict)
        if self._fault == "leaves":
            observations.pop(self.agents[0])
        if self._fault == "short" and self._t == 3 and self._seed == 2:
            ends = dict.fromkeys(ends, True)
        return observations, rewards, stays, ends, infos
