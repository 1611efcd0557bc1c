"""Losses of targets: the family, how they are stated, and that all who use them use the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_calsheq.calibrators import make_calibrator
from rllib_calsheq.calibrators.ppo.outcome_critic import OutcomeCritic
from rllib_calsheq.core.losses import LOSSES, Absolute, Band, Relative, Squared, losses_of
from rllib_calsheq.core.targets import Outcome, Target, TargetSet
from rllib_calsheq.data.target_files import TargetFile

OUTCOMES = tuple(Outcome(name, 0.5) for name in ("a", "b", "c", "d"))
#: One target of each loss; all have the scale 0.5.
MIXED = {
    "a": 2.0,
    "b": {"value": 2.0, "loss": "squared"},
    "c": {"value": -5.0, "loss": {"name": "relative", "fraction": 0.1}},
    "d": {"value": 2.0, "loss": {"name": "band", "tolerance": 0.5}},
}
TARGETS = TargetSet.from_mapping(MIXED, OUTCOMES)
EACH = pytest.mark.parametrize("loss", [cls() for cls in LOSSES.values()], ids=list(LOSSES))
MISSES = st.floats(-1e6, 1e6)


def of_loss(loss, scale=0.5) -> TargetSet:
    """One target at 2 with a scale and a loss."""
    return TargetSet((Target("a", 2.0, 1.0, loss.scale_at(2.0) or scale, loss),), ("a",))


def test_the_family_by_hand():
    signed = np.array([-2.0, -0.25, 0.0, 0.5, 3.0])
    for loss, expected in (
        (Absolute(), [2.0, 0.25, 0.0, 0.5, 3.0]),
        (Squared(), [4.0, 0.0625, 0.0, 0.25, 9.0]),
        (Relative(), [2.0, 0.25, 0.0, 0.5, 3.0]),
        (Band(0.5), [1.5, 0.0, 0.0, 0.0, 2.5]),
    ):
        np.testing.assert_array_equal(loss.of(signed), expected)


def test_a_relative_scale_is_a_fraction_of_the_value():
    """A miss by a tenth of −5 halves the target's part of the reward."""
    np.testing.assert_array_equal(TARGETS.scales, 0.5)
    assert TARGETS.targets[2] == Target("c", -5.0, 0.25, 0.5, Relative(0.1))
    assert of_loss(Relative(0.25)).reward([2.5]) == 0.5


def test_inside_the_band_a_target_is_met():
    targets = of_loss(Band(0.5))
    np.testing.assert_array_equal(targets.reward([[2.25], [1.75], [2.0]]), 1.0)
    assert targets.reward([2.75]) == 0.5


def test_each_target_has_its_own_loss():
    # All miss by 2 scales, 1 in their unit: 1/3, 1/5, 1/3 and 1/2.5.
    reward = TARGETS.reward([3.0, 1.0, -4.0, 3.0])
    assert reward == pytest.approx((1 / 3 + 1 / 5 + 1 / 3 + 1 / 2.5) / 4)
    assert TARGETS.reward([2.0, 2.0, -5.0, 2.0]) == 1.0


@EACH
@settings(deadline=None)
@given(st.floats(0, 1e3), st.floats(0.01, 1e3), st.sampled_from([-1, 1]))
def test_a_fit_is_1_at_the_target_falls_with_the_miss_and_stays_above_0(loss, near, more, sign):
    targets = of_loss(loss, scale=1.0)
    scale = targets.scales[0]
    outcomes = 2.0 + sign * scale * np.array([[0.0], [near], [near + more], [near + more + 2.0]])
    at, first, second, third = targets.reward(outcomes)
    assert at == 1.0
    assert 1.0 >= first >= second > third > 0.0


@EACH
def test_what_did_not_happen_scores_nothing(loss):
    assert of_loss(loss).reward([np.nan]) == 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(*[MISSES] * 4), min_size=1, max_size=5))
def test_torch_gives_what_numpy_gives(rows):
    for dtype in (np.float64, np.float32):
        misses = np.array(rows, dtype=dtype)
        losses = TARGETS.losses(misses)
        found = TARGETS.losses(torch.from_numpy(misses))
        assert losses.dtype == dtype
        np.testing.assert_array_equal(found.numpy(), losses)
        np.testing.assert_array_equal(TARGETS.losses(misses[None]), losses[None])


def test_misses_are_left_as_they_are_and_torch_has_gradients():
    misses = torch.tensor([[3.0, -3.0, 3.0, -3.0]], dtype=torch.float64, requires_grad=True)
    TARGETS.losses(misses).sum().backward()
    np.testing.assert_array_equal(misses.grad, [[1.0, -6.0, 1.0, -1.0]])
    given_misses = np.array([[-1.0, 2.0, -3.0, 4.0]])
    TARGETS.losses(given_misses)
    np.testing.assert_array_equal(given_misses, [[-1.0, 2.0, -3.0, 4.0]])
    assert losses_of((), np.zeros((2, 0))).shape == (2, 0)


class TestStated:
    def test_the_yaml_form_is_kept(self):
        spec = TARGETS.to_mapping()
        assert spec["a"] == {"value": 2.0, "weight": 0.25, "scale": 0.5}
        assert spec["b"]["loss"] == "squared"
        assert spec["c"] == {
            "value": -5.0, "weight": 0.25, "loss": {"name": "relative", "fraction": 0.1}
        }  # fmt: skip
        assert spec["d"]["loss"] == {"name": "band", "tolerance": 0.5}
        assert TargetSet.from_mapping(spec, OUTCOMES) == TARGETS

    def test_a_target_file_keeps_it(self, tmp_path):
        TargetFile(targets=TARGETS.to_mapping()).save(tmp_path / "targets.yaml")
        found = TargetFile.load(tmp_path / "targets.yaml")
        assert TargetSet.from_mapping(found.targets, OUTCOMES) == TARGETS

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"loss": "cubic"}, r"target 'a': loss is 'cubic'; allowed: \['absolute', 'band'"),
            ({"loss": 3}, "loss is 3; allowed"),
            ({"loss": {"tolerance": 1}}, r"loss is \{'tolerance': 1\}; allowed"),
            ({"loss": {"name": "band", "tolerence": 1}}, "did you mean 'tolerance'"),
            ({"loss": {"name": "band", "tolerance": -1}}, "tolerance is -1; allowed: numbers >= 0"),
            ({"loss": {"name": "squared", "tolerance": 1}}, "loss squared has no field"),
            ({"loss": {"name": "relative", "fraction": 0}}, "fraction is 0; allowed: numbers > 0"),
            ({"loss": "relative", "value": 0}, "target 'a': .*relative.*value other than 0"),
            ({"loss": "relative", "scale": 0.1}, "takes its scale from the value.*fraction"),
            ({"loss": "relative", "value": "many"}, "value is 'many'; allowed: numbers"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, entry, message):
        with pytest.raises(ValueError, match=message):
            TargetSet.from_mapping({"a": {"value": 2.0, **entry}}, OUTCOMES)

    def test_a_target_refuses_what_is_no_loss_or_another_scale_than_its_loss_takes(self):
        with pytest.raises(ValueError, match="loss is 'squared'; allowed: Loss"):
            Target("a", 2.0, 1.0, 0.5, "squared")
        with pytest.raises(ValueError, match=r"scale is 0\.5; allowed: 0\.2"):
            Target("a", 2.0, 1.0, 0.5, Relative(0.1))


class TestUsed:
    """Outcomes are the parameters: what is expected of a profile is the reward itself."""

    TARGETS = TargetSet.from_mapping(
        {
            "a": {"value": 0.3, "loss": "squared"},
            "b": {"value": 0.6, "loss": "band"},
            "c": {"value": 0.5, "loss": {"name": "relative", "fraction": 0.4}},
            "d": {"value": 0.9, "scale": 0.2},
        },
        [Outcome(name, 0.2) for name in "abcd"],
    )
    PROFILES = np.random.default_rng(0).random((400, 4))

    def test_the_critic_imagines_the_known_reward(self):
        critic = OutcomeCritic(self.TARGETS, dim=4, memory=1e6, ridge=1e-6)
        critic.update(self.PROFILES, self.PROFILES)
        expected = critic.expected_reward(self.PROFILES[:20], 4, np.random.default_rng(0))
        np.testing.assert_allclose(expected, self.TARGETS.reward(self.PROFILES[:20]), atol=1e-3)

    def test_the_trust_region_applies_the_known_reward(self):
        calibrator = make_calibrator(
            "bo_tr", start=[0.5] * 4, num_particles=4, targets=self.TARGETS, seed=0
        )
        misses = torch.from_numpy(self.TARGETS.signed_misses(self.PROFILES))
        np.testing.assert_allclose(
            calibrator._known_reward(misses), self.TARGETS.reward(self.PROFILES)
        )
