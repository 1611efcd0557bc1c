"""The market that is calibrated to a fold, and the same market with fixed quotes.

All that needs RLlib: calibrations in stages that are kept, and what the calibrated market, or the
one in which nobody learns, says of mean outcomes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.algorithm import CALSHEQ, CALSHEQConfig
from rllib_calsheq.algorithm.local_ray import built
from rllib_calsheq.algorithm.problem import resolve_env
from rllib_calsheq.backtest.config import BacktestConfig
from rllib_calsheq.backtest.fixed_quotes import FixedQuotes, quote
from rllib_calsheq.certificates.jobs.store import Arrays, JobStore
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.files import json_text
from rllib_calsheq.core.manifest import MANIFEST_FILE
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.verdict import judge
from rllib_calsheq.core.version import __version__
from rllib_calsheq.envs import MarketEnv
from rllib_calsheq.inference.asking import question_of
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.infer import find_set
from rllib_calsheq.inference.jobs import Bench, Laboratory
from rllib_calsheq.inference.waves import predict
from rllib_calsheq.results.checkpoints import finished_stages, is_whole

Progress = Callable[[str], None]
#: Who was asked, outcomes (..., N + G), and which targets they meet.
Answer = tuple[Laboratory, FloatArray, dict[str, Any]]
#: Stages between two checkpoints of a calibration, and two lines of progress.
SAVE_EVERY, PROGRESS_EVERY = 20, 10
#: Fields of the market that a fold's training rows say.
FROM_DATA = (
    "num_merchants", "num_clusters", "share_by", "percentiles", "percentile_rule", "lot_size",
    "cluster_quantities",
)  # fmt: skip


def configure(
    base: Mapping[str, Any], targets: Mapping[str, Any], config: BacktestConfig
) -> CALSHEQConfig:
    """The configuration of a fold's calibration, checked.

    Args:
        base: That of an experiment; its targets are left out.
        targets: Content of the fold's target file.
        config: What the backtest is asked for.

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
    variant = {"env": MarketEnv, **base, "targets": dict(targets), "seed": config.seed}
    found = CALSHEQConfig().update_from_dict(variant)
    env = resolve_env(variant["env"])
    allowed = "rllib_calsheq.envs.MarketEnv, since transactions are read as a market"
    require(issubclass(env, MarketEnv), "env", env, allowed)
    found.validate()
    found.check_kept(variant)
    quote(env.array_form(found.env_config), config.half_spread)
    return found


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
    with built(config, kept[-1] if kept else None) as algorithm:
        for stage in range((finished_stages(kept[-1]) if kept else 0) + 1, stages + 1):
            result = algorithm.train()["calibration"]
            if stage % PROGRESS_EVERY == 0 or stage == stages:
                progress(
                    f"calibration: stage {stage}/{stages}, {result['targets_met']} of "
                    f"{result['num_targets']} targets met by the pooled episodes"
                )
            if stage % SAVE_EVERY == 0 or stage == stages:
                _save(algorithm, folder, stage)
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


@dataclass(frozen=True, eq=False)
class Said:
    """What a market says of mean outcomes, in the order that was asked for, own units.

    Attributes:
        inferred: Draws (D, N) over all profiles that explain the targets.
        calibrated: Means (N,) of fresh episodes at the calibrated profile.
        verdict: Which targets these meet, as `Verdict.to_mapping` has it.
    """

    inferred: FloatArray
    calibrated: FloatArray
    verdict: dict[str, Any]


class Markets:
    """Asks the market of a calibration, and the same with fixed quotes; each answer is kept.

    Args:
        checkpoint: The calibration's.
        names: Which outcomes are asked for.
        config: What is asked for.
        inference: What is asked of each inference; its draws are kept.
        folder: Where answers and simulations are kept.
        workers: Processes that share the simulations.
        progress: Called with a line now and then.
    """

    def __init__(
        self,
        checkpoint: Path,
        names: tuple[str, ...],
        config: BacktestConfig,
        inference: InferenceConfig,
        folder: Path,
        workers: int,
        progress: Progress,
    ) -> None:
        self.checkpoint, self.names, self.config, self.inference = (
            checkpoint, names, config, inference,
        )  # fmt: skip
        self.folder, self.workers, self.progress = folder, workers, progress
        calibration = hashlib.sha256((checkpoint / MANIFEST_FILE).read_bytes()).hexdigest()
        self._store = JobStore(
            folder,
            {
                "version": __version__,
                "calibration": calibration,
                "names": list(names),
                "inference": asdict(inference),
                "stages": config.stages,
                "half_spread": config.half_spread,
                "episodes": config.episodes,
            },
        )

    def learning(self) -> Said:
        """The market whose agents learn."""

        def calibrated() -> Answer:
            laboratory = Laboratory(self.checkpoint, self.inference, self.folder)
            run, count = laboratory.run, self.config.episodes
            profile = run.calibration.calibrated_profile()
            fresh = run.measure(profile, count, self.inference.seed)
            verdict = judge(run.targets, fresh.outcomes, fresh.stderr)
            self.progress(f"the calibrated profile, on {count} fresh episodes: {verdict}")
            return laboratory, fresh.outcomes, verdict.to_mapping()

        def inferred() -> Answer:
            laboratory = Laboratory(self.checkpoint, self.inference, self.folder)
            return laboratory, self._predictive(laboratory, "inference"), {}

        return self._said("learning", inferred, calibrated)

    def fixed(self) -> Said:
        """The market in which nobody learns; there is no lag to correct for."""

        def laboratory() -> FixedQuotes:
            still = replace(self.inference, relearned=0)
            return FixedQuotes(self.checkpoint, still, self.folder, self.config.half_spread)

        def calibrated() -> Answer:
            lab, config = laboratory(), self.config
            means, verdict = lab.calibrate(config.stages, config.episodes, self.progress)
            return lab, means, verdict.to_mapping()

        def inferred() -> Answer:
            lab = laboratory()
            return lab, self._predictive(lab, "fixed quotes"), {}

        return self._said("fixed", inferred, calibrated)

    def _said(
        self, name: str, inferred: Callable[[], Answer], calibrated: Callable[[], Answer]
    ) -> Said:
        profile = self._kept(f"{name}-calibrated", calibrated)
        draws = self._kept(f"{name}-inferred", inferred)
        verdict = json.loads(str(profile["verdict"]))
        return Said(draws["outcomes"], profile["outcomes"], verdict)

    def _kept(self, name: str, answer: Callable[[], Answer]) -> Arrays:
        """An answer, which is stored."""
        stored = self._store.load(name)
        if stored is None:
            laboratory, outcomes, verdict = answer()
            columns = laboratory.run.calibration.columns.names
            chosen = outcomes[..., [columns.index(n) for n in self.names]]
            stored = {"outcomes": chosen, "verdict": np.array(json_text(verdict))}
            self._store.save(name, stored)
        else:
            self.progress(f"{name} was stored")
        return stored

    def _predictive(self, laboratory: Laboratory, what: str) -> FloatArray:
        """Draws (D, N + G) of the mean outcomes that the targets leave, own units."""
        config = laboratory.config
        question = question_of(laboratory.run)
        bench = Bench(laboratory, self.workers, lambda job, seconds: None)
        rng = stream_rng(Stream.KEPT_DRAWS, config.seed)
        found, _, lag = find_set(
            laboratory, bench, question, config, rng, lambda line: self.progress(f"{what}, {line}")
        )
        kept = found.draws.thinned(config.draws, rng)
        return np.asarray(predict(found, lag, kept, rng) * question.scales)
