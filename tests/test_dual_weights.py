"""Dual weights: they rise for a target that stays missed, and fall once it is met."""

from __future__ import annotations

import numpy as np
import pytest
from known_optimum import parameter_targets

from rllib_calsheq.calibrators.ppo.dual_weights import FIRST_STAGE, DualWeights


def updated(dual: DualWeights, outcome: list[float], first: int, stages: int) -> DualWeights:
    for stage in range(first, first + stages):
        dual.update(np.tile(outcome, (8, 1)), stage)
    return dual


class TestDualWeights:
    def test_a_target_that_stays_missed_weighs_up_to_four_times_as_much(self):
        dual = updated(DualWeights(parameter_targets(np.zeros(2)), 0.05), [0.0, 2.0], 1, 300)
        assert dual.weights == pytest.approx([0.2, 0.8])

    def test_none_rises_at_once_or_while_it_is_met(self):
        targets = parameter_targets(np.zeros(2))
        early = updated(DualWeights(targets, 0.05), [0.0, 2.0], 1, FIRST_STAGE - 1)
        assert early.weights == pytest.approx([0.5, 0.5])
        met = updated(DualWeights(targets, 0.05), [0.0, 0.05], 1, 100)
        assert met.weights == pytest.approx([0.5, 0.5])

    def test_it_falls_once_the_target_is_met(self):
        dual = updated(DualWeights(parameter_targets(np.zeros(2)), 0.05), [0.0, 2.0], 1, 300)
        assert updated(dual, [0.0, 0.0], 301, 300).weights == pytest.approx([0.5, 0.5])

    def test_outcomes_that_did_not_happen_change_nothing(self):
        dual = updated(DualWeights(parameter_targets(np.zeros(2)), 0.05), [0.0, np.nan], 1, 100)
        assert dual.weights == pytest.approx([0.5, 0.5])

    def test_a_rate_of_zero_leaves_the_targets_weights(self):
        dual = updated(DualWeights(parameter_targets(np.zeros(2)), 0.0), [0.0, 2.0], 1, 100)
        assert dual.weights == pytest.approx([0.5, 0.5])

    def test_it_is_restored(self):
        dual = updated(DualWeights(parameter_targets(np.zeros(2)), 0.05), [0.0, 2.0], 1, 40)
        other = DualWeights(parameter_targets(np.zeros(2)), 0.05)
        other.load_state_dict(dual.state_dict())
        more = [updated(d, [0.0, 1.0], 41, 5).weights for d in (dual, other)]
        np.testing.assert_array_equal(*more)
