"""Several policies under one calibrator; agents that come and go; a policy with a memory."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bazaar import CLASSES, BazaarEnv
from plain_env import PlainSubway
from recall_env import RecallEnv

from rllib_calsheq import CALSHEQ, CALSHEQConfig, certify, check_environment, evaluate
from rllib_calsheq.cli import train
from rllib_calsheq.conformance.plain import ConformanceError
from rllib_calsheq.data.experiment_files import load_experiments
from rllib_calsheq.envs import SubwayEnv
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.jobs import Laboratory
from rllib_calsheq.reporting.words import policies

FILE = """
bazaar:
  run: CALSHEQ
  env: bazaar.BazaarEnv
  stop: {training_iteration: 2}
  config:
    targets: {sold: 0.6, price: 0.3}
    policy_of: {buyer: buyers, seller: sellers}
    num_particles: 4
    minibatch_size: 16
"""


def bazaar(**more):
    config = CALSHEQConfig().environment(BazaarEnv).training(minibatch_size=16)
    given = {"targets": {"sold": 0.6}, "num_particles": 4, "policy_of": CLASSES} | more
    return config.calibration(**given)


def weights(algorithm):
    return {
        name: np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])
        for name in ("buyers", "sellers")
        if (module := algorithm.get_module(name))
    }


class TestSeveralPolicies:
    def test_all_learn_under_one_calibrator_are_saved_and_go_on(self, tmp_path):
        algorithm = bazaar().build_algo()
        before = weights(algorithm)
        assert {name: len(w) for name, w in before.items()} != dict.fromkeys(before, 0)
        for _ in range(2):
            algorithm.train()
        after = weights(algorithm)
        assert all((before[name] != after[name]).any() for name in before)
        checkpoint = algorithm.save_to_path(str(tmp_path / "checkpoint"))
        row = algorithm.train()["calibration"]
        algorithm.stop()
        again = CALSHEQ.from_checkpoint(checkpoint)
        for name, saved in weights(again).items():
            np.testing.assert_array_equal(saved, after[name])
        assert again.train()["calibration"]["profile"] == row["profile"]
        again.stop()
        found = evaluate(checkpoint, episodes=8)
        assert {row["name"] for row in found["every_outcome"]} >= {"sold", "seller.reward"}
        with pytest.raises(ValueError, match=r"trains the policies \['buyers', 'sellers'\]"):
            certify(checkpoint)
        # An inference simulates the policies as they are, and says why they are not trained on.
        laboratory = Laboratory(Path(checkpoint), InferenceConfig(), tmp_path)
        assert laboratory.play(np.tile([0.5, 0.2], (3, 1)), seed=1).shape == (3, 5)
        assert "policy_of" in laboratory.why_not_trained_on()

    def test_an_experiment_file_states_them(self, tmp_path):
        file = tmp_path / "bazaar.yaml"
        file.write_text(FILE, encoding="utf-8")
        (experiment,) = load_experiments(file)
        train.check(experiment)
        config = CALSHEQConfig().update_from_dict(experiment.config)
        config.validate()
        assert config.policy_names == ["buyers", "sellers"]
        assert config.policy_mapping_fn("seller_0") == "sellers"
        for same in (
            CALSHEQConfig.from_state(config.get_state()),
            CALSHEQConfig().update_from_dict(config.to_dict()),
            config.copy(copy_frozen=False),
        ):
            same.validate()
            assert same.policy_mapping_fn("buyer_2") == "buyers"
        # Taken back, all share one.
        config.calibration(policy_of=None).environment(PlainSubway)
        config.calibration(targets={"inside.subway_rate": 0.5}).validate()
        assert config.policy_mapping_fn("inhabitant_1") == "shared_policy"
        assert list(config.policies) == ["shared_policy"]

    @pytest.mark.parametrize(
        ("policy_of", "words"),
        [
            (None, "'buyer_0' and 'seller_0' share the policy 'shared_policy'.*policy_of"),
            (
                {"buyer": "buyers"},
                r"policy_of is \{'buyer': 'buyers'\}; allowed: mapping",
            ),
            ({"buyer": "b", "seller": "s", "thief": "t"}, "allowed: mappings of every supertype"),
            ({"buyer": "all", "seller": "all"}, "two policies or more"),
            ({"buyer": "buyers", "seller": "a/b"}, "a policy in policy_of is 'a/b'; allowed: lett"),
            ({"buyer": "buyers", "seller": 3}, "a policy in policy_of is 3"),
            ("buyers", "policy_of"),
        ],
    )
    def test_what_is_refused_before_any_actor_starts(self, policy_of, words):
        with pytest.raises(ValueError, match=words):
            bazaar(policy_of=policy_of).validate()

    def test_the_array_path_plays_one(self):
        config = CALSHEQConfig().environment(SubwayEnv).calibration(
            targets={"inside.subway_rate": 0.5}, policy_of={"suburbs": "far", "inside": "near"}
        )  # fmt: skip
        config.validate()
        assert not config.uses_arrays
        with pytest.raises(ValueError, match=r"the array path plays one.*sampling: episodes"):
            config.calibration(sampling="arrays").validate()

    def test_conformance_wants_one_space_a_policy(self):
        with pytest.raises(ConformanceError, match="since they share one policy"):
            check_environment(BazaarEnv)
        one = {"buyer": "all", "seller": "all"}
        with pytest.raises(ConformanceError, match="since they share the policy 'all'"):
            check_environment(BazaarEnv, policy_of=one)


def test_a_report_says_what_agents_learn():
    several, one = (SimpleNamespace(params=p) for p in ({"policy_of": CLASSES}, {}))
    assert policies(several) == "the policies `buyers`, `sellers`, each shared by its class"
    assert policies(one) == "one shared policy"


def test_dict_observations_are_flattened_by_themselves(tmp_path):
    """Of an environment that is no adapter's; a vector is what the policy sees."""
    sizes = {"num_suburbs": 2, "num_inside": 1, "episode_length": 4, "fault": "dict observations"}
    config = CALSHEQConfig().environment(DictSubway, env_config=sizes)
    config.training(minibatch_size=16)
    config.calibration(targets={"inside.subway_rate": 0.5}, num_particles=4)
    algorithm = config.build_algo()
    assert algorithm.get_module("shared_policy").observation_space.shape == (2,)
    algorithm.train()
    checkpoint = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    algorithm.stop()
    assert 0.0 <= evaluate(checkpoint, episodes=4)["outcomes"][0]["value"] <= 1.0
    with pytest.raises(ValueError, match="no Box of numbers"):
        certify(checkpoint)


class DictSubway(PlainSubway):
    """What inhabitants see, under a name."""

    def reset(self, *, seed=None, options=None):
        observations, infos = super().reset(seed=seed, options=options)
        return self._named(observations), infos

    def step(self, action_dict):
        observations, *rest = super().step(action_dict)
        return self._named(observations), *rest

    def _named(self, observations):
        return {agent: {"seen": seen} for agent, seen in observations.items()}


@pytest.mark.learning
@pytest.mark.parametrize(("memory", "low", "high"), [(True, 0.9, 1.0), (False, 0.3, 0.7)])
def test_a_memory_pays_where_something_must_be_remembered(memory, low, high):
    """A bit is shown at first and asked for two steps later: without a memory it is guessed."""
    config = CALSHEQConfig().environment(RecallEnv).training(minibatch_size=96)
    config.calibration(
        calibrator={"name": "fixed"}, num_particles=24, lr_shared={"initial": 0.01}
    )  # fmt: skip
    network = {"fcnet_hiddens": [16]}
    network |= {"use_lstm": True, "lstm_cell_size": 16, "max_seq_len": 3} if memory else {}
    algorithm = config.rl_module(model_config=network).build_algo()
    right = [algorithm.train()["calibration"]["outcomes"]["right"]["mean"] for _ in range(12)]
    algorithm.stop()
    assert low <= np.mean(right[-4:]) <= high, right
    config = CALSHEQConfig().environment(SubwayEnv).rl_module(model_config={"use_lstm": True})
    config.calibration(targets={"inside.subway_rate": 0.5}, sampling="arrays")
    with pytest.raises(ValueError, match="use_lstm is set, but the array path keeps no network's"):
        config.validate()
