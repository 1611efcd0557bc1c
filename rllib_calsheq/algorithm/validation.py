"""Checks of a `CALSHEQConfig` that need nothing but its fields and the environment's spaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import gymnasium as gym

from rllib_calsheq.algorithm.problem import CalibrationProblem
from rllib_calsheq.calibrators import calibrator_config
from rllib_calsheq.configuration import require

if TYPE_CHECKING:
    from rllib_calsheq.algorithm.config import CALSHEQConfig


def check_fields(config: CALSHEQConfig) -> None:
    """Checks the types and values of single fields.

    Raises:
        ValueError: If one is not allowed.
    """
    require(
        isinstance(config.calibrator, Mapping),
        "calibrator",
        config.calibrator,
        "a mapping of its name and fields, e.g. {name: ppo}",
    )
    calibrator_config(config.calibrator_name, config.calibrator_fields)
    if "learning_rate" in config.calibrator_fields:
        raise ValueError(
            "calibrator.learning_rate has no effect in a run, where the rate of every stage "
            "comes from a schedule: set lr_cal.initial instead"
        )
    for name in ("num_particles", "profile_window"):
        value = getattr(config, name)
        require(isinstance(value, int) and value >= 1, name, value, "integers from 1")
    for name, least in (
        ("num_env_runners", 0),
        ("seed", 0),
        ("minibatch_size", 1),
        ("num_epochs", 1),
    ):
        value = getattr(config, name)
        require(
            value is None or (isinstance(value, int) and value >= least),
            name,
            value,
            f"integers from {least}",
        )
    for name, allowed in (
        ("assumption_2", ("refuse", "warn")),
        ("sampling", ("auto", "arrays", "episodes")),
    ):
        require(getattr(config, name) in allowed, name, getattr(config, name), str(allowed))
    require(
        config.num_env_runners <= config.num_particles,
        "num_env_runners",
        config.num_env_runners,
        f"at most num_particles = {config.num_particles}, so that each has a particle",
    )
    if config.evaluation_interval:
        raise ValueError(
            f"evaluation_interval is {config.evaluation_interval}, but the env runners of RLlib's "
            "evaluation get no supertypes: leave it out and use `calsheq evaluate`, which works "
            "while the run goes on, too"
        )


def check_array_path(config: CALSHEQConfig, problem: CalibrationProblem) -> None:
    """Checks that episodes can be sampled as arrays.

    Raises:
        ValueError: If they cannot; the message says what to change.
    """
    instead = "or set `sampling: episodes` to use RLlib's own path"
    if not problem.has_array_form:
        raise ValueError(
            f"{config.env.__name__} has no array form, which `sampling: arrays` needs: give its "
            f"class an array_form() (rllib_calsheq.protocol.ArrayEnv), {instead}"
        )
    require(
        not config.num_learners or config.num_learners <= config.num_particles,
        "num_learners",
        config.num_learners,
        f"at most num_particles = {config.num_particles}, so that each has an episode",
    )
    connectors = {
        "env_to_module_connector": config._env_to_module_connector,
        "module_to_env_connector": config._module_to_env_connector,
        "learner_connector": config._learner_connector,
    }
    given = [name for name, connector in connectors.items() if connector is not None]
    if given:
        raise ValueError(
            f"the array path does not run connectors of your own, but {given} are set: take "
            f"them out, {instead}"
        )
    if not isinstance(problem.observation_space, gym.spaces.Box):
        raise ValueError(
            "the array path needs Box observations, but the environment has "
            f"{problem.observation_space}: flatten them, {instead}"
        )


def check_episode_path(config: CALSHEQConfig) -> None:
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
