"""The outcome critic: what it predicts, and how it forgets."""

from __future__ import annotations

import numpy as np
import pytest
from known_optimum import parameter_targets

from rllib_calsheq.calibrators.ppo.outcome_critic import OutcomeCritic


class TestOutcomeCritic:
    def test_predicts_the_expected_reward_not_the_reward_of_the_mean(self):
        # One parameter, f = Λ + noise of ±0.5 with equal chance, target 0.5, scale 1. At
        # Λ = 0.5 every episode misses by 0.5: E[r] = 1 / 1.5, whereas r(E[f]) = 1.
        targets = parameter_targets(np.array([0.5]))
        critic = OutcomeCritic(targets, dim=1, memory=1e6, ridge=1e-3)
        rng = np.random.default_rng(0)
        profiles = rng.random((4000, 1))
        critic.update(profiles, profiles + rng.choice([-0.5, 0.5], profiles.shape))
        reward = critic.expected_reward(np.array([[0.5]]), 256, rng)
        assert reward == pytest.approx([1 / 1.5], abs=0.02)

    def test_without_noise_it_is_the_targets_own_reward(self):
        targets = parameter_targets(np.array([0.1, 0.4, 0.9]))
        critic = OutcomeCritic(targets, dim=3, memory=1e6, ridge=1e-6)
        rng = np.random.default_rng(0)
        profiles = rng.random((500, 3))
        critic.update(profiles, profiles)
        new = rng.random((20, 3))
        expected = targets.reward(new)
        np.testing.assert_allclose(critic.expected_reward(new, 4, rng), expected, atol=1e-4)

    def test_an_outcome_that_happens_half_the_time_earns_half(self):
        targets = parameter_targets(np.array([0.5]))
        critic = OutcomeCritic(targets, dim=1, memory=1e6, ridge=1e-3)
        profiles = np.random.default_rng(0).random((2000, 1))
        outcomes = profiles.copy()
        outcomes[::2] = np.nan
        critic.update(profiles, outcomes)
        critic.update(profiles, outcomes)
        reward = critic.expected_reward(np.array([[0.5]]), 16, np.random.default_rng(1))
        assert reward == pytest.approx([0.5], abs=0.05)

    @pytest.mark.parametrize("heteroscedastic", [True, False])
    def test_of_two_profiles_with_the_same_mean_the_quieter_one_is_better(self, heteroscedastic):
        """Outcomes on target in the mean that scatter by ±(0.2 + Λ): r = 1 / (1.2 + Λ)."""
        targets = parameter_targets(np.array([0.5]))
        critic = OutcomeCritic(
            targets, dim=1, memory=1e6, ridge=1e-3, heteroscedastic=heteroscedastic
        )
        rng = np.random.default_rng(0)
        profiles = rng.random((4000, 1))
        signs = rng.choice([-1.0, 1.0], profiles.shape)
        critic.update(profiles, 0.5 + signs * (0.2 + profiles))
        quiet, loud = critic.expected_reward(np.array([[0.1], [0.9]]), 256, rng)
        expected = [1 / 1.3, 1 / 2.1] if heteroscedastic else [0.61, 0.61]
        assert [quiet, loud] == pytest.approx(expected, abs=0.03)

    def test_an_outcome_without_noise_or_that_never_happens_leaves_numbers(self):
        targets = parameter_targets(np.array([0.5, 0.5]))
        critic = OutcomeCritic(targets, dim=2, memory=20.0, ridge=1.0)
        profiles = np.random.default_rng(0).random((64, 2))
        outcomes = np.full((64, 2), [0.5, np.nan])
        for _ in range(3):
            critic.update(profiles, outcomes)
        reward = critic.expected_reward(profiles, 4, np.random.default_rng(1))
        np.testing.assert_allclose(reward, 0.5, atol=0.01)

    @pytest.mark.parametrize("happens", [0.1, 0.5])
    def test_an_outcome_that_did_not_happen_is_not_taken_for_on_target(self, happens):
        """Outcomes that miss by 4 scales wherever they happen, which is not everywhere."""
        targets = parameter_targets(np.array([0.5, 0.5]))
        critic = OutcomeCritic(targets, dim=1, memory=20.0, ridge=1.0)
        rng = np.random.default_rng(0)
        for _ in range(20):
            profiles = rng.random((64, 1))
            outcomes = np.tile([-3.5, 0.5], (64, 1))
            outcomes[rng.random(64) > happens, 0] = np.nan
            critic.update(profiles, outcomes)
        profiles = np.linspace(0.0, 1.0, 11)[:, None]
        missed = critic._misses(critic._features(profiles))
        np.testing.assert_allclose(missed, np.tile([-4.0, 0.0], (11, 1)), atol=0.2)
        reward = critic.expected_reward(profiles, 16, rng).mean()
        assert reward == pytest.approx(0.5 * happens / 5.0 + 0.5, abs=0.02)

    def test_the_noise_is_that_of_the_episodes_in_which_an_outcome_happened(self):
        """±0.5 round the target in one episode of ten: r = 1 / 1.5 where it happens."""
        targets = parameter_targets(np.array([0.5]))
        critic = OutcomeCritic(targets, dim=1, memory=1e6, ridge=1e-3)
        rng = np.random.default_rng(0)
        profiles = rng.random((4000, 1))
        outcomes = 0.5 + rng.choice([-0.5, 0.5], profiles.shape)
        outcomes[rng.random(4000) > 0.1] = np.nan
        critic.update(profiles, outcomes)
        reward = critic.expected_reward(np.array([[0.5]]), 256, rng)
        assert reward == pytest.approx([0.1 / 1.5], abs=0.01)

    def test_a_saved_critic_with_missing_outcomes_goes_on_as_it_was(self):
        targets = parameter_targets(np.array([0.5, 0.2]))
        rng = np.random.default_rng(0)
        batches = []
        for _ in range(3):
            profiles = rng.random((40, 2))
            batches.append((profiles, np.where(rng.random((40, 2)) < 0.3, np.nan, profiles)))
        one, other = (OutcomeCritic(targets, dim=2, memory=5.0, ridge=1.0) for _ in range(2))
        for batch in batches[:2]:
            one.update(*batch)
        other.load_state_dict(one.state_dict())
        for critic in (one, other):
            critic.update(*batches[2])
        rewards = [c.expected_reward(profiles, 8, np.random.default_rng(1)) for c in (one, other)]
        np.testing.assert_array_equal(*rewards)

    def test_the_mean_of_recent_episodes_is_what_it_expects_there(self):
        """Sixth-order outcomes, which the wide episodes' second-order fit gets wrong."""
        critic = OutcomeCritic(parameter_targets(np.zeros(2)), dim=2, memory=1e6, ridge=1e-6)
        profiles = np.random.default_rng(0).random((500, 2))
        critic.update(profiles, profiles**6)
        narrow = 0.8 + 0.01 * np.random.default_rng(1).standard_normal((512, 2))
        critic.update(narrow, narrow**6)
        expected = critic._expected(critic._features(narrow.mean(axis=0)[None]))
        np.testing.assert_allclose(expected[0], (narrow**6).mean(axis=0), atol=2e-3)

    def test_the_reward_of_means_is_one_on_target_however_much_episodes_scatter(self):
        """f = Λ ± 0.5, target 0.5: E[r] = 1 / 1.5 at Λ = 0.5, but r(E[f]) = 1."""
        critic = OutcomeCritic(parameter_targets(np.array([0.5])), dim=1, memory=1e6, ridge=1e-3)
        rng = np.random.default_rng(0)
        profiles = rng.random((4000, 1))
        critic.update(profiles, profiles + rng.choice([-0.5, 0.5], profiles.shape))
        assert critic.mean_reward(np.array([[0.5]])) == pytest.approx([1.0], abs=0.05)

    def test_forgets(self):
        targets = parameter_targets(np.array([0.0]))
        critic = OutcomeCritic(targets, dim=1, memory=2.0, ridge=1e-3)
        profiles = np.random.default_rng(0).random((100, 1))
        critic.update(profiles, np.full((100, 1), 9.0))
        for _ in range(30):
            numbers = critic.update(profiles, profiles)
        assert numbers["critic_error"] < 1e-2

    def test_many_parameters_use_no_products(self):
        targets = parameter_targets(np.full(100, 0.5))
        critic = OutcomeCritic(targets, dim=100, memory=20.0, ridge=1.0)
        assert critic._outcomes.grams.shape == (1, 201, 201)
