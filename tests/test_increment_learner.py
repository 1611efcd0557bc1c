"""The calibrator's learner: its gradient in closed form against RLlib's loss, one row an action."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.calibrators.ppo.increment_learner import IncrementLearner, Surrogate
from rllib_calsheq.calibrators.ppo.mean_network import MeanNetwork, mean_parameters
from rllib_calsheq.calibrators.ppo.policy import IncrementPolicy

STATES, ACTIONS, DIM, SEEN = 6, 5, 3, 4
INPUTS = Columns.ACTION_DIST_INPUTS


def built(**fields) -> tuple[IncrementPolicy, dict[str, np.ndarray]]:
    """A policy that has moved away from what sampled a batch, and that batch."""
    config = PPOCalibratorConfig(hidden_sizes=(8, 7), **fields)
    policy = IncrementPolicy(DIM, SEEN, config, seed=0)
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    batch = policy.sample(draw(STATES, SEEN), draw(STATES, ACTIONS, DIM))
    batch[Postprocessing.ADVANTAGES] = draw(STATES, ACTIONS)
    batch[Postprocessing.VALUE_TARGETS] = draw(STATES, ACTIONS)
    with torch.no_grad():
        for parameter in policy._module.parameters():
            parameter += 0.2 * torch.from_numpy(draw(*parameter.shape))
    return policy, batch


def one_by_one(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The batch as RLlib has it, one row an action."""
    rows = {}
    for name, column in batch.items():
        of_state = name in (Columns.OBS, INPUTS)
        every = np.repeat(column, ACTIONS, axis=0) if of_state else column.reshape(30, -1)
        rows[name] = torch.from_numpy(every if every.shape[1] > 1 else every[:, 0])
    return rows


@pytest.mark.parametrize(
    "fields",
    [{}, {"kl_coeff": 3.0}, {"clip_param": 0.02, "entropy_coeff": 0.1}, {"kl_coeff": 0.0}],
)
def test_the_gradient_is_that_of_rllibs_loss(fields):
    policy, batch = built(**fields)
    learner, module = policy._learner, policy._module.unwrapped()
    assert isinstance(learner, IncrementLearner)
    rows = one_by_one(batch)
    loss = learner.compute_loss_for_module(
        module_id=DEFAULT_MODULE_ID,
        config=learner.config,
        batch=rows,
        fwd_out=module._forward_train(rows),
    )
    loss.backward()
    expected = {k: p.grad.clone() for k, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()

    network = MeanNetwork.of(module)
    surrogate = Surrogate(batch)
    surrogate.move(network.means(batch[Columns.OBS]), module.pi.log_std.detach().numpy())
    by_mean, by_log_std = surrogate.gradient(learner._terms(DEFAULT_MODULE_ID, learner.config))
    parameters = mean_parameters(module)
    gradients = [np.empty(parameter.shape, np.float32) for parameter in parameters]
    network.backward(by_mean, gradients)
    found_by = [*gradients, by_log_std]
    for parameter, gradient in zip([*parameters, module.pi.log_std], found_by, strict=True):
        parameter.grad = torch.from_numpy(gradient)
    found = {k: p.grad for k, p in module.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        assert gradient.abs().max() > 0


def test_the_loss_that_is_logged_is_rllibs_and_adapts_the_coefficient_as_rllib_does():
    policy, batch = built(entropy_coeff=0.1)
    learner, rows = policy._learner, one_by_one(batch)
    module, before = policy._module.unwrapped(), learner.get_kl_coefficients()
    expected = {
        "loss": learner.compute_loss_for_module(
            module_id=DEFAULT_MODULE_ID,
            config=learner.config,
            batch=rows,
            fwd_out=module._forward_train(rows),
        )
    }
    for rllib, ours in (("mean_kl_loss", "kl"), ("entropy", "entropy"), ("policy_loss",) * 2):
        expected[ours] = learner.metrics.peek((DEFAULT_MODULE_ID, rllib))
    found = learner.descend(batch, 1)
    expected = {name: float(torch.as_tensor(n).detach()) for name, n in expected.items()}
    assert found == pytest.approx(expected, rel=1e-5)
    assert found["kl"] > 2 * learner.config.kl_target
    assert learner.get_kl_coefficients()[DEFAULT_MODULE_ID] == pytest.approx(
        1.5 * before[DEFAULT_MODULE_ID]
    )


def test_probabilities_of_sampled_actions_are_those_of_rllibs_distribution():
    policy, batch = built()
    rows = one_by_one(batch)
    distribution = policy._module.get_exploration_action_dist_cls().from_logits(rows[INPUTS])
    expected = distribution.logp(rows[Columns.ACTIONS])
    torch.testing.assert_close(rows[Columns.ACTION_LOGP], expected, rtol=1e-5, atol=1e-5)


def test_an_update_is_adams_steps_on_rllibs_loss():
    policy, batch = built()
    learner, module = policy._learner, policy._module.unwrapped()
    for stage in range(2):
        twin = copy.deepcopy(module)
        optimizer = torch.optim.Adam(twin.parameters(), lr=learner.get_learning_rate())
        if stage:
            (own,) = learner.optimizers
            optimizer.load_state_dict(copy.deepcopy(own.state_dict()))
        rows = one_by_one(batch)
        for _ in range(policy._config.num_epochs):
            optimizer.zero_grad()
            learner.compute_loss_for_module(
                module_id=DEFAULT_MODULE_ID,
                config=learner.config,
                batch=rows,
                fwd_out=twin._forward_train(rows),
            ).backward()
            optimizer.step()
        before = [parameter.detach().clone() for parameter in module.parameters()]
        learner.descend(batch, policy._config.num_epochs)
        for found, expected in zip(module.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        moved = [(p - b).abs().max() for p, b in zip(module.parameters(), before, strict=True)]
        assert max(moved) > 1e-3
