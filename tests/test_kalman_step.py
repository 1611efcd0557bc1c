"""The classical step: linear-Gaussian problems whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from known_optimum import parameter_targets
from scipy.optimize import lsq_linear

from rllib_calsheq.calibrators import make_calibrator
from rllib_calsheq.calibrators.ppo.kalman_step import LocalModel, kalman_step
from rllib_calsheq.calibrators.ppo.outcome_critic import OutcomeCritic

DIM = 6


def certain(misses: np.ndarray, jacobian: np.ndarray) -> LocalModel:
    """A model of one profile that is sure of itself."""
    d = jacobian.shape[-1]
    return LocalModel(
        misses=misses[None],
        jacobian=jacobian[None],
        variance_slope=np.zeros((1, d)),
        variance_curvature=np.zeros((1, d, d)),
        noise=np.ones(len(misses)),
    )


class TestKalmanStep:
    def test_it_is_the_kalman_filters_update(self):
        """δ = C Jᵀ (J C Jᵀ + R)⁻¹ (−m) with C the prior's covariance and R the tolerances'."""
        rng = np.random.default_rng(0)
        jacobian, misses = rng.standard_normal((3, DIM)), 0.1 * rng.standard_normal(3)
        start = np.full(DIM, 0.5)
        step = kalman_step(start[None], certain(misses, jacobian), start, np.full(3, 4.0), 25.0)
        covariance, noise = np.eye(DIM) / 25.0, np.eye(3) / 4.0
        gain = covariance @ jacobian.T @ np.linalg.inv(jacobian @ covariance @ jacobian.T + noise)
        np.testing.assert_allclose(step[0], -gain @ misses, atol=1e-12)

    def test_what_targets_leave_open_goes_back_to_the_start(self):
        """One target, on the first parameter: all others end at Λ_0, from wherever they are."""
        start = np.linspace(0.2, 0.8, DIM)
        profile = np.random.default_rng(0).random(DIM)
        jacobian = 10.0 * np.eye(1, DIM)
        misses = 10.0 * (profile[:1] - 0.9)
        step = kalman_step(profile[None], certain(misses, jacobian), start, np.array([1e6]), 1.0)
        np.testing.assert_allclose((profile + step[0])[1:], start[1:], atol=1e-9)
        assert (profile + step[0])[0] == pytest.approx(0.9, abs=1e-4)

    def test_at_the_faces_of_the_cube_it_is_the_bounded_least_squares_solution(self):
        rng = np.random.default_rng(3)
        start = np.full(DIM, 0.5)
        jacobian, misses = rng.standard_normal((4, DIM)), 3.0 * rng.standard_normal(4)
        step = kalman_step(start[None], certain(misses, jacobian), start, np.full(4, 100.0), 1.0)
        rows = np.concatenate([10.0 * jacobian, np.eye(DIM)])
        right = np.concatenate([-10.0 * misses, np.zeros(DIM)])
        expected = lsq_linear(rows, right, (-0.5, 0.5)).x
        assert (np.abs(expected) > 0.499).any()
        np.testing.assert_allclose(step[0], expected, atol=1e-6)

    def test_it_is_cautious_where_the_model_is_unsure(self):
        """The expected square of an uncertain slope counts like a slope of its own."""
        start = np.full(1, 0.5)
        model = certain(np.array([1.0]), np.array([[10.0]]))
        sure = kalman_step(start[None], model, start, np.ones(1), 1e-9)
        model.variance_curvature[:] = 100.0
        unsure = kalman_step(start[None], model, start, np.ones(1), 1e-9)
        assert sure[0, 0] == pytest.approx(-0.1)
        assert unsure[0, 0] == pytest.approx(-0.05)


class TestLocalModel:
    def critic(self, outcomes) -> tuple[OutcomeCritic, np.ndarray]:
        critic = OutcomeCritic(parameter_targets(np.zeros(2)), dim=2, memory=1e6, ridge=1e-6)
        profiles = np.random.default_rng(0).random((500, 2))
        critic.update(profiles, outcomes(profiles))
        return critic, profiles

    @pytest.mark.parametrize("dim", [2, 40])
    def test_the_slopes_are_the_derivatives_of_the_features(self, dim):
        critic = OutcomeCritic(parameter_targets(np.zeros(1)), dim=dim, memory=1.0, ridge=1.0)
        profile, step = np.random.default_rng(0).random((1, dim)), 1e-6
        moved = profile + step * np.eye(dim)
        slopes = (critic._features(moved) - critic._features(profile)) / step
        np.testing.assert_allclose(critic._feature_slopes(profile)[0], slopes.T, atol=1e-5)

    def test_of_quadratic_outcomes_it_knows_value_and_derivatives(self):
        critic, _ = self.critic(lambda p: np.stack([p[:, 0] * p[:, 1], 3 * p[:, 0] ** 2], axis=1))
        model = critic.local_model(np.array([[0.5, 0.2]]))
        np.testing.assert_allclose(model.misses, [[0.1, 0.75]], atol=1e-4)
        np.testing.assert_allclose(model.jacobian, [[[0.2, 0.5], [3.0, 0.0]]], atol=1e-3)
        np.testing.assert_allclose(model.noise, 0.0, atol=1e-4)

    def test_the_mean_of_recent_episodes_is_what_it_expects_there(self):
        """Sixth-order outcomes, which the wide episodes' second-order fit gets wrong."""
        critic, _ = self.critic(lambda p: p**6)
        narrow = 0.8 + 0.01 * np.random.default_rng(1).standard_normal((512, 2))
        critic.update(narrow, narrow**6)
        model = critic.local_model(narrow.mean(axis=0)[None])
        np.testing.assert_allclose(model.misses[0], (narrow**6).mean(axis=0), atol=2e-3)

    def test_the_reward_of_means_is_one_on_target_however_much_episodes_scatter(self):
        """f = Λ ± 0.5, target 0.5: E[r] = 1 / 1.5 at Λ = 0.5, but r(E[f]) = 1."""
        critic = OutcomeCritic(parameter_targets(np.array([0.5])), dim=1, memory=1e6, ridge=1e-3)
        rng = np.random.default_rng(0)
        profiles = rng.random((4000, 1))
        critic.update(profiles, profiles + rng.choice([-0.5, 0.5], profiles.shape))
        assert critic.mean_reward(np.array([[0.5]]), np.ones(1)) == pytest.approx([1.0], abs=0.05)


class TestLearnedOptimiser:
    """Ten parameters, three outcomes A Λ: seven directions are left open."""

    def run(self, stages: int, **fields):
        rng = np.random.default_rng(0)
        matrix = rng.standard_normal((3, 10))
        hidden = rng.uniform(0.2, 0.8, 10)
        targets = parameter_targets(matrix @ hidden, scale=0.1)
        start = np.full(10, 0.5)
        calibrator = make_calibrator(
            "ppo", start=start, num_particles=64, targets=targets, seed=0, **fields
        )
        for _ in range(stages):
            profiles = calibrator.ask()
            noise = 0.05 * np.random.default_rng([1, calibrator.stage]).standard_normal((64, 3))
            outcomes = profiles @ matrix.T + noise
            rewards = targets.reward(outcomes)
            calibrator.tell(np.arange(64), rewards, outcomes, calibrator.stage)
        # The profile nearest to Λ_0 that is on target.
        inverse = np.linalg.pinv(matrix)
        nearest = start + inverse @ (targets.values - matrix @ start)
        mean = profiles.mean(axis=0)
        misses = np.abs(matrix @ mean - targets.values) / 0.1
        return misses.max(), float(np.sqrt(np.mean((mean - nearest) ** 2)))

    def test_meets_every_target_in_thirty_stages_and_stays_near_the_start_elsewhere(self):
        worst, distance = self.run(30)
        assert worst < 0.25
        assert distance < 0.05

    def test_without_the_classical_step_what_is_left_open_goes_elsewhere(self):
        assert self.run(30, kalman_gain=0.0)[1] > 0.1

    def test_the_policy_sees_the_step_and_adds_nothing_before_it_has_learned(self):
        calibrator = make_calibrator(
            "ppo", start=np.full(2, 0.5), num_particles=8,
            targets=parameter_targets(np.array([0.3, 0.9])), seed=0,
        )  # fmt: skip
        steps = np.full((8, 2), 0.5, np.float32)
        sample = calibrator._sample(calibrator.profiles, steps, np.random.default_rng(0))
        assert sample["obs"].shape == (8, 4)
        assert (sample["action_dist_inputs"][:, :2] == 0).all()
