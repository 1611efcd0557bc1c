"""Rolling out the shared policy on an array environment: no Ray actors, one forward pass a step.

Shapes: T steps, E episodes, n agents.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_calsheq.core.actions import ActionTransform
from rllib_calsheq.core.faults import EpisodeWatch
from rllib_calsheq.core.outcomes import read_outcomes
from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.learning.policy_pass import policy_pass


@dataclass
class RolloutBlock:
    """E whole episodes of n agents as arrays; what an array env runner returns.

    To RLlib it is one "episode" whose length is its number of agent steps, since that is
    what minibatches are made of. Several learners get whole episodes of it each.

    Attributes:
        observations: (T, E, n, obs...), float32.
        actions: Actions as the policy sampled them, (T, E, n, act...).
        action_dist_inputs: (T, E, n, k), float32.
        action_logp: Log-probability of ``actions``, (T, E, n), float32.
        rewards: (T, E, n), float32.
    """

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray
    action_dist_inputs: npt.NDArray[np.float32]
    action_logp: npt.NDArray[np.float32]
    rewards: npt.NDArray[np.float32]

    @classmethod
    def empty(cls) -> RolloutBlock:
        """A block without an episode."""
        return cls(*(np.zeros((1, 0, 1), np.float32) for _ in fields(cls)))

    def env_steps(self) -> int:
        """Environment steps, E·T."""
        return self.rewards.shape[0] * self.rewards.shape[1]

    def agent_steps(self) -> int:
        """Agent steps, E·T·n."""
        return int(self.rewards.size)

    def __len__(self) -> int:
        return self.agent_steps()

    def __getitem__(self, rows: builtins.slice) -> RolloutBlock:
        """The first episodes, for ``[:k]`` with k agent steps: whole ones, at least one."""
        return self.episodes(builtins.slice(0, self._whole(rows.stop)))

    def slice(self, rows: builtins.slice, len_lookback_buffer: int | None = None) -> RolloutBlock:
        """The other episodes, for ``slice(k, None)`` with the k that `__getitem__` was given."""
        return self.episodes(builtins.slice(self._whole(rows.start), None))

    def _whole(self, agent_steps: int) -> int:
        steps_of_one = self.rewards.shape[0] * self.rewards.shape[2]
        return max(agent_steps // steps_of_one, 1)

    def episodes(self, chosen: builtins.slice | npt.NDArray[np.intp]) -> RolloutBlock:
        """The chosen episodes."""
        return RolloutBlock(*(getattr(self, f.name)[:, chosen] for f in fields(self)))


def rollout(
    module: RLModule,
    env: ArrayEnv,
    profiles: npt.ArrayLike,
    seeds: Sequence[int],
    *,
    transform: ActionTransform,
    explore: bool = True,
    device: torch.device | str = "cpu",
    watch: EpisodeWatch | None = None,
) -> tuple[RolloutBlock, FloatArray, FloatArray]:
    """Runs E episodes to their end with the shared policy π(a | s, λ).

    Actions are drawn from torch's global stream; wrap the call in `seeding.torch_stream` to
    name it.

    Args:
        module: The shared policy's RLModule.
        env: The array environment.
        profiles: Supertype profiles in natural units, shape (E, d).
        seeds: One environment seed an episode, length E.
        transform: From sampled to environment actions.
        explore: Sample actions, or take the distribution's mode.
        device: Where the module lives.
        watch: What looks at all that the environment gives; by default it stops at a fault.

    Returns:
        The block, the environment's outcomes (E, N), and the mean return of each supertype's
        agents (E, G); episodes that the watch would drop are still among them.

    Raises:
        BadEnvironmentError: If the environment gives something of a wrong shape, or a number that
            is not finite and that the watch does not drop.
    """
    T, E, n = env.episode_length, len(seeds), len(env.agent_supertypes)
    shape = (E, n, *(env.observation_space.shape or ()))
    if watch is None:
        agents = [str(i) for i in range(n)]
        episodes = [f"environment seed {seed}" for seed in seeds]
        watch = EpisodeWatch(type(env).__name__, agents, episodes)
    observations = watch.shaped("observations of reset()", env.reset(profiles, seeds), shape)
    all_observations = np.empty((T, *observations.shape), dtype=np.float32)
    rewards = np.empty((T, E, n), dtype=np.float32)
    inputs: list[torch.Tensor] = []
    actions: list[torch.Tensor] = []
    # Switched to evaluation mode once for all passes.
    was_training = module.training
    module.eval()
    policy = policy_pass(module, explore)
    try:
        with torch.no_grad():
            for t in range(T):
                all_observations[t] = watch.observations(t, observations)
                flat = torch.from_numpy(all_observations[t].reshape(E * n, -1)).to(device)
                out, sampled = policy.act(flat)
                inputs.append(out)
                actions.append(sampled)
                chosen = transform(sampled.cpu().numpy().reshape(E, n, *sampled.shape[1:]))
                observations, earned = env.step(chosen)
                observations = watch.shaped("observations of step()", observations, shape)
                rewards[t] = watch.shaped("rewards of step()", earned, (E, n))
            all_inputs, all_actions = torch.stack(inputs), torch.stack(actions)
            exploration = module.get_exploration_action_dist_cls()
            logp = exploration.from_logits(all_inputs).logp(all_actions)
    finally:
        module.train(was_training)
    watch.rewards(rewards)
    outcomes = read_outcomes(env, E)
    watch.outcomes(outcomes, [outcome.name for outcome in env.outcomes])
    block = RolloutBlock(
        observations=all_observations,
        actions=all_actions.cpu().numpy().reshape(T, E, n, *all_actions.shape[2:]),
        action_dist_inputs=all_inputs.cpu().numpy().reshape(T, E, n, -1),
        action_logp=logp.cpu().numpy().reshape(T, E, n),
        rewards=rewards,
    )
    returns = supertype_returns(
        rewards.sum(axis=0), env.agent_supertypes, env.supertype_space.supertypes
    )
    return block, outcomes, returns


def supertype_returns(
    returns: npt.NDArray[np.floating], agent_supertypes: Sequence[str], supertypes: Sequence[str]
) -> FloatArray:
    """Mean return of each supertype's agents, (E, G), from returns (E, n).

    NaN for a supertype without agents.
    """
    members = np.array([[s == name for s in agent_supertypes] for name in supertypes], dtype=float)
    counts = members.sum(axis=1)
    total = returns.astype(np.float64) @ members.T
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
