"""Environments that were written without a calibration in mind: PettingZoo's, RLlib's."""

import bazaar
import numpy as np
import pytest
from adapted_envs import PlainRecallEnv, SpreadEnv
from bazaar import CLASSES, SPACE, Bazaar, BazaarEnv, draw_worth
from gymnasium.spaces import Box, Graph
from mpe2 import simple_spread_v3
from pettingzoo.test.example_envs import generated_agents_parallel_v0
from recall_env import RecallEnv

from rllib_calsheq import (
    CALSHEQConfig,
    Outcome,
    Parameter,
    check_environment,
    evaluate,
    from_multi_agent_env,
    from_pettingzoo,
)
from rllib_calsheq.algorithm.env_guard import EnvGuard
from rllib_calsheq.algorithm.problem import resolve_env
from rllib_calsheq.core.particles import SupertypeTable
from rllib_calsheq.learning.one_by_one import as_arrays

SMALL = {"N": 2, "max_cycles": 10}
OUTCOMES = {Outcome("sold", scale=0.2): bazaar.sold}


class TestForm:
    """What the adapters make of an environment."""

    @pytest.mark.parametrize(
        ("made", "config", "policy_of"),
        [(BazaarEnv, {}, CLASSES), (SpreadEnv, SMALL, None), (PlainRecallEnv, {}, None)],
    )
    def test_it_keeps_the_protocol(self, made, config, policy_of):
        check_environment(made, config, policy_of=policy_of)

    def test_it_has_the_name_that_its_module_gives_it(self):
        BazaarEnv()
        assert resolve_env("bazaar.BazaarEnv") is BazaarEnv
        assert (BazaarEnv.__module__, BazaarEnv.__qualname__) == ("bazaar", "BazaarEnv")

    def test_env_config_is_the_environments_own_and_may_state_the_start(self):
        env = BazaarEnv({"num_buyers": 2, "supertypes": {"buyer.value": 0.25}})
        assert env.possible_agents == ["buyer_0", "buyer_1", "seller_0"]
        assert env.agent_supertypes["buyer_1"] == "buyer"
        assert env.supertype_space.start.tolist() == [0.25, 0.25]
        with pytest.raises(TypeError, match="num_byers"):
            BazaarEnv({"num_byers": 2})

    def test_an_agent_sees_numbers_and_its_own_type_behind_them(self):
        env = BazaarEnv()
        env.set_supertypes([0.9, 0.3])
        seen, _ = env.reset(seed=4)
        # One ask; one of five asks as five zeros or ones, and what is sold.
        assert {a: len(o) for a, o in seen.items()} == {
            "buyer_0": 2, "buyer_1": 2, "buyer_2": 2, "seller_0": 7,
        }  # fmt: skip
        for agent, observation in seen.items():
            assert env.observation_spaces[agent].contains(observation)
            assert observation[-1] == pytest.approx(env._env.worth[agent])
            assert abs(observation[-1] - (0.9 if agent in env._env._buyers else 0.3)) < 0.2

    def test_an_episode_by_hand(self):
        """One buyer buys at once and is gone; time is up for all others after the third round."""
        env = BazaarEnv({"rounds": 3})
        seen, _ = env.reset(seed=1)
        ask = float(seen["buyer_0"][0])
        actions = dict.fromkeys(env.possible_agents, 0) | {"buyer_0": 1}
        seen, rewards, ends, stays, _ = env.step(actions)
        assert rewards["buyer_0"] == pytest.approx(env._env.worth["buyer_0"] - ask)
        assert ends["buyer_0"]
        assert not ends["__all__"]
        assert "buyer_0" in seen
        del actions["buyer_0"]
        seen, *_ = env.step(actions)
        assert set(seen) == set(actions)
        _, _, ends, stays, _ = env.step(actions)
        assert not any(ends.values())
        assert all(stays[agent] for agent in [*actions, "__all__"])
        np.testing.assert_allclose(env.episode_outcomes()[:2], [1 / 3, ask], rtol=1e-6)

    def test_out_of_time_is_no_end_for_those_who_are_there(self):
        """RLlib is told so that it bootstraps their value, and nobody else's."""
        config = CALSHEQConfig().environment(BazaarEnv).training(minibatch_size=16)
        config.calibration(targets={"sold": 0.5}, num_particles=32, policy_of=CLASSES)
        config.validate()
        runner = config.env_runner_cls(config=config, worker_index=0)
        profiles = np.tile([0.5, 0.25], (32, 1))
        runner.set_supertypes(SupertypeTable(1, profiles, np.zeros(32, dtype=int), seed=0))
        ways = set()
        for episode in runner.sample():
            buyers = [e for a, e in episode.agent_episodes.items() if a.startswith("buyer")]
            for part in buyers:
                bought = any(np.asarray(part.actions) == 1)
                assert part.is_terminated == bought
                ways.add((bought, len(part)))
        # Some left early, after this round or that one, and some stayed to the end.
        assert len(ways) > 2
        assert (False, 3) in ways
        runner.stop()

    def test_of_one_length_it_can_be_played_in_arrays(self):
        env = as_arrays(SpreadEnv, SMALL)
        assert env.episode_length == 10
        seen = env.reset(np.array([[2.0], [8.0]]), [1, 2])
        assert (np.abs(seen[..., -1] - [[2.0], [8.0]]) < [[0.2], [0.8]]).all()

    def test_rllib_is_told_of_the_end_of_an_episode_once(self):
        class Ends:
            reset = None

            def step(self, actions):
                return {}, {}, {"__all__": False}, {"a": True, "__all__": True}, {}

        guard = EnvGuard(Ends())
        assert guard.step({})[3] == {"__all__": True}


def recipe(**changes):
    given = {"env": Bazaar, "space": SPACE, "set_types": draw_worth, "outcomes": OUTCOMES}
    return from_pettingzoo(**(given | changes))


def without_possible_agents(**config):
    env = Bazaar(**config)
    del env.possible_agents
    return env


class SeesAGraph(Bazaar):
    def observation_space(self, agent):
        return Graph(Box(0, 1, (1,)), None)


def fails(*arguments):
    raise KeyError("no such agent")


class TestRefusals:
    """Bad input, with what is allowed instead."""

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"env": Bazaar()}, "env is .*functions or classes that make an environment"),
            ({"env": "bazaar.Bazaar"}, "functions or classes that make an environment"),
            ({"space": {"value": (0, 1)}}, "space is .*the Parameters of one"),
            ({"space": []}, "at least one parameter"),
            ({"set_types": {"value": 0.5}}, r"functions set_types\(env, profile, rng\)"),
            ({"outcomes": {}}, r"outcomes is \{\}; allowed: \{Outcome\(name, scale\): function"),
            ({"outcomes": {"sold": bazaar.sold}}, "outcomes is .*Outcome"),
            ({"outcomes": [Outcome("sold", scale=0.2)]}, "outcomes is .*Outcome"),
        ],
    )
    def test_of_an_argument(self, changes, words):
        with pytest.raises(ValueError, match=words):
            recipe(**changes)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"env": without_possible_agents}, "no possible_agents, and all agents"),
            ({"env": generated_agents_parallel_v0.parallel_env}, "no possible_agents"),
            ({"env": simple_spread_v3.env}, "an AECEnv, whose agents take turns: .*parallel_env"),
            ({"env": dict}, r"made a dict without the method\(s\) \['reset', 'step'"),
            ({"env": SeesAGraph, "set_types": lambda *_: None}, "observes a Graph.*show a Box"),
            ({"set_types": fails}, r"set_types\(env, profile, rng\) raised KeyError: 'no such age"),
            ({"set_types": lambda env, profile: None}, "raised TypeError"),
            ({"set_types": lambda *_: [0.5]}, r"set_types\(\) must return None, or what each"),
            ({"set_types": lambda *_: {"buyer_0": 1.0}}, "what each of the agents"),
            ({"space": [Parameter("p", "a"), Parameter("p", "b")]}, "supertype_of, a mapping"),
            ({"supertype_of": {"buyer_0": "buyer"}}, "'buyer_1' has the supertype None"),
        ],
    )
    def test_of_an_environment_before_any_actor_starts(self, changes, words):
        config = CALSHEQConfig().environment(recipe(**changes))
        config.calibration(targets={"sold": 0.5}, policy_of=CLASSES)
        with pytest.raises(ValueError, match=words):
            config.validate()

    def test_of_a_multi_agent_env_and_a_parallel_env_in_each_others_place(self):
        made = from_multi_agent_env(lambda config: Bazaar(), SPACE, draw_worth, OUTCOMES)
        with pytest.raises(ValueError, match=r"a PettingZoo ParallelEnv goes into from_petting"):
            made()
        with pytest.raises(ValueError, match="without the method"):
            recipe(env=lambda: RecallEnv())()

    def test_of_an_outcome_that_is_no_number(self):
        env = recipe(outcomes={Outcome("sold", scale=0.2): lambda episode: "all"})()
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"outcome 'sold' must return one number.*'all'"):
            env.episode_outcomes()

    def test_of_an_outcome_that_a_target_does_not_know_or_that_two_have(self):
        config = CALSHEQConfig().environment(BazaarEnv)
        config.calibration(targets={"solled": 0.5}, policy_of=CLASSES)
        with pytest.raises(ValueError, match="solled"):
            config.validate()
        named = {Outcome("buyer.reward", scale=0.1): bazaar.sold}
        config = CALSHEQConfig().environment(recipe(outcomes=named))
        config.calibration(targets={"buyer.reward": 0.5}, policy_of=CLASSES)
        with pytest.raises(ValueError, match=r"'buyer\.reward', which is the name of the mean"):
            config.validate()

    def test_of_a_length_that_is_none(self):
        env = recipe(episode_length=2)()
        env.reset(seed=0)
        walk_on = dict.fromkeys(env.possible_agents, 0)
        env.step(walk_on)
        with pytest.raises(ValueError, match="goes on after step 2, but episode_length says 2"):
            env.step(walk_on)

    def test_a_profile_out_of_bounds(self):
        env = BazaarEnv()
        with pytest.raises(ValueError, match=r"buyer\.value = 2 is outside"):
            env.set_supertypes([2.0, 0.1])


def outcomes_at(config, stages, folder, episodes=256):
    """Outcomes by name, of fresh episodes after so many stages; and the whole evaluation."""
    algorithm = config.build_algo()
    for _ in range(stages):
        algorithm.train()
    found = evaluate(algorithm.save_to_path(str(folder)), episodes=episodes)
    algorithm.stop()
    return {row["name"]: row["value"] for row in found["every_outcome"]}, found


@pytest.mark.learning
def test_one_of_pettingzoos_own_is_calibrated_to_a_hidden_parameter(tmp_path):
    """Thrust of 2, hidden; the start is 5, at which agents are twice as fast."""

    def config(**more):
        made = CALSHEQConfig().environment(SpreadEnv, env_config=SMALL | more)
        return made.training(minibatch_size=128).calibration(
            num_particles=16, lr_shared={"initial": 3e-4}
        )

    fixed = config(supertypes={"agent.thrust": 2.0}).calibration(calibrator={"name": "fixed"})
    hidden, _ = outcomes_at(fixed, 25, tmp_path / "hidden")
    calibrated = config().calibration(targets={"speed": hidden["speed"]})
    _, found = outcomes_at(calibrated, 25, tmp_path / "found")
    assert all(row["met"] for row in found["outcomes"]), found["outcomes"]
    assert found["profile"]["agent.thrust"] == pytest.approx(2.0, abs=1.0)


@pytest.mark.learning
def test_one_of_ones_own_is_calibrated_while_buyers_and_sellers_learn(tmp_path):
    """What things are worth to buyers, 0.25, is hidden: half of the start's; two policies learn."""
    cost = {"seller.cost": 0.1}

    def config(**more):
        made = CALSHEQConfig().environment(BazaarEnv, env_config=more)
        return made.training(minibatch_size=64).calibration(num_particles=24, policy_of=CLASSES)

    fixed = config(supertypes=cost | {"buyer.value": 0.25})
    fixed.calibration(calibrator={"name": "fixed"})
    hidden, _ = outcomes_at(fixed, 20, tmp_path / "hidden", episodes=384)
    calibrated = config().calibration(
        targets={"worth": hidden["worth"]}, parameters={"fixed": cost}
    )  # fmt: skip
    _, found = outcomes_at(calibrated, 20, tmp_path / "found", episodes=384)
    assert all(row["met"] for row in found["outcomes"]), found["outcomes"]
    assert found["profile"]["buyer.value"] == pytest.approx(0.25, abs=0.1)
