"""The judge: which targets a fit meets."""

import numpy as np
import pytest

from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.core.verdict import judge, parameters_at_bounds

OUTCOMES = (Outcome("share", 0.05), Outcome("p10", 5.0), Outcome("seldom", 1.0))
TARGETS = TargetSet.from_mapping(
    {"share": 0.3, "p10": {"value": 8, "tolerance": 1.0}, "seldom": 2.0}, OUTCOMES
)
ERRORS = np.array([0.001, 0.1, 0.1])


def verdict(*means):
    return judge(TARGETS, np.array(means), ERRORS)


def test_a_quarter_of_a_scale_is_met_and_more_is_missed():
    assert verdict(0.3 + 0.0124, 8, 2).all_met
    found = verdict(0.3 + 0.0126, 8, 2)
    assert [t.target.outcome for t in found.missed] == ["share"]
    assert (found.targets_met, found.all_met) == (2, False)


def test_a_target_may_have_a_tolerance_of_its_own():
    assert verdict(0.3, 8 - 4.9, 2).all_met
    assert not verdict(0.3, 8 - 5.1, 2).all_met


def test_misses_are_in_scales_and_the_worst_is_named():
    found = verdict(0.35, 8 + 10, 2.5)
    assert [t.miss for t in found.targets] == pytest.approx([1.0, 2.0, 0.5])
    assert found.worst.target.outcome == "p10"
    assert found.rms_miss == pytest.approx(np.sqrt((1 + 4 + 0.25) / 3))
    # The farthest first.
    assert str(found) == (
        "0 of 3 targets met; p10 is off by 2.00 scales (18, target 8); share is off by 1.00 scales "
        "(0.35, target 0.3); seldom is off by 0.50 scales (2.5, target 2)"
    )
    assert found.to_mapping()["worst_target"] == "p10"


def test_what_never_happened_is_missed():
    found = verdict(0.3, 8, np.nan)
    assert (found.targets_met, found.worst.miss) == (2, np.inf)
    assert "seldom did not happen (target 2)" in str(found)


def test_without_targets_there_is_nothing_to_judge():
    with pytest.raises(ValueError, match="no target"):
        judge(TargetSet((), ("share",)), np.zeros(1), np.zeros(1))


def test_parameters_at_a_bound_are_named_with_it():
    space = SupertypeSpace(
        tuple(Parameter(name, "s", low=2.0, high=4.0) for name in ("low", "high", "inside"))
    )
    assert parameters_at_bounds(space, np.array([2.019, 3.981, 2.021])) == {
        "s.low": 2.0,
        "s.high": 4.0,
    }


@pytest.mark.parametrize("tolerance", [0, -1, True, "wide"])
def test_a_bad_tolerance_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance is"):
        TargetSet.from_mapping({"share": {"value": 0.3, "tolerance": tolerance}}, OUTCOMES)


def test_a_tolerance_survives_its_yaml_form():
    again = TargetSet.from_mapping(TARGETS.to_mapping(), OUTCOMES)
    assert [t.tolerance for t in again.targets] == [0.25, 1.0, 0.25]
