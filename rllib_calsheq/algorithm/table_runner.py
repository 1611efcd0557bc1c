"""What the env runners of both sampling paths share: supertype table, random streams, reports."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import Any

import numpy as np
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    WEIGHTS_SEQ_NO,
)

from rllib_calsheq.core.faults import (
    BadEnvironmentError,
    EpisodeWatch,
    episode_text,
    exception_text,
)
from rllib_calsheq.core.outcomes import OutcomeColumns
from rllib_calsheq.core.particles import STAGE_REPORTS, StageReport, SupertypeTable
from rllib_calsheq.core.streams import Stream, episode_seed
from rllib_calsheq.learning.ray_private.access import is_wanted
from rllib_calsheq.learning.ray_private.hooks import RayEnvRunner
from rllib_calsheq.learning.threads import limited_threads

logger = logging.getLogger(__name__)

#: Key of the supertype table in a runner's state.
SUPERTYPE_TABLE = "supertype_table"


class TableRunner(RayEnvRunner):
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
        **more: Any,
    ) -> None:
        """Logs outcomes (M, N) and returns (M, G) of a round; they leave with the metrics."""
        report = StageReport(
            table.stage,
            self.worker_index or 0,
            particles,
            outcomes,
            returns,
            version=table.version,
            **more,
        )
        self.metrics.log_value(STAGE_REPORTS, report, reduce="item_series")
        self._round += 1

    @limited_threads()
    def sample(self, *, explore: bool | None = None, **kwargs: Any) -> list[Any]:
        """Samples one whole episode of each of this runner's particles.

        RLlib kills an actor whose method raises, a minute later and without a word to the user. So
        what an environment raises on one travels with the metrics, and stops the run there.

        Returns:
            Their episodes, none when this runner has no particle; one without a step when none
            can be learned from.

        Raises:
            BadEnvironmentError: If the environment is at fault and this is the driver's own runner.
        """
        table, particles, seeds = self._next_round()
        self.metrics.log_value(WEIGHTS_SEQ_NO, self.weights_number, window=1)
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, 0, reduce="sum")
        if not len(particles):
            return []
        explore = self.config.explore if explore is None else explore
        try:
            episodes = self._play(table, particles, seeds, explore)
        except Exception as error:
            cause = _own_cause(error)
            fault = self._fault(cause, table, particles, seeds)
            if not self.worker_index:
                raise fault from (None if fault is cause else cause)
            logger.exception("an environment is at fault")
            columns = OutcomeColumns.of(self._plain_env)
            nothing = np.empty((0, len(columns.own))), np.empty((0, len(columns.returns)))
            self._report(table, particles[:0], *nothing, fault=str(fault))
            # Or RLlib would ask for another round at once.
            log = self.metrics.log_value
            log(NUM_ENV_STEPS_SAMPLED, 1, reduce="sum")
            log(NUM_ENV_STEPS_SAMPLED_LIFETIME, 1, reduce="lifetime_sum", with_throughput=True)
            episodes = []
        if not episodes:
            # RLlib throws the metrics of all runners away where none of them returns anything.
            return [self._nothing()]
        self.call_callbacks("on_sample_end", samples=episodes)
        return episodes

    @abstractmethod
    def _play(
        self, table: SupertypeTable, particles: np.ndarray, seeds: list[int], explore: bool
    ) -> list[Any]:
        """Plays the round and reports it; returns its episodes."""

    @abstractmethod
    def _nothing(self) -> Any:
        """An episode without a step, of which nothing is learned."""

    @property
    def _plain_env(self) -> Any:
        """One of this runner's plain environments, which are all alike."""
        return self.env.envs[0].unwrapped

    def _watch(
        self, table: SupertypeTable, particles: np.ndarray, seeds: list[int]
    ) -> EpisodeWatch:
        """What looks at the episodes of some particles."""
        groups = self._plain_env.agent_supertypes
        return EpisodeWatch(
            environment=self.config.env.__name__,
            agents=[f"{agent} ({supertype})" for agent, supertype in groups.items()],
            episodes=[
                episode_text(table.stage, int(b), seed, table.profiles[b])
                for b, seed in zip(particles, seeds, strict=True)
            ],
            drop=self.config.on_bad_episode == "drop",
        )

    def _fault(
        self,
        error: Exception,
        table: SupertypeTable,
        particles: np.ndarray,
        seeds: list[int],
    ) -> BadEnvironmentError:
        """An exception of a round, as what the user is told."""
        if isinstance(error, BadEnvironmentError):
            return error
        if len(particles) == 1:
            where = episode_text(
                table.stage, int(particles[0]), seeds[0], table.profiles[particles]
            )
        else:
            where = (
                f"stage {table.stage}, one of particles {particles[0]} to {particles[-1]}, "
                f"environment seeds {seeds[0]} to {seeds[-1]}"
            )
        name = self.config.env.__name__
        return BadEnvironmentError(f"{name} raised {exception_text(error)} ({where})")


def _own_cause(error: Exception) -> Exception:
    """What an environment raised, where RLlib raised an exception without a word from it."""
    while not str(error) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
