"""The ensemble's local model: linear-Gaussian problems whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from known_optimum import parameter_targets

from rllib_calsheq.calibrators.ensemble_model import (
    EnsembleModel,
    from_logits,
    mirrored_draws,
    to_logits,
)

DIM, EPISODES = 6, 4000


def seen(slopes: np.ndarray, level: np.ndarray, noise: float = 0.5, **fields) -> EnsembleModel:
    """A model (targets 0, scale 1) that has seen one stage of linear outcomes with noise."""
    d, K = slopes.shape
    memories = {"slope_memory": 8.0, "level_memory": 2.0, "ridge": 1e-6, **fields}
    model = EnsembleModel(parameter_targets(np.zeros(K), scale=1.0), d, **memories)
    rng = np.random.default_rng(0)
    offsets = mirrored_draws(rng, EPISODES, d)
    model.observe(offsets, level + offsets @ slopes + noise * rng.standard_normal((EPISODES, K)))
    return model


class TestStep:
    def test_it_is_the_kalman_filters_update(self):
        """δ = C Gᵀ (G C Gᵀ + R)⁻¹ (−y) with C the prior's covariance and R the levels' noise.

        The levels are the means of 4000 episodes whose standard deviation is 4: R = 16 / 4000.
        """
        rng = np.random.default_rng(1)
        slopes, level = rng.standard_normal((DIM, 3)), 0.1 * rng.standard_normal(3)
        step, damping = seen(slopes, level, noise=4.0).step(
            np.zeros(DIM), np.full(DIM, 25.0), limit=9.0
        )
        gain = slopes @ np.linalg.inv(slopes.T @ slopes + 25.0 * 16 / EPISODES * np.eye(3))
        assert damping == 0.0
        # Slopes of 4000 episodes have standard errors of 0.06, levels too.
        np.testing.assert_allclose(step, -gain @ level, atol=0.12)

    def test_what_targets_leave_open_goes_back_to_the_priors_mean(self):
        slopes = np.zeros((DIM, 1))
        slopes[0] = 1.0
        away = np.linspace(-1.0, 1.0, DIM)
        step, _ = seen(slopes, np.array([0.2]), noise=1e-6).step(away, np.full(DIM, 1e3), limit=9.0)
        np.testing.assert_allclose(step[1:], -away[1:], atol=0.02)
        assert abs(step[0] + 0.2) < abs(away[0])

    def test_it_is_cautious_where_slopes_are_unsure(self):
        """The same slopes from a thousandth of the episodes."""
        model = seen(np.full((DIM, 1), 0.3), np.array([0.3]), noise=2.0)
        sure, _ = model.step(np.zeros(DIM), np.full(DIM, 1e-3), limit=9.0)
        model._slopes.grams /= 1000.0
        unsure, _ = model.step(np.zeros(DIM), np.full(DIM, 1e-3), limit=9.0)
        assert np.linalg.norm(unsure) < 0.5 * np.linalg.norm(sure)

    def test_it_is_no_longer_than_allowed_and_keeps_downhill(self):
        slopes = np.random.default_rng(1).standard_normal((DIM, 3))
        level = np.array([3.0, -2.0, 1.0])
        step, damping = seen(slopes, level).step(np.zeros(DIM), np.full(DIM, 0.4), limit=0.1)
        assert np.abs(step).max() <= 0.1
        assert damping > 0
        assert np.linalg.norm(level + step @ slopes) < np.linalg.norm(level)


class TestObserve:
    def test_a_drift_of_all_levels_leaves_the_slopes_as_they_are(self):
        """Outcomes rise by a scale in each stage; a third of the particles is missing."""
        slopes = np.array([[0.5, -0.2], [0.1, 0.3], [0.0, 0.4]])
        model = EnsembleModel(parameter_targets(np.zeros(2), scale=1.0), 3, 8.0, 2.0, 1e-6)
        for stage in range(10):
            offsets = mirrored_draws(np.random.default_rng(stage), 64, 3)[:42]
            model.observe(offsets, offsets @ slopes + stage)
        np.testing.assert_allclose(model._slopes.coefficients, slopes, atol=1e-6)

    def test_the_noise_is_that_of_the_residuals_however_far_the_targets_are(self):
        model = seen(np.full((DIM, 2), 0.1), np.array([5.0, -9.0]), noise=0.4)
        np.testing.assert_allclose(model._squares / model._squares_weight, 0.16, rtol=0.1)

    def test_the_level_moves_with_the_centre(self):
        model = seen(np.full((DIM, 1), 0.2), np.array([1.0]), noise=1e-6)
        model.move(np.full(DIM, 0.5))
        assert model.level == pytest.approx([1.0 + DIM * 0.1], abs=1e-4)

    def test_what_has_not_happened_yet_is_not_near(self):
        model = EnsembleModel(parameter_targets(np.zeros(1), scale=1.0), 2, 8.0, 2.0, 1.0)
        assert not model.observed
        model.observe(np.zeros((4, 2)), np.full((4, 1), np.nan))
        assert not model.near
        model.observe(np.zeros((4, 2)), np.zeros((4, 1)))
        assert model.near


class TestDraws:
    @pytest.mark.parametrize(("count", "dim"), [(64, 23), (9, 4), (500, 3)])
    def test_their_mean_is_0_and_their_covariance_1(self, count, dim):
        drawn = mirrored_draws(np.random.default_rng(0), count, dim)
        assert drawn.shape == (count, dim)
        np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=1e-12)
        pairs = 2 * (count // 2)
        np.testing.assert_allclose(drawn.T @ drawn / pairs, np.eye(dim), atol=1e-12)

    def test_of_fewer_pairs_than_directions_all_are_as_long(self):
        drawn = mirrored_draws(np.random.default_rng(0), 8, 50)
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 50**0.5)
        np.testing.assert_allclose(drawn[:4] @ drawn[:4].T, 50 * np.eye(4), atol=1e-9)

    def test_logits_are_finite_at_the_faces_of_the_cube(self):
        profiles = np.array([0.0, 0.3, 1.0])
        assert np.isfinite(to_logits(profiles)).all()
        np.testing.assert_allclose(from_logits(to_logits(profiles)), [0.001, 0.3, 0.999])
