"""Experiment files that the fuzzer broke something with: each is refused, and the key is named.

`tools/fuzz_configurations.py` looks for more.
"""

import math

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import ray
import torch
import yaml
from market_play import make, play, profile_of
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.algorithm.networks import check_model_config, network_size
from rllib_calsheq.calibrators.ensemble_model import WIDEST_STD, prior_in_logits
from rllib_calsheq.cli import rllib
from rllib_calsheq.core import memory
from rllib_calsheq.core.memory import gigabytes, perceptron_size
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.targets import MOST_SCALES, Outcome, TargetSet
from rllib_calsheq.envs import ArraySubway, MarketConfig, SubwayConfig
from rllib_calsheq.envs.market.data import targets_from_transactions

from experiment_specs import refusal, spec, write

MARKET = "rllib_calsheq.envs.MarketEnv"
#: A number of 401 digits, the smallest one of double precision and nearly the largest.
ENDLESS, TINY, HUGE = 10**400, 5e-324, 1e308


@pytest.fixture(autouse=True)
def _no_actor(monkeypatch):
    """Whoever starts Ray has accepted the file."""

    def start(*args, **kwargs):
        raise AssertionError("the file was accepted")

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(memory, "available_bytes", lambda: 16e9)


def with_text(key, text):
    """The experiment with a text of YAML as a value of its ``config``."""
    return yaml.safe_dump({"experiment": spec({key: "@@"})}).replace("'@@'", text)


def market(**fields):
    """An experiment on a market with these fields."""
    return spec({"targets": {"supertype_1.share": 0.3}, "env_config": fields}, env=MARKET)


def calibrator(**fields):
    return spec({"calibrator": {"name": "ppo", **fields}})


def model(**fields):
    return spec({"model_config": fields})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!timestamp z", "a value is no timestamp in"),
        ("2026-13-45", "a value is no timestamp: month must be in 1..12"),
        ("9" * 5000, "a value is no int: Exceeds the limit (4300 digits)"),
        (str(ENDLESS), "an integer is beyond all numbers of a computer"),
    ],
)
def test_a_value_that_yaml_cannot_read_is_refused_with_its_place(tmp_path, capsys, text, words):
    file = write(tmp_path, with_text("lr_ratio", text))
    message = refusal(capsys, rllib.main, ["train", "-f", file])
    assert "is not valid YAML" in message
    assert words in message
    assert f"lr_ratio: {text[:20]}" in message, "the line is not shown"
    assert "sys.set_int_max_str_digits" not in message


@pytest.mark.parametrize("text", ["&a [*a]", "[0, &a {b: *a}]"])
def test_a_value_that_holds_itself_is_refused_with_its_keys(tmp_path, capsys, text):
    file = write(tmp_path, with_text("lr_ratio", text))
    message = refusal(capsys, rllib.main, ["train", "-f", file])
    assert "the alias (*) at experiment.config.lr_ratio." in message
    assert "write the value out" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", ["is no experiment file", "must map experiment names to mappings"]),
        *[
            (spec(**{key: empty}), [f"{key} of experiment 'experiment' is {empty!r}", "a mapping"])
            for key in ("stop", "checkpoint_config")
            for empty in (0, False, "", [])
        ],
        ({**spec(), "config": 0}, ["config of experiment 'experiment' is 0; allowed: a mapping"]),
        *[
            (
                spec(checkpoint_config={new: 2}, **{old: 2}),
                [f"has {old}, and {new} in checkpoint_config", f"leave {old} out"],
            )
            for old, new in (
                ("checkpoint_freq", "checkpoint_frequency"),
                ("keep_checkpoints_num", "num_to_keep"),
            )
        ],
        # Grids.
        (spec({"gamma": {"grid_search": 3}}), ["gamma.grid_search is 3; allowed: lists"]),
        (spec({"lr_cal": {"offset": {"grid_search": []}}}), ["lr_cal.offset.grid_search is []"]),
        (
            spec({"targets": {"suburbs.subway_rate": {"grid_search": "x"}}}),
            ["targets.suburbs.subway_rate.grid_search is 'x'"],
        ),
        (spec(env={"grid_search": []}), ["env.grid_search is []; allowed: lists of values"]),
        # Keys that are no text.
        (spec({7: 1}), ["config has the keys [7]; allowed: text"]),
        ({**spec(), 7: 1}, ["experiment 'experiment' has no field 7"]),
        (spec({"env_config": {None: 1}}), ["the subway has no field None"]),
        (spec({"env_config": {"supertypes": {7: 1}}}), ["supertypes has the keys [7]"]),
        (spec({"targets": {7: 1}}), ["targets has the keys [7]; allowed: text"]),
        (spec({"targets": {"suburbs.subway_rate": {7: 1}}}), ["subway_rate'", "{7: 1}"]),
        (spec({"parameters": {"fixed": {7: 1}}}), ["fixed has the keys [7]"]),
        (spec({"lr_cal": {7: 1}}), ["lr_cal has no field 7"]),
        (spec({"calibrator": {"name": "ppo", 7: 1}}), ["calibrator has the keys [7]"]),
        (spec({"model_config": {7: 1}}), ["model_config has no field 7"]),
        (
            spec({"custom_resources_per_env_runner": {7: 1}}),
            ["custom_resources_per_env_runner is {7: 1}; allowed: mappings of names to numbers"],
        ),
        # Environments.
        *[(spec(env=env), [f"env {env!r} cannot be imported"]) for env in ("..x", "x..", "", ".")],
        # Numbers.
        *[
            (spec({key: math.inf}), [f"{key} is inf; allowed: numbers from 0"])
            for key in ("num_cpus_per_learner", "num_cpus_per_env_runner", "kl_coeff")
        ],
        (calibrator(hidden_sizes=[]), ["hidden_sizes is []; allowed: a list of at least one"]),
        (calibrator(min_spread=HUGE), ["min_spread is 1e+308; allowed: numbers in (0, 100]"]),
        (calibrator(initial_spread=HUGE), ["initial_spread is 1e+308; allowed: numbers in [0"]),
        # Numbers of the market.
        *[
            (market(**{key: HUGE}), [f"{key} = 1e+308", "more than single precision holds"])
            for key in ("price_volatility", "price_truncation", "risk_aversion")
        ],
        *[
            (market(**{key: HUGE}), [key, "choice_temperature is 0.2"])
            for key in ("max_half_spread", "reservation_half_spread")
        ],
        *[
            (market(**{key: TINY}), [f"{key} = 4.94066e-324", "raise"])
            for key in ("reward_scale", "inventory_scale", "volume_scale")
        ],
        (market(lot_size=HUGE), ["choose a lot_size, 1e+308, near the quantities"]),
        (market(lot_size=TINY), ["choose a lot_size, 4.94066e-324, near the quantities"]),
        (market(choice_temperature=TINY), ["choice_temperature is 5e-324"]),
        (
            market(num_clusters=1, cluster_quantities=[[[HUGE, 1.0]]]),
            ["traded quantities inf", "cluster_quantities"],
        ),
        (
            market(num_clusters=1, cluster_quantities=[[[1.0, HUGE], [2.0, HUGE]]]),
            ["cluster 1 of cluster_quantities", "weights whose sum is a number"],
        ),
        # Targets.
        (
            spec({"targets": {"suburbs.subway_rate": {"value": 0.5, "scale": TINY}}}),
            ["'suburbs.subway_rate': value is 0.5; allowed: numbers up to 1e+15 times the scale"],
        ),
        (
            spec({"targets": {"supertype_1.abs_inventory": HUGE}, "env_config": {}}, env=MARKET),
            ["'supertype_1.abs_inventory': value is 1e+308; allowed: numbers up to"],
        ),
        (
            spec({"targets": {"supertype_1.quantity_p50": TINY}, "env_config": {}}, env=MARKET),
            ["'supertype_1.quantity_p50' has the value 4.94066e-324, which is impossible"],
        ),
        # Memory.
        (spec({"env_config": {"num_suburbs": 10**30}}), [f"num_suburbs = {10**30}", "1e+23 GB"]),
        (spec({"env_config": {"num_inside": 10**30}}), [f"num_inside = {10**30}", "lower one"]),
        (spec({"env_config": {"episode_length": 10**30}}), [f"episode_length = {10**30}"]),
        (market(num_clusters=10**200, customers_per_cluster=10**200), ["num_clusters = 1000"]),
        (spec({"num_particles": 10**307}), ["lower num_particles"]),
        (model(fcnet_hiddens=[10**6, 10**6]), ["[1000000, 1000000]", "2e+12 weights", "48,003."]),
        (model(fcnet_hiddens=[10**300, 10**300]), ["model_config", "fcnet_hiddens", "inf GB"]),
        (model(head_fcnet_hiddens=[10**9]), ["'head_fcnet_hiddens': [1000000000]"]),
        (model(use_lstm=True, lstm_cell_size=10**9), ["'lstm_cell_size': 1000000000"]),
        (calibrator(hidden_sizes=[10**6, 10**6]), ["hidden_sizes = [1000000, 1000000]"]),
        (calibrator(imagined_increments=10**30), [f"imagined_increments = {10**30}"]),
        (calibrator(imagined_noise=10**30), [f"imagined_noise = {10**30}"]),
        # Initializers.
        (
            model(fcnet_kernel_initializer="relu"),
            ["model_config.fcnet_kernel_initializer is 'relu'", "torch.nn.init", "xavier_uniform_"],
        ),
        (
            model(fcnet_bias_initializer="xavier_uniform_"),
            ["model_config.fcnet_bias_initializer is 'xavier_uniform_'", "fewer than 2 dimensions"],
        ),
        (
            model(head_fcnet_kernel_initializer="constant_"),
            ["model_config.head_fcnet_kernel_initializer is 'constant_'", "argument: 'val'"],
        ),
        (
            model(
                fcnet_kernel_initializer="normal_", fcnet_kernel_initializer_kwargs={"sd": 0.1}
            ),
            ["fcnet_kernel_initializer_kwargs = {'sd': 0.1}", "unexpected keyword argument 'sd'"],
        ),
    ],
)  # fmt: skip
def test_a_hostile_experiment_is_refused_with_the_key_as_it_was_given(
    tmp_path, capsys, content, words
):
    message = refusal(capsys, rllib.main, ["train", "-f", write(tmp_path, content)])
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("config", "field"), [(SubwayConfig, "congestion"), (MarketConfig, "lot_size")]
)
def test_an_endless_integer_is_no_number(config, field):
    with pytest.raises(ValueError, match=f"^{field} is 1000"):
        config(**{field: ENDLESS})
    with pytest.raises(ValueError, match="cluster 1 of cluster_quantities"):
        MarketConfig(num_clusters=1, cluster_quantities=[[[ENDLESS, 1]]])
    with pytest.raises(ValueError, match=r"^gamma is 1000"):
        CALSHEQConfig().update_from_dict({"gamma": ENDLESS})


@pytest.mark.parametrize("std", [TINY, 1e-30, 1.5, 1e30, HUGE])
def test_a_prior_of_any_deviation_has_a_precision_that_can_be_added_up(std):
    prior = Prior(mean=np.array([0.5]), std=np.array([np.nan]))
    mean, precision = prior_in_logits(prior, std)
    assert mean == pytest.approx(0.0)
    assert precision == pytest.approx(np.clip(std, 1 / WIDEST_STD, WIDEST_STD) ** -2.0)


@pytest.mark.parametrize("shape", [(2, 9), (10,), (1, 10), (2, 10, 1)])
def test_actions_of_a_wrong_shape_are_refused_by_the_subway(shape):
    city = ArraySubway()
    city.reset([[1.0, 1.0]] * 2, [0, 1])
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 10\), but have \("):
        city.step(np.zeros(shape))


@pytest.mark.parametrize(("quantity", "given"), [(TINY, "5e-324"), (HUGE, r"1e\+308")])
def test_quantities_that_no_market_counts_are_refused(quantity, given):
    table = pd.DataFrame({"shop": ["a", "b"] * 10, "litres": [1.0] * 19 + [quantity]})
    words = rf"1 of the 20 quantities in column 'litres' are not in \[1e-20, 1e\+20\], .*{given}"
    with pytest.raises(ValueError, match=words):
        targets_from_transactions(
            table, seller="shop", quantity="litres", merchant="a", bootstrap=2, file="x.csv"
        )


def test_a_target_may_be_as_many_scales_as_double_precision_tells_apart():
    outcome = Outcome("x", scale=1.0)
    assert TargetSet.from_mapping({"x": -MOST_SCALES}, [outcome]).values == [-MOST_SCALES]
    with pytest.raises(ValueError, match=r"target 'x': value is -2000000000000000.0; allowed"):
        TargetSet.from_mapping({"x": -2 * MOST_SCALES}, [outcome])


def test_customers_that_hardly_ever_arrive_do_not():
    game = make(arrival_probability=1e-30)
    play(game, profile_of(game, 1.0), 2, 0.2)
    assert len(game._customers.episode) == 0


# --- sizes of networks ----------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"vf_share_layers": True},
        {"head_fcnet_hiddens": [16, 8], "fcnet_hiddens": [7]},
        {"use_lstm": True, "lstm_cell_size": 32, "max_seq_len": 5},
    ],
)
def test_the_weights_of_a_network_are_counted_as_rllib_makes_them(fields):
    config = CALSHEQConfig().rl_module(model_config={"free_log_std": False, **fields})
    rlm = config.get_default_rl_module_spec()
    rlm.observation_space, rlm.action_space = (
        gym.spaces.Box(-1.0, 1.0, (width,), np.float32) for width in (5, 3)
    )
    rlm.model_config = dict(config.model_config)
    made = sum(weights.numel() for weights in rlm.build().parameters())
    assert network_size(config.model_config, 5, 2 * 3)[0] == made


def test_a_perceptron_by_hand():
    # (2 + 1) * 64 + (64 + 1) * 3 weights.
    assert perceptron_size([2, 64, 3]) == (387, 67)


@pytest.mark.parametrize(
    ("count", "words"), [(75.14e9, "75.1 GB"), (5e12, "5,000.0 GB"), (2e30, "2e+21 GB")]
)
def test_memory_is_written_as_people_read_it(count, words):
    assert gigabytes(count) == words


@pytest.mark.parametrize(
    "fields",
    [
        {"fcnet_kernel_initializer": "orthogonal_", "fcnet_bias_initializer": "zeros_"},
        {"head_fcnet_bias_initializer": "constant_",
         "head_fcnet_bias_initializer_kwargs": {"val": 0.1}},
        {"conv_kernel_initializer": "dirac_", "lstm_bias_initializer": None},
        {"fcnet_kernel_initializer": lambda weights: weights.fill_(0.0)},
    ],
)  # fmt: skip
def test_initializers_that_work_are_taken_and_draw_nothing(fields):
    before = torch.get_rng_state()
    check_model_config({**vars(DefaultModelConfig()), **fields})
    assert torch.equal(torch.get_rng_state(), before)
