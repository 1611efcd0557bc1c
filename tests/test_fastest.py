"""Choosing the fastest of several ways by trying them."""

import pytest

from rllib_calsheq.learning import fastest
from rllib_calsheq.learning.fastest import FIRST_BREAK, WANTED, Fastest


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only by what a test adds to its one number."""
    now = [0.0]
    monkeypatch.setattr(fastest.time, "perf_counter", lambda: now[0])
    return now


def take(chooser, clock, seconds, turns, amount=1):
    """Takes turns that last as long as ``seconds`` says of each way; the ways that were taken."""
    taken = []
    for _ in range(turns):
        with chooser.turn(amount) as way:
            clock[0] += seconds[way] * amount
        taken.append(way)
    return taken


def test_every_way_is_tried_and_the_fastest_is_taken(clock):
    chooser = Fastest([1, 2, 4])
    assert take(chooser, clock, {1: 3.0, 2: 1.0, 4: 2.0}, 3 * WANTED) == [1, 1, 2, 2, 4, 4]
    assert take(chooser, clock, {2: 1.0}, FIRST_BREAK) == [2] * FIRST_BREAK


def test_ways_are_compared_by_the_same_amount_of_work(clock):
    chooser = Fastest([1, 2])
    take(chooser, clock, {1: 1.0}, WANTED, amount=100)
    take(chooser, clock, {2: 2.0}, WANTED, amount=1)
    assert take(chooser, clock, {1: 1.0}, 1) == [1]


def test_a_way_that_lost_is_tried_again_ever_more_rarely_and_taken_once_it_wins(clock):
    chooser = Fastest([1, 2])
    seconds = {1: 2.0, 2: 1.0}
    taken = take(chooser, clock, seconds, 400)
    trials = [turn for turn, way in enumerate(taken) if way == 1]
    breaks = [later - earlier for earlier, later in zip(trials[::2], trials[2::2], strict=False)]
    assert len(trials) < 20
    assert breaks == sorted(breaks)
    assert breaks[-1] >= 4 * breaks[0]

    seconds[2] = 4.0  # Another program takes the second core.
    taken = take(chooser, clock, seconds, 400)
    assert taken[-1] == 1
    assert taken.count(1) > 100


def test_a_choice_of_one_is_no_choice(clock):
    chooser = Fastest([1])
    assert take(chooser, clock, {1: 1.0}, 100) == [1] * 100
