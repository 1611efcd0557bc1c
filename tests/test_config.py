"""Bad input: refused with one paragraph, before any actor starts."""

import pytest
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.algorithm.env_runners import ArrayEnvRunner, EpisodeEnvRunner
from rllib_calsheq.core.configuration import merge

from echo_env import EchoEnv

GOOD = {"env": EchoEnv, "targets": {"only.a": 0.5}, "num_particles": 4, "minibatch_size": 8}


def validate(**fields):
    config = CALSHEQConfig().update_from_dict(GOOD | fields)
    config.validate()
    return config


class NoProtocol(MultiAgentEnv):
    def __init__(self, config=None):
        super().__init__()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_particels": 3}, ["num_particels", "did you mean 'num_particles'"]),
        ({"targets": {"only.z": 0.5}}, ["only.z", "its outcomes are"]),
        ({"targets": None}, ["no targets given", "calsheq targets"]),
        ({"targets": {}}, ["no targets given"]),
        (
            {
                "targets": {
                    "only.a": {"value": 1, "weight": 0.4},
                    "only.b": {"value": 1, "weight": 0.4},
                }
            },
            ["weights of the targets sum to 0.8", "must sum to 1"],
        ),
        ({"targets": {"only.a": {"value": 1, "wieght": 1}}}, ["allowed keys are"]),
        ({"targets": "nowhere.yaml"}, ["there is no target file nowhere.yaml"]),
        ({"lr_cal": {"exponent": 0.55}}, ["Assumption 2", "assumption_2: warn"]),
        ({"lr_cal": {"speed": 1}}, ["lr_cal has no field 'speed'"]),
        ({"lr_ratio": -1}, ["lr_ratio is -1"]),
        ({"num_learners": 5}, ["num_learners is 5", "at most num_particles = 4"]),
        ({"env": NoProtocol}, ["NoProtocol cannot be calibrated", "supertype_space"]),
        ({"env": "rllib_calsheq.envs.MarketEmv"}, ["cannot be imported", "dotted path"]),
        ({"env": "CartPole-v1"}, ["cannot be imported"]),
        ({"calibrator": {"name": "genius"}}, ["unknown calibrator 'genius'", "ppo"]),
        ({"calibrator": {"name": "ppo", "clip": 1}}, ["has no field 'clip'"]),
        ({"calibrator": "ppo"}, ["calibrator is 'ppo'", "mapping"]),
        ({"num_particles": 0}, ["num_particles is 0"]),
        ({"num_env_runners": 9}, ["num_env_runners is 9", "at most num_particles = 4"]),
        ({"sampling": "fast"}, ["sampling is 'fast'"]),
        ({"evaluation_interval": 5}, ["evaluation_interval is 5", "calsheq evaluate"]),
        ({"assumption_2": "ignore"}, ["assumption_2 is 'ignore'"]),
        (
            {
                "env": "rllib_calsheq.envs.MarketEnv",
                "targets": {"supertype_1.share": 0.2},
                "env_config": {"supertypes": {"supertype_1.connection_1": 1.2}},
            },
            ["supertype_1.connection_1 = 1.2 is outside its allowed range [0, 1]"],
        ),
        (
            {
                "env": "rllib_calsheq.envs.MarketEnv",
                "targets": {"supertype_1.share": 0.2},
                "env_config": {"num_merchant": 5},
            },
            ["did you mean 'num_merchants'"],
        ),
    ],
)
def test_bad_input_is_refused_with_what_to_do(fields, words):
    with pytest.raises(ValueError, match=r".") as caught:
        validate(**fields)
    for word in words:
        assert word in str(caught.value)


def test_own_connectors_are_refused_on_the_array_path():
    config = CALSHEQConfig().update_from_dict(GOOD | {"sampling": "arrays"})
    config.learners(learner_connector=lambda *a: None)
    with pytest.raises(ValueError, match="does not run connectors of your own"):
        config.validate()


def test_a_ratio_sets_the_calibrators_rate():
    config = validate(lr_ratio=0.1)
    shared, cal = config.learning_rates()
    assert cal.initial == pytest.approx(0.1 * shared.initial)


def test_a_schedule_keeps_the_fields_that_are_left_out():
    _, cal = validate(lr_cal={"initial": 3e-3}).learning_rates()
    assert (cal.initial, cal.exponent, cal.offset) == (3e-3, 0.9, 200.0)


def test_a_calibrators_field_can_be_set_alone():
    calibrator = validate(calibrator={"critic": "none"}).build_calibration().calibrator
    assert calibrator.config.critic == "none"


def test_paths_choose_their_env_runner():
    assert validate().env_runner_cls is ArrayEnvRunner
    config = validate(sampling="episodes", num_particles=40)
    assert config.env_runner_cls is EpisodeEnvRunner
    assert config.num_envs_per_env_runner == 16


def test_model_config_changes_single_fields():
    config = validate(model_config={"fcnet_hiddens": [8]})
    assert config.model_config["fcnet_hiddens"] == [8]
    assert config.model_config["free_log_std"] is True


def test_the_target_files_environment_is_the_default_and_the_users_wins():
    targets = {"targets": {"supertype_1.share": 0.2}, "env_config": {"num_merchants": 7}}
    env = "rllib_calsheq.envs.MarketEnv"
    assert validate(env=env, targets=targets).problem().num_agents == 7
    config = validate(env=env, targets=targets, env_config={"num_merchants": 3})
    assert config.problem().num_agents == 3


def test_one_start_value_of_ones_own_keeps_the_others_of_the_target_file():
    names = [f"supertype_1.connection_{k}" for k in range(1, 6)]
    start = {name: 0.1 + 0.1 * k for k, name in enumerate(names)}
    targets = {
        "targets": {"supertype_1.share": 0.2},
        "env_config": {"num_merchants": 3, "supertypes": start},
    }
    config = validate(
        env="rllib_calsheq.envs.MarketEnv",
        targets=targets,
        env_config={"supertypes": {names[0]: 0.9}},
    )
    space = config.problem().space
    found = dict(zip(space.names, space.start, strict=True))
    assert {name: found[name] for name in names} == pytest.approx({**start, names[0]: 0.9})


def test_null_takes_a_mapping_of_the_target_file_away():
    targets = {
        "targets": {"supertype_1.share": 0.2},
        "env_config": {"supertypes": {"supertype_1.connection_1": 0.1}},
    }
    env = "rllib_calsheq.envs.MarketEnv"
    config = validate(env=env, targets=targets, env_config={"supertypes": None})
    assert config.problem().space.start[0] == 0.5


def test_merging_goes_key_by_key_and_leaves_both_as_they_were():
    base, changes = {"a": {"x": 1, "y": [2]}, "b": 3}, {"a": {"y": [4]}, "c": {"z": 5}}
    assert merge(base, changes) == {"a": {"x": 1, "y": [4]}, "b": 3, "c": {"z": 5}}
    assert (base, changes) == (
        {"a": {"x": 1, "y": [2]}, "b": 3},
        {"a": {"y": [4]}, "c": {"z": 5}},
    )
