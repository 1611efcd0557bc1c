"""Which deviation is reported, its interval, and the bound by supertypes."""

import numpy as np
import pytest

from rllib_calsheq.certificates.search.selection import Candidate, select

COUNTS = (1, 4)
SHARES = np.array(COUNTS) / 5


def candidate(rng, means, seed=None, name="", kind="trained", only=None, noise=1.0, fresh=None):
    """Episodes with the given mean gain of each supertype; NaN for those that it is not for."""
    means = np.asarray(means, dtype=float)
    draw = [m[:, None] + noise * rng.normal(size=(2, 200)) for m in (means, means)]
    if fresh is not None:
        draw[1] += (np.asarray(fresh) - means)[:, None]
    if only is not None:
        for part in draw:
            part[1 - only] = np.nan
    return Candidate(name, kind, draw[0], draw[1], seed)


def random_candidates(rng):
    found = []
    for seed in range(3):
        found.append(candidate(rng, rng.normal(size=2), seed, f"whole {seed}"))
        for k in (0, 1):
            found.append(candidate(rng, rng.normal(size=2), seed, f"only {k} {seed}", only=k))
    found.append(candidate(rng, rng.normal(size=2), None, "cheap", kind="constant"))
    return found


@pytest.mark.parametrize("draw", range(40))
def test_the_bound_by_supertypes_is_at_least_the_gain_of_the_whole(draw):
    """A mean of maxima is at least the maximum of the mean, on the episodes it is measured on."""
    rng = np.random.default_rng(draw)
    candidates = random_candidates(rng)
    gains = select(candidates, COUNTS, rng, replicates=50)
    by_supertype = [g.gain for g in gains.by_supertype]
    assert SHARES @ by_supertype >= gains.whole.gain - 1e-12
    assert gains.bound >= gains.whole.gain - 1e-12
    assert gains.bound == pytest.approx(SHARES @ by_supertype)


def test_what_looks_best_in_validation_is_reported_as_fresh_episodes_have_it():
    rng = np.random.default_rng(0)
    lucky = candidate(rng, [2.0, 2.0], name="lucky", noise=0.1, fresh=[-1.0, -1.0])
    good = candidate(rng, [1.0, 1.0], name="good", noise=0.1)
    gains = select([good, lucky], COUNTS, rng, replicates=100)
    assert gains.whole.deviation == "lucky"
    assert gains.whole.gain == pytest.approx(-1.0, abs=0.05)


def test_supertypes_are_weighed_by_their_agents_and_may_deviate_apart():
    rng = np.random.default_rng(1)
    first = candidate(rng, [10.0, -1.0], name="first", noise=0.1)
    second = candidate(rng, [-1.0, 1.5], name="second", noise=0.1)
    gains = select([first, second], COUNTS, rng, replicates=100)
    # 10/5 - 4/5 = 1.2 against -1/5 + 6/5 = 1.0.
    assert gains.whole.deviation == "first"
    assert gains.whole.gain == pytest.approx(1.2, abs=0.05)
    assert [g.deviation for g in gains.by_supertype] == ["first", "second"]
    assert gains.bound == pytest.approx(10 / 5 + 1.5 * 4 / 5, abs=0.05)


def test_a_deviation_for_one_supertype_is_none_for_the_whole():
    rng = np.random.default_rng(2)
    whole = candidate(rng, [0.0, 0.0], name="whole", noise=0.1)
    only = candidate(rng, [5.0, 5.0], name="only", only=1, noise=0.1)
    gains = select([whole, only], COUNTS, rng, replicates=100)
    assert gains.whole.deviation == "whole"
    assert [g.deviation for g in gains.by_supertype] == ["whole", "only"]
    with pytest.raises(ValueError, match="no candidate deviates in every supertype"):
        select([only], COUNTS, rng)


def test_intervals_cover_the_gain_as_often_as_they_say():
    covered = 0
    for draw in range(200):
        rng = np.random.default_rng(100 + draw)
        gains = select([candidate(rng, [0.3, 0.3])], COUNTS, rng, replicates=200)
        covered += gains.whole.low <= 0.3 <= gains.whole.high
    assert 0.90 <= covered / 200 <= 0.99


def test_seeds_that_differ_widen_the_interval():
    def width(spread):
        rng = np.random.default_rng(3)
        seeds = [
            candidate(rng, [1.0 - spread * s] * 2, s, f"seed {s}", noise=0.1) for s in range(4)
        ]
        gain = select(seeds, COUNTS, rng, replicates=500).whole
        assert gain.deviation == "seed 0" or not spread
        return gain.high - gain.low

    assert width(0.5) > 5 * width(0.0)


def test_kinds_are_compared_apart():
    rng = np.random.default_rng(4)
    trained = candidate(rng, [1.0, 1.0], 0, "trained", noise=0.1)
    constant = candidate(rng, [-2.0, -2.0], None, "constant", kind="constant", noise=0.1)
    kinds = select([trained, constant], COUNTS, rng, replicates=100).by_kind
    assert list(kinds) == ["trained", "constant"]
    assert kinds["constant"].gain == pytest.approx(-2.0, abs=0.05)


def test_a_supertype_without_agents_has_no_gain():
    rng = np.random.default_rng(5)
    some = candidate(rng, [1.0, 1.0], name="some", noise=0.1)
    some.validation[1] = some.fresh[1] = np.nan
    gains = select([some], (3, 0), rng, replicates=50)
    assert gains.by_supertype[1] is None
    assert gains.bound == pytest.approx(gains.whole.gain)
