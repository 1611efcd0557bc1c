"""The inference of a checkpoint: from its targets to the set of profiles that explain them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from rllib_calsheq.certificates.jobs.store import result_name
from rllib_calsheq.core.files import replacing, write_json
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.version import __version__
from rllib_calsheq.inference.asking import question_of
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.emulator import Emulator
from rllib_calsheq.inference.jobs import RELEARN, Bench, Job, Laboratory
from rllib_calsheq.inference.report import describe
from rllib_calsheq.inference.waves import (
    PLAUSIBLE,
    RELEARNING,
    Lag,
    Question,
    Set,
    between,
    confident,
    draw,
    eligible,
    explore,
)
from rllib_calsheq.learning.threads import limited_threads
from rllib_calsheq.results.checkpoints import CERTIFICATES

Progress = Callable[[str], None]


@limited_threads()
def infer(
    checkpoint: str | Path,
    config: InferenceConfig | None = None,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: Progress = lambda line: None,
    command: str = "",
) -> dict[str, Any]:
    """Finds which profiles explain the targets of a calibrated run.

    What an inference of the same configuration has simulated before is taken from its folder.

    Example:
        >>> from rllib_calsheq import InferenceConfig, infer, load
        >>> checkpoint = load("my_city").checkpoint
        >>> small = InferenceConfig(
        ...     waves=2, episodes=192, held_out=8, held_out_episodes=8, steps=100, relearned=0
        ... )
        >>> found = infer(checkpoint, small)
        >>> [row["name"] for row in found["parameters"]]
        ['suburbs.mean_distance', 'inside.mean_distance']

    Args:
        checkpoint: Folder of the checkpoint.
        config: What is asked for.
        folder: Where the results go; beside the certificates of the checkpoint when None.
        workers: Processes that share the simulations. More than 1 need the caller's main module to
            be importable, as for any use of `multiprocessing`.
        progress: Called with a line now and then.
        command: What was typed, for whoever reads the result.

    Returns:
        The findings as the JSON file holds them that ``file`` names in ``folder`` (see
        `rllib_calsheq.inference.report.describe`), with the file of ``draws``.

    Raises:
        ValueError: If the run has no targets.
    """
    begun = time.monotonic()
    config = config or InferenceConfig()
    path = Path(checkpoint)
    place = Path(folder) if folder else path.absolute().parent / CERTIFICATES / path.name
    laboratory = Laboratory(path, config, place)
    question = question_of(laboratory.run)
    bench = Bench(laboratory, workers, _Report(progress))
    rng = stream_rng(Stream.KEPT_DRAWS, config.seed)
    found, first, lag = find_set(laboratory, bench, question, config, rng, progress)
    steps = between(config)
    limit = float(chi2.ppf(config.confidence, len(question.values)))
    regions = eligible(found, PLAUSIBLE, steps, rng), confident(found, limit, steps, rng)
    kept = found.draws.thinned(config.draws, rng)
    result = describe(laboratory, found, first, lag, regions, kept, rng)
    name = result_name("inference", {"seed": config.seed}, laboratory.identity()).removesuffix(
        ".json"
    )
    files = {"file": f"{name}.json", "draws": f"{name}.parquet"}
    result |= {
        "seed": config.seed,
        "version": __version__,
        "command": command,
        "targets_hash": laboratory.run.targets.fingerprint(),
        "seconds": round(time.monotonic() - begun, 1),
        "folder": str(place),
        **files,
    }
    _write_draws(place / files["draws"], laboratory, kept)
    write_json(place / files["file"], result)
    return result


def find_set(
    laboratory: Laboratory,
    bench: Bench,
    question: Question,
    config: InferenceConfig,
    rng: np.random.Generator,
    progress: Progress = lambda line: None,
) -> tuple[Set, Emulator, Lag | None]:
    """The set that explains what is asked, corrected for what training on over it changes.

    Args:
        laboratory: The run.
        bench: What simulates it.
        question: What is to be explained.
        config: What is asked for.
        rng: Generator of where the walkers start.
        progress: Called with a line a wave.

    Returns:
        The set, the emulator of the first wave, and the change; None where it was not measured.
    """
    found, first = explore(question, bench, config, progress)
    lag = None
    obstacle = laboratory.why_not_trained_on() if config.relearned else None
    if obstacle:
        progress(f"not corrected for the policy's lag: {obstacle}")
    elif config.relearned:
        chosen = stream_rng(Stream.DESIGNS, config.seed, RELEARNING)
        before, after = bench.relearn(
            "relearned", RELEARNING, lambda: found.draws.thinned(config.relearned, chosen)
        )
        lag = Lag.of(before / question.scales, after / question.scales)
    starts = found.draws.thinned(config.episodes, rng)
    return draw(question, found.emulator, lag, config, starts, RELEARNING), first, lag


def load_draws(file: str | Path) -> pd.DataFrame:
    """The draws of an inference: a column for each parameter, natural units."""
    return pd.read_parquet(file)


def _write_draws(file: Path, laboratory: Laboratory, kept: FloatArray) -> None:
    parameters = laboratory.run.calibration.parameters
    table = pd.DataFrame(parameters.expand(kept), columns=list(parameters.space.names))
    with replacing(file) as unfinished:
        table.to_parquet(unfinished, index=False)


class _Report:
    """A line of progress a job that took its time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, job: Job, seconds: float | None) -> None:
        took = "was stored" if seconds is None else f"{seconds:.0f} s"
        what = "trained on and simulated" if job.kind == RELEARN else "simulated"
        self._progress(f"{what}: {job.name} ({took})")
