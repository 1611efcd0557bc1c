"""The conformance checks: our environments pass, and every broken one is caught."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_calsheq.conformance import plain as conformance
from rllib_calsheq.conformance.plain import (
    ConformanceError,
    check_calibratable_env,
    check_environment,
)
from rllib_calsheq.core.targets import Outcome
from rllib_calsheq.envs import MarketEnv, SubwayEnv

SHORT = {"episode_length": 4}


@pytest.mark.parametrize(
    ("env_class", "config"),
    [
        (MarketEnv, {"episode_length": 10}),
        (
            MarketEnv,
            {
                "episode_length": 10,
                "num_merchants": 10,
                "choice_rule": "best_price",
                "share_by": "count",
            },
        ),
        (SubwayEnv, SHORT),
        (SubwayEnv, SHORT | {"supertypes": {"inside.mean_distance": 0.0}}),
    ],
)
def test_our_environments_conform(env_class, config):
    check_environment(env_class, config)


# --- the plain form -------------------------------------------------------------------


class IgnoresProfile(SubwayEnv):
    def set_supertypes(self, profile):
        self.supertype_space.validate(profile)


class TakesAnyProfile(SubwayEnv):
    def set_supertypes(self, profile):
        space = self.supertype_space
        super().set_supertypes(np.clip(np.nan_to_num(profile), space.low, space.high))


class RaisesTheWrongError(SubwayEnv):
    def set_supertypes(self, profile):
        try:
            super().set_supertypes(profile)
        except ValueError as error:
            raise KeyError(str(error)) from None


class ChangesTheRunningEpisode(SubwayEnv):
    def set_supertypes(self, profile):
        super().set_supertypes(profile)
        if hasattr(self._array, "_distance"):
            self._array._distance = self._profile[self._array._group][None]


class ReadsTheProfileAtTheFirstStep(SubwayEnv):
    def step(self, action_dict):
        if self._t == 0:
            self._array._distance = self._profile[self._array._group][None]
        return super().step(action_dict)


class KeepsTheCallersArray(SubwayEnv):
    def set_supertypes(self, profile):
        self.supertype_space.validate(profile)
        self._profile = profile


class KeepsTheValidatedProfile(SubwayEnv):
    def set_supertypes(self, profile):
        self._profile = self.supertype_space.validate(profile)


class IgnoresSeed(SubwayEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None)


class AlwaysTheSameSeed(SubwayEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=7)


class UsesGlobalRandomness(SubwayEnv):
    def reset(self, *, seed=None, options=None):
        np.random.seed(seed)  # noqa: NPY002
        return super().reset(seed=seed)

    def step(self, action_dict):
        observations, rewards, *rest = super().step(action_dict)
        noise = np.random.random()  # noqa: NPY002
        return observations, {agent: r + noise for agent, r in rewards.items()}, *rest


class KeepsStateBetweenEpisodes(SubwayEnv):
    episodes = 0

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed)

    def episode_outcomes(self):
        return super().episode_outcomes() / self.episodes


class CountsEarlierEpisodesIn(SubwayEnv):
    """Its outcomes are means over all episodes so far; an episode played twice has its own mean."""

    earlier = ()

    def episode_outcomes(self):
        self.earlier = (*self.earlier, super().episode_outcomes())
        return np.mean(self.earlier, axis=0)


class WrongDtype(SubwayEnv):
    def _by_agent(self, rows):
        return super()._by_agent(rows.astype(np.float64))


class OutcomesOfAnotherShape(SubwayEnv):
    def episode_outcomes(self):
        return super().episode_outcomes()[:1]


class InfiniteOutcome(SubwayEnv):
    def episode_outcomes(self):
        return np.array([0.5, np.inf])


class OutcomeBeyondItsBounds(SubwayEnv):
    def episode_outcomes(self):
        return super().episode_outcomes() + np.array([0.0, 1.5])


class RewardIsNaN(SubwayEnv):
    def step(self, action_dict):
        observations, rewards, *rest = super().step(action_dict)
        return observations, rewards | {"inhabitant_1": float("nan")}, *rest


class NeverEnds(SubwayEnv):
    def step(self, action_dict):
        self._array._t = 0
        observations, rewards, ends, *rest = super().step(action_dict)
        return observations, rewards, dict.fromkeys(ends, False), *rest


class NoCommonEnd(SubwayEnv):
    def step(self, action_dict):
        observations, rewards, ends, *rest = super().step(action_dict)
        ends.pop("__all__")
        return observations, rewards, ends, *rest


class AgentWithoutSupertype(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        del self.agent_supertypes["inhabitant_2"]


class UnknownSupertype(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        self.agent_supertypes["inhabitant_2"] = "countryside"


class DifferentActionSpaces(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        self.action_spaces = self.action_spaces | {"inhabitant_2": gym.spaces.Discrete(3)}


class RepeatedOutcome(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        self.outcomes = (self.outcomes[0], self.outcomes[0])


class NamesAnOutcomeLikeAReturn(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        self.outcomes = (Outcome("suburbs.reward", 1.0), self.outcomes[1])


class OutcomesAreNames(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        self.outcomes = ("subway_rate",)


class LacksOutcomes(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        del self.outcomes


class NotAMultiAgentEnv:
    def __init__(self, config=None):
        pass


class ReturnsObservationsAlone(SubwayEnv):
    def reset(self, **kwargs):
        return super().reset(**kwargs)[0]


class ReturnsFour(SubwayEnv):
    def step(self, actions):
        observations, rewards, terminateds, _, infos = super().step(actions)
        return observations, rewards, terminateds, infos


class OneRewardForAll(SubwayEnv):
    def step(self, actions):
        observations, _, *rest = super().step(actions)
        return observations, 1.0, *rest


@pytest.mark.parametrize(
    ("env_class", "message"),
    [
        (ReturnsObservationsAlone, r"reset\(\) must return \(observations, infos\).* a?.?dict"),
        (ReturnsFour, r"5 dicts by agent ID, but returned a tuple of \(dict, dict, dict, dict\)"),
        (OneRewardForAll, r"step\(\) must return .* a tuple of \(dict, float, dict, dict, dict\)"),
        (IgnoresProfile, "two very different profiles"),
        (TakesAnyProfile, "above its range without a ValueError"),
        (RaisesTheWrongError, "must raise ValueError, but raised KeyError"),
        (ChangesTheRunningEpisode, "in the middle of an episode"),
        (ReadsTheProfileAtTheFirstStep, "in the middle of an episode"),
        (KeepsTheCallersArray, "copy the profile"),
        (IgnoresSeed, "with the same seed, profile and actions differ"),
        (AlwaysTheSameSeed, "two different seeds are the same"),
        (UsesGlobalRandomness, "global random numbers"),
        (KeepsStateBetweenEpisodes, "with the same seed, profile and actions differ"),
        (CountsEarlierEpisodesIn, "after another episode"),
        (WrongDtype, "outside its space"),
        (OutcomesOfAnotherShape, r"of shape \(2,\)"),
        (InfiniteOutcome, "finite or NaN"),
        (OutcomeBeyondItsBounds, r"for 'inside.subway_rate', which lies in \[0, 1\]"),
        (RewardIsNaN, "finite reward"),
        (NeverEnds, "had not ended after 50 steps"),
        (NoCommonEnd, "'__all__'"),
        (AgentWithoutSupertype, "agent_supertypes must map"),
        (UnknownSupertype, r"\['countryside'\]"),
        (DifferentActionSpaces, "one action space"),
        (RepeatedOutcome, "unique names"),
        (NamesAnOutcomeLikeAReturn, "'suburbs.reward', which is the name of the mean return"),
        (OutcomesAreNames, "sequence of Outcome"),
        (LacksOutcomes, r"lacks \['outcomes'\]"),
        (NotAMultiAgentEnv, "no MultiAgentEnv"),
    ],
)
def test_a_broken_plain_form_is_caught(env_class, message, monkeypatch):
    monkeypatch.setattr(conformance, "MAX_STEPS", 50)
    with pytest.raises(ConformanceError, match=message):
        check_calibratable_env(env_class, SHORT)


def test_an_environment_may_keep_what_validate_returns():
    check_environment(KeepsTheValidatedProfile, SHORT)


def test_an_environment_without_randomness_may_say_so():
    calm = SHORT | {"distance_spread": 0.0, "time_noise": 0.0}
    with pytest.raises(ConformanceError, match="stochastic=False"):
        check_calibratable_env(SubwayEnv, calm)
    check_environment(SubwayEnv, calm, stochastic=False)


def test_the_checks_leave_global_randomness_as_it_was():
    np.random.seed(4)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(4)  # noqa: NPY002
    check_calibratable_env(SubwayEnv, SHORT)
    assert np.random.random() == expected  # noqa: NPY002
