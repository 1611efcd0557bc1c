"""Which directions of the profile Λ the targets pin down, at the calibrated point.

The Jacobian of mean outcomes with respect to Λ, by central finite differences on the same episodes.
Parameters are in units of their range and outcomes in scales of their targets, so that a singular
value σ says: along its direction, a move by the fraction h of the range moves the targets by σ·h
scales in all. The shared policy is conditioned on types and answers to the new Λ as it is.

Shapes: d parameters, K outcomes, E episodes, R bootstrap replicates.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rllib_calsheq.certificates.config import SENSITIVITY_STEP
from rllib_calsheq.core.defaults import CONFIDENCE
from rllib_calsheq.core.supertypes import FloatArray, SupertypeSpace

#: From a profile (d,) in natural units to outcomes of single episodes (E, K), always the same ones.
Sampler = Callable[[FloatArray], FloatArray]
REPLICATES = 200
#: A direction is pinned down if a move over the whole range would move the targets by this at
#: least, in scales.
PINNED_DOWN = 1.0
#: Part of its axis in pinned-down directions from which a parameter is pinned down by itself, and
#: up to which it is open.
MOSTLY, HARDLY = 0.5, 0.1
#: Parameters that a direction is described by, and the least part that they have in it.
MAX_NAMED, LEAST_PART = 4, 0.25


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The scaled Jacobian and what it says.

    Attributes:
        jacobian: d outcome / d parameter in scales per range, (K, d).
        stderr: Standard error of each entry, (K, d).
        singular_values: Descending, (min(K, d),).
        directions: Right singular vectors as rows, (d, d); those after the first K belong to no
            singular value: no outcome changes along them.
        noise: What the largest singular value would be below, had Λ no effect, and
            `PINNED_DOWN` if that is larger: the threshold of a pinned-down direction.
        pinned: Part of each parameter's axis that lies in pinned-down directions, (d,), in [0, 1].
    """

    jacobian: FloatArray
    stderr: FloatArray
    singular_values: FloatArray
    directions: FloatArray
    noise: float
    pinned: FloatArray

    @property
    def rank(self) -> int:
        """Number of directions that are pinned down."""
        return int((self.singular_values > self.noise).sum())


def differences(
    sample: Sampler,
    space: SupertypeSpace,
    profile: FloatArray,
    scales: FloatArray,
    step: float = SENSITIVITY_STEP,
    progress: Callable[[str], None] = lambda line: None,
) -> FloatArray:
    """Per-episode derivatives (E, K, d), in scales per range.

    Args:
        sample: Outcomes of the same single episodes at any profile; NaN where one did not happen.
        space: The supertype space.
        profile: The profile Λ (d,) in natural units.
        scales: Scale of each outcome, (K,).
        step: Half of the distance; at a bound the difference is one-sided.
        progress: Called with a line for each parameter.
    """
    unit = space.to_unit(profile)
    columns = []
    for j, name in enumerate(space.names):
        ends = np.clip([unit[j] + step, unit[j] - step], 0.0, 1.0)
        above, below = (space.from_unit(_replaced(unit, j, end)) for end in ends)
        columns.append((sample(above) - sample(below)) / scales / (ends[0] - ends[1]))
        progress(f"{j + 1}/{len(space)} {name}")
    return np.stack(columns, axis=-1)


def analyse(
    derivatives: FloatArray, rng: np.random.Generator, replicates: int = REPLICATES
) -> Sensitivity:
    """What per-episode derivatives (E, K, d) say; a NaN counts as no effect in that episode."""
    values = np.nan_to_num(derivatives)
    E = len(values)
    jacobian = values.mean(axis=0)
    stderr = values.std(axis=0) / np.sqrt(E)
    _, singular_values, directions = np.linalg.svd(jacobian, full_matrices=True)
    centred = (values - jacobian).reshape(E, -1)
    weights = rng.multinomial(E, np.full(E, 1 / E), replicates) / E
    noise = (weights @ centred).reshape(replicates, *jacobian.shape)
    largest = np.linalg.svd(noise, compute_uv=False)[:, 0]
    # Above this quantile of the noise's singular values, one is no noise.
    threshold = max(float(np.quantile(largest, CONFIDENCE)), PINNED_DOWN)
    rank = int((singular_values > threshold).sum())
    pinned = (directions[:rank] ** 2).sum(axis=0)
    return Sensitivity(jacobian, stderr, singular_values, directions, threshold, pinned)


def in_words(
    found: Sensitivity, names: Sequence[str], outcomes: Sequence[str], what: str = "targets"
) -> list[str]:
    """What the targets pin down and what not, in sentences.

    Args:
        found: The sensitivity.
        names: Names of the parameters, d.
        outcomes: Names of the outcomes, K.
        what: What these are: targets or, in a run without any, outcomes.
    """
    d, rank = len(names), found.rank
    first = f"The {len(outcomes)} {what} pin down {rank} of {d} directions of the profile"
    if rank < d:
        first += (
            f": along the other {d - rank}, a move over the whole range would move all {what} "
            f"together by less than {found.noise:.2g} scales, or by no more than noise"
        )
    said = [f"{first}."]
    for j in range(rank):
        vector = found.directions[j]
        said.append(
            f"Direction {j + 1} ({found.singular_values[j]:.3g} scales per range): "
            f"{combination(vector, names)}; it moves {_moved(found.jacobian @ vector, outcomes)}."
        )
    words = [knowledge(pinned) for pinned in found.pinned]
    for word in Knowledge:
        of_word = [name for name, own in zip(names, words, strict=True) if own == word]
        if of_word:
            said.append(f"{word.sentence}: {', '.join(of_word)}.")
    return said


class Knowledge(enum.StrEnum):
    """What the targets say of a single parameter: each is of one kind."""

    PINNED = "pinned down"
    TOGETHER = "with others"
    OPEN = "open"

    @property
    def sentence(self) -> str:
        """How a sentence on the parameters of a kind begins."""
        return {
            Knowledge.PINNED: "Pinned down by themselves",
            Knowledge.TOGETHER: "Pinned down only together with others",
            Knowledge.OPEN: "Open, so that their calibrated values should not be read as found",
        }[self]


def knowledge(pinned: float) -> Knowledge:
    """The kind of a parameter of which so much of its axis lies in pinned-down directions."""
    if pinned >= MOSTLY:
        return Knowledge.PINNED
    return Knowledge.TOGETHER if pinned > HARDLY else Knowledge.OPEN


def _replaced(values: FloatArray, index: int, value: float) -> FloatArray:
    changed = values.copy()
    changed[index] = value
    return changed


def combination(vector: FloatArray, names: Sequence[str]) -> str:
    """The parameters that a direction mostly consists of, with their signs."""
    order = np.argsort(-np.abs(vector))[:MAX_NAMED]
    chosen = [i for i in order if abs(vector[i]) >= LEAST_PART] or [int(order[0])]
    sign = np.sign(vector[chosen[0]])
    moves = [f"{'up' if vector[i] * sign > 0 else 'down'} {names[i]}" for i in chosen]
    rest = 1.0 - float((vector[chosen] ** 2).sum())
    return ", ".join(moves) + (" and others" if rest > LEAST_PART else "")


def _moved(change: FloatArray, outcomes: Sequence[str]) -> str:
    """The outcomes that a direction moves most."""
    order = np.argsort(-np.abs(change))[:MAX_NAMED]
    strongest = abs(change[order[0]])
    return ", ".join(outcomes[i] for i in order if abs(change[i]) >= LEAST_PART * strongest)
