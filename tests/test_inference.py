"""The numerics of an inference, on models whose answer is known."""

import numpy as np
import pytest
from scipy.stats import norm

from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.description import (
    Directions,
    Knowledge,
    describe_parameter,
    trade_offs,
)
from rllib_calsheq.inference.emulator import Emulator
from rllib_calsheq.inference.errors import GaussianMisses, TargetErrors, observation_errors
from rllib_calsheq.inference.moments import simulated_moments
from rllib_calsheq.inference.prior import BoxPrior
from rllib_calsheq.inference.report import in_words
from rllib_calsheq.inference.sampling import sample
from rllib_calsheq.inference.waves import (
    PLAUSIBLE,
    Lag,
    Question,
    closest,
    confident,
    draw,
    eligible,
    explore,
)

UNIFORM = BoxPrior(np.full(3, 0.5), np.full(3, np.nan))
SMALL = InferenceConfig(
    waves=3, episodes=400, held_out=20, held_out_episodes=16, steps=400, relearned=0
)
#: Noise of an episode's outcomes.
NOISE = 0.3


def outcomes_of(profiles):
    """Two outcomes of three parameters, of which the last does nothing."""
    u, v, _ = profiles.T
    return np.stack([4 * u + v**2, 3 * v - u * v], axis=1)


class Model:
    """Plays episodes of `outcomes_of` with noise."""

    def __init__(self, missing=0.0):
        self.missing = missing
        self.asked = []

    def simulate(self, name, number, design):
        self.asked.append(name)
        rng = np.random.default_rng(number)
        profiles = design()
        outcomes = outcomes_of(profiles) + NOISE * rng.standard_normal((len(profiles), 2))
        outcomes[rng.random(outcomes.shape) < self.missing] = np.nan
        return profiles, outcomes


def question_at(profile, error=0.05, prior=UNIFORM):
    values = outcomes_of(np.array([profile]))[0]
    return Question(
        prior=prior,
        index=np.array([0, 1]),
        values=values,
        scales=np.ones(2),
        low=np.full(2, -np.inf),
        high=np.full(2, np.inf),
        observation=np.full(2, error),
        stated=np.ones(2, dtype=bool),
    )


def errors_of(observation, residuals, stated=True, **others):
    K = len(observation)
    parts = dict.fromkeys(("simulation", "emulator", "lag", "discrepancy"), np.zeros(K)) | others
    known = np.full(K, stated)
    return TargetErrors(np.array(observation), known, residuals=np.array(residuals), **parts)


class TestEmulator:
    rng = np.random.default_rng(0)

    def fitted(self, count=2000, missing=0.0):
        profiles = self.rng.random((count, 3))
        _, outcomes = Model(missing).simulate("", 1, lambda: profiles)
        return Emulator.fit(profiles, outcomes)

    def test_it_finds_a_quadratic_and_its_noise(self):
        emulator = self.fitted()
        fresh = self.rng.random((50, 3))
        means, leverage = emulator.mean_and_leverage(fresh)
        errors = (means - outcomes_of(fresh)) / (NOISE * np.sqrt(leverage[:, None]))
        assert np.sqrt(np.square(errors).mean()) == pytest.approx(1.0, abs=0.4)
        assert emulator.scatter == pytest.approx([NOISE, NOISE], rel=0.1)

    def test_its_slopes_are_those_of_the_means(self):
        emulator, at, step = self.fitted(), np.array([0.3, 0.6, 0.5]), 1e-5
        moved = at + step * np.eye(3)
        expected = (emulator.mean(moved) - emulator.mean(at[None])).T / step
        np.testing.assert_allclose(emulator.slopes(at), expected, atol=1e-3)

    def test_what_did_not_happen_does_not_bend_it(self):
        whole, holes = self.fitted(), self.fitted(missing=0.2)
        middle = np.full((1, 3), 0.5)
        assert holes.mean(middle) == pytest.approx(whole.mean(middle), abs=0.1)

    def test_a_good_one_has_no_lack_of_fit_and_a_line_through_a_wave_has(self):
        profiles = self.rng.random((2000, 3))
        wavy = np.stack([profiles[:, 0], np.sin(20 * profiles[:, 0])], axis=1)
        noisy = wavy + NOISE * self.rng.standard_normal(wavy.shape)
        emulator = Emulator.fit(profiles, noisy)
        judges = self.rng.random((60, 3))
        true = np.stack([judges[:, 0], np.sin(20 * judges[:, 0])], axis=1)
        means = true + NOISE / 10 * self.rng.standard_normal(true.shape)
        judged = emulator.judged(judges, means, 100)
        assert judged.lack_of_fit[0] < 0.05
        assert judged.lack_of_fit[1] > 0.4
        assert judged.explained[0] > 0.95 > 0.5 > judged.explained[1]

    def test_of_few_parameters_it_takes_a_higher_degree_where_that_helps(self):
        profiles = self.rng.random((1500, 2))
        at = self.rng.random((40, 2))

        def bend(where):
            return np.tanh(4 * where[:, :1] - 2) * where[:, 1:]

        noise = 0.05 * self.rng.standard_normal((1500, 1))
        emulator = Emulator.fit(profiles, bend(profiles) + noise)
        assert emulator.degree > 2
        assert np.abs(emulator.mean(at) - bend(at)).max() < 0.1
        line = Emulator.fit(profiles, profiles[:, :1] + noise)
        assert line.degree == 2
        assert Emulator.fit(self.rng.random((2000, 23)), noise[:1].repeat(2000, 0)).degree == 2

    def test_no_mean_is_beyond_the_outcomes_bounds(self):
        profiles = self.rng.random((500, 3))
        rate = np.clip(4 * profiles[:, :1] - 1.5, 0, 1)
        emulator = Emulator.fit(profiles, rate, 0.0, [1.0])
        ends = np.array([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]])
        assert emulator.mean(ends).ravel().tolist() == [0.0, 1.0]
        unbounded = Emulator.fit(profiles, rate).mean(ends).ravel()
        assert unbounded[0] < -0.02
        assert emulator.only([0]).mean(ends).ravel().tolist() == [0.0, 1.0]

    def test_too_few_episodes_are_refused(self):
        with pytest.raises(ValueError, match="7 episodes are too few"):
            Emulator.fit(np.zeros((7, 3)), np.zeros((7, 2)))


class TestErrors:
    def test_stated_ones_go_together_as_an_episodes_outcomes_do(self):
        residuals = [[1.0, 0.8], [0.8, 4.0]]
        fixed = errors_of([0.1, 0.2], residuals).fixed
        np.testing.assert_allclose(fixed, [[0.01, 0.4 * 0.02], [0.4 * 0.02, 0.04]])
        alone = errors_of([0.1, 0.2], residuals, stated=False).fixed
        np.testing.assert_allclose(alone, np.diag([0.01, 0.04]))

    def test_the_likelihood_is_that_of_the_whole_covariance(self):
        residuals = np.array([[1.0, 0.3], [0.3, 0.5]])
        errors = errors_of([0.1, 0.2], residuals, emulator=np.array([0.05, 0.3]))
        misses = GaussianMisses(np.array([1.0, 2.0]), errors)
        means, leverage = np.array([[1.2, 1.7], [0.8, 2.5]]), np.array([0.0, 0.02])
        for i in range(2):
            covariance = errors.fixed + leverage[i] * residuals
            miss = means[i] - [1.0, 2.0]
            square = miss @ np.linalg.solve(covariance, miss)
            assert misses.squares(means, leverage)[i] == pytest.approx(square, rel=1e-6)
            relative = np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(errors.fixed)[1]
            found = misses.log_likelihood(means, leverage)[i]
            assert found == pytest.approx(-0.5 * (square + relative), rel=1e-6)

    def test_a_target_without_a_standard_error_is_known_to_its_scale(self):
        targets = TargetSet.from_mapping(
            {"a": {"value": 1, "scale": 0.5}, "b": 2}, [Outcome("a", 1.0), Outcome("b", 4.0)]
        )
        errors, known = observation_errors(targets, {"a": 0.1})
        assert errors.tolist() == [0.2, 1.0]
        assert known.tolist() == [True, False]


class TestSampling:
    def test_a_uniform_density_gives_uniform_draws(self):
        rng = np.random.default_rng(1)
        draws = sample(lambda at: np.zeros(len(at)), rng.random((200, 2)), 800, rng)
        assert draws.profiles.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.03)
        assert np.quantile(draws.profiles, 0.05, axis=0) == pytest.approx([0.05, 0.05], abs=0.02)
        assert draws.split_r_hat().max() < 1.05
        assert draws.effective_size().min() > 500

    def test_walkers_that_are_stuck_apart_do_not_agree(self):
        rng = np.random.default_rng(2)

        def two_hills(at):
            return -0.5 * np.square((np.abs(at[:, 0] - 0.5) - 0.4) / 0.002)

        starts = np.full((50, 1), 0.1)
        starts[::2] = 0.9
        draws = sample(two_hills, starts, 40, rng)
        for c in range(0, 4, 2):
            draws.chains[c] = 0.1 + 0.001 * rng.standard_normal(draws.chains[c].shape)
            draws.chains[c + 1] = 0.9 + 0.001 * rng.standard_normal(draws.chains[c].shape)
        assert draws.split_r_hat().max() > 2


class TestWaves:
    @pytest.fixture(scope="class")
    def found(self):
        return explore(question_at([0.4, 0.7, 0.5]), Model(), SMALL)

    def test_the_set_holds_the_profile_and_leaves_open_what_nothing_depends_on(self, found):
        draws = found[0].draws.profiles
        assert draws.mean(axis=0)[:2] == pytest.approx([0.4, 0.7], abs=0.03)
        deviations = draws.std(axis=0) / UNIFORM.deviations
        assert deviations[:2].max() < 0.2
        assert deviations[2] > 0.85

    def test_the_first_emulator_knows_the_whole_box(self, found):
        corners = np.array([[0.05, 0.05, 0.5], [0.95, 0.95, 0.5]])
        assert found[1].mean(corners) == pytest.approx(outcomes_of(corners), abs=0.25)

    def test_the_same_seed_gives_the_same_set(self, found):
        again, _ = explore(question_at([0.4, 0.7, 0.5]), Model(), SMALL)
        assert np.array_equal(again.draws.profiles, found[0].draws.profiles)

    def test_each_design_is_asked_for_once(self):
        model = Model()
        explore(question_at([0.4, 0.7, 0.5]), model, SMALL)
        assert sorted(model.asked) == sorted(
            f"{kind}-{w}" for kind in ("wave", "judges") for w in range(SMALL.waves)
        )

    def test_eligibility_needs_no_prior_and_is_wider_than_the_draws(self, found):
        rng = np.random.default_rng(3)
        region = eligible(found[0], PLAUSIBLE, 300, rng)
        assert np.abs(found[0].implausibility(region)).max() <= PLAUSIBLE
        assert region[:, 0].std() > found[0].draws.profiles[:, 0].std()
        within = confident(found[0], 5.99, 300, rng)
        assert found[0].squares(within).max() <= 5.99

    def test_a_target_that_no_profile_meets_leaves_no_eligible_set(self):
        asked = question_at([0.4, 0.7, 0.5])
        far = Question(**{**vars(asked), "values": np.array([9.0, asked.values[1]])})
        found, _ = explore(far, Model(), SMALL)
        best = closest(found, 300, np.random.default_rng(0))
        misses = found.implausibility(best[None])[0]
        assert misses[0] < -PLAUSIBLE
        assert abs(misses[1]) < PLAUSIBLE
        assert eligible(found, PLAUSIBLE, 100, np.random.default_rng(0)) is None

    def test_a_stated_prior_decides_what_targets_leave_open(self):
        prior = BoxPrior(np.full(3, 0.5), np.array([np.nan, np.nan, 0.05]))
        found, _ = explore(question_at([0.4, 0.7, 0.5], prior=prior), Model(), SMALL)
        assert found.draws.profiles[:, 2].std() == pytest.approx(0.05, rel=0.2)

    def test_what_training_on_changes_moves_the_set(self, found):
        lag = Lag(np.array([0.4, 0.0]), np.zeros(2), 10)
        starts = found[0].draws.profiles[::50]
        moved = draw(found[0].question, found[0].emulator, lag, SMALL, starts, 9)
        shift = moved.draws.profiles.mean(axis=0) - found[0].draws.profiles.mean(axis=0)
        assert shift[0] == pytest.approx(-0.1, abs=0.02)


class TestLag:
    def test_mean_and_deviation_of_the_change_over_noise(self):
        rng = np.random.default_rng(4)
        before = rng.standard_normal((40, 64, 1))
        change = 0.5 + 0.2 * rng.standard_normal((40, 1, 1))
        lag = Lag.of(before, before + change + 0.8 * rng.standard_normal(before.shape))
        assert lag.shift[0] == pytest.approx(0.5, abs=0.1)
        assert lag.deviation[0] == pytest.approx(0.2, abs=0.06)

    def test_pure_noise_has_hardly_any(self):
        rng = np.random.default_rng(5)
        before = rng.standard_normal((40, 64, 1))
        lag = Lag.of(before, before + rng.standard_normal(before.shape))
        assert lag.deviation[0] < 0.1


class TestDescription:
    rng = np.random.default_rng(6)
    prior = rng.random(20_000)

    @pytest.mark.parametrize(
        ("low", "high", "knowledge"),
        [
            (0.4, 0.6, Knowledge.PINNED),
            (0.28, 0.72, Knowledge.NARROWED),
            (0.3, 1.0, Knowledge.ABOVE),
            (0.0, 0.7, Knowledge.BELOW),
            (0.0, 1.0, Knowledge.FREE),
        ],
    )
    def test_classes_in_plain_words(self, low, high, knowledge):
        draws = self.rng.uniform(low, high, 20_000)
        finding = describe_parameter("p", draws, self.prior)
        assert finding.knowledge == knowledge
        assert finding.intervals[1][0] == pytest.approx(low + 0.05 * (high - low), abs=0.01)
        assert finding.median == pytest.approx((low + high) / 2, abs=0.02)

    def test_a_sum_that_is_known_is_a_pinned_direction_and_a_trade_off(self):
        u = self.rng.random(5000)
        v = 1 - u + 0.05 * self.rng.standard_normal(5000)
        draws = np.stack([u, v, self.rng.random(5000)], axis=1)
        directions = Directions.of(draws, np.full(3, np.sqrt(1 / 12)))
        assert [directions.knowledge(j) for j in range(3)] == [
            Knowledge.PINNED, Knowledge.FREE, Knowledge.FREE
        ]  # fmt: skip
        assert np.abs(directions.vectors[0]) == pytest.approx([0.707, 0.707, 0], abs=0.05)
        (pair,) = trade_offs(draws, ["u", "v", "w"])
        assert pair[:2] == ("u", "v")
        assert pair[2] < -0.9


class TestMoments:
    def test_the_sandwich_of_a_linear_model(self):
        rng = np.random.default_rng(7)
        profiles = rng.random((4000, 2))
        slopes = np.array([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
        emulator = Emulator.fit(profiles, profiles @ slopes.T + 1e-3 * rng.random((4000, 3)))
        sigma = np.array([0.1, 0.2, 0.3])
        errors = errors_of(sigma, np.diag(np.full(3, 1e-12)), stated=False)
        at = np.array([0.5, 0.5])
        found = simulated_moments(emulator, at, slopes @ at + [0.05, 0, 0], errors)
        expected = np.linalg.inv(slopes.T @ np.diag(sigma**-2) @ slopes)
        assert found["parameter_stderr"] == pytest.approx(np.sqrt(np.diag(expected)), rel=0.02)
        assert (found["rank"], found["degrees"]) == (2, 1)
        assert found["j"] == pytest.approx(0.25, rel=0.1)

    def test_parameters_that_no_target_informs_have_no_standard_error(self):
        rng = np.random.default_rng(8)
        profiles = rng.random((2000, 2))
        emulator = Emulator.fit(profiles, 3 * profiles[:, :1] + 0.01 * rng.random((2000, 1)))
        found = simulated_moments(
            emulator, np.full(2, 0.5), np.array([1.5]), errors_of([0.1], [[1e-9]])
        )
        assert found["parameter_stderr"][0] == pytest.approx(0.1 / 3, rel=0.05)
        assert found["parameter_stderr"][1] is None


def test_prior_draws_are_what_the_user_stated():
    prior = BoxPrior(np.array([0.5, 0.9]), np.array([np.nan, 0.2]))
    drawn = prior.draw(5000, np.random.default_rng(9))
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    assert drawn[:, 0].std() == pytest.approx(np.sqrt(1 / 12), rel=0.03)
    assert np.median(drawn[:, 1]) < 0.9
    density = prior.log_density(np.array([[0.1, 0.9], [0.8, 0.7]]))
    assert density[0] - density[1] == pytest.approx(
        norm.logpdf(0.9, 0.9, 0.2) - norm.logpdf(0.7, 0.9, 0.2)
    )
    space = SupertypeSpace((Parameter("p", "s", 0.0, 1.0),))
    assert BoxPrior.of(ParameterMap.of(space)).in_words == "uniform on the box"


@pytest.mark.parametrize(
    ("seen", "share", "said"),
    [
        (2, 0.3, ["see 2 directions", "the other 1 go unseen."]),
        (1, 0.004, ["see 1 direction;", "they tell more than that", "a part of about 0.004"]),
        (1, 0.0, ["a part of less than 5e-05"]),
    ],
)
def test_what_a_small_move_shows_is_kept_apart_from_what_few_profiles_share(seen, share, said):
    row = {"name": "a", "knowledge": Knowledge.FREE, "split_r_hat": 1.0}
    target = {"name": "t", "first_explained": 1.0, "out_of_reach": False}
    result = {
        "prior": "uniform", "parameters": [row] * 3, "targets": [target], "trade_offs": [],
        "moments": {"rank": seen}, "prior_share": share, "lag": None,
    }  # fmt: skip
    lines = in_words(result, Directions(np.eye(3), np.array([0.2, 0.6, 1.0])))
    (found,) = (line for line in lines if line.startswith("Round"))
    assert all(part in found for part in said)


@pytest.mark.parametrize(("off", "warned"), [(0.81, True), (0.03, False)])
def test_a_target_is_called_out_of_reach_with_a_warning_where_the_emulator_is_bad(off, warned):
    row = {"name": "a", "knowledge": Knowledge.FREE, "split_r_hat": 1.0}
    target = {
        "name": "t", "first_explained": 1.0, "out_of_reach": True, "target": 0.9,
        "model_gives": [0.01, 0.06], "against": [], "out_of_reach_alone": True,
        "implausibility": -9.3, "emulator_error": off,
    }  # fmt: skip
    result = {
        "prior": "uniform", "parameters": [row] * 3, "targets": [target], "trade_offs": [],
        "moments": {"rank": 1}, "prior_share": 0.1, "lag": None,
    }  # fmt: skip
    lines = in_words(result, Directions(np.eye(3), np.array([0.2, 0.6, 1.0])))
    assert any("out of the model's reach by 9.3" in line for line in lines)
    assert any("off by 0.81 scales, and a far corner" in line for line in lines) is warned
