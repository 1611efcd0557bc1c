"""Perceptrons as one operation, and the written-out gradient of the PPO loss."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import nn

from rllib_calsheq.learning.fused_mlp import FusedMLP, fuse_mlps
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.ppo_gradient import PPOTerms, ppo_gradient

ROWS = 512


def perceptron(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)
    ).to(dtype)


def test_a_fused_perceptron_gives_the_same_numbers_and_gradients():
    plain, fused = perceptron(), perceptron()
    fuse_mlps(fused)
    assert type(fused) is FusedMLP
    assert fused.state_dict().keys() == plain.state_dict().keys()
    results = []
    for net in (plain, fused):
        inputs = torch.linspace(-2, 2, 60).reshape(4, 5, 3).requires_grad_()
        outputs = net(inputs)
        outputs.square().sum().backward()
        results.append([outputs, inputs.grad, *(p.grad for p in net.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_its_gradients_are_those_of_finite_differences():
    net = perceptron(torch.float64)
    fuse_mlps(net)
    inputs = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3).requires_grad_()
    parameters = tuple(net.parameters())

    def output(inputs, *values):
        names = [name for name, _ in net.named_parameters()]
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), inputs)

    assert torch.autograd.gradcheck(output, (inputs, *parameters))


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)],
        [nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh()],
        [nn.Linear(3, 4, bias=False), nn.Tanh()],
        [nn.Tanh(), nn.Linear(3, 4)],
        [nn.Linear(3, 4), nn.Tanh(), nn.Tanh()],
        [nn.Linear(3, 4)],
        [],
    ],
)
def test_other_networks_are_left_alone(layers):
    net = nn.Sequential(*layers)
    fuse_mlps(net)
    assert type(net) is nn.Sequential


# --- the loss's gradient ----------------------------------------------------------------


def build(action_space, **training):
    model = training.pop("model", {})
    config = PPOConfig().learners(learner_class=LeanPPOLearner)
    config.training(**({"lr": 1e-3, "use_kl_loss": True} | training))
    config.rl_module(model_config={"fcnet_hiddens": [16, 16], "fcnet_activation": "tanh"} | model)
    space = Box(-1, 1, (3,), np.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return config.build_learner(spaces={DEFAULT_MODULE_ID: (space, action_space)})


def rows_of(learner):
    """Rows as they are in a late minibatch: the policy has moved away from what sampled them."""
    module = learner.module[DEFAULT_MODULE_ID]
    torch.manual_seed(1)
    obs = torch.rand(ROWS, 3) * 2 - 1
    with torch.no_grad():
        inputs = module.forward_exploration({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS]
        inputs = inputs + 0.2 * torch.randn_like(inputs)
        distribution = module.get_exploration_action_dist_cls().from_logits(inputs)
        actions = distribution.sample()
    return {
        Columns.OBS: obs,
        Columns.ACTIONS: actions,
        Columns.ACTION_DIST_INPUTS: inputs,
        Columns.ACTION_LOGP: distribution.logp(actions),
        Postprocessing.ADVANTAGES: torch.randn(ROWS),
        Postprocessing.VALUE_TARGETS: 3 * torch.randn(ROWS),
    }


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"model": {"free_log_std": True}},
        {"clip_param": 0.02, "entropy_coeff": 0.1, "vf_clip_param": 1.0, "kl_coeff": 3.0},
        {"use_critic": False},
        {"use_kl_loss": False},
        {"model": {"vf_share_layers": True}},
    ],
)
def test_the_gradient_is_that_of_rllibs_loss(training):
    learner = build(Box(-1, 1, (2,), np.float32), **training)
    assert learner._closed_form[DEFAULT_MODULE_ID]
    rows = rows_of(learner)
    config = learner.config.get_config_for_module(DEFAULT_MODULE_ID)
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    found = []
    for way in ("rllib", "closed form"):
        module.zero_grad()
        out = module._forward_train(rows)
        if way == "rllib":
            learner._last = True
            learner._rllib_loss(DEFAULT_MODULE_ID, config, rows, out).backward()
        else:
            learner._backward(DEFAULT_MODULE_ID, config, rows, out)
        found.append(
            {k: p.grad.clone() for k, p in module.named_parameters() if p.grad is not None}
        )
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-4, atol=1e-6, msg=name)
        assert expected.abs().max() > 0


def test_what_is_no_number_stays_none():
    rows = {
        Columns.ACTIONS: torch.zeros(2, 1),
        Columns.ACTION_LOGP: torch.zeros(2),
        Columns.ACTION_DIST_INPUTS: torch.zeros(2, 2),
        Postprocessing.ADVANTAGES: torch.tensor([1.0, float("nan")]),
        Postprocessing.VALUE_TARGETS: torch.tensor([float("nan"), 1.0]),
    }
    terms = PPOTerms(0.2, 0.2, 0.0, 1.0, 10.0)
    logits, values = ppo_gradient(terms, rows, torch.zeros(2, 2), torch.zeros(2))
    assert logits.isnan().any(dim=1).tolist() == [False, True]
    assert values.isnan().tolist() == [True, False]


def test_other_policies_use_rllibs_loss():
    learner = build(Discrete(3))
    assert not learner._closed_form[DEFAULT_MODULE_ID]
