"""Random search with racing, CMA-ES and Bayesian optimisation: what is particular to each."""

import pickle

import numpy as np
import pytest
import torch

from rllib_calsheq.calibrators import entry, make_calibrator
from rllib_calsheq.calibrators.bayesian.trials import Trials
from rllib_calsheq.core.outcomes import OutcomeColumns
from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.core.stages import Calibration
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.core.timescales import LearningRate

OPTIMUM = np.array([0.2, 0.9, 0.35, 0.7])
DIM, PARTICLES = 4, 16
SHORT_SEARCH = {"num_restarts": 1, "raw_samples": 32}


def parameter_targets(optimum=OPTIMUM, scale=0.2) -> TargetSet:
    """Outcomes are the parameters themselves: r_cal is 1 at ``optimum`` and only there."""
    names = [f"parameter_{i}" for i in range(len(optimum))]
    return TargetSet.from_mapping(
        dict(zip(names, optimum.tolist(), strict=True)), [Outcome(n, scale=scale) for n in names]
    )


def make(name, particles=PARTICLES, seed=0, **fields):
    return make_calibrator(
        name,
        start=np.full(DIM, 0.5),
        num_particles=particles,
        targets=parameter_targets(),
        seed=seed,
        **fields,
    )


def tell(calibrator, noise=0.0, present=None):
    """One stage of the identity environment; returns its profiles."""
    profiles = calibrator.ask()
    present = np.arange(len(profiles)) if present is None else np.asarray(present, dtype=int)
    rng = np.random.default_rng([7, calibrator.stage])
    outcomes = (profiles + noise * rng.standard_normal(profiles.shape))[present]
    rewards = calibrator.targets.reward(outcomes)
    calibrator.tell(present, rewards, outcomes, calibrator.stage)
    return profiles


@pytest.mark.parametrize(
    ("name", "fields", "stages", "reached"),
    [
        ("random", {}, 100, 0.7),
        ("cma", {}, 60, 0.75),
        ("bo", {"stages_per_trial": 1, "initial_trials": 6, **SHORT_SEARCH}, 24, 0.7),
        ("bo_tr", {"stages_per_trial": 1, "initial_trials": 6, **SHORT_SEARCH}, 12, 0.8),
    ],
)
def test_finds_the_profile_under_noise(name, fields, stages, reached):
    # r_cal is 0.46 at Λ_0; noise of half a scale.
    calibrator = make(name, **fields)
    history = [tell(calibrator, noise=0.1) for _ in range(stages)]
    found = calibrator.estimate()
    if found is None:
        found = np.mean([profiles.mean(axis=0) for profiles in history[-20:]], axis=0)
    reward = calibrator.targets.reward
    assert reward(np.full(DIM, 0.5)) < 0.5
    assert reward(found) > reached


class TestRacing:
    def test_half_of_the_particles_play_promising_profiles_again(self):
        calibrator = make("random")
        first, second = tell(calibrator), tell(calibrator)
        np.testing.assert_array_equal(first[0], np.full(DIM, 0.5))
        again = [row for row in second if any((row == other).all() for other in first)]
        assert len(again) == PARTICLES // 2
        rewards = np.sort(calibrator.targets.reward(first))
        assert min(calibrator.targets.reward(np.array(again))) >= rewards[PARTICLES // 2]

    def test_all_fresh_plays_none_again(self):
        calibrator = make("random", fresh_fraction=1.0)
        rows = np.concatenate([tell(calibrator) for _ in range(5)])
        assert len(np.unique(rows, axis=0)) == len(rows)

    def test_one_lucky_episode_does_not_win(self):
        """Candidate a had 30 rewards around 0.8, candidate b one of 0.95 and noise is 0.2."""
        calibrator = make("random", particles=8, fresh_fraction=0.5)
        tell(calibrator)
        calibrator._candidates = np.array([[0.1] * DIM, [0.2] * DIM])
        calibrator._weights = np.array([30.0, 1.0])
        calibrator._sums = np.array([24.0, 0.95])
        calibrator._squares = np.array([30 * (0.64 + 0.04), 0.95**2])
        calibrator._first = np.array([100.0, 50.0, 100 * (0.25 + 0.05)])
        np.testing.assert_array_equal(calibrator.estimate(), np.full(DIM, 0.1))

    def test_it_remembers_a_bounded_number_of_candidates(self, monkeypatch):
        from rllib_calsheq.calibrators import racing

        monkeypatch.setattr(racing, "MAX_CANDIDATES", 20)
        calibrator = make("random")
        for _ in range(10):
            tell(calibrator)
        assert len(calibrator._candidates) <= 20 + PARTICLES

    def test_nothing_is_recommended_before_anything_is_known(self):
        calibrator = make("random")
        calibrator.ask()
        assert calibrator.estimate() is None


class TestCMA:
    def test_starts_at_the_initial_profile_with_the_initial_spread(self):
        calibrator = make("cma", particles=2000, initial_std=0.1)
        profiles = calibrator.ask()
        np.testing.assert_allclose(profiles.mean(axis=0), 0.5, atol=0.01)
        np.testing.assert_allclose(profiles.std(axis=0), 0.1, atol=0.01)

    def test_a_stage_with_few_reports_leaves_the_distribution_as_it_is(self):
        calibrator = make("cma")
        before = calibrator._strategy.mean.copy()
        tell(calibrator, present=range(5))
        np.testing.assert_array_equal(calibrator._strategy.mean, before)
        tell(calibrator, present=range(12))
        assert not np.array_equal(calibrator._strategy.mean, before)

    def test_stages_without_reports_are_played_again_on_resume(self):
        calibrator = make("cma")
        for present in (None, [], [0, 1], None, []):
            tell(calibrator, present=present)
        resumed = make("cma", seed=5)
        resumed.load_state_dict(pickle.loads(pickle.dumps(calibrator.state_dict())))
        np.testing.assert_array_equal(resumed.ask(), calibrator.ask())

    def test_min_std_keeps_it_exploring(self):
        calibrator = make("cma", min_std=0.05)
        for _ in range(60):
            profiles = tell(calibrator)
        assert profiles.std(axis=0).min() > 0.02

    def test_too_few_particles_are_refused(self):
        with pytest.raises(ValueError, match="num_particles of calibrator 'cma' is 3"):
            make("cma", particles=3)


@pytest.mark.parametrize("name", ["bo", "bo_tr"])
class TestTrials:
    def test_all_particles_stay_at_one_profile_for_the_stages_of_a_trial(self, name):
        calibrator = make(name, stages_per_trial=3, initial_trials=2, **SHORT_SEARCH)
        history = [tell(calibrator, noise=0.1) for _ in range(9)]
        for first in (0, 3, 6):
            for profiles in history[first : first + 3]:
                np.testing.assert_array_equal(profiles, np.tile(history[first][0], (PARTICLES, 1)))
        np.testing.assert_array_equal(history[0][0], np.full(DIM, 0.5))
        assert len(np.unique(np.concatenate(history), axis=0)) == 3

    def test_settling_stages_are_not_observed(self, name):
        calibrator = make(name, stages_per_trial=2, settling_stages=1)
        tell(calibrator)
        assert len(calibrator._trials.observed()) == 0
        tell(calibrator)
        assert calibrator._trials._counts[0, 0] == PARTICLES

    def test_the_estimate_is_a_tried_profile(self, name):
        calibrator = make(name, stages_per_trial=1, initial_trials=4)
        assert calibrator.estimate() is None
        tried = np.concatenate([tell(calibrator, noise=0.05)[:1] for _ in range(4)])
        found = calibrator.estimate()
        assert (tried == found).all(axis=1).any()
        reward = calibrator.targets.reward(tried)
        assert calibrator.targets.reward(found) >= np.sort(reward)[-2]

    def test_asking_for_the_estimate_changes_nothing(self, name):
        runs = []
        for ask in (False, True):
            calibrator = make(name, stages_per_trial=2, initial_trials=2, **SHORT_SEARCH)
            for _ in range(7):
                profiles = tell(calibrator, noise=0.1)
                if ask:
                    calibrator.estimate()
            runs.append(profiles)
        np.testing.assert_array_equal(*runs)

    def test_trials_without_reports_are_left_out(self, name):
        calibrator = make(name, stages_per_trial=1, initial_trials=2, **SHORT_SEARCH)
        for present in (None, [], [3], [], None):
            tell(calibrator, noise=0.1, present=present)
        assert calibrator._trials.observed().tolist() == [0, 2, 4]
        assert np.isfinite(calibrator.ask()).all()

    def test_without_botorch_it_says_what_to_install(self, name, monkeypatch):
        monkeypatch.setattr(entry, "find_spec", lambda package: None)
        with pytest.raises(ValueError, match=r'pip install "rllib-calsheq\[bo\]"'):
            make(name)


class TestTrustRegion:
    def region(self, **fields):
        calibrator = make("bo_tr", initial_trials=2, **fields)
        for _ in range(3):
            calibrator._trials.open(np.full(DIM, 0.5), 1)
        return calibrator

    def test_shrinks_after_failures_and_grows_after_successes(self):
        calibrator = self.region(failure_tolerance=2, success_tolerance=2)
        profiles = np.array([[0.5] * DIM, [0.3] * DIM])
        for length in (0.8, 0.4, 0.4, 0.2):
            low, high = calibrator._box(profiles, np.array([1.0, 0.0]))
            np.testing.assert_allclose(high - low, length)
            np.testing.assert_allclose((high + low) / 2, 0.5)
        for length in (0.2, 0.4):
            low, high = calibrator._box(profiles, np.array([0.0, 1.0]))
            np.testing.assert_allclose(high - low, length)

    def test_starts_again_once_it_is_too_small(self):
        calibrator = self.region(failure_tolerance=1, min_length=0.3)
        profiles = np.full((2, DIM), 0.5)
        sides = []
        for _ in range(2):
            low, high = calibrator._box(profiles, np.array([1.0, 0.0]))
            sides.append(float((high - low)[0]))
        np.testing.assert_allclose(sides, [0.4, 0.8])

    def test_without_noise_the_known_reward_is_the_targets_own(self):
        calibrator = make("bo_tr")
        outcomes = np.random.default_rng(0).random((5, DIM))
        misses = (outcomes - OPTIMUM) / calibrator.targets.scales
        np.testing.assert_allclose(
            calibrator._known_reward(torch.from_numpy(misses)), calibrator.targets.reward(outcomes)
        )

    def test_the_known_reward_is_averaged_over_the_noise(self):
        # A mean miss of 0 with noise of ±1 misses by 1 in every episode: r_cal is 1/2.
        calibrator = make("bo_tr")
        calibrator._residuals = np.tile([[1.0], [-1.0]], (8, DIM))
        reward = calibrator._known_reward(torch.zeros(1, DIM, dtype=torch.float64))
        assert float(reward) == pytest.approx(0.5)

    def test_it_expects_what_the_trials_had_where_outcomes_may_not_happen(self):
        calibrator = make("bo_tr", stages_per_trial=1, initial_trials=12)
        for _ in range(10):
            outcomes = calibrator.ask()
            outcomes[::2, 0] = np.nan
            rewards = calibrator.targets.reward(outcomes)
            calibrator.tell(np.arange(PARTICLES), rewards, outcomes, calibrator.stage)
        means, _ = calibrator._trials.observations()
        expected = calibrator._expected_reward(
            calibrator._fitted_model(), calibrator._trials.profiles
        )
        np.testing.assert_allclose(expected, means[:, 0], atol=0.05)


def test_observations_of_trials_are_means_and_their_squared_errors():
    # Rewards 1, 3 (mean 2, scatter 2) and 5 (one episode); no second value in trial 2.
    trials = Trials(dim=1, num_values=2)
    trials.open(np.array([0.5]), 1)
    trials.add(np.array([[1.0, 0.0], [3.0, np.nan]]), 1)
    trials.open(np.array([0.7]), 2)
    trials.add(np.array([[5.0, np.nan]]), 3)
    means, variances = trials.observations()
    np.testing.assert_array_equal(means, [[2.0, 0.0], [5.0, np.nan]])
    # Pooled variance 2 / (1 + 0): (2 + 8 · 2) / (1 + 8) / 2 and (0 + 8 · 2) / (0 + 8) / 1.
    np.testing.assert_allclose(variances[:, 0], [1.0, 2.0])
    np.testing.assert_array_equal(trials.stages, [1.0, 3.0])


def test_the_calibrated_profile_is_the_calibrators_own_estimate():
    space = SupertypeSpace(tuple(Parameter(f"p{i}", "group", 0.0, 10.0) for i in range(DIM)))
    calibrator = make("random")
    calibration = Calibration(
        parameters=ParameterMap.of(space),
        columns=OutcomeColumns((), space.supertypes),
        targets=calibrator.targets,
        calibrator=calibrator,
        lr_shared=LearningRate(),
        lr_cal=LearningRate(),
        num_workers=0,
    )
    np.testing.assert_allclose(calibration.calibrated_profile(), 5.0)
    tell(calibrator)
    np.testing.assert_array_equal(
        calibration.calibrated_profile(), space.from_unit(calibrator.estimate())
    )


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("random", {"fresh_fraction": 0.0}, "fresh_fraction is 0.0"),
        ("random", {"memory": -1}, "memory is -1"),
        ("cma", {"initial_std": 0.5}, "initial_std is 0.5"),
        ("cma", {"min_std": 0.3}, "min_std is 0.3"),
        ("bo", {"stages_per_trial": 0}, "stages_per_trial is 0"),
        ("bo", {"settling_stages": 5}, "settling_stages is 5"),
        ("bo", {"initial_trials": 1}, "initial_trials is 1"),
        ("bo", {"raw_samples": 1}, "raw_samples is 1"),
        ("bo_tr", {"initial_length": 3.0}, "initial_length is 3.0"),
        ("bo_tr", {"min_length": 0.9}, "initial_length is 0.8"),
        ("bo_tr", {"failure_tolerance": 0}, "failure_tolerance is 0"),
        ("bo_tr", {"sucess_tolerance": 1}, "did you mean 'success_tolerance'"),
    ],
)
def test_bad_fields_are_named(name, fields, message):
    with pytest.raises(ValueError, match=message):
        make(name, **fields)
