"""The supertype space: bounds, order, names and the unit cube."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.envs import MarketConfig

SPACE = SupertypeSpace(
    (
        Parameter("rate", "near", 0.0, 1.0, start=0.25),
        Parameter("distance", "near", -2.0, 6.0),
        Parameter("rate", "far", 10.0, 10.5),
    )
)
UNIT_CUBE = arrays(np.float64, (4, 3), elements=st.floats(0, 1))


@settings(deadline=None)
@given(UNIT_CUBE)
def test_unit_cube_round_trip_stays_in_bounds(unit):
    profiles = SPACE.from_unit(unit)
    assert (profiles >= SPACE.low).all()
    assert (profiles <= SPACE.high).all()
    SPACE.validate(profiles)
    np.testing.assert_allclose(SPACE.to_unit(profiles), unit, atol=1e-12)


@settings(deadline=None)
@given(UNIT_CUBE)
def test_unit_cube_keeps_order(unit):
    other = np.clip(unit + 0.1, 0.0, 1.0)
    assert (SPACE.from_unit(other) >= SPACE.from_unit(unit)).all()


def test_from_unit_clips_to_the_bounds():
    np.testing.assert_array_equal(SPACE.from_unit([-1.0, 2.0, 0.5]), [0.0, 6.0, 10.25])


def test_validate_returns_a_copy():
    profile = SPACE.start
    SPACE.validate(profile)[:] = 0.0
    np.testing.assert_array_equal(profile, [0.25, 2.0, 10.25])


def test_where_one_profile_is_asked_for_several_are_refused():
    np.testing.assert_array_equal(SPACE.validate_one([0.5, 0, 10]), [0.5, 0.0, 10.0])
    with pytest.raises(ValueError, match=r"one profile of shape \(d,\) is needed, not \(2, 3\)"):
        SPACE.validate_one([[0.5, 0, 10], [0.5, 0, 10]])


def test_names_start_and_indices_follow_the_documented_order():
    assert SPACE.names == ("near.rate", "near.distance", "far.rate")
    assert SPACE.supertypes == ("near", "far")
    np.testing.assert_array_equal(SPACE.start, [0.25, 2.0, 10.25])
    np.testing.assert_array_equal(SPACE.indices("near"), [0, 1])
    np.testing.assert_array_equal(SPACE.indices("far"), [2])
    with pytest.raises(KeyError, match="nowhere"):
        SPACE.indices("nowhere")


def test_mapping_round_trip_and_defaults():
    profile = SPACE.from_mapping({"far.rate": 10.5})
    np.testing.assert_array_equal(profile, [0.25, 2.0, 10.5])
    np.testing.assert_array_equal(SPACE.from_mapping(SPACE.to_mapping(profile)), profile)
    kept = SPACE.from_mapping({"near.rate": 1.0}, default=profile)
    np.testing.assert_array_equal(kept, [1.0, 2.0, 10.5])
    np.testing.assert_array_equal(profile, [0.25, 2.0, 10.5])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"far.speed": 1.0}, r"far\.speed.*near\.rate"),
        ({"far.rate": 11.0}, r"far\.rate = 11.*\[10, 10\.5\]"),
        ({"far.rate": "high"}, "not a number"),
        (["far.rate"], "must be a mapping"),
    ],
)
def test_mapping_errors_name_the_parameter(values, message):
    with pytest.raises(ValueError, match=message):
        SPACE.from_mapping(values)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ([0.5, 0.0], "3 entries"),
        (0.5, "3 entries"),
        ([0.5, 6.1, 10.0], r"near\.distance = 6\.1"),
        ([np.nan, 0.0, 10.0], r"near\.rate = nan"),
        ([[0.5, 0.0, 10.0], [0.5, 0.0, 9.0]], r"far\.rate = 9"),
    ],
)
def test_validate_refuses(profile, message):
    with pytest.raises(ValueError, match=message):
        SPACE.validate(profile)


def test_with_start_moves_only_the_start():
    moved = SPACE.with_start({"near.distance": -2.0})
    np.testing.assert_array_equal(moved.start, [0.25, -2.0, 10.25])
    np.testing.assert_array_equal(moved.low, SPACE.low)
    assert SPACE.with_start(None) is SPACE


@pytest.mark.parametrize(
    "arguments",
    [
        {"low": 1.0, "high": 1.0},
        {"low": 0.0, "high": np.inf},
        {"low": np.nan},
        {"start": 2.0},
    ],
)
def test_parameters_with_a_bad_range_are_refused(arguments):
    with pytest.raises(ValueError, match=r"s\.p"):
        Parameter("p", "s", **arguments)


def test_spaces_need_unique_names():
    with pytest.raises(ValueError, match=r"repeated: \['s\.p'\]"):
        SupertypeSpace((Parameter("p", "s"), Parameter("p", "s")))
    with pytest.raises(ValueError, match="at least one"):
        SupertypeSpace(())


def test_the_market_has_the_papers_23_parameters():
    space = MarketConfig().supertype_space
    assert len(space) == 23
    assert len(space.indices("supertype_1")) == 11
    assert len(space.indices("supertype_2")) == 12
    assert space.names[10] == "supertype_1.tolerance"
    assert space.names[21:] == ("supertype_2.tolerance_mean", "supertype_2.tolerance_variance")
    np.testing.assert_array_equal(space.high, [1.0] * 22 + [0.05])
    np.testing.assert_array_equal(space.low, np.zeros(23))
