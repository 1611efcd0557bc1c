"""The classical optimiser beside the policy: what it does with the particles."""

from __future__ import annotations

import numpy as np
import pytest
from known_optimum import parameter_targets

from rllib_calsheq.calibrators import make_calibrator
from rllib_calsheq.calibrators.ensemble_model import to_logits
from rllib_calsheq.calibrators.ppo.classical_optimizer import ClassicalOptimizer
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig


def observed(profiles: np.ndarray, **fields) -> ClassicalOptimizer:
    """One that has seen a stage in which outcomes are the first two parameters."""
    config = PPOCalibratorConfig(**fields)
    targets = parameter_targets(np.array([0.7, 0.4]), scale=0.1)
    optimizer = ClassicalOptimizer(np.full(3, 0.5), targets, config)
    optimizer.observe(profiles, np.arange(len(profiles)), profiles[:, :2])
    return optimizer


def cloud(spread: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 1 / (1 + np.exp(-spread * rng.standard_normal((64, 3))))


class TestClassicalOptimizer:
    def test_before_any_episode_it_stays(self):
        optimizer = ClassicalOptimizer(
            np.full(3, 0.5), parameter_targets(np.zeros(2)), PPOCalibratorConfig()
        )
        assert (optimizer.steps(cloud(1.0), 0.1) == 0).all()
        assert optimizer.estimate(1) is None

    def test_particles_and_noise_together_are_spread_as_wanted(self):
        """After one stage of three that count for one each, as no target is near."""
        profiles = cloud(1.4)
        optimizer = observed(profiles, initial_spread=1.4, shrink_stages=3.0)
        after = to_logits(profiles) + optimizer.steps(profiles, noise=0.3)
        spread = np.sqrt(np.mean((after - after.mean(axis=0)) ** 2) + 0.3**2)
        assert spread == pytest.approx(1.4 * np.exp(-1 / 3))

    def test_their_centre_takes_one_common_step_towards_the_targets(self):
        profiles = cloud(0.3)
        steps = observed(profiles, initial_spread=10.0).steps(profiles, noise=0.0)
        np.testing.assert_allclose(steps, np.tile(steps[0], (64, 1)), atol=1e-12)
        assert steps[0, 0] > 0.05
        assert steps[0, 1] < -0.05
        assert np.abs(steps[0]).max() <= 0.7 * 0.31

    def test_it_recommends_the_mean_of_the_last_centres(self):
        optimizer = observed(cloud(0.3))
        np.testing.assert_allclose(
            to_logits(optimizer.estimate(1)), to_logits(cloud(0.3)).mean(axis=0)
        )


class TestLearnedOptimiser:
    """Ten parameters, three outcomes A Λ: seven directions are left open."""

    def run(self, stages: int, **fields) -> tuple[list[float], float]:
        """Worst misses of the particles' mean after each stage, and how far Λ̂ is from the best."""
        rng = np.random.default_rng(0)
        matrix = rng.standard_normal((3, 10))
        hidden = rng.uniform(0.2, 0.8, 10)
        targets = parameter_targets(matrix @ hidden, scale=0.1)
        start = np.full(10, 0.5)
        calibrator = make_calibrator(
            "ppo", start=start, num_particles=64, targets=targets, seed=0, **fields
        )
        misses, means = [], []
        for _ in range(stages):
            profiles = calibrator.ask()
            noise = 0.05 * np.random.default_rng([1, calibrator.stage]).standard_normal((64, 3))
            outcomes = profiles @ matrix.T + noise
            rewards = targets.reward(outcomes)
            calibrator.tell(np.arange(64), rewards, outcomes, calibrator.stage)
            means.append(profiles.mean(axis=0))
            misses.append(float(np.abs(matrix @ means[-1] - targets.values).max() / 0.1))
        # The profile nearest to Λ_0 that is on target.
        inverse = np.linalg.pinv(matrix)
        nearest = start + inverse @ (targets.values - matrix @ start)
        found = np.mean(means[-5:], axis=0)
        return misses, float(np.sqrt(np.mean((found - nearest) ** 2)))

    def test_meets_every_target_in_thirty_stages_and_stays_near_the_start_elsewhere(self):
        misses, distance = self.run(30)
        assert misses[-1] < 0.25
        assert distance < 0.05

    def test_once_there_it_stays_however_steep_the_reward(self):
        """A policy that goes on adding what was right once goes past the target, and back."""
        assert max(self.run(90)[0][40:]) < 0.6

    def test_without_the_classical_step_what_is_left_open_goes_elsewhere(self):
        assert self.run(30, kalman_gain=0.0, increment_cost=0.0005)[1] > 0.1

    def test_the_policy_sees_the_step_and_adds_nothing_before_it_has_learned(self):
        calibrator = make_calibrator(
            "ppo", start=np.full(2, 0.5), num_particles=8,
            targets=parameter_targets(np.array([0.3, 0.9])), seed=0,
        )  # fmt: skip
        steps = np.full((8, 2), 0.5, np.float32)
        sample = calibrator._sample(calibrator.profiles, steps, np.zeros((8, 2), np.float32))
        assert sample["obs"].shape == (8, 4)
        assert (sample["action_dist_inputs"][:, :2] == 0).all()
