"""What a calibration's arrays take, so that one that cannot fit is refused before it is built."""

from __future__ import annotations

import math
from pathlib import Path

#: Linux's own account of memory, and the line that says what programs can still get.
MEMORY_INFO, AVAILABLE = Path("/proc/meminfo"), "MemAvailable:"
#: Bytes of a number in what env runners return and learners learn from.
FLOAT_BYTES = 4
#: Copies of a stage's agent steps that a learner holds at once: the runners' blocks, the batch in
#: rows, and its minibatches.
LEARNER_COPIES = 3


def available_bytes() -> float:
    """Memory that this machine can still give, in bytes; infinite where it does not say."""
    try:
        lines = MEMORY_INFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return math.inf
    kibibytes = [line.split()[1] for line in lines if line.startswith(AVAILABLE)]
    return 1024.0 * int(kibibytes[0]) if kibibytes else math.inf


def require_memory(needed: float, what: str, lower: str) -> None:
    """Refuses what does not fit into the memory that is available.

    Args:
        needed: Bytes.
        what: What needs them, the beginning of a sentence.
        lower: What to lower.

    Raises:
        ValueError: If more is needed than there is.
    """
    available = available_bytes()
    if needed > available:
        raise ValueError(
            f"{what} would take about {gigabytes(needed)} of memory, and {gigabytes(available)} "
            f"are available: lower {lower}"
        )


def gigabytes(count: float) -> str:
    """Bytes as people read them, e.g. ``75.1 GB``."""
    return f"{count / 1e9:,.1f} GB"


def stage_bytes(
    *,
    agents: int,
    steps: int,
    observation: int,
    action: int,
    particles: int,
    runners: int,
    episode: float = 0.0,
) -> tuple[float, float]:
    """Bytes that one stage takes on one env runner and on the driver.

    Args:
        agents: n.
        steps: T, steps in an episode.
        observation: Numbers in an agent's observation.
        action: Numbers in its action.
        particles: B, episodes in a stage.
        runners: Remote env runners; 0 when the driver samples by itself.
        episode: Bytes that the environment itself keeps for an episode.

    Returns:
        Bytes on one env runner, and on the driver, where the shared policy learns.
    """
    # Observation, action, the distribution's parameters (a mean and a deviation an action),
    # log-probability and reward.
    of_episode = FLOAT_BYTES * agents * steps * (observation + 3 * action + 2)
    of_runner = math.ceil(particles / max(runners, 1)) * (of_episode + episode)
    of_learner = LEARNER_COPIES * particles * of_episode
    return of_runner, of_learner if runners else of_learner + of_runner
