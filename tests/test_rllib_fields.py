"""RLlib's own fields: each is honoured, derived or refused, and none is dropped in silence."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.policy.policy import PolicySpec

from rllib_calsheq.algorithm import CALSHEQ, SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.algorithm.env_runners import EpisodeEnvRunner
from rllib_calsheq.algorithm.field_checks import stored_value
from rllib_calsheq.algorithm.misplaced_keys import OLDER_NAMES
from rllib_calsheq.algorithm.networks import NETWORK_FIELDS, check_model_config
from rllib_calsheq.algorithm.rllib_fields import FIELDS
from rllib_calsheq.cli import rllib
from rllib_calsheq.results.evaluation import evaluate

from echo_env import EchoEnv

GOOD = {"targets": {"only.a": 0.5}, "num_particles": 4, "minibatch_size": 8}


def config(**fields):
    return CALSHEQConfig().update_from_dict({"env": EchoEnv} | GOOD | fields)


def refusal(made):
    with pytest.raises(ValueError, match=r".") as caught:
        made.validate()
    return str(caught.value)


# --- the table ------------------------------------------------------------------------------


def test_the_table_covers_exactly_the_fields_of_the_installed_rllib():
    public = {name for name in vars(PPOConfig()) if not name.startswith("_")}
    kept_privately = {name for name, field in FIELDS.items() if field.stored_as}
    assert set(FIELDS) - kept_privately - {"model_config"} == public
    assert {FIELDS[name].stored_as for name in kept_privately} < set(vars(PPOConfig()))


def test_every_field_that_is_not_simply_honoured_has_a_reason():
    for name, field in FIELDS.items():
        plain = field.treatment == "honoured" and field.arrays
        assert bool(field.reason) != plain, name


@pytest.mark.parametrize("name", [n for n, f in FIELDS.items() if f.treatment == "honoured"])
def test_the_default_of_an_honoured_field_is_allowed(name):
    default = stored_value(CALSHEQConfig(), name)
    assert name == "env" or FIELDS[name].allowed.holds(default)


@pytest.mark.parametrize(
    "name", [n for n, f in FIELDS.items() if f.treatment == "refused" or f.stored_as]
)
def test_a_refused_field_that_is_changed_is_refused(name):
    made = config()
    made.validate()
    setattr(made, FIELDS[name].stored_as or name, "changed")
    assert name in refusal(made)


def test_the_page_about_the_table_is_up_to_date():
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, str(root / "tools" / "document_fields.py"), "--check"]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 0, "run: python tools/document_fields.py"


# --- the command ----------------------------------------------------------------------------

BAD = [
    # Values that are not allowed.
    ({"gamma": "abc"}, ["gamma is 'abc'", "numbers in [0, 1]"]),
    ({"gamma": 2}, ["gamma is 2"]),
    ({"gamma": float("nan")}, ["gamma is nan"]),
    ({"lambda": 2}, ["lambda is 2"]),
    ({"lambda_": 2}, ["lambda_ is 2"]),
    ({"clip_param": -1}, ["clip_param is -1", "above 0"]),
    ({"num_epochs": None}, ["num_epochs is None", "integers from 1"]),
    ({"num_epochs": True}, ["num_epochs is True"]),
    ({"grad_clip": "abc"}, ["grad_clip is 'abc'"]),
    ({"kl_coeff": "1e-3"}, ["kl_coeff is '1e-3'"]),
    ({"entropy_coeff": [[5, 0.1]]}, ["entropy_coeff is", "schedules"]),
    ({"num_learners": -1}, ["num_learners is -1", "integers from 0"]),
    ({"num_learners": "two"}, ["num_learners is 'two'"]),
    ({"num_gpus_per_learner": 5}, ["num_gpus_per_learner is 5", "[0, 1]"]),
    ({"explore": "no"}, ["explore is 'no'"]),
    ({"callbacks": 3}, ["callbacks is 3", "RLlibCallback"]),
    # Derived ones.
    ({"lr": 0.5}, ["lr has no effect", "0.5", "lr_shared.initial"]),
    # RLlib's default, but not what a run would take.
    ({"lr": 5e-5}, ["lr has no effect", "lr_shared.initial"]),
    ({"num_envs_per_env_runner": 7}, ["num_envs_per_env_runner has no effect", "num_particles"]),
    ({"train_batch_size_per_learner": 4000}, ["train_batch_size_per_learner has no effect"]),
    ({"train_batch_size": 100}, ["train_batch_size has no effect", "minibatch_size"]),
    ({"learner_class": 3}, ["learner_class has no effect", "3 was given"]),
    ({"env_runner_cls": "x.Y"}, ["env_runner_cls has no effect", "sampling"]),
    ({"batch_mode": "truncate_episodes"}, ["batch_mode has no effect", "whole episodes"]),
    ({"in_evaluation": True}, ["in_evaluation has no effect"]),
    # Refused ones.
    ({"policies_to_train": []}, ["policies_to_train is []", "exactly one policy"]),
    ({"use_gae": False}, ["use_gae is False", "GAE"]),
    ({"use_critic": False}, ["use_critic is False"]),
    ({"evaluation_interval": 5}, ["evaluation_interval is 5", "calsheq evaluate"]),
    ({"min_time_s_per_iteration": 5}, ["min_time_s_per_iteration is 5", "one stage"]),
    ({"num_gpus": 1}, ["num_gpus is 1", "set num_gpus_per_learner"]),
    ({"model": {"use_lstm": True}}, ["model is {'use_lstm': True}", "model_config"]),
    ({"model": 3}, ["model is 3", "model_config"]),
    ({"framework": "tf2"}, ["framework is 'tf2'", "PyTorch"]),
    ({"enable_rl_module_and_learner": False}, ["enable_rl_module_and_learner is False"]),
    ({"exploration_config": {"type": "Random"}}, ["exploration_config is"]),
    ({"shuffle_batch_per_epoch": False, "sampling": "arrays"}, ["shuffle_batch_per_epoch is set"]),
    # Policies.
    ({"policies": ["a", "b"]}, ["policies is ['a', 'b']", "exactly one policy"]),
    ({"policies": {"a": None}}, ["policies is {'a': None}", "exactly one policy"]),
    ({"policies": {SHARED_POLICY: None}}, ["policies is", "exactly one policy"]),
    ({"policies": 3}, ["policies is 3", "exactly one policy"]),
    ({"multiagent": {"policies": ["a"]}}, ["exactly one policy"]),
    ({"multi_agent": {"policies": ["a", "b"]}}, ["policies is ['a', 'b']", "exactly one policy"]),
    # Keys that are no fields.
    ({"multi_agent": {}}, ["multi_agent is a method", "keys of `config` itself"]),
    ({"training": {"gamma": 0.9}}, ["training is a method", "['gamma']"]),
    ({"training": {"gamma": 9}}, ["gamma is 9"]),
    ({"gama": 0.9}, ["no field 'gama'", "did you mean 'gamma'"]),
    ({"_gamma": 0.9}, ["no field '_gamma'"]),
    # Networks.
    ({"model_config": {"fcnet_hiddens": "abc"}}, ["model_config.fcnet_hiddens is 'abc'"]),
    ({"model_config": {"fcnet_hiddens": [64, 0]}}, ["fcnet_hiddens is [64, 0]", "integers from 1"]),
    ({"model_config": {"fcnet_hiddens": []}}, ["fcnet_hiddens is []"]),
    ({"model_config": {"fcnet_hiddens": 64}}, ["fcnet_hiddens is 64"]),
    ({"model_config": {"fcnet_activation": "tahn"}}, ["fcnet_activation is 'tahn'", "relu"]),
    ({"model_config": {"fcnet_hidens": [8]}}, ["'fcnet_hidens'", "did you mean 'fcnet_hiddens'"]),
    ({"model_config": {"free_log_std": "yes"}}, ["free_log_std is 'yes'"]),
    ({"model_config": {"lstm_use_prev_action": True}}, ["lstm_use_prev_action", "no network"]),
    ({"model_config": {"use_lstm": True}, "sampling": "arrays"}, ["use_lstm", "episodes"]),
    ({"model_config": {"use_lstm": True, "free_log_std": True}}, ["takes no sequences"]),
    ({"fcnet_hiddens": [8]}, ["no field 'fcnet_hiddens'"]),
]


@pytest.mark.parametrize(("fields", "words"), BAD, ids=[str(fields) for fields, _ in BAD])
def test_the_command_refuses_it_in_one_paragraph(tmp_path, capsys, fields, words):
    content = {"run": "CALSHEQ", "env": "echo_env.EchoEnv", "config": GOOD | fields}
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({"experiment": content}), encoding="utf-8")
    assert rllib.main(["train", "-f", str(file), "--storage-path", str(tmp_path / "runs")]) == 2
    printed = capsys.readouterr()
    message = " ".join(printed.err.split())
    assert message.startswith("error: ")
    assert "\n\n" not in printed.err.strip()
    assert "Traceback" not in printed.out + printed.err
    assert not (tmp_path / "runs").exists()
    for word in words:
        assert word in message


@pytest.mark.parametrize("field", ["num_gpus_per_learner", "num_gpus_per_env_runner"])
def test_gpus_that_are_not_there_are_refused(monkeypatch, field):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    made = config(num_env_runners=1, **{field: 1})
    assert refusal(made) == (
        f"{field} is 1, 1 GPUs in all, but there are 0 here: set it to 0 to use CPUs"
    )
    # A cluster may start a machine that has them.
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    made.validate()


# --- the Python API -------------------------------------------------------------------------


class OwnLearner(PPOTorchLearner):
    pass


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: c.training(lr=0.5), "lr_shared.initial"),
        (lambda c: c.training(learner_class=OwnLearner), "learner_class has no effect"),
        (lambda c: c.env_runners(env_runner_cls=MultiAgentEnvRunner), "env_runner_cls"),
        (lambda c: c.env_runners(num_envs_per_env_runner=7), "num_envs_per_env_runner"),
        (lambda c: c.training(train_batch_size_per_learner=9), "train_batch_size_per_learner"),
        (lambda c: c.multi_agent(policies={"a", "b"}), "exactly one policy"),
        (lambda c: c.multi_agent(policies={"a": PolicySpec()}), "exactly one policy"),
        (lambda c: c.multi_agent(policies_to_train=[]), "policies_to_train"),
        (lambda c: c.multi_agent(policy_mapping_fn=lambda *a, **k: "x"), "policy_mapping_fn"),
        (lambda c: c.training(use_gae=False), "use_gae"),
        (lambda c: c.training(gamma="abc"), "gamma is 'abc'"),
        (lambda c: c.rl_module(rl_module_spec=3), "rl_module_spec is 3"),
        (lambda c: c.rl_module(model_config={"fcnet_hidens": [8]}), "fcnet_hiddens"),
        (lambda c: c.api_stack(enable_rl_module_and_learner=False), "new API stack"),
        (lambda c: c.framework("tf2"), "PyTorch"),
    ],
)
@pytest.mark.parametrize("sampling", ["arrays", "episodes"])
def test_what_a_setter_sets_is_not_dropped(change, word, sampling):
    made = config(sampling=sampling)
    change(made)
    assert word in refusal(made)
    # Nor after a validation, when the derived fields have other values than by default.
    made = config(sampling=sampling)
    made.validate()
    change(made)
    assert word in refusal(made)


@pytest.mark.parametrize("sampling", ["arrays", "episodes"])
def test_what_calsheq_set_itself_is_no_objection_later(sampling):
    made = config(sampling=sampling, num_env_runners=2, num_particles=9)
    for _ in range(2):
        made.validate()
    made.copy(copy_frozen=False).validate()
    restored = CALSHEQConfig.from_state(made.get_state())
    restored.validate()
    CALSHEQConfig().update_from_dict(made.to_dict()).validate()
    # Other slots, rates and batches follow from other fields.
    restored.num_env_runners = 0
    restored.sampling = "episodes"
    restored.calibration(num_particles=20, lr_shared={"initial": 0.002})
    restored.validate()
    assert restored.num_envs_per_env_runner == 16
    assert restored.lr == 0.002
    assert restored.env_runner_cls is EpisodeEnvRunner


def test_harmless_values_are_accepted():
    made = config(use_gae=True, policies_to_train=[SHARED_POLICY], policies=[SHARED_POLICY])
    made.training(grad_clip=None, entropy_coeff=[[0, 0.1], [100, 0.0]])
    made.validate()


# --- networks -------------------------------------------------------------------------------


def test_the_networks_fields_are_rllibs_and_their_defaults_allowed():
    defaults = vars(DefaultModelConfig())
    assert set(NETWORK_FIELDS) == set(defaults)
    check_model_config(defaults)


def test_a_mapping_changes_single_fields_and_a_dataclass_states_all():
    made = config().rl_module(model_config={"fcnet_hiddens": [8]})
    made.validate()
    assert made.model_config["fcnet_hiddens"] == [8]
    assert made.model_config["fcnet_activation"] == "tanh"
    assert made.model_config["free_log_std"] is True
    whole = DefaultModelConfig(fcnet_hiddens=[8], fcnet_activation="relu")
    for made in (config().rl_module(model_config=whole), config(model_config=whole)):
        made.validate()
        assert made.model_config == vars(whole)


def test_the_fields_of_a_module_of_ones_own_are_not_rllibs():
    class Own:
        pass

    made = config().rl_module(rl_module_spec=RLModuleSpec(), model_config={"my_field": 3})
    made.validate()
    assert made.model_config["my_field"] == 3


def test_a_documented_network_trains_on_the_array_path():
    made = config().rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[8]))
    algorithm = made.build_algo()
    assert algorithm.config.uses_arrays
    assert algorithm.train()["calibration"]["stage"] == 1
    algorithm.stop()


@pytest.mark.learning
def test_a_memory_learns_on_the_episode_path_is_evaluated_and_goes_on(tmp_path):
    made = config(num_particles=8, minibatch_size=64, env_config={"episode_length": 10})
    made.rl_module(model_config={"fcnet_hiddens": [16], "use_lstm": True, "lstm_cell_size": 8})
    algorithm = made.build_algo()
    rewards = [
        algorithm.train()["calibration"]["outcomes"]["only.reward"]["mean"] for _ in range(15)
    ]
    assert sum(rewards[-3:]) > 0.5 * sum(rewards[:3])
    checkpoint = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    algorithm.stop()
    found = evaluate(checkpoint, episodes=16)
    assert 0.0 < found["reward"] <= 1.0
    again = CALSHEQ.from_checkpoint(checkpoint)
    assert again.train()["calibration"]["stage"] == 16
    again.stop()
    from rllib_calsheq.certificates.config import CertificateConfig
    from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame

    with pytest.raises(ValueError, match="has a memory"):
        FrozenGame(tmp_path / "checkpoint", CertificateConfig())


def test_the_names_of_older_versions_stand_for_fields_of_the_table_and_are_none_themselves():
    assert set(OLDER_NAMES.values()) <= set(FIELDS)
    assert not set(OLDER_NAMES) & set(FIELDS)
