"""The market that is calibrated to a fold, and the same market with fixed quotes.

All that needs RLlib: calibrations in stages that are kept, and what the calibrated market, or the
one in which nobody learns, says of mean outcomes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.algorithm import CALSHEQ, CALSHEQConfig
from rllib_calsheq.certificates.jobs.store import Arrays
from rllib_calsheq.certificates.lag import sample_outcomes
from rllib_calsheq.certificates.search.deviations import ConstantPolicy
from rllib_calsheq.certificates.search.values import Episodes
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.streams import Stream, fresh_seeds, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.verdict import judge
from rllib_calsheq.envs import MarketEnv
from rllib_calsheq.inference.asking import question_of
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.infer import find_set
from rllib_calsheq.inference.jobs import Bench, Job, Laboratory
from rllib_calsheq.inference.waves import predict
from rllib_calsheq.results.checkpoints import finished_stages, is_whole

Progress = Callable[[str], None]
#: Stages between two checkpoints of a calibration, and two lines of progress.
SAVE_EVERY, PROGRESS_EVERY = 20, 10
#: Fields of the market that a fold's training rows say.
FROM_DATA = (
    "num_merchants", "num_clusters", "share_by", "percentiles", "percentile_rule", "lot_size",
    "cluster_quantities",
)  # fmt: skip


def configure(base: Mapping[str, Any], targets: Mapping[str, Any], seed: int) -> CALSHEQConfig:
    """The configuration of a fold's calibration, checked.

    Args:
        base: That of an experiment; its targets are left out.
        targets: Content of the fold's target file.
        seed: Of the calibration.

    Raises:
        ValueError: If it is none of the market, says what the rows are to say, or is not allowed.
    """
    own = base.get("env_config") or {}
    taken = [name for name in FROM_DATA if name in own]
    require(
        not taken,
        "env_config of the experiment",
        taken,
        "fields that do not come from the rows that a fold learns from, so leave these out",
    )
    variant = {"env": MarketEnv, **base, "targets": dict(targets), "seed": seed}
    config = CALSHEQConfig().update_from_dict(variant)
    config.validate()
    config.check_kept(variant)
    is_market = isinstance(config.env, type) and issubclass(config.env, MarketEnv)
    require(is_market, "env", config.env, "rllib_calsheq.envs.MarketEnv: transactions are a market")
    return config


def calibrate(config: CALSHEQConfig, folder: Path, stages: int, progress: Progress) -> Path:
    """Calibrates, from the last whole checkpoint in a folder on; returns the one at the end.

    Args:
        config: The configuration.
        folder: Where checkpoints are kept: the last one only.
        stages: After how many it ends.
        progress: Called with a line now and then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = _checkpoint(folder, stages)
    kept = [path for path in sorted(folder.glob("checkpoint_*")) if is_whole(path)]
    if end in kept:
        progress(f"the calibration was stored ({stages} stages)")
        return end
    algorithm = CALSHEQ.from_checkpoint(kept[-1]) if kept else config.build_algo()
    try:
        for stage in range((finished_stages(kept[-1]) if kept else 0) + 1, stages + 1):
            result = algorithm.train()["calibration"]
            if stage % PROGRESS_EVERY == 0 or stage == stages:
                progress(
                    f"calibration: stage {stage}/{stages}, {result['targets_met']} of "
                    f"{result['num_targets']} targets met by the pooled episodes"
                )
            if stage % SAVE_EVERY == 0 or stage == stages:
                _save(algorithm, folder, stage)
    finally:
        algorithm.stop()
    return end


def _save(algorithm: CALSHEQ, folder: Path, stage: int) -> None:
    """Saves a checkpoint, and drops those before once it is whole."""
    before = list(folder.glob("checkpoint_*"))
    path = _checkpoint(folder, stage)
    if path.exists():  # What a kill left of it.
        shutil.rmtree(path)
    algorithm.save_to_path(path)
    for old in before:
        if old != path:
            shutil.rmtree(old)


def _checkpoint(folder: Path, stage: int) -> Path:
    return folder.absolute() / f"checkpoint_{stage:06d}"


class FixedQuotes(Laboratory):
    """The market of a checkpoint's run, in which everyone always quotes the same.

    Args:
        checkpoint: Folder of the checkpoint.
        config: What is asked for.
        folder: Where results are kept.
        half_spread: What everyone quotes, in ticks.
    """

    def __init__(
        self, checkpoint: Path, config: InferenceConfig, folder: Path, half_spread: float
    ) -> None:
        self.half_spread = half_spread
        super().__init__(checkpoint, config, folder)
        env_config = self.run.config.env_config
        self._env = self.run.config.env.array_form(env_config)
        widest = float(self._env.config.max_half_spread)
        require(half_spread < widest, "--half-spread", half_spread, f"below {widest:g}, no quote")
        action = np.full(2, 2.0 * half_spread / widest - 1.0, dtype=np.float32)
        self._policy = ConstantPolicy(action)

    def identity(self) -> dict[str, Any]:
        """Everything that the jobs depend on."""
        return super().identity() | {"half_spread": self.half_spread}

    def play(self, profiles: FloatArray, seed: int) -> FloatArray:
        """Outcome vectors (E, N + G) of one episode at each profile (E, d) in natural units."""
        seeds = fresh_seeds(stream_rng(Stream.INFERENCE_EPISODES, seed), len(profiles))
        nobody = np.zeros((0, len(profiles)), dtype=np.intp)
        return sample_outcomes(self._env, self._policy, Episodes(profiles, seeds, nobody))

    def elsewhere(self) -> Callable[[], Callable[[Job], Arrays]]:
        """What computes jobs in another process."""
        return partial(_load_fixed, self.run.path, self.config, self.folder, self.half_spread)


def _load_fixed(
    checkpoint: Path, config: InferenceConfig, folder: Path, half_spread: float
) -> Callable[[Job], Arrays]:
    return FixedQuotes(checkpoint, config, folder, half_spread).compute


@dataclass(frozen=True, eq=False)
class Said:
    """What a fold's markets say of mean outcomes, in the order that was asked for, own units.

    Attributes:
        learning: Draws (D, N) of the posterior predictive of the market whose agents learn.
        fixed: The same of the market with fixed quotes.
        calibrated: Means (N,) of fresh episodes at the calibrated profile.
        verdict: Which targets these meet, as `Verdict.to_mapping` has it.
    """

    learning: FloatArray
    fixed: FloatArray
    calibrated: FloatArray
    verdict: dict[str, Any]


def ask_markets(
    checkpoint: Path,
    names: tuple[str, ...],
    inference: InferenceConfig,
    half_spread: float,
    episodes: int,
    folder: Path,
    workers: int,
    progress: Progress,
) -> Said:
    """Infers the profiles of both markets from the targets, and what they predict.

    Args:
        checkpoint: The calibration's.
        names: Which outcomes.
        inference: What is asked of each inference; its draws are kept.
        half_spread: What everyone quotes in the market without learning.
        episodes: Fresh episodes at the calibrated profile.
        folder: Where simulations are kept.
        workers: Processes that share them.
        progress: Called with a line now and then.
    """
    laboratory = Laboratory(checkpoint, inference, folder)
    run = laboratory.run
    index = [run.calibration.columns.names.index(name) for name in names]
    fresh = run.measure(run.calibration.calibrated_profile(), episodes, inference.seed)
    verdict = judge(run.targets, fresh.outcomes, fresh.stderr).to_mapping()
    progress(f"the calibrated profile, on {episodes} fresh episodes: {verdict['summary']}")
    learning = _predictive(laboratory, workers, lambda line: progress(f"inference, {line}"))
    # Nobody learns there, so that there is no lag to correct for.
    still = replace(inference, relearned=0)
    fixed = FixedQuotes(checkpoint, still, folder, half_spread)
    said = _predictive(fixed, workers, lambda line: progress(f"fixed quotes, {line}"))
    return Said(learning[:, index], said[:, index], fresh.outcomes[index], verdict)


def _predictive(laboratory: Laboratory, workers: int, progress: Progress) -> FloatArray:
    """Draws (D, N + G) of the mean outcomes that the targets leave, own units."""
    config = laboratory.config
    question = question_of(laboratory.run)
    bench = Bench(laboratory, workers, lambda job, seconds: None)
    rng = stream_rng(Stream.KEPT_DRAWS, config.seed)
    found, _, lag = find_set(laboratory, bench, question, config, rng, progress)
    kept = found.draws.thinned(config.draws, rng)
    return np.asarray(predict(found, lag, kept, rng) * question.scales)
