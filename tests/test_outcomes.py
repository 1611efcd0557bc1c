"""Outcomes and returns of supertypes: two fields, one vector, and no name twice."""

import numpy as np
import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.core.outcomes import OutcomeColumns, by_name, read_outcomes
from rllib_calsheq.core.targets import Outcome

from echo_env import ArrayEcho, EchoEnv


class ArrayClash(ArrayEcho):
    """Its first outcome is named like the mean return of its supertype."""

    def __init__(self, config=None):
        super().__init__(config)
        self.outcomes = (Outcome("only.reward", 0.1), *self.outcomes[1:])


class ClashEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayClash(config)


class ArrayTwice(ArrayEcho):
    def __init__(self, config=None):
        super().__init__(config)
        self.outcomes = (*self.outcomes[:2], self.outcomes[0])


class TwiceEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayTwice(config)


class ArrayMore(ArrayEcho):
    """Reports a number more than it has names."""

    def episode_outcomes(self):
        return np.concatenate([super().episode_outcomes()] * 2, axis=1)[:, :4]


class MoreEnv(EchoEnv):
    @classmethod
    def array_form(cls, config=None):
        return ArrayMore(config)


def made(env, sampling="arrays"):
    return (
        CALSHEQConfig()
        .environment(env)
        .calibration(targets={"only.b": 0.5}, num_particles=4, sampling=sampling)
        .training(minibatch_size=32)
    )


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (ClashEnv, "ClashEnv reports an outcome 'only.reward'.*supertype 'only'"),
        (TwiceEnv, r"TwiceEnv.outcomes must have unique names, but \['only.a'\]"),
    ],
)
def test_a_run_refuses_names_that_stand_for_two_columns(env, message):
    with pytest.raises(ValueError, match=message):
        made(env).validate()


@pytest.mark.parametrize("sampling", ["arrays", "episodes"])
def test_a_run_refuses_vectors_that_are_longer_than_their_names(sampling):
    algorithm = made(MoreEnv, sampling).build_algo()
    try:
        with pytest.raises(ValueError, match=r"gave outcomes of shape .* must have 3"):
            algorithm.train()
    finally:
        algorithm.stop()


def test_columns_are_the_outcomes_and_then_the_returns():
    columns = OutcomeColumns((Outcome("x", 1.0),), ("a", "b"))
    assert columns.names == ("x", "a.reward", "b.reward")
    np.testing.assert_array_equal(columns.join([[1.0]], [[2.0, 3.0]]), [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"returns of supertypes of shape \(1, 1\)"):
        columns.join([[1.0]], [[2.0]])


def test_outcomes_are_read_with_as_many_numbers_as_names():
    env = ArrayMore()
    env.reset(np.full((2, 3), 0.5), [1, 2])
    with pytest.raises(ValueError, match=r"ArrayMore gave outcomes of shape \(2, 4\)"):
        read_outcomes(env, 2)


def test_values_find_their_columns_by_name_whatever_their_order():
    outcomes = (Outcome("a", 1.0), Outcome("b", 1.0))
    found = by_name(outcomes, {"b": np.array([3.0, 4.0]), "a": np.array([1.0, np.nan])})
    np.testing.assert_array_equal(found, [[1.0, 3.0], [np.nan, 4.0]])
    with pytest.raises(ValueError, match=r"\['b'\] have no value and \['c'\] are no outcomes"):
        by_name(outcomes, {"a": np.zeros(2), "c": np.zeros(2)})
