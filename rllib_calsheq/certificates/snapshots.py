"""Assumption 1 along a run: payoffs V̂(π_y, π_x) between snapshots of its shared policy.

All snapshots play one game: the supertypes (and the environment) of the last one. In each episode
one agent of random role plays π_y and all others π_x, on the same episodes and with the same noise
for every pair, so that gains V̂(π_y, π_x) − V̂(π_x, π_x) are means of paired differences.

Shapes: m snapshots, E episodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.certificates.config import (
    SNAPSHOT_EPISODES,
    SNAPSHOT_EPSILON,
    CertificateConfig,
)
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.jobs.processes import run_jobs
from rllib_calsheq.certificates.jobs.store import Arrays, JobStore, default_folder, result_name
from rllib_calsheq.certificates.report.transitivity import describe
from rllib_calsheq.certificates.search.deviators import Weights
from rllib_calsheq.certificates.search.values import Comparison, draw_episodes, over_roles
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.files import write_json
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.results.checkpoints import finished_stages


@dataclass(frozen=True)
class Column:
    """All snapshots against a population of one of them, one job.

    Attributes:
        index: Index of that one.
    """

    index: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"column_{self.index}"


class SnapshotGame:
    """Snapshots of one run's shared policy, and the game that they are compared in.

    Args:
        checkpoints: Their checkpoints, the last of which says the supertypes.
        config: Supertypes, environment, discount and seed; the rest is not read.
        episodes: E.

    Raises:
        ValueError: If a checkpoint cannot be used.
    """

    def __init__(
        self, checkpoints: Sequence[Path], config: CertificateConfig, episodes: int
    ) -> None:
        self.game = FrozenGame(checkpoints[-1], config)
        self.weights: list[Weights] = [self.game.weights_at(c) for c in checkpoints]
        self.policies = [self.game.module_policy(weights) for weights in self.weights]
        self.episodes = draw_episodes(
            self.game.env, self.game.profiles, episodes, Stream.SNAPSHOTS, config.seed
        )

    def identity(self) -> dict[str, Any]:
        """Everything that the columns depend on, as JSON."""
        own = self.game.identity()
        kept = {k: own["settings"][k] for k in ("discount", "seed")}
        snapshots = hashlib.sha256()
        for weights in self.weights:
            for name, value in sorted(weights.items()):
                snapshots.update(name.encode() + value.tobytes())
        changed = {"settings": kept, "weights": snapshots.hexdigest()}
        return own | changed | {"episodes": len(self.episodes)}

    def column(self, job: Column) -> Arrays:
        """``value`` (E,) of a population of one snapshot and ``gains`` (m, E) against it."""
        game, x = self.game, job.index
        comparison = Comparison(game.env, self.policies[x], self.episodes, game.config.discount)
        value = over_roles(comparison.base_values, game.shares)
        gains = [
            np.zeros_like(value) if y == x else over_roles(comparison.gains(policy), game.shares)
            for y, policy in enumerate(self.policies)
        ]
        return {"value": value, "gains": np.stack(gains)}


def load_columns(
    checkpoints: Sequence[Path], config: CertificateConfig, episodes: int
) -> Callable[[Column], Arrays]:
    """What computes columns in another process."""
    return SnapshotGame(checkpoints, config, episodes).column


def choose_snapshots(checkpoints: Sequence[Path], count: int) -> list[Path]:
    """At most ``count`` of a run's checkpoints, evenly spaced, the first and the last among them.

    Raises:
        ValueError: If there are fewer than two, or ``count`` is too small.
    """
    require(count >= 2, "--snapshots", count, "integers from 2")
    if len(checkpoints) < 2:
        raise ValueError(
            f"{checkpoints[0].parent} has one checkpoint, and a comparison needs two or more: run "
            "with checkpoint_config: {checkpoint_frequency: 20, num_to_keep: null} in the "
            "experiment's file, which keeps one every 20 stages"
        )
    chosen = np.linspace(0, len(checkpoints) - 1, min(count, len(checkpoints)))
    return [checkpoints[i] for i in np.rint(chosen).astype(int)]


def measure_transitivity(
    checkpoints: Sequence[Path],
    config: CertificateConfig | None = None,
    episodes: int = SNAPSHOT_EPISODES,
    epsilon: float = SNAPSHOT_EPSILON,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures V̂ between snapshots and what it says about Assumption 1.

    Columns that were finished before are taken from the folder.

    Args:
        checkpoints: Two or more checkpoints of one run, oldest first.
        config: Supertypes, environment, discount and seed; the rest is not read.
        episodes: E, at least 2.
        epsilon: Gains up to this fraction of |V̂(π, π)| of the last one do not count.
        folder: Where the result and its jobs go; see `default_folder`.
        workers: Processes that share the jobs.
        progress: Called with one line a finished column.

    Returns:
        What the file holds that its ``folder`` and ``file`` name.

    Raises:
        ValueError: If a checkpoint cannot be used or a number is out of range.
    """
    require(episodes >= 2, "--episodes", episodes, "integers from 2")
    require(0 <= epsilon < 1, "--epsilon", epsilon, "numbers from 0, below 1")
    config = config or CertificateConfig()
    game = SnapshotGame(checkpoints, config, episodes)
    place = Path(folder) if folder else default_folder(checkpoints[-1], config)
    store = JobStore(place, game.identity())
    stages = [finished_stages(c) for c in checkpoints]
    columns = [Column(x) for x in range(len(checkpoints))]
    done = 0

    def report(job: Column, seconds: float | None) -> None:
        nonlocal done
        done += 1
        took = "was stored" if seconds is None else f"{seconds:.0f} s"
        progress(f"{done}/{len(columns)} all against stage {stages[job.index]} ({took})")

    load = partial(load_columns, list(checkpoints), config, episodes)
    measured = run_jobs(columns, store, game.column, load, workers, report)
    values = np.stack([measured[c]["value"] for c in columns], axis=1)
    gains = np.stack([measured[c]["gains"] for c in columns], axis=2).transpose(1, 0, 2)
    rng = stream_rng(Stream.SNAPSHOTS_BOOTSTRAP, config.seed)
    found = {
        **describe(values, gains, stages, epsilon, rng),
        "supertypes": config.supertypes,
        "environment": game.game.identity()["environment"],
        "checkpoints": [str(c) for c in checkpoints],
        "settings": {
            k: v for k, v in asdict(config).items() if k in ("env_config", "parameters",
                                                               "discount", "seed")
        },
        "folder": str(place),
        "file": result_name(
            "transitivity",
            {k: v for k, v in config.unusual_numbers().items() if k in ("discount", "seed")},
            {**game.identity(), "epsilon": epsilon},
        ),
    }  # fmt: skip
    write_json(place / found["file"], found)
    return found
