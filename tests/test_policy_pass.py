"""Passes of a rollout: RLlib's numbers to the last bit, without its wrappers."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_calsheq.core.actions import ActionTransform
from rllib_calsheq.envs import MarketEnv
from rllib_calsheq.learning import rollout as rolling
from rllib_calsheq.learning.fused_mlp import fuse_mlps
from rllib_calsheq.learning.policy_pass import ModulePass, PerceptronPass, policy_pass

BOX = Box(-1.0, 1.0, (2,), np.float32)


def module(space=BOX, inference_only=True, **model):
    torch.manual_seed(0)
    model = {"fcnet_hiddens": [16, 16], "vf_share_layers": False, **model}
    spec = RLModuleSpec(
        DefaultPPOTorchRLModule,
        observation_space=Box(-np.inf, np.inf, (18,), np.float32),
        action_space=space,
        inference_only=inference_only,
        model_config=DefaultModelConfig(**model),
    )
    made = spec.build().eval()
    with torch.no_grad():
        # As after some updates: logarithms of standard deviations and biases are 0 at first.
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("explore", [True, False])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    "model",
    [
        {"free_log_std": True},
        {"free_log_std": True, "log_std_clip_param": 0.1},
        {"free_log_std": False, "log_std_clip_param": 0.2},
        {"fcnet_activation": "relu", "free_log_std": True},
        {"vf_share_layers": True, "fcnet_hiddens": [8]},
    ],
)
def test_a_perceptron_by_its_layers_has_rllibs_numbers_to_the_last_bit(model, fused, explore):
    made = module(inference_only=fused, **model)
    if fused:
        fuse_mlps(made)
    found = []
    for chosen in (ModulePass(made, explore), policy_pass(made, explore)):
        torch.manual_seed(1)
        with torch.no_grad():
            found.append([x for rows in (7, 320, 320) for x in chosen.act(torch.randn(rows, 18))])
    assert type(chosen) is PerceptronPass
    for expected, own in zip(*found, strict=True):
        assert expected.dtype == own.dtype
        assert torch.equal(expected, own)


def test_whatever_else_a_module_is_rllib_passes():
    for other in (
        module(Discrete(3)),
        module(head_fcnet_hiddens=[8], head_fcnet_activation="silu"),
        module().double(),
    ):
        assert type(policy_pass(other, True)) is ModulePass, other


def test_a_rollout_is_the_same_to_the_last_bit_either_way(monkeypatch):
    made = module(free_log_std=True)
    env = MarketEnv.array_form({"num_merchants": 3, "episode_length": 5})
    profiles = np.array([[0.5] * len(env.supertype_space)] * 4)
    profiles[:, -1] = 0.01

    def block():
        torch.manual_seed(2)
        transform = ActionTransform(env.action_space)
        return rolling.rollout(made, env, profiles, range(4), transform=transform)

    own, outcomes, returns = block()
    monkeypatch.setattr(rolling, "policy_pass", ModulePass)
    expected, *others = block()
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(own, name), values, strict=True)
    np.testing.assert_array_equal(outcomes, others[0])
    np.testing.assert_array_equal(returns, others[1])
