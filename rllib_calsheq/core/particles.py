"""Which env runner samples which particle, and the table that tells them.

One particle is one episode slot b of algorithm 1. Runners find their particles by their
worker index, which survives a restart, in a table that every runner gets whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.faults import BadEnvironmentError
from rllib_calsheq.core.outcomes import OutcomeColumns
from rllib_calsheq.core.supertypes import FloatArray

#: Stages in a row without a report after which a runner's particles go to the others.
MISSES_BEFORE_REASSIGNMENT = 2
#: Metric under which env runners' reports travel with their samples.
STAGE_REPORTS = "stage_reports"


@dataclass(frozen=True)
class SupertypeTable:
    """What is broadcast to all env runners before a stage.

    Attributes:
        stage: The stage m, which reports carry back.
        profiles: Supertype profiles Λ_m^b in natural units, shape (B, d).
        workers: Worker index that samples each particle, shape (B,).
        seed: Seed of the run.
        evaluation: Whether the episodes judge what a run has found: they then are none that any
            run has seen, whatever its seed and stages.
    """

    stage: int
    profiles: FloatArray
    workers: npt.NDArray[np.intp]
    seed: int
    evaluation: bool = False

    @cached_property
    def version(self) -> int:
        """A checksum of the stage and all profiles, which reports carry back, too."""
        return zlib.crc32(self.profiles.tobytes(), self.stage & 0xFFFFFFFF)

    def particles_of(self, worker: int) -> npt.NDArray[np.intp]:
        """Indices of the particles that a worker samples."""
        return np.flatnonzero(self.workers == worker)


@dataclass(frozen=True)
class StageReport:
    """What one env runner reports of one round of episodes.

    Attributes:
        stage: The stage of the table that the episodes were sampled with.
        worker: Worker index of the runner.
        particles: Particle of each episode, shape (M,).
        outcomes: The environment's outcomes, shape (M, N); NaN where one did not happen.
        returns: Mean return of each supertype's agents, shape (M, G).
        dropped: Why an episode that was played is not among them, a line each.
        fault: What kept the runner from playing the round; empty if nothing did.
        version: The table's `SupertypeTable.version`; None where that is not known.
    """

    stage: int
    worker: int
    particles: npt.NDArray[np.intp]
    outcomes: FloatArray
    returns: FloatArray
    dropped: tuple[str, ...] = ()
    fault: str = ""
    version: int | None = None

    def answers(self, stage: int, version: int | None) -> bool:
        """Whether its episodes were played with the profiles of this stage and version."""
        return self.stage == stage and self.version in (None, version)


@dataclass
class ParticleAssignment:
    """Spreads B particles over W env runners (worker indices 1..W; 0 is the driver's own).

    Attributes:
        num_particles: B.
        num_workers: W; 0 when the driver samples by itself.
    """

    num_particles: int
    num_workers: int
    _misses: dict[int, int] = field(default_factory=dict)

    def home(self) -> npt.NDArray[np.intp]:
        """Worker of each particle when all are alive, shape (B,): even, in contiguous runs."""
        if self.num_workers == 0:
            return np.zeros(self.num_particles, dtype=np.intp)
        return 1 + np.arange(self.num_particles) * self.num_workers // self.num_particles

    def silent(self) -> list[int]:
        """Workers that were not heard of in the last stage."""
        return sorted(self._misses)

    def lost(self) -> list[int]:
        """Workers that have missed too many stages in a row."""
        return sorted(w for w, k in self._misses.items() if k >= MISSES_BEFORE_REASSIGNMENT)

    def workers(self) -> npt.NDArray[np.intp]:
        """Worker of each particle now, shape (B,): a lost worker's are dealt to the others."""
        workers = self.home()
        lost = self.lost()
        alive = [w for w in sorted(set(workers.tolist())) if w not in lost]
        if not lost or not alive:
            return workers
        orphans = np.flatnonzero(np.isin(workers, lost))
        workers[orphans] = np.resize(np.array(alive), len(orphans))
        return workers

    def record(self, reporting: Iterable[int]) -> dict[int, int]:
        """Counts which workers were heard of in a stage.

        Returns:
            ``{worker: number of its particles}`` of those that were not.
        """
        heard, workers = set(reporting), self.workers()
        missing = {}
        for worker in sorted(set(self.home().tolist())):
            if worker in heard:
                self._misses.pop(worker, None)
            elif worker in workers:
                self._misses[worker] = self._misses.get(worker, 0) + 1
                missing[worker] = int(np.count_nonzero(workers == worker))
        return missing

    def revive(self, workers: Iterable[int]) -> None:
        """Gives recreated workers their particles back."""
        for worker in workers:
            self._misses.pop(worker, None)


def merge_reports(
    reports: Iterable[StageReport], stage: int, num_particles: int, columns: OutcomeColumns
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Outcome vectors of the particles that were sampled in a stage.

    Reports of another stage (a runner that had an old table) are left out; a particle that
    was sampled more than once gets the mean of what did happen.

    Returns:
        Particles (M,), ascending, and their outcome vectors (M, N + G).

    Raises:
        ValueError: If a report has more or fewer numbers than there are ``columns``.
        BadEnvironmentError: If a runner could not play its round for a fault of the environment.
    """
    reports = list(reports)
    for report in reports:
        if report.fault:
            raise BadEnvironmentError(report.fault)
    current = [r for r in reports if r.stage == stage and len(r.particles)]
    if not current:
        return np.empty(0, dtype=np.intp), np.empty((0, len(columns.names)))
    particles = np.concatenate([r.particles for r in current])
    outcomes = np.concatenate([columns.join(r.outcomes, r.returns) for r in current])
    happened = ~np.isnan(outcomes)
    total = np.zeros((num_particles, outcomes.shape[1]))
    count = np.zeros_like(total)
    np.add.at(total, particles, np.where(happened, outcomes, 0.0))
    np.add.at(count, particles, happened)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    found = np.unique(particles)
    return found, mean[found]
