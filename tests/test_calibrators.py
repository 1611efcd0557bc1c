"""Calibrators: contract of ask and tell, resume, and learning on problems of known optimum."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from known_optimum import parameter_targets

from rllib_calsheq.calibrators import entries, make_calibrator, pulls_to_prior
from rllib_calsheq.calibrators.ppo.config import PAPER_FIELDS, PPOCalibratorConfig
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.plain_pickle import load_plain

DIM = 23
PARTICLES = 64
#: Fields of Bayesian optimisation that model soon, and search shortly.
SHORT_TRIALS = {"stages_per_trial": 2, "initial_trials": 2, "num_restarts": 1, "raw_samples": 16}
QUICK = {"bo": SHORT_TRIALS, "bo_tr": SHORT_TRIALS}
#: Keyword arguments of the calibrators that every contract test runs on: all of the package, one
#: of them in a second form, and one that is named by its dotted path.
VARIANTS = {
    **{name: {"name": name, **QUICK.get(name, {})} for name in entries()},
    "paper": {"name": "ppo", **PAPER_FIELDS},
    "dotted path": {"name": "own_calibrator.Walk"},
}
#: Those whose particles move from where they are, by increments.
MOVING = ("fixed", "ppo")


def make(variant: dict, dim: int = 4, particles: int = 8, seed: int = 0, **more):
    targets = parameter_targets(np.linspace(0.2, 0.9, dim))
    arguments = {"start": np.full(dim, 0.5), **variant, **more}
    return make_calibrator(num_particles=particles, targets=targets, seed=seed, **arguments)


def play(calibrator, stages: int, noise: float = 0.0) -> list[np.ndarray]:
    """Runs stages of the identity environment and returns the profiles of each."""
    history = []
    for _ in range(stages):
        profiles = calibrator.ask()
        rng = np.random.default_rng([7, calibrator.stage])
        outcomes = profiles + noise * rng.standard_normal(profiles.shape)
        calibrator.tell(
            np.arange(len(profiles)),
            calibrator.targets.reward(outcomes),
            outcomes,
            calibrator.stage,
        )
        history.append(profiles)
    return history


def policy_at(calibrator, profiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations (M, d) of the PPO calibrator's actions."""
    steps = np.zeros(profiles.shape, np.float32)
    sample = calibrator._sample(profiles, steps, steps)
    mean, log_std = np.split(sample["action_dist_inputs"].astype(float), 2, axis=-1)
    return mean, np.exp(log_std)


def gaussian_kl(old, new) -> np.ndarray:
    """Divergence (M,) of independent Gaussians ``new`` from ``old``, in nats."""
    (mean, std), (new_mean, new_std) = old, new
    ratio = (std**2 + (mean - new_mean) ** 2) / new_std**2
    return (0.5 * (ratio - 1.0) + np.log(new_std / std)).sum(axis=-1)


@pytest.fixture(params=list(VARIANTS))
def variant(request) -> dict:
    return VARIANTS[request.param]


class TestContract:
    def test_profiles_stay_in_the_cube_and_move_by_bounded_increments(self, variant):
        calibrator = make(variant, initial_std=3.0) if variant["name"] == "ppo" else make(variant)
        before = calibrator.profiles
        for after in play(calibrator, 6):
            assert after.shape == (8, 4)
            assert ((after >= 0) & (after <= 1)).all()
            if variant["name"] in MOVING:
                assert np.abs(after - before).max() <= 0.1 + 1e-9
            before = after

    def test_asked_again_before_tell_gives_the_same_profiles(self, variant):
        calibrator = make(variant)
        first = calibrator.ask()
        first_again = calibrator.ask()
        np.testing.assert_array_equal(first, first_again)
        assert calibrator.stage == 1

    def test_same_seed_same_run_other_seed_another(self, variant):
        runs = [play(make(variant, seed=seed), 3)[-1] for seed in (0, 0, 1)]
        np.testing.assert_array_equal(runs[0], runs[1])
        draws_nothing = variant["name"] == "fixed"
        assert np.allclose(runs[0], runs[2]) == draws_nothing

    def test_leaves_the_global_generators_alone(self, variant):
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002 - the global state is what is tested
        expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        play(make(variant), 2)
        torch.testing.assert_close(torch.rand(3), expected[0])
        np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002

    def test_does_not_depend_on_the_global_generators(self, variant):
        runs = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            runs.append(play(make(variant), 3)[-1])
        np.testing.assert_array_equal(runs[0], runs[1])

    @pytest.mark.parametrize("pending", [False, True])
    def test_resumes_bit_for_bit_from_a_pickled_state(self, variant, pending, tmp_path):
        original = make(variant)
        play(original, 4)
        if pending:
            original.ask()
        file = tmp_path / "state.pkl"
        file.write_bytes(pickle.dumps(original.state_dict()))
        expected = play(original, 4)
        resumed = make(variant, seed=3)
        # It is data, which `calsheq evaluate` reads.
        resumed.load_state_dict(load_plain(file))
        for one, other in zip(play(resumed, 4), expected, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_equal(resumed.estimate(), original.estimate())

    def test_a_saved_state_does_not_change_as_the_run_goes_on(self, variant):
        calibrator = make(variant)
        play(calibrator, 2)
        state = calibrator.state_dict()
        before = pickle.dumps(state)
        play(calibrator, 2)
        assert pickle.dumps(state) == before
        calibrator.load_state_dict(state)
        play(calibrator, 2)
        assert pickle.dumps(state) == before

    def test_missing_particles_are_masked(self, variant):
        calibrator = make(variant)
        for present in ([0, 3, 5], [2], []):
            profiles = calibrator.ask()
            outcomes = profiles[present]
            rewards = calibrator.targets.reward(outcomes)
            numbers = calibrator.tell(np.array(present, int), rewards, outcomes, calibrator.stage)
            assert all(np.isfinite(v) for v in numbers.values())
        assert np.isfinite(calibrator.ask()).all()

    def test_outcomes_that_did_not_happen_do_not_break_it(self, variant):
        calibrator = make(variant)
        for missing in (slice(None), slice(0, 3), slice(0, 0)):
            outcomes = calibrator.ask()
            outcomes[missing] = np.nan
            calibrator.tell(
                np.arange(8), calibrator.targets.reward(outcomes), outcomes, calibrator.stage
            )
        assert np.isfinite(calibrator.ask()).all()

    def test_wrong_stage_is_refused(self, variant):
        calibrator = make(variant)
        profiles = calibrator.ask()
        with pytest.raises(ValueError, match="stage"):
            calibrator.tell(np.arange(8), np.zeros(8), profiles, 2)

    def test_state_of_another_size_is_refused(self, variant):
        with pytest.raises(ValueError, match="particles"):
            make(variant).load_state_dict(make(variant, particles=5).state_dict())


@pytest.mark.parametrize("name", [n for n in entries() if pulls_to_prior(n)])
class TestPrior:
    """One target, for the first of three parameters; nothing is known of the others."""

    def found(self, name, prior, learning_rate=3e-3):
        targets = parameter_targets(np.array([0.8]))
        calibrator = make_calibrator(
            name, start=[0.5] * 3, num_particles=32, targets=targets, seed=0, prior=prior
        )
        calibrator.set_learning_rate(learning_rate)
        for _ in range(60):
            outcomes = calibrator.ask()[:, :1]
            rewards = targets.reward(outcomes)
            calibrator.tell(np.arange(32), rewards, outcomes, calibrator.stage)
        estimate = calibrator.estimate()
        return calibrator.profiles.mean(axis=0) if estimate is None else estimate

    def test_what_no_target_tells_goes_where_the_user_expects_it(self, name):
        found = self.found(name, Prior(np.array([0.5, 0.25, 0.75]), np.full(3, np.nan)))
        np.testing.assert_allclose(found, [0.8, 0.25, 0.75], atol=0.08)

    def test_without_a_prior_it_stays_at_the_start(self, name):
        np.testing.assert_allclose(self.found(name, None), [0.8, 0.5, 0.5], atol=0.08)

    def test_a_narrow_prior_holds_against_a_target_and_a_wide_one_does_not(self, name):
        # What PPO learns beside its classical step is after the reward, which knows no prior.
        mean = np.array([0.3, 0.5, 0.5])
        narrow = self.found(name, Prior(mean, np.array([1e-3, np.nan, np.nan])), 0.0)
        wide = self.found(name, Prior(mean, np.array([0.5, np.nan, np.nan])), 0.0)
        assert abs(narrow[0] - 0.3) < 0.1
        assert abs(wide[0] - 0.8) < 0.1

    def test_a_prior_of_other_parameters_is_refused(self, name):
        with pytest.raises(ValueError, match="there are 4 parameters"):
            make({"name": name}, prior=Prior(np.full(3, 0.5), np.full(3, 0.1)))


def test_only_with_its_classical_step_does_ppo_pull_to_a_prior():
    assert pulls_to_prior("ppo")
    assert not pulls_to_prior("ppo", {"critic": "none"})
    assert not pulls_to_prior("ppo", {"kalman_gain": 0.0})


class TestPPO:
    @pytest.mark.parametrize("fields", [PAPER_FIELDS, {}], ids=["paper", "outcomes"])
    def test_learning_rate_is_the_one_set_and_is_reported(self, fields):
        calibrator = make({"name": "ppo", **fields})
        calibrator.set_learning_rate(3e-4)
        profiles = calibrator.ask()
        numbers = calibrator.tell(
            np.arange(8), calibrator.targets.reward(profiles), profiles, calibrator.stage
        )
        assert numbers["learning_rate"] == pytest.approx(3e-4)
        assert {"kl_coefficient", "kl", "entropy", "std", "loss"} <= set(numbers)

    def test_particles_start_around_the_given_profile(self):
        start = np.array([0.1, 0.5, 0.9])
        found = make(
            {"name": "ppo", "initial_spread": 0.2}, dim=3, particles=400, start=start
        ).profiles
        logits = np.log(found / (1 - found))
        np.testing.assert_allclose(logits.mean(axis=0), np.log(start / (1 - start)), atol=1e-9)
        np.testing.assert_allclose(logits.std(axis=0), 0.2)
        assert (make({"name": "ppo", **PAPER_FIELDS}).profiles == 0.5).all()

    def test_zero_learning_rate_learns_nothing(self):
        # Without the schedule of the largest standard deviation, which is not learned.
        calibrator = make({"name": "ppo", "std_stages": 0})
        calibrator.set_learning_rate(0.0)
        untrained = pickle.dumps(calibrator._policy._learner.get_state()["rl_module"])
        play(calibrator, 3)
        assert pickle.dumps(calibrator._policy._learner.get_state()["rl_module"]) == untrained

    @pytest.mark.parametrize(
        "fields", [{"kalman_gain": 0.0}, PAPER_FIELDS], ids=["outcomes", "paper"]
    )
    def test_no_update_goes_beyond_the_kl_limit(self, fields):
        def largest_divergence(kl_limit):
            fields_here = {**fields, "learning_rate": 0.1, "kl_target": 0.1, "kl_limit": kl_limit}
            calibrator = make({"name": "ppo"}, **fields_here)
            found = []
            for _ in range(6):
                profiles = calibrator.profiles.copy()
                if calibrator.config.critic == "outcomes":
                    profiles = calibrator.ask().copy()
                before = policy_at(calibrator, profiles)
                play(calibrator, 1)
                found.append(gaussian_kl(before, policy_at(calibrator, profiles)).mean())
            return max(found)

        assert largest_divergence(0.0) > 1.0
        assert largest_divergence(2.0) <= 0.2 * 1.001

    def test_another_critic_setting_is_refused(self):
        state = make({"name": "ppo"}).state_dict()
        with pytest.raises(ValueError, match="critic"):
            make({"name": "ppo", **PAPER_FIELDS}).load_state_dict(state)
        with pytest.raises(ValueError, match="kalman_gain"):
            make({"name": "ppo", "kalman_gain": 0.0}).load_state_dict(state)
        with pytest.raises(ValueError, match="other parts than this one \\(noise\\)"):
            make({"name": "ppo", "fit": "episodes"}).load_state_dict(state)
        del state["critic"]["outcomes"]
        with pytest.raises(ValueError, match="version of rllib-calsheq"):
            make({"name": "ppo"}).load_state_dict(state)

    @pytest.mark.parametrize(
        ("fields", "stages", "end"),
        [(PAPER_FIELDS, 400, 0.95), ({}, 100, 0.985)],
        ids=["paper", "outcomes"],
    )
    def test_learns_a_concave_function_of_23_parameters(self, fields, stages, end):
        # r_cal = mean of 1 / (1 + |Λ_i − Λ*_i|): about 0.8 at the centre, 1 at Λ*.
        rng = np.random.default_rng(0)
        targets = parameter_targets(rng.uniform(0.1, 0.9, DIM))
        calibrator = make_calibrator(
            "ppo",
            start=np.full(DIM, 0.5),
            num_particles=PARTICLES,
            targets=targets,
            seed=0,
            **fields,
        )
        assert targets.reward(calibrator.profiles).mean() < 0.83
        history = play(calibrator, stages=stages)
        mean = np.mean([profiles.mean(axis=0) for profiles in history[-20:]], axis=0)
        assert targets.reward(history[-1]).mean() > end - 0.015
        assert targets.reward(mean) > end

    def test_finds_the_profile_under_noise_as_large_as_the_box(self):
        targets = parameter_targets(np.linspace(0.2, 0.8, 6))
        calibrator = make_calibrator(
            "ppo", start=np.full(6, 0.5), num_particles=PARTICLES, targets=targets, seed=0
        )
        history = play(calibrator, stages=120, noise=0.5)
        mean = np.mean([profiles.mean(axis=0) for profiles in history[-50:]], axis=0)
        assert targets.reward(mean) > targets.reward(np.full(6, 0.5)) + 0.05


class TestConfiguration:
    def test_kl_target_grows_with_the_number_of_parameters(self):
        config = PPOCalibratorConfig()
        assert config.kl_target_of(23) == pytest.approx(0.69)
        assert PPOCalibratorConfig(kl_target=0.5).kl_target_of(23) == 0.5

    def test_few_particles_are_remembered_longer(self):
        config = PPOCalibratorConfig()
        assert config.critic_memory_of(23, 64) == 20.0
        assert config.critic_memory_of(23, 8) == pytest.approx(30 * 23 / 8)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"max_increment": 1.5}, "max_increment"),
            ({"initial_std": 0.0}, "initial_std"),
            ({"min_std": 0.9}, "min_std"),
            ({"critic": "both"}, "critic"),
            ({"num_epochs": 0}, "num_epochs"),
            ({"kl_target": -1.0}, "kl_target"),
            ({"kl_limit": -1.0}, "kl_limit"),
            ({"hidden_sizes": [0]}, "hidden_sizes"),
            ({"imagined_increments": 10}, "imagined_increments"),
            ({"max_incremnt": 0.1}, "did you mean 'max_increment'"),
        ],
    )
    def test_bad_fields_are_named(self, fields, message):
        with pytest.raises(ValueError, match=message):
            make({"name": "ppo"}, **fields)

    def test_unknown_calibrator_is_refused(self):
        with pytest.raises(ValueError, match="unknown calibrator 'genius'"):
            make({"name": "genius"})

    def test_fixed_has_no_fields(self):
        with pytest.raises(ValueError, match="no fields"):
            make({"name": "fixed"}, max_increment=0.1)


@pytest.mark.parametrize("variant", ["paper", "ppo"])
def test_what_the_learner_has_logged_does_not_grow_with_the_stages(variant):
    calibrator = make(VARIANTS[variant])
    sizes = []
    for _ in range(50):
        play(calibrator, 1)
        sizes.append(len(pickle.dumps(calibrator._policy._learner.metrics.get_state())))
    assert max(sizes) == sizes[0]
