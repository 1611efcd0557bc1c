"""Assumption 1 along a run: payoffs V̂(π_y, π_x) between snapshots of its shared policy.

All snapshots play one game: the supertypes (and the environment) of the last one. In each episode
one agent of random role plays π_y and all others π_x, on the same episodes and with the same noise
for every pair, so that gains V̂(π_y, π_x) − V̂(π_x, π_x) are means of paired differences.

Shapes: m snapshots, E episodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rllib_calsheq.certificates.certify import default_folder
from rllib_calsheq.certificates.config import (
    DEFAULT_EPISODES,
    DEFAULT_EPSILON,
    CertificateSettings,
)
from rllib_calsheq.certificates.jobs.frozen_game import Bench
from rllib_calsheq.certificates.jobs.processes import run_parts
from rllib_calsheq.certificates.jobs.store import Arrays, PartStore, document_name
from rllib_calsheq.certificates.search.deviators import Weights
from rllib_calsheq.certificates.search.values import Comparison, draw_episodes, over_roles
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.files import write_json
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.equilibrium.decomposition import cyclic_p_value, decompose, episode_noise
from rllib_calsheq.equilibrium.measured import SkillCheck, check_skill, measured_transitivity
from rllib_calsheq.results.evaluation import finished_stages

CONFIDENCE = 0.95
#: Words for the signs of what was measured.
SIGNS = {1: "yes", -1: "no", 0: "within noise"}


@dataclass(frozen=True)
class Column:
    """All snapshots against a population of one of them, a part of the work.

    Attributes:
        index: Index of that one.
    """

    index: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"column_{self.index}"


class SnapshotBench:
    """Snapshots of one run's shared policy, and the game that they are compared in.

    Args:
        checkpoints: Their checkpoints, the last of which says the supertypes.
        settings: Supertypes, environment, discount and seed; the rest is not read.
        episodes: E.

    Raises:
        ValueError: If a checkpoint cannot be used.
    """

    def __init__(
        self, checkpoints: Sequence[Path], settings: CertificateSettings, episodes: int
    ) -> None:
        self.bench = Bench(checkpoints[-1], settings)
        self.weights: list[Weights] = [self.bench.weights_at(c) for c in checkpoints]
        self.policies = [self.bench.module_policy(weights) for weights in self.weights]
        self.episodes = draw_episodes(
            self.bench.env, self.bench.profiles, episodes, Stream.SNAPSHOTS, settings.seed
        )

    def identity(self) -> dict[str, Any]:
        """Everything that the columns depend on, as JSON."""
        own = self.bench.identity()
        settings = {k: own["settings"][k] for k in ("discount", "seed")}
        snapshots = hashlib.sha256()
        for weights in self.weights:
            for name, value in sorted(weights.items()):
                snapshots.update(name.encode() + value.tobytes())
        changed = {"settings": settings, "weights": snapshots.hexdigest()}
        return own | changed | {"episodes": len(self.episodes)}

    def column(self, part: Column) -> Arrays:
        """``value`` (E,) of a population of one snapshot and ``gains`` (m, E) against it."""
        bench, x = self.bench, part.index
        comparison = Comparison(bench.env, self.policies[x], self.episodes, bench.settings.discount)
        value = over_roles(comparison.base_values, bench.shares)
        gains = [
            np.zeros_like(value) if y == x else over_roles(comparison.gains(policy), bench.shares)
            for y, policy in enumerate(self.policies)
        ]
        return {"value": value, "gains": np.stack(gains)}


def load_columns(
    checkpoints: Sequence[Path], settings: CertificateSettings, episodes: int
) -> Callable[[Column], Arrays]:
    """What computes columns in another process."""
    return SnapshotBench(checkpoints, settings, episodes).column


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
    settings: CertificateSettings | None = None,
    episodes: int = DEFAULT_EPISODES,
    epsilon: float = DEFAULT_EPSILON,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures V̂ between snapshots and what it says about Assumption 1.

    Columns that were finished before are taken from the folder.

    Args:
        checkpoints: Two or more checkpoints of one run, oldest first.
        settings: Supertypes, environment, discount and seed; the rest is not read.
        episodes: E, at least 2.
        epsilon: Gains up to this fraction of |V̂(π, π)| of the last one do not count.
        folder: Where the result and its parts go; see `default_folder`.
        workers: Processes that share the work.
        progress: Called with one line a finished column.

    Returns:
        What the file holds that its ``folder`` and ``file`` name.

    Raises:
        ValueError: If a checkpoint cannot be used or a number is out of range.
    """
    require(episodes >= 2, "--episodes", episodes, "integers from 2")
    require(0 <= epsilon < 1, "--epsilon", epsilon, "numbers from 0, below 1")
    settings = settings or CertificateSettings()
    bench = SnapshotBench(checkpoints, settings, episodes)
    place = Path(folder) if folder else default_folder(checkpoints[-1], settings)
    store = PartStore(place, bench.identity())
    stages = [finished_stages(c) for c in checkpoints]
    columns = [Column(x) for x in range(len(checkpoints))]
    done = 0

    def report(part: Column, seconds: float | None) -> None:
        nonlocal done
        done += 1
        took = "was stored" if seconds is None else f"{seconds:.0f} s"
        progress(f"{done}/{len(columns)} all against stage {stages[part.index]} ({took})")

    load = partial(load_columns, list(checkpoints), settings, episodes)
    found = run_parts(columns, store, bench.column, load, workers, report)
    values = np.stack([found[c]["value"] for c in columns], axis=1)
    gains = np.stack([found[c]["gains"] for c in columns], axis=2).transpose(1, 0, 2)
    rng = stream_rng(Stream.SNAPSHOTS_BOOTSTRAP, settings.seed)
    document = {
        **describe(values, gains, stages, epsilon, rng),
        "supertypes": settings.supertypes,
        "environment": bench.bench.identity()["environment"],
        "checkpoints": [str(c) for c in checkpoints],
        "settings": {
            k: v for k, v in asdict(settings).items() if k in ("env_config", "parameters",
                                                               "discount", "seed")
        },
        "folder": str(place),
        "file": document_name(
            "transitivity",
            {k: v for k, v in settings.unusual_numbers().items() if k in ("discount", "seed")},
            {**bench.identity(), "epsilon": epsilon},
        ),
    }  # fmt: skip
    write_json(place / document["file"], document)
    return document


def describe(
    values: FloatArray,
    gains: FloatArray,
    stages: Sequence[int],
    epsilon: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """What payoffs in single episodes say about Assumption 1, as JSON holds it.

    Args:
        values: V̂(π_x, π_x) of each episode, (E, m).
        gains: V̂(π_y, π_x) − V̂(π_x, π_x) of each episode, (E, m, m) with rows y.
        stages: Stage of each snapshot, m.
        epsilon: Gains up to this fraction of |V̂| of the last one do not count.
        rng: Source of the bootstrap.
    """
    E = len(values)
    value, gain = values.mean(axis=0), gains.mean(axis=0)
    errors = gains.std(axis=0) / np.sqrt(E)
    payoff = gain + value
    least = epsilon * abs(float(value[-1]))
    measured = measured_transitivity(payoff, errors, least, CONFIDENCE)
    parts = decompose(payoff)
    # T's rise from x to y in each episode: the decomposition is linear in the gains.
    antisymmetric = (gains - gains.transpose(0, 2, 1)) / 2
    candidates = {
        "transitive_part": (parts.skill, antisymmetric.mean(axis=2)),
        "value": (value, values),
    }
    document: dict[str, Any] = {
        "stages": list(stages),
        "episodes": E,
        "confidence": CONFIDENCE,
        "epsilon": least,
        "relative_epsilon": epsilon,
        "verdict": measured.verdict,
        "cycle": [stages[i] for i in measured.cycle],
        "values": value.tolist(),
        "value_errors": (values.std(axis=0) / np.sqrt(E)).tolist(),
        "gains": gain.tolist(),
        "gain_errors": errors.tolist(),
        "shares": parts.shares,
        "cyclic": parts.cyclic.tolist(),
        "cyclic_p_value": cyclic_p_value(payoff, episode_noise(gains, rng)),
        "candidates": {},
    }
    for name, (skill, samples) in candidates.items():
        rises = samples[:, :, None] - samples[:, None, :]
        rise_errors = rises.std(axis=0) / np.sqrt(E)
        check = check_skill(
            payoff, skill, errors_of_gains=errors, skill_errors=rise_errors,
            epsilon=least, confidence=CONFIDENCE,
        )  # fmt: skip
        document["candidates"][name] = {
            "skill": skill.tolist(),
            "errors": (samples.std(axis=0) / np.sqrt(E)).tolist(),
            "verdict": check.verdict,
            "steps": _steps(check, stages, errors, rise_errors),
        }
    return {"statement": statement(document), **document}


def _steps(
    check: SkillCheck, stages: Sequence[int], errors: FloatArray, rise_errors: FloatArray
) -> list[dict[str, Any]]:
    return [
        {
            "from": stages[x],
            "to": stages[y],
            "gain": float(check.gains[i]),
            "gain_error": float(errors[y, x]),
            "improved": SIGNS[int(check.improved[i])],
            "rise": float(check.rises[i]),
            "rise_error": float(rise_errors[y, x]),
            "rose": SIGNS[int(check.rose[i])],
        }
        for i, (x, y) in enumerate(check.pairs.tolist())
    ]


def percent(share: float) -> str:
    """A share of 1 in words, small ones and those near 1 with the digits that tell."""
    if share > 0.99:
        return f"{100 * share:.2f} %"
    return f"{100 * share:.2g} %"


def statement(document: Mapping[str, Any]) -> str:
    """The result in words."""
    stages, cycle = document["stages"], document["cycle"]
    circle = " → ".join(str(s) for s in [*cycle, *cycle[:1]])
    verdict = {
        "holds": "no cycle of gains above ε is possible within the errors: extended transitivity "
        "holds among them",
        "fails": f"the stages {circle} form a cycle of gains above ε for certain: extended "
        "transitivity fails",
        "undecided": f"a cycle of gains above ε is neither certain nor ruled out (stages {circle}, "
        "perhaps): more episodes or a larger ε would tell",
    }[document["verdict"]]
    shares = document["shares"]
    words = (
        f"Of {len(stages)} snapshots (stages {stages[0]} to {stages[-1]}) in one game, with ε = "
        f"{document['epsilon']:.3g} ({document['relative_epsilon']:.2%} of the last one's value): "
        f"{verdict} ({document['confidence']:.0%} confidence). Of the gains' squared norm "
        f"{percent(shares['transitive'])} is transitive, {percent(shares['cyclic'])} cyclic (p = "
        f"{document['cyclic_p_value']:.2g} if there were only noise) and "
        f"{percent(shares['mutual'])} mutual. "
    )
    steps = document["candidates"]["transitive_part"]["steps"]
    improved = [s for s in steps if s["improved"] == "yes"]
    rose = sum(s["rose"] == "yes" for s in improved)
    fell = sum(s["rose"] == "no" for s in improved)
    return words + (
        f"{len(improved)} of {len(steps)} steps of training gained more than ε for certain; the "
        f"transitive part as T rose for certain on {rose} of them and fell on {fell}."
    )
