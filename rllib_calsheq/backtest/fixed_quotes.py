"""The market without learning: everyone always quotes the same.

The rival that says what learning adds. It has the parameters, the targets and the calibrator of the
market whose agents learn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.certificates.jobs.store import Arrays
from rllib_calsheq.certificates.lag import sample_outcomes
from rllib_calsheq.certificates.search.deviations import ConstantPolicy
from rllib_calsheq.certificates.search.values import Episodes
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.particles import StageReport
from rllib_calsheq.core.streams import Stream, fresh_seeds, stream_rng, stream_seed
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.verdict import Verdict, judge
from rllib_calsheq.envs import ArrayMarket
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.jobs import Job, Laboratory
from rllib_calsheq.results.evaluation import summarise

Progress = Callable[[str], None]
#: Number of its calibration among designs, after those of an inference.
CALIBRATION = 4000


def quote(market: ArrayMarket, half_spread: float) -> FloatArray:
    """The action (2,) of who quotes a half-spread on both sides.

    Raises:
        ValueError: If that is no quote.
    """
    widest = float(market.config.max_half_spread)
    require(
        half_spread < widest,
        "--half-spread",
        half_spread,
        f"numbers from 0, below max_half_spread = {widest:g}, which is no quote",
    )
    return np.full(2, 2.0 * half_spread / widest - 1.0, dtype=np.float32)


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
        self._env = self.run.config.env.array_form(self.run.config.env_config)
        self._policy = ConstantPolicy(quote(self._env, half_spread))

    def identity(self) -> dict[str, Any]:
        """Everything that the jobs depend on."""
        return super().identity() | {"half_spread": self.half_spread}

    def play(self, profiles: FloatArray, seed: int) -> FloatArray:
        """Outcome vectors (E, N + G) of one episode at each profile (E, d) in natural units."""
        seeds = fresh_seeds(stream_rng(Stream.INFERENCE_EPISODES, seed), len(profiles))
        nobody = np.zeros((0, len(profiles)), dtype=np.intp)
        return sample_outcomes(self._env, self._policy, Episodes(profiles, seeds, nobody))

    def calibrate(
        self, stages: int, episodes: int, progress: Progress
    ) -> tuple[FloatArray, Verdict]:
        """Calibrates this market as the run calibrated its own, but that nobody learns.

        Args:
            stages: Of as many episodes as the run has particles.
            episodes: Fresh ones at the profile that is found.
            progress: Called with a line at the end.

        Returns:
            Their mean outcomes (N + G,), and which targets these meet.
        """
        calibration, targets = self.run.config.build_calibration(), self.run.targets
        own = len(calibration.columns.own)
        for stage in range(1, stages + 1):
            table = calibration.begin_stage()
            played = self.play(table.profiles, self._seed(stage))
            everyone = np.arange(len(played))
            calibration.end_stage(
                [StageReport(table.stage, 0, everyone, played[:, :own], played[:, own:])]
            )
        profile = calibration.calibrated_profile()
        fresh = summarise(self.play(np.tile(profile, (episodes, 1)), self._seed(0)), targets)
        verdict = judge(targets, fresh.outcomes, fresh.stderr)
        progress(f"fixed quotes, calibrated in {stages} stages, on {episodes} episodes: {verdict}")
        return fresh.outcomes, verdict

    def _seed(self, stage: int) -> int:
        return stream_seed(Stream.INFERENCE_EPISODES, self.config.seed, CALIBRATION, stage)

    def elsewhere(self) -> Callable[[], Callable[[Job], Arrays]]:
        """What computes jobs in another process."""
        return partial(_load_fixed, self.run.path, self.config, self.folder, self.half_spread)


def _load_fixed(
    checkpoint: Path, config: InferenceConfig, folder: Path, half_spread: float
) -> Callable[[Job], Arrays]:
    return FixedQuotes(checkpoint, config, folder, half_spread).compute
