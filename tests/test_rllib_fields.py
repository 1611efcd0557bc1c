"""RLlib's own fields: each is honoured, derived or refused, and none is dropped in silence."""

import copy

import pytest
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.algorithm.field_checks import stored_value
from rllib_calsheq.algorithm.rllib_fields import FIELDS

from echo_env import EchoEnv

GOOD = {"env": EchoEnv, "targets": {"only.a": 0.5}, "num_particles": 4, "minibatch_size": 8}


def config(**fields):
    return CALSHEQConfig().update_from_dict(GOOD | fields)


def test_the_table_covers_exactly_the_fields_of_the_installed_rllib():
    public = {name for name in vars(PPOConfig()) if not name.startswith("_")}
    kept_privately = {name for name, field in FIELDS.items() if field.stored_as}
    assert set(FIELDS) - kept_privately - {"model_config"} == public
    assert {FIELDS[name].stored_as for name in kept_privately} < set(vars(PPOConfig()))


@pytest.mark.parametrize("name", [n for n, f in FIELDS.items() if f.treatment == "honoured"])
def test_defaults_are_allowed_and_an_object_of_no_kind_is_not(name):
    field, default = FIELDS[name], stored_value(CALSHEQConfig(), name)
    assert field.allowed is not None
    if name not in ("env", "algo_class"):
        assert field.allowed.holds(default)
