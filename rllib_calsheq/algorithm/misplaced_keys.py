"""Keys of a configuration that mean something, but not under this name or not at this place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_calsheq.algorithm.networks import NETWORK_FIELDS
from rllib_calsheq.algorithm.rllib_fields import FIELDS

#: Names that older versions of RLlib had for a field, and its name now; RLlib itself still takes
#: a few others, e.g. ``num_workers``.
OLDER_NAMES = {
    "num_sgd_iter": "num_epochs",
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "custom_resources_per_worker": "custom_resources_per_env_runner",
    "num_cpus_for_local_worker": "num_cpus_for_main_process",
    "num_learner_workers": "num_learners",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "recreate_failed_workers": "restart_failed_env_runners",
    "recreate_failed_env_runners": "restart_failed_env_runners",
    "max_num_worker_restarts": "max_num_env_runner_restarts",
    "delay_between_worker_restarts_s": "delay_between_env_runner_restarts_s",
    "num_consecutive_worker_failures_tolerance": "num_consecutive_env_runner_failures_tolerance",
    "worker_health_probe_timeout_s": "env_runner_health_probe_timeout_s",
    "worker_restore_timeout_s": "env_runner_restore_timeout_s",
    "validate_workers_after_construction": "validate_env_runners_after_construction",
}
#: What other programs call a field of this one.
OTHER_WORDS = {
    "learning_rate": "lr_shared: {{initial: {value}}}",
    "episodes_per_stage": "num_particles: {value}",
}
#: Keys of the experiment, and of its ``stop``, that are often put into ``config``.
OF_EXPERIMENT = ("run", "stop", "num_samples", "checkpoint_config", "storage_path")
OF_STOP = ("training_iteration", "time_total_s")


def where_it_belongs(key: str, value: Any) -> str | None:
    """What to write instead of an unknown key of the configuration: the end of a sentence.

    Args:
        key: The key, which is no field.
        value: What it was set to.

    Returns:
        None if the key means nothing that is known here.
    """
    if key in OLDER_NAMES:
        name = OLDER_NAMES[key]
        line = f"it is the name that older versions of RLlib had for {name}"
        field = FIELDS[name]
        if field.treatment == "honoured":
            return f"{line}: write {name}: {_yaml(value)}"
        return f"{line}, which has no effect on CALSHEQ: {field.reason}"
    if key in OTHER_WORDS:
        return f"write {OTHER_WORDS[key].format(value=_yaml(value))}"
    if key in NETWORK_FIELDS:
        return (
            "it is a field of the shared policy's network: write "
            f"model_config: {{{key}: {_yaml(value)}}}"
        )
    if key in OF_STOP:
        return f"it says when a run stops: write stop: {{{key}: {_yaml(value)}}} beside config"
    if key in OF_EXPERIMENT:
        return "it is a key of the experiment: write it beside `config`, not inside"
    return None


def _yaml(value: Any) -> str:
    """A value as a line of YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "{...}" if isinstance(value, Mapping) else str(value)
