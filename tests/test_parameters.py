"""What a user knows about parameters: the map to what a calibrator moves, and its checks."""

import numpy as np
import pytest

from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.core.parameters import KnownParameters
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace

SPACE = SupertypeSpace(
    (
        Parameter("a", "s", 0.0, 10.0),
        Parameter("b", "s", 2.0, 4.0, start=2.5),
        Parameter("c", "s", 0.0, 4.0),
        Parameter("d", "t", 0.0, 1.0),
    )
)


def map_of(stated_start=(), space=SPACE, **known):
    return KnownParameters(**known).map_of(space, stated_start)


class TestMap:
    def test_who_states_nothing_has_all_parameters_free_to_the_last_bit(self):
        found = map_of()
        unit = np.random.default_rng(0).random((50, 4))
        np.testing.assert_array_equal(found.expand(unit), SPACE.from_unit(unit))
        assert (found.free, found.prior, found.stated) == (SPACE, None, {})

    def test_a_fixed_parameter_is_gone_and_keeps_its_value(self):
        found = map_of(fixed={"s.c": 1})
        assert found.free.names == ("s.a", "s.b", "t.d")
        np.testing.assert_array_equal(found.expand([0.5, 0.5, 1.0]), [5.0, 3.0, 1.0, 1.0])
        np.testing.assert_array_equal(found.space.start, [5.0, 2.5, 1.0, 0.5])
        assert found.moving.tolist() == [True, True, False, True]

    def test_narrower_bounds_are_the_calibrators_box(self):
        found = map_of(bounds={"s.a": [4, 6], "t.d": (0.0, 0.5)})
        np.testing.assert_allclose(found.expand(np.zeros(4)), [4.0, 2.0, 0.0, 0.0])
        np.testing.assert_allclose(found.expand(np.ones(4)), [6.0, 4.0, 4.0, 0.5])
        # The environment's own range stays what distances are measured in.
        np.testing.assert_array_equal(found.space.high, SPACE.high)

    def test_tied_parameters_have_one_value_in_the_range_that_all_allow(self):
        found = map_of(ties=[["s.c", "s.a", "s.b"]])
        assert found.free.names == ("s.a", "t.d")
        profiles = found.expand(np.array([[0.0, 0.0], [0.25, 0.5], [1.0, 1.0]]))
        np.testing.assert_allclose(profiles[:, :3], [[2.0] * 3, [2.5] * 3, [4.0] * 3])
        np.testing.assert_allclose(profiles[:, 3], [0.0, 0.5, 1.0])
        # The mean of 5, 2.5 and 2, in the middle of the box.
        np.testing.assert_allclose(found.space.start, [19 / 6] * 3 + [0.5])

    def test_there_and_back_again(self):
        found = map_of(fixed={"t.d": 0.2}, bounds={"s.a": [3.0, 9.0]}, ties=[["s.b", "s.c"]])
        unit = np.random.default_rng(1).random((20, 2))
        np.testing.assert_allclose(found.reduce(found.expand(unit)), unit, atol=1e-12)
        # Of what is not allowed, the nearest that is: the mean of the tied, within the bounds.
        np.testing.assert_allclose(
            found.expand(found.reduce([1.0, 4.0, 2.0, 0.9])), [3.0, 3.0, 3.0, 0.2]
        )

    def test_a_default_start_moves_to_the_nearest_bound(self):
        found = map_of(bounds={"s.a": [7.0, 8.0], "s.b": [2.0, 2.25]})
        np.testing.assert_array_equal(found.space.start, [7.0, 2.25, 2.0, 0.5])
        np.testing.assert_array_equal(found.free.start, found.space.start)

    def test_a_stated_start_stays_and_leads_those_tied_to_it(self):
        found = map_of(["s.b"], ties=[["s.a", "s.b"]], bounds={"s.a": [1.0, 3.0]})
        np.testing.assert_array_equal(found.space.start, [2.5, 2.5, 2.0, 0.5])

    def test_what_is_narrowed_is_judged_by_its_own_bounds_and_what_is_fixed_is_not(self):
        found = map_of(fixed={"s.c": 0.0}, bounds={"s.a": [2, 3]}, ties=[["s.b", "s.a"]]).narrowed
        assert found.names == ("s.a", "s.b", "t.d")
        np.testing.assert_array_equal(found.low, [2.0, 2.0, 0.0])

    def test_a_prior_is_in_the_unit_cube_of_what_is_free(self):
        found = map_of(
            fixed={"s.c": 0.0},
            bounds={"s.a": [4, 8]},
            prior={"s.a": {"mean": 5, "std": 0.4}, "s.b": {"std": 0.5}},
        ).prior
        np.testing.assert_allclose(found.mean, [0.25, 0.25, 0.5])
        np.testing.assert_allclose(found.std, [0.1, 0.25, np.nan])
        np.testing.assert_allclose(found.std_or(0.3), [0.1, 0.25, 0.3])

    def test_a_prior_of_one_tied_parameter_is_that_of_all(self):
        found = map_of(ties=[["s.b", "s.c"]], prior={"s.c": {"mean": 3.0}}).prior
        np.testing.assert_allclose(found.mean, [0.5, 0.5, 0.5])
        assert np.isnan(found.std).all()


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"fixed": {"s.aa": 1.0}}, ["parameters.fixed names 's.aa'", "did you mean 's.a'"]),
        ({"bounds": {"x": [0, 1]}}, ["parameters.bounds names 'x'", "'s.a', 's.b'"]),
        ({"prior": {"x": {"mean": 0}}}, ["parameters.prior names 'x'"]),
        ({"ties": [["s.a", "x"]]}, ["parameters.ties names 'x'"]),
        ({"fixed": {"s.a": 11}}, ["fixed of s.a is 11", "[0, 10]"]),
        ({"fixed": {"s.a": "high"}}, ["fixed is", "a mapping of names to numbers"]),
        ({"fixed": {"s": {"a": 1.0}}}, ["fixed is", "a mapping of names to numbers"]),
        ({"bounds": {"s.a": [6, 4]}}, ["bounds of s.a is [6, 4]", "low < high"]),
        ({"bounds": {"s.a": [4, 4]}}, ["bounds of s.a is [4, 4]", "parameters.fixed"]),
        ({"bounds": {"s.a": [4, 11]}}, ["bounds of s.a", "within [0, 10]"]),
        ({"bounds": {"s.a": 4}}, ["bounds of s.a is 4"]),
        ({"bounds": {"s.a": [4, "x"]}}, ["bounds of s.a"]),
        ({"ties": "s.a"}, ["parameters.ties is 's.a'", "groups"]),
        ({"ties": {"s.a": "s.b"}}, ["parameters.ties is"]),
        ({"ties": ["s.a", "s.b"]}, ["a group of parameters.ties is 's.a'"]),
        ({"ties": [["s.a"]]}, ["a group of parameters.ties is ['s.a']", "two names"]),
        ({"ties": [["s.a", "s.a"]]}, ["['s.a'] more than once"]),
        ({"ties": [["s.a", "s.b"], ["s.b", "s.c"]]}, ["['s.b'] more than once"]),
        ({"ties": [["s.b", "t.d"]]}, ["['s.b', 't.d'] are tied", "no part in common"]),
        ({"fixed": {"s.a": 1}, "bounds": {"s.a": [0, 2]}}, ["s.a", "fixed", "bounds"]),
        ({"fixed": {"s.a": 1}, "prior": {"s.a": {"std": 1}}}, ["s.a", "fixed", "prior"]),
        ({"fixed": {"s.a": 3}, "ties": [["s.a", "s.b"]]}, ["s.a", "fixed", "ties"]),
        ({"fixed": dict(zip(SPACE.names, [1, 2, 3, 0], strict=True))}, ["nothing is left"]),
        ({"prior": {"s.a": {}}}, ["prior of s.a", "neither mean nor std"]),
        ({"prior": {"s.a": {"std": 0}}}, ["prior of s.a", "std is 0"]),
        ({"prior": {"s.a": {"mean": 11}}}, ["mean in parameters.prior of s.a is 11", "[0, 10]"]),
        ({"prior": {"s.a": {"sd": 1}}}, ["prior of s.a", "did you mean 'std'"]),
        ({"prior": {"s.a": 0.3}}, ["prior of s.a", "mapping"]),
        (
            {"prior": {"s.a": {"mean": 3}}, "bounds": {"s.a": [4, 5]}},
            ["mean in parameters.prior of s.a is 3", "[4, 5]"],
        ),
        (
            {"prior": {"s.a": {"mean": 3}, "s.b": {"mean": 2}}, "ties": [["s.a", "s.b"]]},
            ["several for ['s.a', 's.b']"],
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(known, words):
    with pytest.raises(ValueError, match=r".") as caught:
        map_of(**known)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"bounds": {"s.a": [6.0, 8.0]}}, ["the start of s.a is 5", "[6, 8]"]),
        ({"ties": [["s.a", "s.b"]], "bounds": {"s.b": [2, 3]}}, ["the start of s.a is 5"]),
        ({"ties": [["s.b", "s.c"]]}, ["start at {'s.b': 2.5, 's.c': 2.0}", "one start"]),
    ],
)
def test_a_stated_start_is_not_moved(known, words):
    with pytest.raises(ValueError, match=r".") as caught:
        map_of(SPACE.names, **known)
    for word in words:
        assert word in str(caught.value)


def test_a_fixed_value_wins_over_a_stated_start():
    assert map_of(["s.a"], fixed={"s.a": 9.0}).space.start[0] == 9.0


def test_what_was_stated_is_plain_data_and_does_not_depend_on_its_order():
    one = map_of(ties=[["s.b", "s.c"]], bounds={"s.a": (1, 2)}).stated
    other = map_of(ties=(("s.c", "s.b"),), bounds={"s.a": [1.0, 2.0]}).stated
    assert one == other == {"ties": [["s.b", "s.c"]], "bounds": {"s.a": [1.0, 2.0]}}


def test_a_space_is_its_own_map():
    assert ParameterMap.of(SPACE).narrowed.names == SPACE.names
