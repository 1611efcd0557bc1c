"""Coverage of a run's inferences: hidden profiles from the prior, each inferred and judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.certificates.jobs.processes import run_jobs
from rllib_calsheq.certificates.jobs.store import Arrays, JobStore, result_name
from rllib_calsheq.certificates.lag import sample_outcomes, settle
from rllib_calsheq.certificates.search.values import draw_episodes
from rllib_calsheq.core.files import write_json
from rllib_calsheq.core.streams import Stream, stream_rng, stream_seed
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import pool
from rllib_calsheq.core.version import __version__
from rllib_calsheq.inference.asking import question_of
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.coverage import Trial, judge_draws, narrowed, summarise
from rllib_calsheq.inference.description import INTERVALS, PRIOR_DRAWS
from rllib_calsheq.inference.jobs import Bench, Job, Laboratory
from rllib_calsheq.inference.waves import (
    JUDGES,
    RELEARNING,
    Lag,
    Question,
    Set,
    draw,
    explore,
    predict,
)
from rllib_calsheq.learning.threads import limited_threads
from rllib_calsheq.results.checkpoints import CERTIFICATES

#: Episodes that a hidden profile's true means are known from.
TRUTH_EPISODES = 1024


@dataclass(frozen=True)
class HiddenJob:
    """The inference of one hidden profile."""

    index: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"hidden-{self.index:04d}"


class CoverageLaboratory:
    """Draws hidden profiles, makes their targets and infers them.

    The first wave is drawn from the prior and knows no target: all profiles share it. What training
    on changes is measured once, at profiles of the prior.

    Args:
        checkpoint: Folder of the checkpoint.
        config: What each inference is asked for; with ``relearned``, the hidden profile's
            targets are those of the policy trained on there.
        target_episodes: Episodes that targets are the means of: their standard error is known.
        folder: Where all is kept.
    """

    def __init__(
        self, checkpoint: Path, config: InferenceConfig, target_episodes: int, folder: Path
    ) -> None:
        self.inference = Laboratory(checkpoint, config, folder)
        self.config = config
        self.target_episodes = target_episodes
        self.folder = folder
        self.question = question_of(self.inference.run)
        self.store = JobStore(folder, self.identity())

    def identity(self) -> dict[str, Any]:
        """Everything that a hidden profile's job depends on."""
        return {"coverage": self.inference.identity(), "target_episodes": self.target_episodes}

    def prepare(self, bench: Bench) -> None:
        """Simulates what all hidden profiles share."""
        config, prior = self.config, self.question.prior
        rng = stream_rng(Stream.DESIGNS, config.seed, 0)
        source = prior.draw(config.episodes + config.held_out, rng)
        bench.simulate("wave-0", 0, lambda: source[config.held_out :])
        held = np.repeat(source[: config.held_out], config.held_out_episodes, axis=0)
        bench.simulate("judges-0", JUDGES, lambda: held)
        if config.relearned:
            bench.relearn("relearned", RELEARNING, lambda: prior.draw(config.relearned, rng))

    def compute(self, job: HiddenJob) -> Arrays:
        """Infers one hidden profile."""
        config = replace(self.config, seed=self.config.seed + 1 + job.index)
        rng = stream_rng(Stream.HIDDEN_PROFILES, self.config.seed, job.index)
        hidden = self.question.prior.draw(2, rng)[0]
        outcomes = self._outcomes(hidden, job.index)
        seen = outcomes[: self.target_episodes]
        index, scales = self.question.index, self.question.scales
        stderr = (np.nanstd(seen, axis=0) / np.sqrt(len(seen)) / scales)[index]
        # As in a target file: without a standard error, the scale counts.
        known = stderr > 0
        question = replace(
            self.question,
            values=(pool(seen) / scales)[index],
            observation=np.where(known, stderr, 1.0),
            stated=known,
        )
        found, _ = explore(question, _Shared(self.inference, config), config)
        lag = self._lag()
        starts = found.draws.thinned(config.episodes, rng)
        found = draw(question, found.emulator, lag, config, starts, RELEARNING)
        return {
            "hidden": hidden,
            "draws": found.draws.thinned(config.draws, rng).astype(np.float32),
            "predicted": _predicted(found, lag, pool(outcomes) / scales, question, rng),
        }

    def _lag(self) -> Lag | None:
        if not self.config.relearned:
            return None
        jobs = [
            self.inference.store.load(f"relearned-{i:03d}") for i in range(self.config.relearned)
        ]
        before, after = (
            np.stack([arrays[key] for arrays in jobs if arrays is not None])
            for key in ("before", "after")
        )
        return Lag.of(before / self.question.scales, after / self.question.scales)

    def _outcomes(self, hidden: FloatArray, index: int) -> FloatArray:
        """Outcomes (E, N + G) of single episodes at a hidden profile (f,)."""
        lab = self.inference
        profile = lab.run.calibration.parameters.expand(hidden)
        seed = self.config.seed
        if not self.config.relearned:
            chosen = stream_seed(Stream.HIDDEN_PROFILES, seed, index, 1)
            return lab.run.sample(profile, TRUTH_EPISODES, chosen)
        game, keys = lab.game, (seed, 10_000 + index)
        *_, weights = settle(
            lab.run.config, game.env, lab.run.path, profile,
            lab.run.calibration.finished_stages, self.config.settling, *keys,
        )  # fmt: skip
        episodes = draw_episodes(
            game.env, profile, TRUTH_EPISODES, Stream.RELEARNED_EPISODES, *keys
        )
        return sample_outcomes(game.env, game.module_policy(weights), episodes)


class _Shared:
    """A simulator whose first wave is stored, and whose others belong to one hidden profile."""

    def __init__(self, laboratory: Laboratory, config: InferenceConfig) -> None:
        self._laboratory = laboratory
        self._config = config

    def simulate(
        self, name: str, number: int, design: Callable[[], FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """As `Simulator.simulate`."""
        lab = self._laboratory
        # Later waves of that name may be there, too: those of the run's own inference.
        if number in (0, JUDGES):
            stored = lab.store.load(name)
            assert stored is not None
            parts, part = [], 0
            while (arrays := lab.store.load(Job("", name, number, part).name)) is not None:
                parts.append(arrays["outcomes"])
                part += 1
            return stored["profiles"], np.concatenate(parts)
        profiles = design()
        seed = stream_seed(Stream.INFERENCE_EPISODES, self._config.seed, number, 0)
        at = lab.run.calibration.parameters.expand(profiles)
        return profiles, lab.run.sample_each(at, seed)


def _predicted(
    found: Set, lag: Lag | None, true: FloatArray, question: Question, rng: np.random.Generator
) -> np.ndarray:
    """Whether the wide band of each outcome that is no target holds its true mean, (L,)."""
    profiles = found.draws.thinned(2000, rng)
    means = predict(found, lag, profiles, rng)
    tail = (1.0 - INTERVALS[-1]) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    inside = (low <= true) & (true <= high)
    return np.delete(inside, question.index)


def load_computer(
    checkpoint: Path, config: InferenceConfig, target_episodes: int, folder: Path
) -> Callable[[HiddenJob], Arrays]:
    """What computes hidden profiles in another process."""
    return CoverageLaboratory(checkpoint, config, target_episodes, folder).compute


@limited_threads()
def measure_coverage(
    checkpoint: str | Path,
    profiles: int,
    config: InferenceConfig | None = None,
    target_episodes: int = 64,
    folder: str | Path | None = None,
    workers: int = 1,
    spoil: float = 1.0,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures how often a run's intervals hold profiles that are hidden on purpose.

    Profiles that were inferred before are taken from the folder.

    Args:
        checkpoint: Folder of the checkpoint, whose shared policy plays.
        profiles: H, how many are drawn from the prior.
        config: What each inference is asked for; see `CoverageLaboratory`.
        target_episodes: Episodes that each hidden profile's targets are the means of.
        folder: Where all is kept; beside the certificates of the checkpoint when None.
        workers: Processes that share the profiles.
        spoil: Factor that draws are drawn in to their medians by, to see that it is found out.
        progress: Called with a line a profile.

    Returns:
        What `summarise` found, with the ``settings``, as the JSON file holds it that ``file`` names
        in ``folder``.
    """
    begun = time.monotonic()
    config = config or InferenceConfig()
    path = Path(checkpoint)
    place = Path(folder) if folder else path.absolute().parent / CERTIFICATES / path.name
    laboratory = CoverageLaboratory(path, config, target_episodes, place)
    laboratory.prepare(Bench(laboratory.inference, workers, lambda job, seconds: None))
    count = 0

    def report(job: HiddenJob, seconds: float | None) -> None:
        nonlocal count
        count += 1
        took = "was stored" if seconds is None else f"{seconds:.0f} s"
        progress(f"{count}/{profiles} hidden profile {job.index} ({took})")

    there = partial(load_computer, path, config, target_episodes, place)
    jobs = [HiddenJob(i) for i in range(profiles)]
    done = run_jobs(jobs, laboratory.store, laboratory.compute, there, workers, report)
    prior = laboratory.question.prior.draw(PRIOR_DRAWS, stream_rng(Stream.KEPT_DRAWS, config.seed))
    trials: list[Trial] = []
    for job, arrays in done.items():
        rng = stream_rng(Stream.HIDDEN_PROFILES, config.seed, job.index, 2)
        draws = narrowed(arrays["draws"].astype(np.float64), spoil)
        trials.append(judge_draws(draws, arrays["hidden"], prior, rng, arrays["predicted"]))
    names = list(laboratory.inference.run.calibration.parameters.free.names)
    result = summarise(trials, names) | {
        "checkpoint": str(path),
        "target_episodes": target_episodes,
        "spoilt_by": spoil,
        "settings": asdict(config),
        "version": __version__,
        "seconds": round(time.monotonic() - begun, 1),
        "folder": str(place),
    }
    marks = {"profiles": profiles} | ({"spoilt": spoil} if spoil != 1.0 else {})
    result["file"] = result_name("coverage", marks, laboratory.identity())
    write_json(place / result["file"], result)
    return result
