"""Environments at fault: the run stops at once and says what, where and when, or leaves it out."""

import re
import time

import numpy as np
import pytest
from bad_env import AGENT, EVERY, STEP, BadEnv
from ray.rllib.utils.error import ERR_MSG_OLD_GYM_API

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.core.faults import (
    MAX_TEXT,
    BadEnvironmentError,
    EpisodeWatch,
    exception_text,
)
from rllib_calsheq.core.stages import MAX_EMPTY_STAGES, NoOutcomesError
from rllib_calsheq.envs import SubwayEnv
from rllib_calsheq.learning.learner import NotFiniteError
from rllib_calsheq.learning.ray_private.hooks import LECTURE

PARTICLES = 12
WHERE = r"\(stage \d+, particle \d+, environment seed (\d+), profile \[[-0-9., e]+\]\)"
#: On RLlib's own path an agent goes by its ID alone.
NAME = rf"agent_{AGENT + 1}( \(only\))?"
FAULTS = {
    "inf reward": rf"BadEnv: the reward of step {STEP} of agent {NAME} is inf",
    "nan observation": rf"an observation before step {STEP + 1} of agent {NAME} is nan",
    "inf outcome": "the outcome only.b is -inf",
}


def build(fault, runners=0, sampling="arrays", every=EVERY, **calibration):
    config = (
        CALSHEQConfig()
        .environment(BadEnv, env_config={"fault": fault, "every": every})
        .env_runners(num_env_runners=runners)
        .training(minibatch_size=16)
        .calibration(
            targets={"only.a": 0.9}, num_particles=PARTICLES, sampling=sampling, **calibration
        )
    )
    return config.build_algo()


def until_it_stops(algorithm, stages=4):
    try:
        for _ in range(stages):
            algorithm.train()
    finally:
        algorithm.stop()


@pytest.mark.usefixtures("ray_cluster")
class TestRuns:
    @pytest.mark.parametrize("sampling", ["arrays", "episodes"])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_number_that_is_not_finite_is_named_with_what_reproduces_it(self, fault, sampling):
        with pytest.raises(BadEnvironmentError, match=FAULTS[fault]) as caught:
            until_it_stops(build(fault, sampling=sampling))
        said = str(caught.value)
        assert "\n" not in said
        assert "tensor" not in said
        assert int(re.search(WHERE, said).group(1)) % EVERY == 0
        assert "on_bad_episode: drop" in said

    @pytest.mark.parametrize("sampling", ["arrays", "episodes"])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_it_is_left_out_and_counted_where_the_user_says_so(self, fault, sampling):
        algorithm = build(fault, sampling=sampling, on_bad_episode="drop")
        told = []
        learn = algorithm.calibration.calibrator._learn
        algorithm.calibration.calibrator._learn = lambda particles, *rest: (
            told.append(len(particles)), learn(particles, *rest)
        )[1]  # fmt: skip
        dropped = [algorithm.train()["calibration"]["dropped_episodes"] for _ in range(3)]
        weights = algorithm.get_module("shared_policy").parameters()
        assert all(np.isfinite(weight.detach().numpy()).all() for weight in weights)
        algorithm.stop()
        assert sum(dropped) > 0
        assert [left + out for left, out in zip(told, dropped, strict=True)] == [PARTICLES] * 3

    @pytest.mark.parametrize("sampling", ["arrays", "episodes"])
    def test_nothing_but_bad_episodes_is_an_error_within_three_stages(self, sampling):
        algorithm = build("inf reward", sampling=sampling, every=1, on_bad_episode="drop")
        for _ in range(MAX_EMPTY_STAGES - 1):
            assert algorithm.train()["calibration"]["dropped_episodes"] == PARTICLES
        with pytest.raises(NoOutcomesError, match=r"all episodes were dropped.*is inf"):
            until_it_stops(algorithm)

    @pytest.mark.parametrize("sampling", ["arrays", "episodes"])
    def test_what_an_environment_raises_on_a_runner_reaches_the_user_at_once(self, sampling):
        algorithm = build("raises", runners=2, sampling=sampling, every=1)
        began = time.monotonic()
        with pytest.raises(
            BadEnvironmentError, match="BadEnv raised KeyError: 'no price"
        ) as caught:
            until_it_stops(algorithm)
        assert time.monotonic() - began < 20
        said = str(caught.value)
        assert "\n" not in said
        assert "bad_env.py, line" in said
        assert "stage 1, one of particles 0 to 5, environment seeds" in said

    def test_on_the_drivers_own_runner_the_cause_is_kept(self):
        with pytest.raises(BadEnvironmentError) as caught:
            until_it_stops(build("raises", every=1))
        assert isinstance(caught.value.__cause__, KeyError)

    def test_in_rllibs_own_check_it_is_not_told_to_upgrade_gymnasium(self):
        """RLlib says so of whatever is raised, and the cause stands above a page of advice."""
        assert LECTURE in ERR_MSG_OLD_GYM_API

        class Misspelt(SubwayEnv):
            def step(self, actions):
                return self.tpyes

        config = CALSHEQConfig().environment(Misspelt).calibration(sampling="episodes")
        with pytest.raises(AttributeError, match="no attribute 'tpyes'"):
            config.calibration(targets={"inside.subway_rate": 0.5}, num_particles=2).build_algo()

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ("reward shape", r"rewards of step\(\) must be numbers of shape \(12, 2\)"),
            (
                "observation shape",
                r"observations of step\(\) must be numbers of shape \(12, 2, 2\)",
            ),
            ("text", r"rewards of step\(\) must be .* entries of type <U"),
        ],
    )
    def test_a_wrong_shape_or_type_is_named(self, fault, said):
        with pytest.raises(BadEnvironmentError, match=said):
            until_it_stops(build(fault, every=1))

    def test_outcomes_that_never_happen_stop_the_run(self):
        algorithm = build("nan outcomes")
        for _ in range(MAX_EMPTY_STAGES - 1):
            algorithm.train()
        with pytest.raises(NoOutcomesError, match=r"\['only.a'\] are NaN for all 12 particles"):
            until_it_stops(algorithm)

    @pytest.mark.parametrize("sampling", ["arrays", "episodes"])
    def test_weights_that_are_not_finite_stop_the_run_before_they_are_used(self, sampling):
        algorithm = build("", sampling=sampling)
        algorithm.train()
        learner = algorithm.learner_group._learner
        learner.set_learning_rate = lambda rate: type(learner).set_learning_rate(learner, 1e38)
        with pytest.raises(NotFiniteError, match="weights of policy 'shared_policy'"):
            until_it_stops(algorithm)


class TestWatch:
    def test_a_huge_finite_number_is_no_fault(self):
        watch = EpisodeWatch("Env", ["a"], ["one"])
        values = np.full((1, 1, 2), np.finfo(np.float32).max, np.float32)
        assert watch.observations(0, values) is values

    def test_nested_observations_are_looked_at(self):
        watch = EpisodeWatch("Env", ["a"], ["one"], drop=True)
        given = {"a": {"price": np.array([1.0, np.nan]), "open": (1, np.float32(np.inf))}}
        found = watch.by_agent(0, "an observation", given)
        assert found["a"]["price"].tolist() == [1.0, 0.0]
        assert found["a"]["open"] == (1, 0.0)
        assert watch.faults == {0: "Env: an observation of agent a is nan (one)"}

    def test_of_a_long_exception_the_beginning_is_repeated(self):
        try:
            raise ValueError("tensor\n" * 10_000)
        except ValueError as error:
            said = exception_text(error)
        assert len(said) < MAX_TEXT + 300
        assert "\n" not in said
