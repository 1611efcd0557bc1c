"""A series against its target in a line of blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

#: From far below the target to far above it; the middle one is the target.
BLOCKS = "▁▂▃▄▅▆▇"
#: Where there was no value.
NOTHING = "·"
T = TypeVar("T")


def around(values: Sequence[float], target: float) -> str:
    """Values as blocks, the target in the middle: higher than it is above, lower is below.

    The largest distance from the target takes the whole height.

    Args:
        values: The values; what is not finite is shown as nothing.
        target: The target, in the same unit.
    """
    distances = [value - target for value in values]
    return _blocks(distances, max((abs(d) for d in distances if math.isfinite(d)), default=0.0))


def between(values: Sequence[float], low: float, high: float) -> str:
    """Values as blocks between two bounds, beyond which they are cut."""
    middle = (low + high) / 2
    return _blocks([value - middle for value in values], (high - low) / 2)


def thinned(values: Sequence[T], width: int) -> list[T]:
    """At most ``width`` of the values, evenly spaced, the last one among them."""
    count = len(values)
    if count <= width:
        return list(values)
    return [values[(k + 1) * count // width - 1] for k in range(width)]


def _blocks(distances: Sequence[float], largest: float) -> str:
    middle = len(BLOCKS) // 2
    text = ""
    for distance in distances:
        if not math.isfinite(distance):
            text += NOTHING
            continue
        part = max(-1.0, min(1.0, distance / largest)) if largest else 0.0
        text += BLOCKS[middle + round(middle * part)]
    return text
