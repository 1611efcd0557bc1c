"""Targets and the calibrator's reward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rllib_calsheq.core.targets import Outcome, Target, TargetSet, pool

OUTCOMES = (Outcome("share", 0.05), Outcome("p10", 5.0), Outcome("p90", 5.0), Outcome("other", 1.0))
SPEC = {
    "p10": {"value": 8.0, "weight": 0.75, "scale": 5.0},
    "share": {"value": 0.2, "weight": 0.25, "scale": 0.05},
}
TARGETS = TargetSet.from_mapping(SPEC, OUTCOMES)
FINITE = st.floats(-1e6, 1e6)


def test_reward_by_hand():
    """A miss of one scale halves a target's part, a miss of three quarters it."""
    assert TARGETS.reward([0.2, 8.0, 99.0, 0.0]) == 1.0
    assert TARGETS.reward([0.2, 13.0, 0.0, 0.0]) == pytest.approx(0.25 + 0.75 / 2)
    assert TARGETS.reward([0.35, 3.0, 0.0, 0.0]) == pytest.approx(0.25 / 4 + 0.75 / 2)


def test_outcomes_without_a_target_do_not_matter():
    assert TARGETS.reward([0.2, 8.0, np.nan, np.inf]) == 1.0


def test_nan_scores_zero_on_its_target_alone():
    assert TARGETS.reward([0.2, np.nan, 0.0, 0.0]) == 0.25
    assert TARGETS.reward([np.nan, np.nan, 0.0, 0.0]) == 0.0


@settings(deadline=None)
@given(arrays(np.float64, (5, 4), elements=FINITE))
def test_reward_is_in_the_unit_interval_and_keeps_leading_axes(outcomes):
    reward = TARGETS.reward(outcomes)
    assert reward.shape == (5,)
    assert ((reward > 0) & (reward <= 1)).all()
    one_by_one = [TARGETS.reward(row) for row in outcomes]
    np.testing.assert_allclose(reward, one_by_one, rtol=1e-12)
    assert TARGETS.reward(outcomes[None]).shape == (1, 5)


@settings(deadline=None)
@given(st.floats(0, 1e3), st.floats(0, 1e3), st.sampled_from([-1, 1]), st.sampled_from([0, 1]))
def test_reward_falls_as_the_miss_grows(miss, more, sign, which):
    perfect = np.array([0.2, 8.0, 0.0, 0.0])
    step = np.eye(4)[which] * sign
    near, far = perfect + step * miss, perfect + step * (miss + more + 1e-3)
    assert TARGETS.reward(far) < TARGETS.reward(near) <= 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), arrays(float, 4, elements=FINITE))
def test_perfect_fit_is_one_whatever_the_weights(weights, outcomes):
    total = sum(weights)
    spec = {
        o.name: {"value": v, "weight": w / total}
        for o, v, w in zip(OUTCOMES, outcomes, weights, strict=False)
    }
    assert TargetSet.from_mapping(spec, OUTCOMES).reward(outcomes) == pytest.approx(1.0)


def test_left_out_weights_are_equal_and_scales_come_from_the_outcome():
    targets = TargetSet.from_mapping({"share": 0.3, "p90": 90}, OUTCOMES)
    assert targets.targets == (Target("share", 0.3, 0.5, 0.05), Target("p90", 90.0, 0.5, 5.0))
    np.testing.assert_array_equal(targets.index, [0, 2])


def test_mapping_round_trip():
    assert TARGETS.to_mapping() == SPEC
    assert TargetSet.from_mapping(TARGETS.to_mapping(), OUTCOMES) == TARGETS


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, r"no targets given.*share"),
        (["share"], "no targets given"),
        ({"shares": 0.2}, r"\['shares'\].*does not report"),
        ({"share": {"value": 0.2, "wieght": 1.0}}, "allowed keys"),
        ({"share": {"weight": 1.0}}, "allowed keys"),
        ({"share": {"value": 0.2, "weight": 1.0}, "p10": 8}, "all or none"),
        ({"share": {"value": 0.2, "weight": 0.9}}, r"sum to 0\.9"),
        ({"share": {"value": 0.2, "scale": 0.0}}, r"target 'share': scale is 0\.0; .* > 0"),
        ({"share": {"value": "many"}}, "value is 'many'; allowed: numbers"),
        ({"share": {"value": float("nan")}}, "value is nan; allowed: numbers"),
        (
            {"share": {"value": 0.2, "weight": 1.5}, "p10": {"value": 8, "weight": -0.5}},
            r"weight is -0\.5; allowed: numbers >= 0",
        ),
    ],
)
def test_bad_targets_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        TargetSet.from_mapping(spec, OUTCOMES)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_outcomes_need_a_positive_scale(scale):
    with pytest.raises(ValueError, match=r"outcome 'share': scale is .* allowed: numbers > 0"):
        Outcome("share", scale)


def test_pool_leaves_out_what_did_not_happen():
    pooled = pool([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan]])
    np.testing.assert_array_equal(pooled, [2.0, 4.0, np.nan])


class TestBounds:
    BOUNDED = Outcome("share", 0.05, "share of the market", low=0.0, high=1.0)

    @pytest.mark.parametrize("value", [-0.1, 1.01, 7])
    def test_a_target_that_the_outcome_cannot_have_is_refused(self, value):
        with pytest.raises(ValueError, match=r"impossible: the outcome lies in \[0, 1\] \(share"):
            TargetSet.from_mapping({"share": value}, [self.BOUNDED])

    @pytest.mark.parametrize("value", [0, 0.5, 1])
    def test_bounds_belong_to_what_is_possible(self, value):
        TargetSet.from_mapping({"share": value}, [self.BOUNDED])

    def test_an_outcome_may_be_bounded_at_one_end_or_none(self):
        one, none = Outcome("a", 1.0, low=0.0), Outcome("b", 1.0)
        assert (one.bounds, none.bounds) == ("[0, ∞)", "(-∞, ∞)")
        np.testing.assert_array_equal(one.contains([-1e-9, 0.0, 1e9, np.nan]), [0, 1, 1, 1])
        assert none.contains([-1e9, 1e9]).all()

    def test_rounding_is_inside(self):
        assert self.BOUNDED.contains(1 + 1e-9, rounding=1e-6)
        assert not self.BOUNDED.contains(1 + 1e-3, rounding=1e-6)

    def test_reversed_bounds_are_refused(self):
        with pytest.raises(ValueError, match=r"outcome 'a' has its bounds reversed: \[1, 0\]"):
            Outcome("a", 1.0, low=1.0, high=0.0)


def test_two_outcomes_of_one_name_are_refused():
    with pytest.raises(ValueError, match="unique names"):
        TargetSet.from_mapping({"share": 0.3}, (*OUTCOMES, OUTCOMES[0]))


def test_a_vector_that_is_longer_than_its_names_is_refused():
    with pytest.raises(ValueError, match="4 outcomes"):
        TARGETS.reward([0.2, 8.0, 99.0, 0.0, 0.0])
