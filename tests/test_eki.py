"""Ensemble Kalman inversion: what is particular to it."""

import numpy as np
import pytest
from known_optimum import parameter_targets
from scipy.special import expit, logit

from rllib_calsheq.calibrators import make_calibrator
from rllib_calsheq.core.targets import Outcome, TargetSet

OPTIMUM = np.array([0.2, 0.9, 0.35, 0.7])
PARTICLES = 64
SCALE = 0.2


def make(targets=None, start=(0.5,) * 4, particles=PARTICLES, seed=0, **fields):
    return make_calibrator(
        "eki",
        start=np.array(start),
        num_particles=particles,
        targets=targets or parameter_targets(OPTIMUM, SCALE),
        seed=seed,
        **fields,
    )


def play(calibrator, stages, outcomes_of=lambda profiles, stage: profiles, noise=0.0, present=None):
    """Runs stages of a known environment; ``present`` are the particles that report."""
    present = np.arange(calibrator.num_particles) if present is None else present
    for _ in range(stages):
        profiles = calibrator.ask()
        stage = calibrator.stage
        outcomes = np.array(outcomes_of(profiles, stage))
        outcomes += noise * np.random.default_rng([7, stage]).standard_normal(outcomes.shape)
        rewards = calibrator.targets.reward(outcomes)
        calibrator.tell(present, rewards[present], outcomes[present], stage)


def centre(calibrator):
    return calibrator._centre.copy()


def test_every_target_is_met_under_noise_of_half_a_scale():
    calibrator = make()
    play(calibrator, 60, noise=SCALE / 2)
    np.testing.assert_allclose(calibrator.estimate(), OPTIMUM, atol=0.1 * SCALE)


def test_what_no_target_speaks_of_stays_at_the_start():
    """Two targets, 20 parameters: the 18 open ones must not drift, noise or not."""
    start = np.linspace(0.2, 0.8, 20)
    calibrator = make(parameter_targets(np.array([0.8, 0.2]), SCALE), start=start)
    play(calibrator, 150, lambda profiles, stage: profiles[:, :2], noise=SCALE)
    found = calibrator.estimate()
    np.testing.assert_allclose(found[:2], [0.8, 0.2], atol=0.1)
    assert np.sqrt(np.mean((found - start)[2:] ** 2)) < 0.05


def test_of_two_parameters_that_only_their_sum_is_told_of_both_move_alike():
    targets = parameter_targets(np.array([1.4]), SCALE)
    calibrator = make(targets, start=(0.5, 0.5))
    play(calibrator, 60, lambda profiles, stage: profiles.sum(axis=1, keepdims=True), noise=0.05)
    np.testing.assert_allclose(calibrator.estimate(), [0.7, 0.7], atol=0.05)


def test_it_follows_outcomes_that_drift():
    calibrator = make()
    play(calibrator, 100, lambda profiles, stage: profiles + 0.001 * stage, noise=SCALE / 4)
    # The optimum of stage 100 is a tenth, half a scale, below that of stage 0.
    np.testing.assert_allclose(calibrator.estimate(), OPTIMUM - 0.1, atol=0.15 * SCALE)


def test_particles_are_mirrored_about_their_centre_and_shrink_to_the_floor():
    calibrator = make(particles=501, min_spread=0.3, shrink_stages=5.0)
    spreads = []
    for _ in range(20):
        before = centre(calibrator)
        coordinates = logit(calibrator.ask())
        np.testing.assert_allclose(coordinates.mean(axis=0), before, atol=1e-9)
        spreads.append(coordinates.std(axis=0).mean())
        play(calibrator, 1)
    assert spreads[0] == pytest.approx(1.8, rel=0.1)
    np.testing.assert_allclose(spreads[-5:], 0.3, rtol=0.1)


def test_the_spread_shrinks_three_times_as_fast_once_all_targets_are_near():
    near, far = (
        make(parameter_targets(np.full(4, 0.5), 1.0)),
        make(parameter_targets(np.ones(4), 0.01)),
    )
    for calibrator in (near, far):
        play(calibrator, 10)
        calibrator.ask()
    assert far.spread == pytest.approx(1.8 * np.exp(-10 / 20))
    assert near.spread == pytest.approx(1.8 * np.exp(-30 / 20))


def test_an_outcome_that_has_not_happened_yet_is_not_near():
    calibrator = make(parameter_targets(np.full(4, 0.5), 1.0))
    play(calibrator, 10, lambda profiles, stage: np.full_like(profiles, np.nan))
    assert calibrator.spread == pytest.approx(1.8 * np.exp(-10 / 20))


def test_no_step_is_longer_than_allowed_however_far_the_targets_are():
    calibrator = make(parameter_targets(np.full(4, 0.98), SCALE), max_step=0.05)
    for _ in range(10):
        before, limit = centre(calibrator), 0.05 * calibrator.spread
        play(calibrator, 1)
        moved = np.abs(centre(calibrator) - before).max()
        assert 0 < moved <= limit * (1 + 1e-9)
    assert ((calibrator.estimate() > 0) & (calibrator.estimate() < 1)).all()


def test_outcomes_that_happen_now_and_then_are_met_too():
    def outcomes_of(profiles, stage):
        missing = np.random.default_rng([8, stage]).random(profiles.shape) < 0.5
        return np.where(missing, np.nan, profiles)

    calibrator = make()
    play(calibrator, 60, outcomes_of, noise=SCALE / 4)
    np.testing.assert_allclose(calibrator.estimate(), OPTIMUM, atol=0.15 * SCALE)


def test_an_outcome_that_never_happens_pulls_nowhere():
    def outcomes_of(profiles, stage):
        return np.column_stack([profiles[:, :3], np.full(len(profiles), np.nan)])

    calibrator = make()
    play(calibrator, 60, outcomes_of, noise=SCALE / 4)
    np.testing.assert_allclose(calibrator.estimate()[:3], OPTIMUM[:3], atol=0.15 * SCALE)
    assert calibrator.estimate()[3] == pytest.approx(0.5, abs=0.05)


def test_a_target_of_no_weight_pulls_nowhere():
    outcomes = [Outcome("a", SCALE), Outcome("b", SCALE)]
    spec = {"a": {"value": 0.8, "weight": 1.0}, "b": {"value": 0.1, "weight": 0.0}}
    calibrator = make(TargetSet.from_mapping(spec, outcomes), start=(0.5, 0.5))
    play(calibrator, 60, noise=SCALE / 4)
    np.testing.assert_allclose(calibrator.estimate(), [0.8, 0.5], atol=0.05)


def test_a_start_at_the_bounds_can_leave_them():
    calibrator = make(start=(0.0, 1.0, 0.0, 1.0))
    play(calibrator, 60, noise=SCALE / 4)
    np.testing.assert_allclose(calibrator.estimate(), OPTIMUM, atol=0.25 * SCALE)


def test_the_estimate_averages_late_centres_alone():
    calibrator = make()
    assert calibrator.estimate() is None
    centres = []
    for stage in range(1, 181):
        play(calibrator, 1, noise=SCALE / 4)
        centres.append(centre(calibrator))
        if stage in (1, 3, 40, 180):
            window = {1: 1, 3: 1, 40: 5, 180: 20}[stage]
            expected = expit(np.mean(centres[-window:], axis=0))
            np.testing.assert_allclose(calibrator.estimate(), expected)


def test_a_single_particle_is_refused():
    with pytest.raises(ValueError, match="num_particles of calibrator 'eki' is 1"):
        make(particles=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prior_std": 0.0}, "prior_std is 0.0"),
        ({"max_step": -1}, "max_step is -1"),
        ({"slope_memory": float("nan")}, "slope_memory is nan"),
        ({"level_memory": True}, "level_memory is True"),
        ({"ridge": "2"}, "ridge is '2'"),
        ({"min_spread": 2.0}, "numbers up to initial_spread, 1.8"),
        ({"shrink_stage": 5.0}, "did you mean 'shrink_stages'"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        make(**fields)


def test_a_single_far_target_is_reached_against_the_prior_of_many_parameters():
    """It is 6.5 scales off at the start, and no parameter alone can make that good."""
    calibrator = make(parameter_targets(np.array([0.65]), scale=0.05), start=(0.3,) * 23)
    play(calibrator, 40, lambda p, stage: p.mean(axis=1, keepdims=True), noise=0.03)
    assert calibrator.estimate().mean() == pytest.approx(0.65, abs=0.25 * 0.05)
