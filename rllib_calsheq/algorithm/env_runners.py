"""Env runners that sample the particles of the supertype table.

`ArrayEnvRunner` steps all its particles at once as arrays and returns one block;
`EpisodeEnvRunner` is RLlib's own runner, one `MultiAgentEnv` a particle: the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_MODULE_RETURN_MEAN,
    EPISODE_RETURN_MEAN,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED,
    NUM_MODULE_STEPS_SAMPLED_LIFETIME,
    SAMPLE_TIMER,
)

from rllib_calsheq.algorithm.env_guard import EnvGuard
from rllib_calsheq.algorithm.table_runner import TableRunner
from rllib_calsheq.core.actions import ActionTransform
from rllib_calsheq.core.breakdowns import Breakdown
from rllib_calsheq.core.faults import BadEnvironmentError
from rllib_calsheq.core.outcomes import read_outcomes
from rllib_calsheq.core.particles import SupertypeTable
from rllib_calsheq.core.protocol import truncation_message
from rllib_calsheq.learning.fused_mlp import fuse_mlps
from rllib_calsheq.learning.rollout import RolloutBlock, rollout, supertype_returns
from rllib_calsheq.learning.seeding import torch_stream


class ArrayEnvRunner(TableRunner):
    """Steps all particles of this runner at once through the environment's array form."""

    def make_module(self) -> None:
        """Makes the module, its perceptrons fused as the learner's are."""
        super().make_module()
        if self.module is not None:
            self.module.foreach_module(lambda module_id, module: fuse_mlps(module))

    def make_env(self) -> None:
        """Makes the array form, and one plain environment for RLlib's space handling."""
        super().make_env()
        self._array_env = self.config.env.array_form(self.config.env_config)

    def _play(
        self, table: SupertypeTable, particles: np.ndarray, seeds: list[int], explore: bool
    ) -> list[RolloutBlock]:
        """One block of all episodes, without those that were dropped."""
        assert self.module is not None
        env = self._array_env
        (module_id,) = self.module.keys()
        transform = ActionTransform(
            env.action_space, self.config.normalize_actions, self.config.clip_actions
        )
        watch = self._watch(table, particles, seeds)
        with self.metrics.log_time(SAMPLE_TIMER), torch_stream(*self._action_stream()):
            block, outcomes, returns = rollout(
                self.module[module_id].unwrapped(),
                env,
                table.profiles[particles],
                seeds,
                transform=transform,
                explore=explore,
                device=self.module_device,
                watch=watch,
            )
        self._log_block(module_id, block)
        if not watch.faults:
            self._report(table, particles, outcomes, returns)
            return [block]
        kept, dropped = watch.whole, tuple(watch.faults.values())
        self._report(table, particles[kept], outcomes[kept], returns[kept], dropped=dropped)
        return [block.episodes(kept)] if len(kept) else []

    def episode_breakdowns(self) -> dict[str, Breakdown]:
        """What the environment shows of the episodes that were played last, by groups of its own.

        {} where it has no ``episode_breakdowns()``.
        """
        shows = getattr(self._array_env, "episode_breakdowns", None)
        return {} if shows is None else dict(shows())

    def _nothing(self) -> RolloutBlock:
        return RolloutBlock.empty()

    def _log_block(self, module_id: str, block: RolloutBlock) -> None:
        """RLlib's usual counters and returns, once a block instead of once a step."""
        T, E, n = block.rewards.shape
        log = self.metrics.log_value
        log(NUM_ENV_STEPS_SAMPLED, E * T, reduce="sum")
        log(NUM_ENV_STEPS_SAMPLED_LIFETIME, E * T, reduce="lifetime_sum", with_throughput=True)
        log(NUM_EPISODES, E, reduce="sum")
        log(NUM_EPISODES_LIFETIME, E, reduce="lifetime_sum")
        for key, lifetime, name in (
            (NUM_AGENT_STEPS_SAMPLED, NUM_AGENT_STEPS_SAMPLED_LIFETIME, "all_agents"),
            (NUM_MODULE_STEPS_SAMPLED, NUM_MODULE_STEPS_SAMPLED_LIFETIME, module_id),
        ):
            log((key, name), E * T * n, reduce="sum")
            log((lifetime, name), E * T * n, reduce="lifetime_sum")
        episode_return = float(block.rewards.sum(axis=(0, 2)).mean())
        log(EPISODE_LEN_MEAN, T, window=1)
        log(EPISODE_RETURN_MEAN, episode_return, window=1)
        log((EPISODE_MODULE_RETURN_MEAN, module_id), episode_return, window=1)


class EpisodeEnvRunner(TableRunner):
    """RLlib's own `MultiAgentEnvRunner`, given one particle an environment slot at a time."""

    def make_env(self) -> None:
        """Makes the environments, each with a guard."""
        super().make_env()
        if self.env is not None:
            self._guards = [EnvGuard(env.unwrapped) for env in self.env.envs]

    def _play(
        self, table: SupertypeTable, particles: np.ndarray, seeds: list[int], explore: bool
    ) -> list[Any]:
        """The episodes of all particles, ``num_envs`` at a time, without the dropped ones."""
        episodes: list[Any] = []
        #: ID, outcomes (N,) and returns (G,) of the episode at each position.
        self._found: dict[int, tuple[str, np.ndarray, np.ndarray]] = {}
        self._profiles = table.profiles[particles]
        watch = self._watch(table, particles, seeds)
        with self.metrics.log_time(SAMPLE_TIMER), torch_stream(*self._action_stream()):
            for first in range(0, len(particles), self.num_envs):
                self._slots = np.arange(first, min(first + self.num_envs, len(particles)))
                self._seeds = [seeds[i] for i in self._slots]
                self._ended: set[int] = set()
                for slot, i in enumerate(self._slots):
                    self._guards[slot].begin(watch, int(i))
                episodes += self.sample_episodes(len(self._slots), explore)
        done = np.array(sorted(self._found), dtype=np.intp)
        if not len(done):
            return episodes
        outcomes, returns = map(np.stack, zip(*(self._found[i][1:] for i in done), strict=True))
        everywhere = np.zeros((len(particles), outcomes.shape[1]))
        everywhere[done] = outcomes
        watch.outcomes(everywhere, [outcome.name for outcome in self._plain_env.outcomes])
        kept = np.isin(done, watch.whole)
        dropped = tuple(watch.faults.values())
        found = particles[done[kept]], outcomes[kept], returns[kept]
        self._report(table, *found, dropped=dropped)
        bad = {self._found[i][0] for i in watch.faults if i in self._found}
        return [episode for episode in episodes if episode.id_ not in bad]

    def _nothing(self) -> MultiAgentEpisode:
        return MultiAgentEpisode()

    def reset_slots(self, seed: Any, options: Any) -> Any:
        """Resets every slot with its particle's own profile and seed.

        Idle slots of the last round repeat its last seed; their episodes are not returned.
        """
        for slot, i in enumerate(self._slots):
            self.env.envs[slot].unwrapped.set_supertypes(self._profiles[i])
        padded = (self._seeds + [self._seeds[-1]] * self.num_envs)[: self.num_envs]
        return super().reset_slots(padded, options)

    def episode_callback(self, which: str, slot: int, episodes: list[Any]) -> None:
        """RLlib's callbacks, for the one episode of each particle; reads its outcomes first.

        Idle slots, and what RLlib begins in a slot after its episode ended, are no particle's.
        """
        if slot >= len(self._slots) or slot in self._ended:
            return
        if which == "on_episode_end":
            self._ended.add(slot)
            self._guards[slot].end()
            results = self._slot_results(slot, episodes[slot])
            self._found[int(self._slots[slot])] = (episodes[slot].id_, *results)
        super().episode_callback(which, slot, episodes)

    def _slot_results(self, slot: int, episode: Any) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes (N,) and mean returns of supertypes (G,) of a finished episode."""
        env = self.env.envs[slot].unwrapped
        agents = list(episode.agent_episodes)
        truncated = episode.is_truncated or any(
            part.is_truncated for part in episode.agent_episodes.values()
        )
        if truncated and hasattr(env, "array_form"):
            raise BadEnvironmentError(truncation_message(env))
        returns = np.array([[episode.agent_episodes[a].get_return() for a in agents]])
        groups = [env.agent_supertypes[a] for a in agents]
        by_supertype = supertype_returns(returns, groups, env.supertype_space.supertypes)
        return read_outcomes(env), by_supertype[0]
