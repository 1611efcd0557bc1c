"""PPO's compiled minibatch steps against the same steps one by one, and where they do not apply."""

import copy
import logging
import os
import subprocess
import sys

import numba
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
from rllib_calsheq.learning import compiled_update, kernels
from rllib_calsheq.learning.fastest import Fastest
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.learner import NotFiniteError

#: No multiple of a block, nor of a minibatch.
ROWS, SIZE, EPOCHS = 1000, 300, 3
SEEN, DONE = Box(-1, 1, (5,), np.float32), Box(-1, 1, (2,), np.float32)


def build(model=None, compiled=True, **training):
    config = PPOConfig().learners(learner_class=LeanPPOLearner)
    config.training(**({"lr": 1e-3, "use_kl_loss": True} | training))
    model = {"fcnet_hiddens": [24, 16], "fcnet_activation": "tanh"} | (model or {})
    config.rl_module(model_config=model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = config.build_learner(spaces={DEFAULT_MODULE_ID: (SEEN, DONE)})
    if not compiled:
        learner._compiled.clear()
    return learner


def batch(learner, seed=0, **changes):
    """Rows that the learner's policy has sampled, as RLlib's batch."""
    module = learner.module[DEFAULT_MODULE_ID]
    rng = np.random.default_rng(seed)
    obs = torch.from_numpy(rng.uniform(-1, 1, (ROWS, 5)).astype(np.float32))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        inputs = module.forward_exploration({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS]
        distribution = module.get_exploration_action_dist_cls().from_logits(inputs)
        actions = distribution.sample()
        columns = {
            Columns.OBS: obs,
            Columns.ACTIONS: actions,
            Columns.ACTION_DIST_INPUTS: inputs,
            Columns.ACTION_LOGP: distribution.logp(actions),
            Postprocessing.ADVANTAGES: 1.0 - actions.square().sum(-1),
            Postprocessing.VALUE_TARGETS: 3.0 * obs.sum(-1),
        }
    columns = {name: column.numpy().copy() for name, column in columns.items()} | changes
    return MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=ROWS)


def update(learner, data, seed=1, size=SIZE):
    """One update; returns how many of its steps ran compiled."""
    steps = []
    compiled = learner._compiled.get(DEFAULT_MODULE_ID)
    if compiled is not None:
        original = type(compiled).take_steps

        def counted(*args):
            steps.append(original(compiled, *args))
            return steps[-1]

        compiled.take_steps = counted
    learner.set_stream(Stream.MINIBATCHES, seed)
    learner.update(batch=copy.deepcopy(data), num_epochs=EPOCHS, minibatch_size=size)
    return sum(steps)


def state_of(learner):
    """Weights and what Adam keeps, as one flat tensor."""
    (optimizer,) = learner.optimizers
    parameters = list(learner.module[DEFAULT_MODULE_ID].parameters())
    kept = [optimizer.state.get(p, {}) for p in parameters]
    kept = [value for state in kept for _, value in sorted(state.items())]
    return torch.cat([t.detach().ravel() for t in (*parameters, *kept)])


CONFIGURATIONS = [
    {"model": {"free_log_std": True}},
    {"entropy_coeff": 0.1, "clip_param": 0.02, "vf_clip_param": 1.0, "kl_coeff": 3.0},
    {"model": {"fcnet_activation": "relu", "fcnet_hiddens": [12]}, "use_kl_loss": False},
    {"model": {"free_log_std": True, "vf_share_layers": True}, "use_critic": False},
    {"model": {"fcnet_hiddens": [8, 8, 8], "log_std_clip_param": 0.01}},
]


@pytest.mark.parametrize("training", CONFIGURATIONS)
@pytest.mark.parametrize("size", [SIZE, None])
def test_compiled_steps_are_the_steps_one_by_one(training, size):
    compiled, plain = build(**training), build(compiled=False, **training)
    plain.module.set_state(compiled.module.get_state())
    expected_steps = -(-EPOCHS * ROWS // SIZE) if size else EPOCHS
    # Not of every seed: rounding may put a row on the other side of a clip's edge.
    for seed in range(3, 6):
        data = batch(compiled, seed)
        # RLlib's own loss closes every update.
        assert update(compiled, data, seed, size) == expected_steps - 1
        assert update(plain, data, seed, size) == 0
        torch.testing.assert_close(state_of(compiled), state_of(plain), rtol=1e-4, atol=1e-5)
    assert compiled.get_kl_coefficients() == plain.get_kl_coefficients()
    rows = [learner._rows_trained for learner in (compiled, plain)]
    assert rows == [EPOCHS * ROWS] * 2


def test_the_same_update_twice_is_the_same_to_the_last_bit_and_so_is_one_gone_on_with():
    unbroken, again = (build({"free_log_std": True}) for _ in range(2))
    data = [batch(unbroken, seed) for seed in range(3)]
    for seed, part in enumerate(data):
        if seed == 2:
            resumed = build({"free_log_std": True})
            resumed.set_state(copy.deepcopy(again.get_state()))
            assert update(resumed, part, seed) > 0
        for learner in (unbroken, again):
            update(learner, part, seed)
    assert torch.equal(state_of(unbroken), state_of(again))
    assert torch.equal(state_of(unbroken), state_of(resumed))


@pytest.mark.parametrize("spoiled", [False, True])
def test_however_many_threads_share_an_update_its_numbers_are_the_same(spoiled):
    """To the last bit, and they stop at the same minibatch where a gradient is not finite."""
    alone = build({"free_log_std": True})
    data = batch(alone)
    if spoiled:
        data.policy_batches[DEFAULT_MODULE_ID][Postprocessing.ADVANTAGES][123] = np.nan
    alone._compiled[DEFAULT_MODULE_ID]._workers = Fastest([1])
    done = update(alone, data)
    all_but_the_last = EPOCHS * ROWS // SIZE - 1
    assert done < all_but_the_last if spoiled else done == all_but_the_last
    for number in range(2, kernels.LANES + 1):
        together = build({"free_log_std": True})
        together._compiled[DEFAULT_MODULE_ID]._workers = Fastest([number])
        assert update(together, data) == done
        torch.testing.assert_close(
            state_of(together), state_of(alone), rtol=0, atol=0, equal_nan=True
        )


def test_an_update_is_tried_with_as_many_threads_as_there_are_cores(monkeypatch):
    for cores, numbers in ((1, (1,)), (2, (1, 2)), (3, (1, 2)), (64, (1, 2, 4))):
        monkeypatch.setenv("CALSHEQ_NUM_THREADS", str(cores))
        assert compiled_update.numbers_of_workers() == numbers
    monkeypatch.delenv("CALSHEQ_NUM_THREADS")
    most = compiled_update.numbers_of_workers()[-1]
    assert most <= len(os.sched_getaffinity(0))


def test_a_rate_that_is_set_is_the_rate_of_compiled_steps():
    learner, before = build({"free_log_std": True}), None
    data = batch(learner)
    learner.set_learning_rate(0.0)
    before = copy.deepcopy(learner.module.get_state())
    assert update(learner, data) > 0
    after = learner.module.get_state()[DEFAULT_MODULE_ID]
    for name, value in before[DEFAULT_MODULE_ID].items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_from_a_gradient_that_is_not_finite_on_rllib_decides(number):
    compiled, plain = build(), build(compiled=False)
    data = batch(compiled)
    columns = data.policy_batches[DEFAULT_MODULE_ID]
    columns[Postprocessing.ADVANTAGES][123] = number
    ends = []
    for learner in (compiled, plain):
        try:
            update(learner, data)
            ends.append("learned")
        except NotFiniteError:  # What RLlib makes of an infinite gradient.
            ends.append("refused")
    assert ends == ["learned" if np.isnan(number) else "refused"] * 2
    found, expected = state_of(compiled), state_of(plain)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(
    "training",
    [
        {"model": {"vf_share_layers": True}},
        {"model": {"fcnet_activation": "silu"}},
        {"model": {"use_lstm": True}},
        {"grad_clip": 0.5},
    ],
)
def test_other_networks_and_clipped_gradients_step_one_by_one(training):
    learner = build(**training)
    compiled = learner._compiled[DEFAULT_MODULE_ID]
    if "grad_clip" in training:
        assert compiled is not None
        assert update(learner, batch(learner)) == 0
    else:
        assert compiled is None


@pytest.mark.parametrize("change", ["weight_decay", "amsgrad", "AdamW", "two groups", "float64"])
def test_other_optimizers_and_columns_step_one_by_one(change):
    learner = build()
    data = batch(learner)
    (optimizer,) = learner.optimizers
    parameters = optimizer.param_groups[0]["params"]
    columns = {k: torch.from_numpy(v) for k, v in data.policy_batches[DEFAULT_MODULE_ID].items()}
    if change == "AdamW":
        optimizer = torch.optim.AdamW(parameters)
    elif change == "two groups":
        optimizer = torch.optim.Adam([{"params": parameters[:1]}, {"params": parameters[1:]}])
    elif change == "float64":
        columns[Columns.OBS] = columns[Columns.OBS].double()
    else:
        optimizer = torch.optim.Adam(parameters, **{change: True})
    config = learner.config.get_config_for_module(DEFAULT_MODULE_ID)
    terms = learner._terms(DEFAULT_MODULE_ID, config)
    compiled = learner._compiled[DEFAULT_MODULE_ID]
    before = state_of(learner)
    assert compiled.take_steps(optimizer, columns, None, 1, len(columns[Columns.OBS]), terms) == 0
    assert torch.equal(state_of(learner), before)


def test_without_numba_steps_are_taken_one_by_one_and_one_line_says_so(monkeypatch, caplog):
    import rllib_calsheq.learning

    expected = build()
    data = batch(expected)
    update(expected, data)
    monkeypatch.delattr(rllib_calsheq.learning, "kernels")
    monkeypatch.setitem(sys.modules, "rllib_calsheq.learning.kernels", None)
    compiled_update.kernels.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            learners = [build() for _ in range(2)]
    finally:
        compiled_update.kernels.cache_clear()
    said = [r.getMessage() for r in caplog.records if "Numba" in r.getMessage()]
    assert len(said) == 1
    assert "pip install numba" in said[0]
    assert update(learners[0], data) == 0
    torch.testing.assert_close(state_of(learners[0]), state_of(expected), rtol=1e-4, atol=1e-5)


def test_kernels_are_compiled_where_nothing_can_be_kept(monkeypatch):
    original = numba.njit

    def without_a_folder(*args, cache=False, **options):
        if cache:
            return lambda function: (_ for _ in ()).throw(RuntimeError("no locator available"))
        return original(*args, **options)

    monkeypatch.setattr(numba, "njit", without_a_folder)
    assert kernels._whole(lambda x: x + 1)(1) == 2


def plus_one(x):
    return x + 1


def test_a_full_disk_does_not_stop_an_update(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    function = kernels._whole(plus_one)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(function._cache, "save_overload", full)
    assert compiled_update.call(function, 1) == 2


ONE_STEP = """
import numpy as np
from rllib_calsheq.learning import kernels
layers = np.array([[3, 4, 0, 0, kernels.TANH], [4, 2, 16, 4, kernels.LINEAR]], np.int64)
rng = np.random.default_rng(0)
random = lambda *shape: rng.standard_normal(shape).astype(np.float32)
columns = tuple(random(8, *shape) for shape in ((3,), (1,), (2,), (), (), ()))
weights, moments = random(26), np.zeros((2, 26), np.float32)
terms = np.array([0.3, 0.2, 0.0, 1.0, np.inf, 20.0], np.float32)
done = kernels.take_steps(
    np.arange(8), 4, columns, weights, layers, layers[:0], -1, terms, (1e-3, 0.9, 0.999, 1e-8), 0,
    moments, np.empty((kernels.LANES, 27), np.float32), np.zeros(1, np.int64), 0, 1,
)
print(done, weights.tobytes().hex(), sum(kernels.take_steps.stats.cache_hits.values()))
"""


def test_processes_that_compile_at_once_agree_and_leave_it_to_the_next(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def start():
        command = [sys.executable, "-c", ONE_STEP]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    together = [start(), start()]
    outputs = [process.communicate(timeout=300)[0].split() for process in together]
    outputs.append(start().communicate(timeout=300)[0].split())
    assert {output[0] for output in outputs} == {"2"}
    assert len({output[1] for output in outputs}) == 1
    assert outputs[2][2] == "1"
