"""Which of several ways to do the same work is the fastest here and now, by trying them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

#: Times of a way that are remembered, and how many are wanted before it is judged.
REMEMBERED, WANTED = 5, 2
#: Turns until the slower ways are tried again: at first, and at most.
FIRST_BREAK, LONGEST_BREAK = 16, 256


class Fastest:
    """Chooses a way, and learns from how long it took.

    Every way is tried twice, then the fastest is taken. The others are tried again now and then,
    since other programs come and go; each time that they lose again the break doubles.

    Args:
        ways: What there is to choose from, at least one.
    """

    def __init__(self, ways: Sequence[int]) -> None:
        self._seconds: dict[int, deque[float]] = {way: deque(maxlen=REMEMBERED) for way in ways}
        self._best, self._break, self._turns = ways[0], FIRST_BREAK, 0

    def _next(self) -> int:
        for way, seconds in self._seconds.items():
            if len(seconds) < WANTED:
                return way
        typical = {way: median(seconds) for way, seconds in self._seconds.items()}
        best = min(typical, key=typical.__getitem__)
        if best != self._best:
            self._best, self._break, self._turns = best, FIRST_BREAK, 0
        self._turns += 1
        if self._turns > self._break:
            self._turns, self._break = 0, min(2 * self._break, LONGEST_BREAK)
            for way, seconds in self._seconds.items():
                if way != best:
                    seconds.clear()
        return best

    @contextmanager
    def turn(self, amount: int = 1) -> Iterator[int]:
        """Gives the way to take for an amount of work, and times it."""
        way = self._next()
        began = time.perf_counter()
        yield way
        self._seconds[way].append((time.perf_counter() - began) / max(amount, 1))
