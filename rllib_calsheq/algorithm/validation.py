"""Checks of a `StatedConfig` that need nothing but its fields and the environment's spaces."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
from collections.abc import Mapping
from typing import Any, Literal

import gymnasium as gym
import ray
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils import force_list

from rllib_calsheq.algorithm.field_checks import changed_for_episodes
from rllib_calsheq.algorithm.networks import network_size
from rllib_calsheq.algorithm.problem import CalibrationProblem
from rllib_calsheq.algorithm.stated_config import StatedConfig
from rllib_calsheq.calibrators import calibrator_config, entries, find_entry, pulls_to_prior
from rllib_calsheq.core.configuration import Count, Positive, configuration, require
from rllib_calsheq.core.memory import network_bytes, require_memory, stage_bytes
from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.learning.ray_private.access import stored

logger = logging.getLogger(__name__)

#: Callbacks that get RLlib's episode objects.
EPISODE_CALLBACKS = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")


@configuration
class CalibrationFields:
    """What the calibration's own fields may be; `StatedConfig` has their meanings and defaults."""

    calibrator: Mapping[str, Any]
    parameters: Mapping[str, Any] | None
    policy_of: Mapping[str, Any] | None
    num_particles: Count
    lr_ratio: Positive | None
    assumption_2: Literal["refuse", "warn"]
    profile_window: Count
    sampling: Literal["auto", "arrays", "episodes"]
    on_bad_episode: Literal["raise", "drop"]


def check_fields(config: StatedConfig) -> None:
    """Checks the types and values of single fields.

    Raises:
        ValueError: If one is not allowed.
    """
    CalibrationFields(
        **{f.name: getattr(config, f.name) for f in dataclasses.fields(CalibrationFields)}
    )
    calibrator_config(config.calibrator_name, config.calibrator_fields)
    scheduled = "learning_rate" in config.calibrator_fields
    if scheduled and find_entry(config.calibrator_name).has_learning_rate:
        raise ValueError(
            "calibrator.learning_rate has no effect in a run, where the rate of every stage "
            "comes from a schedule: set lr_cal.initial instead"
        )
    require(
        config.num_env_runners <= config.num_particles,
        "num_env_runners",
        config.num_env_runners,
        f"at most num_particles = {config.num_particles}, so that each has a particle",
    )


def check_prior(config: StatedConfig, parameters: ParameterMap) -> None:
    """Checks that the calibrator pulls to a prior, if the user stated one.

    Raises:
        ValueError: If it pulls to none, so that the prior would have no effect.
    """
    name = config.calibrator_name
    if parameters.prior is not None and not pulls_to_prior(name, config.calibrator_fields):
        able = [other for other in entries() if pulls_to_prior(other)]
        raise ValueError(
            f"parameters.prior is stated, but calibrator {name!r} with these fields pulls to none: "
            f"leave the prior out, or choose a calibrator that does, of {able}"
        )


def check_memory(config: StatedConfig, problem: CalibrationProblem) -> None:
    """Checks that a stage and the network fit into memory, before any of them is allocated.

    Raises:
        ValueError: If it does not; the message says what to lower.
    """
    steps = problem.episode_length or 1
    on_runner, on_driver = stage_bytes(
        agents=problem.num_agents,
        steps=steps,
        observation=math.prod(problem.observation_space.shape or (1,)),
        action=math.prod(problem.action_space.shape or (1,)),
        particles=config.num_particles,
        runners=config.num_env_runners,
        episode=problem.episode_bytes,
    )
    size = f"{config.num_particles} episodes of {steps} steps of {problem.num_agents} agents"
    lower = "num_particles, or the agents or steps of an episode in env_config"
    if config.num_env_runners:
        runners = "raise num_env_runners, or lower "
        require_memory(on_runner, f"one env runner's part of a stage ({size})", runners + lower)
    require_memory(on_driver, f"a stage ({size})", lower)
    observation = problem.observation_space.shape or ()
    if len(observation) == 1 and stored(config, "rl_module_spec") is None:
        rows = steps * problem.num_agents * config.num_particles
        rows = min(config.minibatch_size or rows, rows)
        _check_network_memory(config, observation[0], problem.action_space, rows)


def _check_network_memory(
    config: StatedConfig, observation: int, action_space: gym.Space, rows: int
) -> None:
    weights, units = network_size(
        config.model_config,
        observation,
        # A mean and a deviation an action.
        distribution=2 * gym.spaces.flatdim(action_space),
    )
    widths = {
        name: value
        for name, value in config.model_config.items()
        if name.endswith(("hiddens", "cell_size"))
    }
    require_memory(
        network_bytes(weights, units, rows),
        f"the network of model_config ({widths}, {weights:.3g} weights) with minibatches of {rows} "
        "rows",
        "these sizes, or minibatch_size",
    )


def check_array_path(config: StatedConfig, obstacles: list[str]) -> None:
    """Checks that episodes can be sampled as arrays.

    Raises:
        ValueError: If they cannot; the message says what to change.
    """
    if obstacles:
        raise ValueError(
            f"`sampling: arrays` cannot be used: {obstacles[0]}; change that, or set `sampling: "
            "episodes` to use RLlib's own path"
        )
    require(
        not config.num_learners or config.num_learners <= config.num_particles,
        "num_learners",
        config.num_learners,
        f"at most num_particles = {config.num_particles}, so that each has an episode",
    )


def check_episode_path(config: StatedConfig) -> None:
    """Checks what RLlib's own path cannot do here.

    Raises:
        ValueError: If several learners are asked for.
    """
    if config.num_learners and config.num_learners > 1:
        raise ValueError(
            f"num_learners is {config.num_learners}, but on RLlib's own path several learners "
            "each standardise their own part of the advantages and adapt a KL coefficient of their "
            "own: set num_learners to 0 or 1, or use `sampling: arrays`, where they work as one"
        )


def array_obstacles(config: StatedConfig, defaults: StatedConfig) -> list[str]:
    """What keeps a configuration from sampling its episodes as arrays, a clause each."""
    problem = config.problem()
    found = []
    if not problem.has_array_form:
        found.append(
            f"{config.env.__name__} has no array form (a class method array_form(), see "
            "rllib_calsheq.core.protocol.ArrayEnv)"
        )
    if not isinstance(problem.observation_space, gym.spaces.Box):
        found.append(
            "the array path needs Box observations, but the environment has "
            f"{problem.observation_space}"
        )
    if config.policy_of is not None:
        found.append(
            f"policy_of makes the policies {config.policy_names}, but the array path plays one"
        )
    if config.model_config.get("use_lstm"):
        found.append("model_config.use_lstm is set, but the array path keeps no network's memory")
    for callback in force_list(config.callbacks_class):
        own = [name for name in EPISODE_CALLBACKS if _overrides(callback, name)]
        if own:
            found.append(
                f"{callback.__name__} defines {', '.join(own)}, but the array path makes no "
                "episode objects"
            )
    return found + changed_for_episodes(config, defaults)


def _overrides(callback: Any, name: str) -> bool:
    return getattr(callback, name, None) is not getattr(RLlibCallback, name)


def check_gpus(config: StatedConfig) -> None:
    """Checks that the GPUs that are asked for are there; on a cluster Ray waits for them.

    Raises:
        ValueError: If they are not.
    """
    asked = {
        "num_gpus_per_learner": config.num_gpus_per_learner * max(config.num_learners, 1),
        "num_gpus_per_env_runner": config.num_gpus_per_env_runner * config.num_env_runners,
    }
    if not any(asked.values()) or os.environ.get("RAY_ADDRESS"):
        return
    there = (
        ray.cluster_resources().get("GPU", 0.0)
        if ray.is_initialized()
        else torch.cuda.device_count()
    )
    for name, number in asked.items():
        if number > there:
            raise ValueError(
                f"{name} is {getattr(config, name)}, {number:g} GPUs in all, but there are "
                f"{there:g} here: set it to 0 to use CPUs"
            )


@functools.cache
def say_once(line: str) -> None:
    """Prints a line, once a process, where Python's logging puts warnings."""
    logger.warning(line)
