"""What a calibration's arrays take, so that one that cannot fit is refused before it is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

#: Linux's own account of memory, and the line that says what programs can still get.
MEMORY_INFO, AVAILABLE = Path("/proc/meminfo"), "MemAvailable:"
#: Bytes of a number in what env runners return and learners learn from.
FLOAT_BYTES = 4
#: Gigabytes that are written out digit by digit, at most.
MANY_GIGABYTES = 1e9
#: Copies of a stage's agent steps that a learner holds at once: the runners' blocks, the batch in
#: rows, and its minibatches.
LEARNER_COPIES = 3
#: Copies of a network's weights: a learner's, their gradients and Adam's two moments, those that an
#: env runner samples with, and what is sent to it.
WEIGHT_COPIES = 6
#: Copies of a network's units for a row of a minibatch: before and after their activation, and the
#: gradient.
UNIT_COPIES = 3


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
    """Bytes as people read them, e.g. ``75.1 GB``; too many of them in powers of ten."""
    number = count / 1e9
    return f"{number:,.1f} GB" if number < MANY_GIGABYTES else f"{number:.2g} GB"


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
    of_episode = FLOAT_BYTES * float(agents) * steps * (observation + 3 * action + 2)
    of_runner = math.ceil(particles / max(runners, 1)) * (of_episode + episode)
    of_learner = LEARNER_COPIES * of_episode * particles
    return of_runner, of_learner if runners else of_learner + of_runner


def network_bytes(weights: float, units: float, rows: int) -> float:
    """Bytes that a network takes where it learns.

    Args:
        weights: Numbers that it learns.
        units: Units of all its layers.
        rows: Rows of a minibatch.
    """
    return FLOAT_BYTES * (WEIGHT_COPIES * weights + UNIT_COPIES * units * rows)


def perceptron_size(widths: Sequence[int]) -> tuple[float, float]:
    """Weights, biases included, and units of a perceptron, from its input's width to its output's.

    Example:
        >>> perceptron_size([2, 64, 3])
        (387.0, 67.0)
    """
    # Floats, since an integer that a user gives may have hundreds of digits.
    layers = [float(width) for width in widths]
    return sum((below + 1.0) * width for below, width in pairwise(layers)), sum(layers[1:])
