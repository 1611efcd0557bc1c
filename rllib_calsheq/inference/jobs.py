"""What an inference simulates, in jobs that are stored and shared by processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.jobs.processes import Report, run_jobs
from rllib_calsheq.certificates.jobs.store import Arrays, JobStore
from rllib_calsheq.certificates.lag import sample_outcomes, settle
from rllib_calsheq.certificates.search.values import draw_episodes
from rllib_calsheq.core.manifest import MANIFEST_FILE
from rllib_calsheq.core.streams import Stream, stream_seed
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.version import __version__
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.results.evaluation import FrozenRun

#: Profiles of a simulation that make one job.
PART = 1024
SIMULATE, RELEARN = "simulate", "relearn"

#: Makes the profiles (E, f) of a design.
Design = Callable[[], FloatArray]


@dataclass(frozen=True)
class Job:
    """A part of a simulation, or the shared policy trained on at one profile.

    Attributes:
        kind: `SIMULATE` or `RELEARN`.
        design: Name of the stored profiles.
        number: That of the design, which the random numbers depend on.
        index: Which part, or which profile.
    """

    kind: str
    design: str
    number: int
    index: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.design}-{self.index:03d}"


class Laboratory:
    """A run's frozen policy, and the designs that it is simulated at.

    Args:
        checkpoint: Folder of the checkpoint.
        config: What is asked for.
        folder: Where designs and results are kept, in a folder of their own.
    """

    def __init__(self, checkpoint: Path, config: InferenceConfig, folder: Path) -> None:
        self.run = FrozenRun(checkpoint)
        self.config = config
        self.folder = folder
        self.store = JobStore(folder, self.identity())

    @cached_property
    def game(self) -> FrozenGame:
        """The same as arrays, which training on needs."""
        return FrozenGame(self.run.path, CertificateConfig(seed=self.config.seed))

    def identity(self) -> dict[str, Any]:
        """Everything that the jobs depend on, as JSON: the checkpoint and what is asked for."""
        manifest = self.run.path / MANIFEST_FILE
        return {
            "version": __version__,
            "checkpoint": hashlib.sha256(manifest.read_bytes()).hexdigest(),
            "settings": asdict(self.config),
        }

    def why_not_trained_on(self) -> str | None:
        """Why the shared policy cannot be trained on here, None where it can."""
        try:
            return None if self.game else ""
        except ValueError as error:
            return str(error)

    def compute(self, job: Job) -> Arrays:
        """Does a job."""
        design = self.store.load(job.design)
        assert design is not None
        profiles = self.run.calibration.parameters.expand(design["profiles"])
        if job.kind == RELEARN:
            return self._relearn(profiles[job.index], job.index)
        part = profiles[job.index * PART : (job.index + 1) * PART]
        seed = stream_seed(Stream.INFERENCE_EPISODES, self.config.seed, job.number, job.index)
        return {"outcomes": self.play(part, seed)}

    def play(self, profiles: FloatArray, seed: int) -> FloatArray:
        """Outcome vectors (E, N + G) of one episode at each profile (E, d) in natural units."""
        return self.run.sample_each(profiles, seed)

    def elsewhere(self) -> Callable[[], Callable[[Job], Arrays]]:
        """What computes jobs in another process."""
        return partial(load_computer, self.run.path, self.config, self.folder)

    def _relearn(self, profile: FloatArray, index: int) -> Arrays:
        """Outcomes (E, N + G) at a profile before and after the policy was trained on there."""
        game, config = self.game, self.config
        keys = (config.seed, index)
        episodes = draw_episodes(
            game.env, profile, config.settled_episodes, Stream.RELEARNED_EPISODES, *keys
        )
        before = sample_outcomes(game.env, game.policy, episodes)
        *_, weights = settle(
            self.run.config, game.env, self.run.path, profile,
            self.run.calibration.finished_stages, config.settling, *keys,
        )  # fmt: skip
        after = sample_outcomes(game.env, game.module_policy(weights), episodes)
        return {"before": before, "after": after}


def load_computer(
    checkpoint: Path, config: InferenceConfig, folder: Path
) -> Callable[[Job], Arrays]:
    """What computes jobs in another process."""
    return Laboratory(checkpoint, config, folder).compute


class Bench:
    """Simulates designs, each job once, whatever was killed in between.

    Args:
        laboratory: What simulates.
        workers: Processes that share the jobs.
        report: Called with each job and the seconds that it took, None if it was stored.
    """

    def __init__(self, laboratory: Laboratory, workers: int, report: Report[Job]) -> None:
        self._laboratory = laboratory
        self._workers = workers
        self._report = report

    def simulate(self, name: str, number: int, design: Design) -> tuple[FloatArray, FloatArray]:
        """Profiles (E, f) in the unit cube, and outcome vectors (E, N + G) of an episode at each.

        Args:
            name: Name of the design.
            number: Its number, which the random numbers depend on.
            design: Makes the profiles, unless they were made before.
        """
        profiles = self._placed(name, design)
        parts = range(-(-len(profiles) // PART))
        done = self._run([Job(SIMULATE, name, number, part) for part in parts])
        return profiles, np.concatenate([arrays["outcomes"] for arrays in done])

    def relearn(self, name: str, number: int, design: Design) -> tuple[FloatArray, FloatArray]:
        """Outcomes (R, E, N + G) at profiles (R, f), before and after training on there.

        Arguments as for `simulate`.
        """
        profiles = self._placed(name, design)
        done = self._run([Job(RELEARN, name, number, i) for i in range(len(profiles))])
        before, after = (np.stack([arrays[key] for arrays in done]) for key in ("before", "after"))
        return before, after

    def _placed(self, name: str, design: Design) -> FloatArray:
        """The profiles of a design, which is stored."""
        store = self._laboratory.store
        stored = store.load(name)
        if stored is None:
            stored = {"profiles": design()}
            store.save(name, stored)
        return stored["profiles"]

    def _run(self, jobs: Sequence[Job]) -> list[Arrays]:
        laboratory = self._laboratory
        done = run_jobs(
            jobs,
            laboratory.store,
            laboratory.compute,
            laboratory.elsewhere(),
            self._workers,
            self._report,
        )
        return [done[job] for job in jobs]
