"""Env runners that sample the particles of the supertype table.

`ArrayEnvRunner` steps all its particles at once as arrays and returns one block;
`EpisodeEnvRunner` is RLlib's own runner, one `MultiAgentEnv` a particle: the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
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
    WEIGHTS_SEQ_NO,
)

from rllib_calsheq.core.actions import ActionTransform
from rllib_calsheq.core.outcomes import read_outcomes
from rllib_calsheq.core.particles import STAGE_REPORTS, StageReport, SupertypeTable
from rllib_calsheq.core.protocol import truncation_message
from rllib_calsheq.core.streams import Stream, episode_seed
from rllib_calsheq.learning.fused_mlp import fuse_mlps
from rllib_calsheq.learning.ray_private.access import is_wanted
from rllib_calsheq.learning.ray_private.hooks import RayEnvRunner
from rllib_calsheq.learning.rollout import RolloutBlock, rollout, supertype_returns
from rllib_calsheq.learning.seeding import torch_stream
from rllib_calsheq.learning.threads import limited_threads

#: Key of the supertype table in a runner's state.
SUPERTYPE_TABLE = "supertype_table"


class _TableRunner(RayEnvRunner):
    """What both runners share: the supertype table, random streams and stage reports."""

    _table: SupertypeTable | None = None
    #: Rounds that were sampled with the current table, so that none is sampled twice alike.
    _round: int = 0

    def set_supertypes(self, table: SupertypeTable) -> None:
        """Takes the table of the next stage."""
        self._table = table
        self._round = 0

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """RLlib's state plus the supertype table, which a recreated runner gets this way."""
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        wanted = is_wanted(self, SUPERTYPE_TABLE, components, not_components)
        if wanted and self._table is not None:
            state[SUPERTYPE_TABLE] = self._table
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores RLlib's state and the supertype table."""
        super().set_state(state)
        if state.get(SUPERTYPE_TABLE) is not None:
            self.set_supertypes(state[SUPERTYPE_TABLE])

    def _next_round(self) -> tuple[SupertypeTable, np.ndarray, list[int]]:
        """The table, this runner's particles (M,) and an environment seed for each."""
        if self._table is None:
            raise RuntimeError(
                "no supertypes were set: run this env runner under the CALSHEQ algorithm, whose "
                "callback broadcasts them, or call set_supertypes() first"
            )
        table = self._table
        particles = table.particles_of(self.worker_index or 0)
        stream = Stream.EVALUATION_EPISODES if table.evaluation else Stream.EPISODES
        seeds = [
            episode_seed(stream, table.seed, table.stage, int(b), self._round) for b in particles
        ]
        return table, particles, seeds

    def _action_stream(self) -> tuple[Stream, int, int, int, int]:
        """Name of the torch stream that this round's actions are drawn from."""
        table = self._table
        assert table is not None
        stream = Stream.EVALUATION_ACTIONS if table.evaluation else Stream.ACTIONS
        return (stream, table.seed, table.stage, self.worker_index or 0, self._round)

    def _report(
        self,
        table: SupertypeTable,
        particles: np.ndarray,
        outcomes: np.ndarray,
        returns: np.ndarray,
    ) -> None:
        """Logs outcomes (M, N) and returns (M, G) of a round; they leave with the metrics."""
        report = StageReport(table.stage, self.worker_index or 0, particles, outcomes, returns)
        self.metrics.log_value(STAGE_REPORTS, report, reduce="item_series")
        self._round += 1


class ArrayEnvRunner(_TableRunner):
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

    @limited_threads()
    def sample(self, *, explore: bool | None = None, **kwargs: Any) -> list[RolloutBlock]:
        """Samples one whole episode of each of this runner's particles.

        Returns:
            One block, or none when this runner has no particle.
        """
        table, particles, seeds = self._next_round()
        self.metrics.log_value(WEIGHTS_SEQ_NO, self.weights_number, window=1)
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, 0, reduce="sum")
        if not len(particles):
            return []
        assert self.module is not None
        env = self._array_env
        (module_id,) = self.module.keys()
        transform = ActionTransform(
            env.action_space, self.config.normalize_actions, self.config.clip_actions
        )
        with self.metrics.log_time(SAMPLE_TIMER), torch_stream(*self._action_stream()):
            block, outcomes, returns = rollout(
                self.module[module_id].unwrapped(),
                env,
                table.profiles[particles],
                seeds,
                transform=transform,
                explore=self.config.explore if explore is None else explore,
                device=self.module_device,
            )
        self._report(table, particles, outcomes, returns)
        self._log_block(module_id, block)
        self.call_callbacks("on_sample_end", samples=[block])
        return [block]

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


class EpisodeEnvRunner(_TableRunner):
    """RLlib's own `MultiAgentEnvRunner`, given one particle an environment slot at a time."""

    @limited_threads()
    def sample(self, *, explore: bool | None = None, **kwargs: Any) -> list[Any]:
        """Samples one episode of each of this runner's particles, ``num_envs`` at a time."""
        table, particles, seeds = self._next_round()
        self.metrics.log_value(WEIGHTS_SEQ_NO, self.weights_number, window=1)
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, 0, reduce="sum")
        if not len(particles):
            return []
        explore = self.config.explore if explore is None else explore
        episodes: list[Any] = []
        #: Outcomes (N,) and returns (G,) of the particle at each position.
        self._found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._profiles = table.profiles[particles]
        with self.metrics.log_time(SAMPLE_TIMER), torch_stream(*self._action_stream()):
            for first in range(0, len(particles), self.num_envs):
                self._slots = np.arange(first, min(first + self.num_envs, len(particles)))
                self._seeds = [seeds[i] for i in self._slots]
                self._ended: set[int] = set()
                episodes += self.sample_episodes(len(self._slots), explore)
        done = np.array(sorted(self._found), dtype=np.intp)
        if len(done):
            outcomes, returns = map(np.stack, zip(*(self._found[i] for i in done), strict=True))
            self._report(table, particles[done], outcomes, returns)
        self.call_callbacks("on_sample_end", samples=episodes)
        return episodes

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
            self._found[int(self._slots[slot])] = self._slot_results(slot, episodes[slot])
        super().episode_callback(which, slot, episodes)

    def _slot_results(self, slot: int, episode: Any) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes (N,) and mean returns of supertypes (G,) of a finished episode."""
        env = self.env.envs[slot].unwrapped
        agents = list(episode.agent_episodes)
        truncated = episode.is_truncated or any(
            part.is_truncated for part in episode.agent_episodes.values()
        )
        if truncated and hasattr(env, "array_form"):
            raise ValueError(truncation_message(env))
        returns = np.array([[episode.agent_episodes[a].get_return() for a in agents]])
        groups = [env.agent_supertypes[a] for a in agents]
        by_supertype = supertype_returns(returns, groups, env.supertype_space.supertypes)
        return read_outcomes(env), by_supertype[0]
