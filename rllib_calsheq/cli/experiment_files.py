"""Experiment files: RLlib's YAML form, with overrides, checked before anything starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ray import tune

from rllib_calsheq.configuration import require, unknown_key_message
from rllib_calsheq.target_files import inline_targets

#: Keys of an experiment, as RLlib's own files have them.
EXPERIMENT_KEYS = (
    "run", "env", "stop", "config", "num_samples", "checkpoint_config", "checkpoint_freq",
    "checkpoint_at_end", "keep_checkpoints_num", "storage_path", "local_dir",
)  # fmt: skip
CHECKPOINT_KEYS = ("checkpoint_frequency", "checkpoint_at_end", "num_to_keep")
#: Stop criteria whose names RLlib's results no longer carry, and what carries them now.
RENAMED_STOPS = {
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "episode_reward_mean": "env_runners/episode_return_mean",
    "sampler_results/episode_reward_mean": "env_runners/episode_return_mean",
}
CALSHEQ_NAME = "CALSHEQ"


@dataclass(frozen=True)
class Experiment:
    """One experiment of a file.

    Attributes:
        name: Its key in the file.
        run: Name of the algorithm.
        config: The algorithm's configuration, ``env`` included; may hold ``grid_search``.
        stop: ``{result name: value}``.
        num_samples: Times that the whole grid is run.
        checkpoint: Fields of Tune's `CheckpointConfig`.
        storage_path: Folder of the runs; Tune's default when None.
    """

    name: str
    run: str
    config: dict[str, Any]
    stop: dict[str, Any] = field(default_factory=dict)
    num_samples: int = 1
    checkpoint: dict[str, Any] = field(default_factory=dict)
    storage_path: str | None = None

    @property
    def is_calsheq(self) -> bool:
        """Whether it calibrates."""
        return self.run == CALSHEQ_NAME


def load_experiments(path: str | Path, overrides: list[str] | None = None) -> list[Experiment]:
    """Reads an experiment file.

    Args:
        path: The YAML file.
        overrides: ``path.to.key=value`` strings, applied to every experiment of the file.

    Raises:
        ValueError: If the file is missing or no experiment file, or a key is unknown.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no experiment file {file}")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError(
            f"{file} is no experiment file: it must map experiment names to mappings with the keys "
            f"{list(EXPERIMENT_KEYS)}"
        )
    experiments = []
    for name, spec in content.items():
        spec = copy.deepcopy(spec)
        for override in overrides or []:
            apply_override(spec, override)
        experiments.append(_read_experiment(str(name), spec, file.parent))
    return experiments


def apply_override(spec: dict[str, Any], override: str) -> None:
    """Sets ``path.to.key=value`` in an experiment; the value is read as YAML.

    Raises:
        ValueError: If the override has no ``=`` or its path leads through a non-mapping.
    """
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise ValueError(
            f"--set takes path.to.key=value, e.g. stop.training_iteration=10: {override!r}"
        )
    if keys[0] not in EXPERIMENT_KEYS:
        raise ValueError(
            unknown_key_message(f"--set {override}: an experiment", keys[0], list(EXPERIMENT_KEYS))
        )
    node = spec
    for depth, key in enumerate(keys[:-1]):
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            raise ValueError(
                f"--set {override}: {'.'.join(keys[: depth + 1])} is {node!r}, no mapping"
            )
    try:
        node[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {override}: the value is not valid YAML: {error}") from None


def _read_experiment(name: str, spec: dict[str, Any], folder: Path) -> Experiment:
    for key in spec:
        if key not in EXPERIMENT_KEYS:
            raise ValueError(
                unknown_key_message(f"experiment {name!r}", key, list(EXPERIMENT_KEYS))
            )
    run = spec.get("run")
    if not isinstance(run, str):
        raise ValueError(
            f"experiment {name!r} does not say which algorithm to run: set `run: CALSHEQ`"
        )
    for key in ("config", "stop", "checkpoint_config"):
        given = spec.get(key) or {}
        require(isinstance(given, Mapping), f"{key} of experiment {name!r}", given, "a mapping")
    num_samples = spec.get("num_samples", 1)
    require(
        isinstance(num_samples, int) and num_samples >= 1,
        f"num_samples of experiment {name!r}",
        num_samples,
        "integers from 1",
    )
    config = resolve_grid(spec.get("config") or {})
    env = spec.get("env", config.get("env"))
    if env is not None:
        config["env"] = env
    checkpoint = dict(spec.get("checkpoint_config") or {})
    for key in checkpoint:
        if key not in CHECKPOINT_KEYS:
            raise ValueError(
                unknown_key_message(f"checkpoint_config of {name!r}", key, list(CHECKPOINT_KEYS))
            )
    for old, new in (
        ("checkpoint_freq", "checkpoint_frequency"),
        ("checkpoint_at_end", "checkpoint_at_end"),
        ("keep_checkpoints_num", "num_to_keep"),
    ):
        if old in spec:
            checkpoint.setdefault(new, spec[old])
    for key in ("checkpoint_frequency", "num_to_keep"):
        value = checkpoint.get(key)
        require(
            value is None or (isinstance(value, int) and value >= 0),
            f"{key} of experiment {name!r}",
            value,
            "integers from 0",
        )
    experiment = Experiment(
        name=name,
        run=run,
        config=config,
        stop={RENAMED_STOPS.get(k, k): v for k, v in flatten(spec.get("stop") or {}).items()},
        num_samples=num_samples,
        checkpoint=checkpoint,
        storage_path=spec.get("storage_path") or spec.get("local_dir"),
    )
    if experiment.is_calsheq and "targets" in config:
        # Read here and carried inside the configuration: the run may start on another machine.
        config["targets"] = inline_targets(config["targets"], folder)
    return experiment


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{a: {b: c}}`` as ``{"a/b": c}``, the way Tune names nested results."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def resolve_grid(config: Any) -> Any:
    """A copy in which every ``{grid_search: [...]}`` is Tune's own object."""
    if isinstance(config, Mapping):
        if set(config) == {"grid_search"}:
            values = config["grid_search"]
            require(
                isinstance(values, list) and len(values) > 0,
                "grid_search",
                values,
                "lists of values",
            )
            return tune.grid_search(values)
        return {key: resolve_grid(value) for key, value in config.items()}
    if isinstance(config, list):
        return [resolve_grid(value) for value in config]
    return config


def variants(config: dict[str, Any]) -> list[dict[str, Any]]:
    """All configurations of the grid."""
    from ray.tune.search.variant_generator import generate_variants

    return [variant for _, variant in generate_variants(copy.deepcopy(config))]
