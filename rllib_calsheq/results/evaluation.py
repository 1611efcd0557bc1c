"""Judging a calibration: fresh episodes at the calibrated profile Λ̂ with the frozen policy.

r(Λ) is the mean of r_cal over single episodes at the profile Λ. The *recovered fraction* is
(r(Λ̂) − r(Λ_0)) / (ceiling − r(Λ_0)): 1 where Λ̂ fits as well as the profile that the targets
were made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.core.breakdowns import Breakdown, joined
from rllib_calsheq.core.defaults import EVALUATION_EPISODES
from rllib_calsheq.core.particles import STAGE_REPORTS, SupertypeTable, merge_reports
from rllib_calsheq.core.stages import Calibration
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool
from rllib_calsheq.core.verdict import judge, parameters_at_bounds
from rllib_calsheq.results.checkpoints import (
    ARGUMENTS_FILE,
    calibration_state,
    module_state,
    require_known,
)
from rllib_calsheq.results.saved_config import read_config


@dataclass(frozen=True)
class Measurement:
    """Outcomes of fresh episodes at one profile.

    Attributes:
        outcomes: Mean outcome vector (N,).
        stderr: Standard error of each, (N,).
        medians: Median of each over the episodes in which it happened, (N,); far from the mean
            where an outcome jumps between values, as percentiles of lumpy quantities do.
        reward: Mean of r_cal over the episodes.
        reward_stderr: Standard error of it.
        reward_on_target: The same mean, had every mean outcome been on its target with the scatter
            of these episodes: what r_cal is to be compared with where no ceiling is known.
    """

    outcomes: FloatArray
    stderr: FloatArray
    medians: FloatArray
    reward: float
    reward_stderr: float
    reward_on_target: float


def summarise(outcomes: npt.NDArray[np.floating], targets: TargetSet) -> Measurement:
    """Means, standard errors and medians of outcome vectors (E, N) of single episodes."""
    happened = np.maximum((~np.isnan(outcomes)).sum(axis=0), 1)
    mean = pool(outcomes)
    deviation = np.sqrt(pool((outcomes - mean) ** 2))
    rewards = targets.reward(outcomes)
    return Measurement(
        outcomes=mean,
        stderr=deviation / np.sqrt(happened),
        medians=np.array([_median(column) for column in outcomes.T]),
        reward=float(rewards.mean()),
        reward_stderr=float(rewards.std() / np.sqrt(len(rewards))),
        reward_on_target=float(targets.reward(_on_target(outcomes, mean, targets)).mean()),
    )


def _on_target(
    outcomes: npt.NDArray[np.floating], mean: FloatArray, targets: TargetSet
) -> FloatArray:
    """Outcome vectors (E, N), moved so that the mean of each target's outcome is on its target."""
    moved = np.array(outcomes, dtype=np.float64)
    moved[:, targets.index] += targets.values - mean[targets.index]
    return moved


def _median(values: npt.NDArray[np.floating]) -> float:
    """Median of what is no NaN; NaN where nothing is left."""
    happened = values[~np.isnan(values)]
    return float(np.median(happened)) if len(happened) else np.nan


def recovered_fraction(
    reward: float | None, start: float | None, ceiling: float | None
) -> float | None:
    """(r − r(Λ_0)) / (ceiling − r(Λ_0)); None where one is not known or nothing is to be gained.

    Args:
        reward: r of the profile that was found.
        start: r(Λ_0).
        ceiling: The reward that can be reached.
    """
    if reward is None or start is None or ceiling is None or ceiling <= start:
        return None
    return float((reward - start) / (ceiling - start))


class FrozenRun:
    """A checkpoint's shared policy, or policies, and calibration, without Ray actors.

    Args:
        checkpoint: Folder of an algorithm checkpoint.
        trusted: Whether it may run programs to be read, as one that this process's run has made.

    Raises:
        NotWholeError: If a file of the checkpoint is missing or not what was written.
        ForeignCodeError: If it holds something that only running a program would make.
        ValueError: If it is no checkpoint of a CALSHEQ run that this version reads.
    """

    def __init__(self, checkpoint: str | Path, trusted: bool = False) -> None:
        self.path = Path(checkpoint)
        # First, since what is in a checkpoint of another version may not even load.
        require_known(self.path, trusted)
        self.config: CALSHEQConfig = read_config(self.path / ARGUMENTS_FILE, trusted)
        # Nothing is trained here, and the machine may be another one.
        self.config.num_env_runners = self.config.num_learners = 0
        self.config.num_gpus_per_learner = self.config.num_gpus_per_env_runner = 0
        self.config.validate()
        self.calibration: Calibration = self.config.build_calibration()
        self.calibration.load_state_dict(calibration_state(self.path, trusted))
        self.targets = self.calibration.targets
        # Its random streams have names. Seeding Torch, RLlib asks for deterministic algorithms, for
        # which Torch loads its compiler: more than a second, and nothing here differs by it.
        unseeded = self.config.copy(copy_frozen=False)
        unseeded.seed = None
        self._runner = self.config.env_runner_cls(config=unseeded, worker_index=0)
        for policy in self.config.policy_names:
            self._runner.module[policy].set_state(module_state(self.path, policy))

    @property
    def seed(self) -> int:
        """Seed of the run, which its evaluation takes unless another is given."""
        return int(self.config.seed or 0)

    def sample(self, profile: npt.ArrayLike, episodes: int, seed: int) -> FloatArray:
        """Outcome vectors (episodes, N + G) at a profile (d,) in natural units."""
        return self.sample_each(np.tile(np.asarray(profile, dtype=float), (episodes, 1)), seed)

    def sample_each(self, profiles: FloatArray, seed: int) -> FloatArray:
        """Outcome vectors (E, N + G) of one episode at each profile (E, d) in natural units."""
        return np.concatenate([outcomes for outcomes, _ in self._blocks(profiles, seed)])

    def _blocks(
        self, profiles: FloatArray, seed: int
    ) -> Iterator[tuple[FloatArray, dict[str, Breakdown]]]:
        """Outcomes and breakdowns of some episodes at once."""
        batch = self.config.num_particles
        for k, first in enumerate(range(0, len(profiles), batch)):
            chosen = profiles[first : first + batch]
            count = len(chosen)
            table = SupertypeTable(
                stage=k,
                profiles=chosen,
                workers=np.zeros(count, dtype=np.intp),
                seed=seed,
                evaluation=True,
            )
            self._runner.set_supertypes(table)
            self._runner.sample()
            metrics = self._runner.get_metrics()
            reports = metrics[STAGE_REPORTS]
            reports = reports.peek() if hasattr(reports, "peek") else reports
            outcomes = merge_reports(reports, k, count, self.calibration.columns)[1]
            # Episodes that RLlib's own path plays one by one have none.
            yield outcomes, getattr(self._runner, "episode_breakdowns", dict)()

    def measure_all(
        self, profile: npt.ArrayLike, episodes: int, seed: int
    ) -> tuple[Measurement, dict[str, Breakdown]]:
        """Outcomes and reward at a profile (d,) in natural units, and what breakdowns there are."""
        profiles = np.tile(np.asarray(profile, dtype=float), (episodes, 1))
        outcomes, breakdowns = zip(*self._blocks(profiles, seed), strict=True)
        return summarise(np.concatenate(outcomes), self.targets), joined(breakdowns)

    def measure(self, profile: npt.ArrayLike, episodes: int, seed: int) -> Measurement:
        """Outcomes and reward at a profile (d,) in natural units."""
        return summarise(self.sample(profile, episodes, seed), self.targets)


def evaluate(
    checkpoint: str | Path,
    episodes: int = EVALUATION_EPISODES,
    seed: int | None = None,
    trusted: bool = False,
) -> dict[str, Any]:
    """Evaluates a checkpoint at its calibrated profile Λ̂.

    Example:
        >>> from rllib_calsheq import evaluate, load
        >>> checkpoint = load("my_city").checkpoint
        >>> found = evaluate(checkpoint, episodes=16)
        >>> found["stage"], [row["name"] for row in found["outcomes"]]
        (3, ['suburbs.subway_rate', 'inside.subway_rate'])

    Args:
        checkpoint: Folder of the checkpoint.
        episodes: Fresh episodes at each profile that is measured.
        seed: Seed of the episodes, the run's own when None. They are none that a run has seen.
        trusted: As `FrozenRun` has it.

    Returns:
        ``profile`` (by name), ``stage``, ``reward`` r(Λ̂), ``reward_stderr``,
        ``reward_start`` r(Λ_0), ``ceiling``, ``recovered_fraction`` (None where the ceiling is
        not known), ``reward_on_target`` (see `Measurement`) and ``outcomes``: a list of ``name``,
        ``value`` (mean over episodes), ``stderr``, ``median``, ``target``, ``scale``,
        ``tolerance`` and ``miss`` in scales, ``met``. r(Λ_0) is the target file's, measured with a
        policy trained at Λ_0; where it has none, or `parameters` moves Λ_0, it is measured with
        this policy. ``verdict`` is `Verdict.to_mapping` (None without targets), ``at_bounds`` the
        parameters that stand at a bound. ``every_outcome`` holds all outcomes, targets or not:
        ``name``, ``description``, ``value``, ``stderr``, ``median``. ``breakdowns`` holds what
        the environment shows by groups of its own (`rllib_calsheq.core.breakdowns`),
        ``environment`` the number of ``agents`` and the ``episode_length`` (None where it varies).
    """
    run = FrozenRun(checkpoint, trusted)
    seed = run.seed if seed is None else seed
    profile, parameters = run.calibration.calibrated_profile(), run.calibration.parameters
    fitted, breakdowns = run.measure_all(profile, episodes, seed)
    known, problem = run.config.target_file(), run.config.problem()
    verdict = judge(run.targets, fitted.outcomes, fitted.stderr) if len(run.targets) else None
    # That of the file was measured at the environment's own Λ_0.
    moved = bool((run.calibration.space.start != problem.space.start).any())
    if known.reward_start is not None and not moved:
        start = known.reward_start
    else:
        start = run.measure(run.calibration.space.start, episodes, seed).reward
    return {
        "checkpoint": str(run.path),
        "stage": run.calibration.finished_stages,
        "episodes": episodes,
        "profile": run.calibration.space.to_mapping(profile),
        "reward": fitted.reward,
        "reward_stderr": fitted.reward_stderr,
        "reward_start": start,
        "ceiling": known.ceiling,
        "recovered_fraction": recovered_fraction(fitted.reward, start, known.ceiling),
        "reward_on_target": fitted.reward_on_target,
        "verdict": None if verdict is None else verdict.to_mapping(),
        "at_bounds": dict(parameters_at_bounds(parameters.narrowed, profile[parameters.moving])),
        "outcomes": [
            {
                "name": found.target.outcome,
                "value": found.value,
                "stderr": found.stderr,
                "median": float(fitted.medians[i]),
                "target": found.target.value,
                "scale": found.target.scale,
                "tolerance": found.target.tolerance,
                "miss": found.miss,
                "met": found.met,
            }
            for i, found in zip(run.targets.index, verdict.targets if verdict else (), strict=True)
        ],
        "every_outcome": [
            {
                "name": outcome.name,
                "description": outcome.description,
                "value": float(fitted.outcomes[i]),
                "stderr": float(fitted.stderr[i]),
                "median": float(fitted.medians[i]),
            }
            for i, outcome in enumerate(run.calibration.columns.all)
        ],
        "breakdowns": {title: one.to_mapping() for title, one in breakdowns.items()},
        "environment": {"agents": problem.num_agents, "episode_length": problem.episode_length},
    }
