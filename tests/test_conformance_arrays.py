"""The conformance checks of array forms, and of array and plain forms that disagree."""

import numpy as np
import pytest

from rllib_calsheq.conformance.plain import (
    ConformanceError,
    check_array_env,
    check_calibratable_env,
    check_environment,
    check_forms_agree,
)
from rllib_calsheq.envs import ArraySubway, SubwayConfig, SubwayEnv

SHORT = {"episode_length": 4}


class SeedsFollowFromTheFirst(ArraySubway):
    def reset(self, profiles, seeds):
        return super().reset(profiles, [seeds[0] + e for e in range(len(seeds))])


class NeighboursShareTheRoad(ArraySubway):
    def step(self, actions):
        observations, rewards = super().step(actions)
        return observations, rewards + rewards.mean(dtype=np.float32)


class ForgetsToClear(ArraySubway):
    def reset(self, profiles, seeds):
        rides = getattr(self, "_rides", None)
        observations = super().reset(profiles, seeds)
        if np.shape(rides) == np.shape(self._rides):
            self._rides = rides
        return observations

    def episode_outcomes(self):
        # Within their bounds, however many episodes are counted.
        return super().episode_outcomes() / 100.0


class CountsEarlierBatchesIn(ArraySubway):
    """Its outcomes are means over all batches so far; a batch played twice has its own mean."""

    earlier = ()

    def episode_outcomes(self):
        outcomes = super().episode_outcomes()
        if len(outcomes) == 1:
            return outcomes
        self.earlier = (*self.earlier, outcomes)
        return np.mean(self.earlier, axis=0)


class ReusesItsBuffer(ArraySubway):
    def _observe(self):
        fresh = super()._observe()
        if np.shape(getattr(self, "_buffer", None)) != fresh.shape:
            self._buffer = fresh
        self._buffer[:] = fresh
        return self._buffer


class OutcomesBeyondTheirBounds(ArraySubway):
    def episode_outcomes(self):
        return super().episode_outcomes() - 1.5


class DoublePrecision(ArraySubway):
    def _observe(self):
        return super()._observe().astype(np.float64)


class OneRewardAnEpisode(ArraySubway):
    def step(self, actions):
        observations, rewards = super().step(actions)
        return observations, rewards.mean(axis=1)


class PooledOutcomes(ArraySubway):
    def episode_outcomes(self):
        return super().episode_outcomes().mean(axis=0)


class ClipsProfiles(ArraySubway):
    def reset(self, profiles, seeds):
        space = self.supertype_space
        return super().reset(np.clip(np.nan_to_num(profiles), space.low, space.high), seeds)


class SameDistances(ArraySubway):
    def reset(self, profiles, seeds):
        profiles = self.supertype_space.validate(profiles)
        return super().reset(np.ones_like(profiles), seeds)


class NoAgents(ArraySubway):
    def __init__(self, config=None):
        super().__init__(config)
        self.agent_supertypes = ()


class NoLength(ArraySubway):
    def __init__(self, config=None):
        super().__init__(config)
        self.episode_length = None


@pytest.mark.parametrize(
    ("array_class", "message"),
    [
        (SeedsFollowFromTheFirst, "played alone"),
        (NeighboursShareTheRoad, "played alone"),
        (ForgetsToClear, "played again"),
        (CountsEarlierBatchesIn, "after another batch"),
        (ReusesItsBuffer, "return a new array"),
        (DoublePrecision, "dtype float64"),
        (OneRewardAnEpisode, r"rewards have shape \(3,\)"),
        (OutcomesBeyondTheirBounds, r"for 'suburbs.subway_rate', which lies in \[0, 1\]"),
        (PooledOutcomes, r"of shape \(3, 2\)"),
        (ClipsProfiles, "without a ValueError"),
        (SameDistances, "two very different profiles"),
        (NoAgents, "agent_supertypes is empty"),
        (NoLength, "episode_length is None"),
    ],
)
def test_a_broken_array_form_is_caught(array_class, message):
    with pytest.raises(ConformanceError, match=message):
        check_array_env(array_class(SubwayConfig(**SHORT)))


# --- both forms -----------------------------------------------------------------------


class ScaledRewards(SubwayEnv):
    def step(self, action_dict):
        observations, rewards, *rest = super().step(action_dict)
        return observations, {agent: 2 * r for agent, r in rewards.items()}, *rest


class OwnSeeds(SubwayEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None if seed is None else seed + 1)


class OtherOutcomes(SubwayEnv):
    def episode_outcomes(self):
        return 1.0 - super().episode_outcomes()


class Truncates(SubwayEnv):
    def step(self, action_dict):
        observations, rewards, ends, stays, infos = super().step(action_dict)
        return observations, rewards, stays, ends, infos


class EndsEarly(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        self.episode_length -= 1


class OtherOrder(SubwayEnv):
    def __init__(self, config=None):
        super().__init__(config)
        self.possible_agents.reverse()


@pytest.mark.parametrize(
    ("env_class", "message"),
    [
        (ScaledRewards, "rewards of step 0"),
        (OwnSeeds, "observations at step 0"),
        (OtherOutcomes, "outcomes"),
        (Truncates, "truncates an episode.*terminate"),
        (EndsEarly, "another number of steps"),
        (OtherOrder, "agent_supertypes"),
    ],
)
def test_forms_that_disagree_are_caught(env_class, message):
    # Each form alone is fine: only the comparison can tell.
    check_calibratable_env(env_class, SHORT)
    with pytest.raises(ConformanceError, match=message):
        check_forms_agree(env_class, SHORT)
    with pytest.raises(ConformanceError, match=message):
        check_environment(env_class, SHORT)
