import re
from dataclasses import replace

import numpy as np
import pytest

from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.outcomes import OutcomeColumns
from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.core.parameters import KnownParameters
from rllib_calsheq.core.particles import StageReport
from rllib_calsheq.core.stages import MAX_EMPTY_STAGES, Calibration, NoOutcomesError
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.core.timescales import LearningRate
from rllib_calsheq.data.experiment_files import STAGE_MAPPINGS, STAGE_RESULTS

SPACE = SupertypeSpace((Parameter("x", "s", 0, 10), Parameter("y", "s", 0, 10)))
COLUMNS = OutcomeColumns((Outcome("s.x", 1.0), Outcome("s.y", 1.0)), SPACE.supertypes, "Walk")


class Walker(Calibrator):
    """Moves every particle up by 0.01 a stage and remembers what it was told."""

    def __init__(self, *args):
        super().__init__(*args)
        self.told = []
        self.rates = []

    def set_learning_rate(self, rate):
        self.rates.append(rate)

    def _propose(self):
        return self.profiles + 0.01

    def _learn(self, particles, rewards, outcomes):
        self.told.append((particles, rewards, outcomes))
        return {"loss": 1.5}


def make(num_particles=4, num_workers=2, window=3, spec=None, parameters=None):
    targets = TargetSet.from_mapping(spec or {"s.x": 5.0}, COLUMNS.all)
    dim = len(parameters.free) if parameters else 2
    calibrator = Walker(np.full(dim, 0.5), num_particles, targets, 0)
    return Calibration(
        parameters=parameters or ParameterMap.of(SPACE),
        columns=COLUMNS,
        targets=targets,
        calibrator=calibrator,
        lr_shared=LearningRate(),
        lr_cal=LearningRate(initial=1e-2, exponent=0.9, offset=10),
        num_workers=num_workers,
        profile_window=window,
    )


def answer(table, worker, values=None):
    particles = table.particles_of(worker)
    outcomes = table.profiles[particles] if values is None else np.array(values, dtype=float)
    returns = particles[:, None].astype(float)
    return StageReport(table.stage, worker, particles, outcomes, returns)


def test_a_stage_hands_out_natural_units_and_tells_rewards_by_particle():
    calibration = make()
    table = calibration.begin_stage()
    assert table.stage == 1
    np.testing.assert_allclose(table.profiles, 5.1)
    metrics = calibration.end_stage([answer(table, 2), answer(table, 1)])
    particles, rewards, _ = calibration.calibrator.told[0]
    assert particles.tolist() == [0, 1, 2, 3]
    # A miss of 0.1 scales gives 1 / 1.1.
    np.testing.assert_allclose(rewards, 1 / 1.1)
    assert metrics["reward_mean"] == pytest.approx(1 / 1.1)
    assert metrics["worst_target"] == "s.x"
    assert metrics["profile"]["s.y"]["mean"] == pytest.approx(5.1)
    assert metrics["calibrator"] == {"loss": 1.5}
    # All but a name and what the callback adds may be a stop criterion.
    assert set(metrics) - {"worst_target"} == {*STAGE_RESULTS, *STAGE_MAPPINGS} - {
        "lr_shared",
        "kl_coefficient_shared",
    }


def test_reports_of_other_profiles_of_the_same_stage_are_counted_and_left_out():
    calibration = make()
    table = calibration.begin_stage()
    other = replace(table, profiles=table.profiles + 1.0)
    assert table.version != other.version != replace(other, stage=2).version
    reports = [
        replace(answer(table, 1), version=table.version),
        replace(answer(other, 2), version=other.version),
        replace(answer(table, 2), stage=0),
    ]
    metrics = calibration.end_stage(reports)
    assert (metrics["num_particles"], metrics["stale_reports"]) == (2, 2)
    assert calibration.calibrator.told[0][0].tolist() == [0, 1]


def test_the_largest_move_is_that_of_one_parameter_of_one_particle():
    calibration = make()
    calibration.begin_stage()
    calibration.calibrator.profiles[2, 1] += 0.2
    calibration.calibrator._answered = True
    calibration.calibrator._propose = lambda: np.full((4, 2), 0.51)
    table = calibration.begin_stage()
    # A stage that is asked for again, as after a restore, has moved by as much.
    again = make()
    again.load_state_dict(calibration.state_dict())
    again.begin_stage()
    for same in (calibration, again):
        assert same.end_stage([answer(table, 1)])["largest_move"] == pytest.approx(0.2)


def test_the_worst_target_has_the_largest_loss_and_its_miss_is_in_scales():
    """Both are at 5.1: x misses by 1.1 inside of its band, y by 0.6."""
    spec = {"s.x": {"value": 4.0, "loss": {"name": "band", "tolerance": 2.0}}, "s.y": 4.5}
    calibration = make(spec=spec)
    metrics = calibration.end_stage([answer(calibration.begin_stage(), 1)])
    assert metrics["worst_target"] == "s.y"
    assert metrics["worst_miss"] == pytest.approx(0.6)
    assert metrics["reward_mean"] == pytest.approx((1 + 1 / 1.6) / 2)


def test_missing_particles_are_masked_and_keep_their_profile():
    calibration = make()
    table = calibration.begin_stage()
    metrics = calibration.end_stage([answer(table, 1)])
    assert calibration.calibrator.told[0][0].tolist() == [0, 1]
    assert metrics["num_particles"] == 2
    np.testing.assert_allclose(calibration.begin_stage().profiles, 5.2)


def test_pooled_reward_is_that_of_mean_outcomes():
    calibration = make(num_particles=2, num_workers=0)
    table = calibration.begin_stage()
    metrics = calibration.end_stage([answer(table, 0, [[4.0, 0], [6.0, 0]])])
    assert metrics["reward_mean"] == pytest.approx(0.5)
    assert metrics["reward_pooled"] == 1.0
    assert metrics["outcomes"]["s.x"] == {"mean": 5.0, "std": 1.0}


def test_returns_have_a_field_of_their_own_and_can_be_targets():
    calibration = make(num_particles=3, num_workers=0)
    metrics = calibration.end_stage([answer(calibration.begin_stage(), 0)])
    assert metrics["returns"] == {"s": {"mean": 1.0, "std": pytest.approx((2 / 3) ** 0.5)}}
    assert metrics["outcomes"]["s.reward"] == metrics["returns"]["s"]
    targets = TargetSet.from_mapping({"s.reward": 4.0}, COLUMNS.all)
    assert targets.reward(COLUMNS.join([[9.0, 9.0]], [[4.0]])) == 1.0


def test_a_report_with_one_outcome_too_many_is_refused():
    calibration = make(num_particles=2, num_workers=0)
    table = calibration.begin_stage()
    message = r"Walk gave outcomes of shape \(2, 3\), .* must have 2, \['s.x', 's.y'\]"
    with pytest.raises(ValueError, match=message):
        calibration.end_stage([answer(table, 0, np.zeros((2, 3)))])


def test_rates_follow_the_schedule_by_stage():
    calibration = make()
    for _ in range(3):
        calibration.end_stage([answer(calibration.begin_stage(), w) for w in (1, 2)])
    expected = [calibration.lr_cal.at(m) for m in range(3)]
    assert calibration.calibrator.rates == expected


def test_calibrated_profile_is_the_mean_of_the_last_stages():
    calibration = make(window=2)
    found = []
    for _ in range(12):
        table = calibration.begin_stage()
        calibration.end_stage([answer(table, w) for w in (1, 2)])
        found.append(calibration.calibrated_profile()[0])
    # 0.5 + 0.01 m in natural units: the mean over two stages, once they are a quarter of all.
    assert found == pytest.approx([5.1, 5.2, 5.3, 5.4, 5.5, 5.6, 5.7, 5.75, 5.85, 5.95, 6.05, 6.15])


def test_silence_stops_the_run_with_a_clear_error():
    calibration = make()
    for _ in range(MAX_EMPTY_STAGES - 1):
        calibration.begin_stage()
        assert calibration.end_stage([])["num_particles"] == 0
    calibration.begin_stage()
    with pytest.raises(NoOutcomesError, match="no env runner has reported"):
        calibration.end_stage([])


def test_state_goes_on_in_the_middle_of_a_stage():
    first = make()
    for _ in range(2):
        first.end_stage([answer(first.begin_stage(), w) for w in (1, 2)])
    pending = first.begin_stage()
    second = make()
    second.load_state_dict(first.state_dict())
    again = second.begin_stage()
    assert again.stage == pending.stage == 3
    np.testing.assert_array_equal(again.profiles, pending.profiles)
    second.end_stage([answer(again, 1)])
    np.testing.assert_array_equal(
        second.calibrated_profile(), SPACE.from_unit(0.5 + 0.01 * np.full(2, 3.0))
    )


KNOWN = KnownParameters(fixed={"s.y": 3.0}, bounds={"s.x": [4.0, 5.0]}).map_of(SPACE)


def test_the_calibrator_moves_what_is_free_and_all_else_sees_the_whole_profile():
    calibration = make(parameters=KNOWN)
    table = calibration.begin_stage()
    assert calibration.calibrator.profiles.shape == (4, 1)
    # From the middle of the calibrator's box, which is [4, 5].
    np.testing.assert_allclose(table.profiles, [[4.51, 3.0]] * 4)
    metrics = calibration.end_stage([answer(table, w) for w in (1, 2)])
    assert metrics["profile"] == {
        "s.x": {"mean": pytest.approx(4.51), "std": pytest.approx(0, abs=1e-12)},
        "s.y": {"mean": 3.0, "std": 0.0},
    }
    np.testing.assert_allclose(calibration.calibrated_profile(), [4.51, 3.0])
    np.testing.assert_array_equal(calibration.particle_profiles(), table.profiles)


def test_a_state_is_restored_with_what_was_stated_of_the_parameters_alone():
    first = make(parameters=KNOWN)
    first.end_stage([answer(first.begin_stage(), w) for w in (1, 2)])
    again = make(parameters=KNOWN)
    again.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(again.calibrated_profile(), first.calibrated_profile())
    # As many free parameters, but others: nothing else would notice.
    other = KnownParameters(fixed={"s.y": 3.5}, bounds={"s.x": [4.0, 5.0]}).map_of(SPACE)
    for parameters, words in (
        (other, "fixed was {'s.y': 3.0} then and is {'s.y': 3.5} now"),
        (None, "fixed was {'s.y': 3.0} then and is not set now"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            make(parameters=parameters).load_state_dict(first.state_dict())


def test_stages_in_which_all_targets_are_met_are_counted_in_a_row():
    calibration, found = make(spec={"s.x": 5.0, "s.y": 5.0}, num_workers=0), []
    for outcomes in ([5, 5], [5.2, 5], None, [5, 5], [5, 5.3], [5, 5]):
        table = calibration.begin_stage()
        reports = [] if outcomes is None else [answer(table, 0, [outcomes] * 4)]
        found.append(calibration.end_stage(reports).get("stages_all_met"))
        resumed = make(spec={"s.x": 5.0, "s.y": 5.0}, num_workers=0)
        resumed.load_state_dict(calibration.state_dict())
        calibration = resumed
    # A stage without any outcome neither counts nor breaks the row.
    assert found == [1, 2, None, 3, 0, 1]


def test_state_of_other_parameters_is_refused():
    calibration = make()
    state = calibration.state_dict() | {"parameters": ["s.x", "s.z"]}
    with pytest.raises(ValueError, match="parameters are not those of this run"):
        calibration.load_state_dict(state)


def test_a_state_as_version_0_1_0_wrote_it_is_refused():
    state = make().state_dict()
    del state["format"]
    with pytest.raises(ValueError, match=r"written by version 0\.1\.0 .*start the run again"):
        make().load_state_dict(state)
