"""The lean PPO update against RLlib's own, and what both keep in their state."""

import copy

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from rllib_calsheq.core.streams import Stream
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.learner import TwoTimescalePPOLearner

SPACE = Box(-1, 1, (3,), np.float32)
ROWS = 96


def build(learner_class, **training):
    config = PPOConfig().learners(learner_class=learner_class)
    config.training(lr=1e-3, use_kl_loss=True, kl_target=1e-4, **training)
    config.rl_module(model_config={"fcnet_hiddens": [16], "free_log_std": True})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return config.build_learner(spaces={DEFAULT_MODULE_ID: (SPACE, SPACE)})


def batch(learner, seed=0):
    rng = np.random.default_rng(seed)
    obs = torch.from_numpy(rng.uniform(-1, 1, (ROWS, 3)).astype(np.float32))
    module = learner.module[DEFAULT_MODULE_ID]
    with torch.no_grad():
        inputs = module.forward_exploration({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS]
        mean, log_std = inputs.chunk(2, dim=-1)
        noise = torch.from_numpy(rng.standard_normal(mean.shape).astype(np.float32))
        actions = mean + log_std.exp() * noise
        distribution = module.get_exploration_action_dist_cls().from_logits(inputs)
        logp = distribution.logp(actions)
    columns = {
        Columns.OBS: obs,
        Columns.ACTIONS: actions,
        Columns.ACTION_DIST_INPUTS: inputs,
        Columns.ACTION_LOGP: logp,
        Postprocessing.ADVANTAGES: -(actions**2).sum(-1),
        Postprocessing.VALUE_TARGETS: obs.sum(-1),
    }
    columns = {key: np.asarray(value, dtype=np.float32) for key, value in columns.items()}
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=ROWS)


def weights(learner):
    state = learner.module[DEFAULT_MODULE_ID].state_dict()
    return {key: value.detach().clone() for key, value in state.items()}


@pytest.mark.parametrize("training", [{}, {"use_critic": False}, {"entropy_coeff": 0.01}])
def test_full_batch_updates_equal_rllibs(training):
    learners = [build(kind, **training) for kind in (TwoTimescalePPOLearner, LeanPPOLearner)]
    learners[1].module.set_state(learners[0].module.get_state())
    results = []
    for _ in range(3):
        data = batch(learners[0])
        results = [
            learner.update(batch=copy.deepcopy(data), num_epochs=4)[DEFAULT_MODULE_ID]
            for learner in learners
        ]
    reference, lean = (weights(learner) for learner in learners)
    for key, value in reference.items():
        torch.testing.assert_close(lean[key], value, rtol=1e-4, atol=1e-6)
    for name in ("policy_loss", "vf_loss", "mean_kl_loss", "entropy", "total_loss"):
        a, b = (float(result[name].peek()) for result in results)
        assert a == pytest.approx(b, rel=1e-3, abs=1e-6), name
    coefficients = [learner.get_kl_coefficients() for learner in learners]
    assert coefficients[0] == coefficients[1]


def test_minibatches_are_of_equal_size_and_every_row_is_used_once_an_epoch():
    learner = build(LeanPPOLearner)
    columns = {Columns.OBS: torch.arange(ROWS).float()[:, None]}
    learner.set_stream(Stream.MINIBATCHES, 1)
    seen = [
        m.policy_batches["m"][Columns.OBS].ravel().tolist()
        for m in learner._minibatches("m", columns, num_epochs=3, minibatch_size=36)
    ]
    assert [len(rows) for rows in seen] == [36] * 8
    flat = [row for rows in seen for row in rows]
    for epoch in range(3):
        assert sorted(flat[epoch * ROWS : (epoch + 1) * ROWS]) == list(range(ROWS))
    assert flat[:ROWS] != list(range(ROWS))


def test_the_stream_names_the_shuffle():
    outcomes = []
    for keys in ((1, 2), (1, 2), (1, 3)):
        learner = build(LeanPPOLearner)
        learner.set_stream(Stream.MINIBATCHES, *keys)
        learner.update(batch=batch(learner), num_epochs=2, minibatch_size=16)
        outcomes.append(torch.cat([w.ravel() for w in weights(learner).values()]))
    assert torch.equal(outcomes[0], outcomes[1])
    assert not torch.equal(outcomes[0], outcomes[2])


def test_gradient_clipping_still_works():
    learner = build(LeanPPOLearner, grad_clip=1e-8, grad_clip_by="global_norm")
    before = weights(learner)
    for group in learner._named_optimizers.values():
        for param_group in group.param_groups:
            param_group["eps"] = 1.0  # so that Adam's step scales with the gradient
    learner.update(batch=batch(learner), num_epochs=1)
    for key, value in weights(learner).items():
        assert (value - before[key]).abs().max() < 1e-9


def test_gradients_that_are_not_finite_are_not_applied():
    learner = build(LeanPPOLearner)
    data = batch(learner)
    data.policy_batches[DEFAULT_MODULE_ID][Postprocessing.ADVANTAGES][:] = np.inf
    learner.update(batch=data, num_epochs=1)
    assert all(torch.isfinite(value).all() for value in weights(learner).values())


@pytest.mark.parametrize("learner_class", [TwoTimescalePPOLearner, LeanPPOLearner])
def test_state_carries_kl_coefficient_and_goes_back_in_time(learner_class):
    learner = build(learner_class)
    learner.update(batch=batch(learner), num_epochs=5)
    state = copy.deepcopy(learner.get_state())
    coefficient, old = learner.get_kl_coefficients(), weights(learner)
    for seed in range(3):
        learner.update(batch=batch(learner, seed), num_epochs=5)
    assert learner.get_kl_coefficients() != coefficient
    sequence = learner._weights_seq_no
    learner.set_state(state)
    assert learner.get_kl_coefficients() == coefficient
    for key, value in weights(learner).items():
        torch.testing.assert_close(value, old[key], rtol=0, atol=0)
    assert learner._weights_seq_no > sequence, "env runners would ignore these weights"


@pytest.mark.parametrize("learner_class", [TwoTimescalePPOLearner, LeanPPOLearner])
def test_a_rate_that_was_set_stays(learner_class):
    learner = build(learner_class)
    learner.set_learning_rate(3e-5)
    result = learner.update(batch=batch(learner), num_epochs=2, timesteps={})
    assert learner.get_learning_rate() == pytest.approx(3e-5)
    logged = result[DEFAULT_MODULE_ID]["default_optimizer_learning_rate"].peek()
    assert float(logged) == pytest.approx(3e-5)
