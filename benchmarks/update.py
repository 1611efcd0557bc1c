"""The merchants' PPO update against the same one in JAX, compiled by XLA; one thread each.

    python benchmarks/update.py            # 19,200 rows, minibatches of 1,024, 4 epochs
    python benchmarks/update.py --json     # ratio_vs_jax, ratio_vs_one_by_one, parts
    python benchmarks/update.py --torch-compile   # besides, ratio_vs_torch_compile (needs g++)

``ratio_vs_jax`` is the time of the learner's ``update()``, RLlib's own closing minibatch, logging
and checks included, over that of the bare steps in JAX; ``ratio_vs_one_by_one`` is the same over
the learner's steps without Numba. Both start from the same weights, take the same minibatches, and
must agree (``largest_difference``). Seconds are a processor's. The parts are the update's own
products, tanhs and gathering of rows, timed by themselves; the rest is the loss, biases, Adam and
RLlib's bookkeeping.

With ``--torch-compile`` the same steps in PyTorch take part, loss and gradient compiled by
``torch.compile`` and Adam in one kernel; ``seconds_to_compile`` is its first step, by the clock.

JAX: ``pip install -c constraints.txt -e ".[bench]"``.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
from timing import interleave, parser, quiet, ratios, show, spread  # isort: skip
import copy
import itertools
import sys
import time

import numpy as np
import torch

from rllib_calsheq.core.streams import Stream

#: What the market shows a merchant, and what it does; the default networks.
OBSERVED, ACTIONS, HIDDEN = 18, 2, (64, 64)
STREAM = (Stream.MINIBATCHES, 0, 1)


def build_learner(config):
    """RLlib's learner of the merchants' policy, with the defaults of CALSHEQ."""
    from gymnasium.spaces import Box
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core import DEFAULT_MODULE_ID

    from rllib_calsheq.learning.lean_learner import LeanPPOLearner

    ppo = PPOConfig().learners(learner_class=LeanPPOLearner)
    ppo.training(
        lr=1e-3, clip_param=config.clip_param, use_kl_loss=True, kl_coeff=config.kl_coeff,
        entropy_coeff=0.0, vf_loss_coeff=config.vf_loss_coeff, vf_clip_param=config.vf_clip_param,
    )  # fmt: skip
    ppo.rl_module(
        model_config={
            "fcnet_hiddens": list(HIDDEN), "fcnet_activation": "tanh", "free_log_std": True
        }
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        spaces = [Box(-1.0, 1.0, (size,), np.float32) for size in (OBSERVED, ACTIONS)]
        return ppo.build_learner(spaces={DEFAULT_MODULE_ID: tuple(spaces)})


def batch_of(module, rows):
    """RLlib's columns of rows that the module's policy has sampled."""
    rng = np.random.default_rng(0)
    observations = torch.from_numpy(rng.uniform(-1, 1, (rows, OBSERVED)).astype(np.float32))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        inputs = module.forward_exploration({"obs": observations})["action_dist_inputs"]
        distribution = module.get_exploration_action_dist_cls().from_logits(inputs)
        actions = distribution.sample()
        logp = distribution.logp(actions)
    advantages = -actions.square().sum(-1)
    columns = {
        "obs": observations,
        "actions": actions,
        "action_dist_inputs": inputs,
        "action_logp": logp,
        "advantages": (advantages - advantages.mean()) / advantages.std(),
        "value_targets": observations.sum(-1),
    }
    return {name: column.numpy() for name, column in columns.items()}


def minibatches(rows, epochs, size):
    """The rows that the learner draws for its minibatches, (number, size)."""
    from rllib_calsheq.learning.seeding import numpy_stream

    with numpy_stream(*STREAM):
        order = np.concatenate([np.random.permutation(rows) for _ in range(epochs)])  # noqa: NPY002
    return order[: len(order) // size * size].reshape(-1, size)


def jax_update(module, columns, config, chosen):
    """The whole update in JAX, compiled: a function that returns the new weights, by name."""
    import jax
    import jax.numpy as jnp

    weights = {n: jnp.array(p.detach().numpy()) for n, p in module.named_parameters()}
    layers = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    networks = [
        [layer for layer in layers if layer.startswith(parts)]
        for parts in (("encoder.actor", "pi"), ("encoder.critic", "vf"))
    ]
    clip, kl_coeff, limit = config.clip_param, config.kl_coeff, config.vf_clip_param

    def network(weights, layers, rows):
        for layer in layers[:-1]:
            rows = jnp.tanh(rows @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"])
        return rows @ weights[f"{layers[-1]}.weight"].T + weights[f"{layers[-1]}.bias"]

    def loss(weights, obs, actions, inputs, logp, advantages, targets):
        mean, log_std = network(weights, networks[0], obs), weights["pi.log_std"]
        old_mean, old_log_std = inputs[:, :ACTIONS], inputs[:, ACTIONS:]
        z = (actions - mean) * jnp.exp(-log_std)
        ratio = jnp.exp((-0.5 * (z * z + jnp.log(2 * jnp.pi)) - log_std).sum(-1) - logp)
        gain = jnp.minimum(advantages * ratio, advantages * jnp.clip(ratio, 1 - clip, 1 + clip))
        variance = jnp.exp(2 * old_log_std) + (old_mean - mean) ** 2
        kl = log_std - old_log_std + 0.5 * variance * jnp.exp(-2 * log_std) - 0.5
        error = (network(weights, networks[1], obs)[:, 0] - targets) ** 2
        of_values = config.vf_loss_coeff * jnp.clip(error, 0, limit)
        return (of_values - gain + kl_coeff * kl.sum(-1)).mean()

    def step(state, rows):
        weights, first, second, number = state
        gradient = jax.grad(loss)(weights, *(column[rows] for column in given))
        number = number + 1
        first = jax.tree.map(lambda m, g: m + 0.1 * (g - m), first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        length, scale = 1e-3 / (1 - 0.9**number), jnp.sqrt(1 - 0.999**number)
        weights = jax.tree.map(
            lambda w, m, v: w - length * m / (jnp.sqrt(v) / scale + 1e-8), weights, first, second
        )
        return (weights, first, second, number), None

    given = tuple(jnp.array(column) for column in columns.values())
    zeros = jax.tree.map(jnp.zeros_like, weights)
    whole = jax.jit(lambda *state: jax.lax.scan(step, state, jnp.array(chosen))[0][0])
    return lambda: jax.block_until_ready(whole(weights, zeros, zeros, jnp.array(0.0)))


def torch_update(module, columns, config, chosen):
    """The whole update in PyTorch, loss and gradient compiled; and what its first step takes."""
    from torch.nn import Linear
    from torch.nn.functional import linear

    from rllib_calsheq.learning.ray_private.access import free_log_std, layers_of

    policy, value = (
        [layer for layer in layers_of(module, part) if isinstance(layer, Linear)]
        for part in ("policy", "value")
    )
    log_std = free_log_std(module)
    clip, kl_coeff, limit = config.clip_param, config.kl_coeff, config.vf_clip_param

    def network(layers, rows):
        for layer in layers[:-1]:
            rows = torch.tanh(linear(rows, layer.weight, layer.bias))
        return linear(rows, layers[-1].weight, layers[-1].bias)

    @torch.compile
    def loss(obs, actions, inputs, logp, advantages, targets):
        mean = network(policy, obs)
        old_mean, old_log_std = inputs[:, :ACTIONS], inputs[:, ACTIONS:]
        z = (actions - mean) * torch.exp(-log_std)
        ratio = torch.exp((-0.5 * (z * z + np.log(2 * np.pi)) - log_std).sum(-1) - logp)
        bounded = advantages * torch.clamp(ratio, 1 - clip, 1 + clip)
        gain = torch.minimum(advantages * ratio, bounded)
        variance = torch.exp(2 * old_log_std) + (old_mean - mean) ** 2
        kl = log_std - old_log_std + 0.5 * variance * torch.exp(-2 * log_std) - 0.5
        of_values = torch.clamp((network(value, obs)[:, 0] - targets) ** 2, 0, limit)
        return (config.vf_loss_coeff * of_values - gain + kl_coeff * kl.sum(-1)).mean()

    given = [torch.from_numpy(column) for column in columns.values()]
    adam = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)

    def steps(minibatches):
        for rows in minibatches:
            adam.zero_grad(set_to_none=True)
            loss(*(column[rows] for column in given)).backward()
            adam.step()

    order = torch.from_numpy(chosen)
    start = time.perf_counter()
    steps(order[:1])
    return lambda: steps(order), time.perf_counter() - start


def parts(columns, chosen):
    """The products, tanhs and gathering of an update by themselves, and its floating operations."""
    import numba

    from rllib_calsheq.learning import kernels

    block = kernels.BLOCK
    blocks = chosen.size // block
    widths = [(OBSERVED, *HIDDEN, ACTIONS), (OBSERVED, *HIDDEN, 1)]
    layers = [(i, o, k > 0) for w in widths for k, (i, o) in enumerate(itertools.pairwise(w))]
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    @numba.njit
    def product(a, b, out, times):
        for _ in range(times):
            np.dot(a, b, out)

    def products():
        for a, b, out in pairs:
            product(a, b, out, blocks)

    pairs, operations = [], 0
    for inputs, outputs, inner in layers:
        weights = random(outputs, inputs)
        below, gradient = random(block, inputs), random(block, outputs)
        pairs += [(below, weights.T, random(block, outputs)), (gradient.T, below, weights.copy())]
        if inner:
            pairs.append((gradient, weights, random(block, inputs)))
        operations += (2 + inner) * 2 * inputs * outputs * chosen.size

    @numba.njit(fastmath={"contract", "reassoc", "arcp", "nsz"}, error_model="numpy")
    def tanh(values, times):
        for _ in range(times):
            for i in range(len(values)):
                values[i] = kernels._tanh(values[i])

    @numba.njit
    def rows_of(table, order, out):
        for first in range(0, len(order), len(out)):
            for r in range(len(out)):
                row, seen = out[r], table[order[first + r]]
                for j in range(table.shape[1]):
                    row[j] = seen[j]

    units = random(block * 2 * sum(HIDDEN))
    order, space = chosen.ravel(), random(block, OBSERVED)
    contenders = {
        "products": products,
        "tanh": lambda: tanh(units, blocks),
        "gather": lambda: rows_of(columns["obs"], order, space),
    }
    return contenders, operations


def main():
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=19_200)
    options.add_argument("--torch-compile", action="store_true", help="compare with it, too")
    args = options.parse_args()
    try:
        import jax  # noqa: F401
    except ImportError:
        sys.exit(
            "benchmarks/update.py compares with JAX, which is not installed: "
            'pip install -c constraints.txt -e ".[bench]"'
        )
    quiet()
    from ray.rllib.core import DEFAULT_MODULE_ID
    from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

    from rllib_calsheq.algorithm import CALSHEQConfig

    torch.set_num_threads(1)
    config = CALSHEQConfig()
    epochs, size = config.num_epochs, config.minibatch_size
    compiled, one_by_one = build_learner(config), build_learner(config)
    one_by_one._compiled.clear()
    module = compiled.module[DEFAULT_MODULE_ID].unwrapped()
    columns = batch_of(module, args.rows)
    batch = MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(columns)}, env_steps=args.rows)
    chosen = minibatches(args.rows, epochs, size)
    in_jax = jax_update(copy.deepcopy(module), columns, config, chosen)

    def update(learner):
        learner.set_stream(*STREAM)
        learner.update(batch=batch, num_epochs=epochs, minibatch_size=size)

    update(compiled)
    expected = in_jax()
    difference = max(
        float(np.abs(np.asarray(expected[name]) - parameter.detach().numpy()).max())
        for name, parameter in module.named_parameters()
    )
    contenders = {
        "compiled": lambda: update(compiled),
        "jax": in_jax,
        "one_by_one": lambda: update(one_by_one),
    }
    first_step = {}
    if args.torch_compile:
        contenders["torch_compile"], took = torch_update(
            copy.deepcopy(module), columns, config, chosen
        )
        first_step = {"seconds_to_compile": took}
    wholes = list(contenders)
    alone, operations = parts(columns, chosen)
    contenders |= alone
    interleave(contenders, 1)
    # A processor's seconds: on a busy machine a thread of XLA's waits less than this one.
    seconds = interleave(contenders, args.rounds, clock=time.process_time)
    whole = seconds["compiled"]
    rest = [t - sum(seconds[name][i] for name in alone) for i, t in enumerate(whole)]
    found = {
        **{f"ratio_vs_{name}": ratios(whole, seconds[name]) for name in wholes[1:]},
        "largest_difference": difference,
        **{f"seconds_{name}": spread(seconds[name]) for name in wholes},
        **first_step,
        **{f"share_{name}": ratios(seconds[name], whole) for name in alone},
        "share_rest": ratios(rest, whole),
        "products_gflop": operations / 1e9,
        "products_gflop_per_second": spread([operations / 1e9 / t for t in seconds["products"]]),
    }
    show(found, args.json)


if __name__ == "__main__":
    main()
