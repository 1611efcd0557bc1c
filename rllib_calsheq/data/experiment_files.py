"""Experiment files: RLlib's YAML form, with overrides, checked before anything starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from ray import tune

from rllib_calsheq.core.configuration import (
    Count,
    NonNegativeInt,
    configuration,
    from_mapping,
    is_number,
    require,
    unknown_key_message,
)
from rllib_calsheq.core.stages import STAGES_UNTIL_DONE
from rllib_calsheq.data.examples import find_experiment_file
from rllib_calsheq.data.target_files import inline_targets
from rllib_calsheq.data.yaml_text import read_yaml

#: Keys of an experiment, as RLlib's own files have them.
EXPERIMENT_KEYS = (
    "run", "env", "stop", "config", "num_samples", "checkpoint_config", "checkpoint_freq",
    "checkpoint_at_end", "keep_checkpoints_num", "storage_path", "local_dir",
)  # fmt: skip
#: Stop criteria whose names RLlib's results no longer carry, and what carries them now.
RENAMED_STOPS = {
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "episode_reward_mean": "env_runners/episode_return_mean",
    "sampler_results/episode_reward_mean": "env_runners/episode_return_mean",
}
#: Results of CALSHEQ that a run may stop at, groups of further ones, and those of a stage.
STOP_RESULTS = (
    "training_iteration", "iterations_since_restore", "num_env_steps_sampled_lifetime",
    "time_total_s", "time_since_restore", "timestamp",
)  # fmt: skip
STOP_GROUPS = ("calibration", "env_runners", "learners")
STAGE_RESULTS = (
    "stage", "num_particles", "reward_mean", "reward_std", "reward_pooled", "worst_miss",
    "num_targets", "targets_met", "stages_all_met", "largest_move", "dropped_episodes",
    "stale_reports", "lr_shared", "lr_shared_scheduled", "kl_coefficient_shared",
)  # fmt: skip
#: Those that are mappings of names to numbers.
STAGE_MAPPINGS = ("outcomes", "targets", "returns", "profile", "calibrator")
#: What a calibration does that states no `checkpoint_frequency`: checkpoints by the clock
#: (`rllib_calsheq.running.checkpoints`) and at the end, of which the last ones are kept.
TIMED_CHECKPOINTS = {"checkpoint_at_end": True, "num_to_keep": 3}
#: The stop criterion that takes the word `ALL` for a number, and what that word means.
TARGETS_MET, ALL = "calibration/targets_met", "all"
STAGES_ALL_MET = "calibration/stages_all_met"
CALSHEQ_NAME = "CALSHEQ"


@configuration
class CheckpointFields:
    """When a run writes checkpoints: fields of Tune's `CheckpointConfig`.

    Attributes:
        checkpoint_frequency: Iterations between two checkpoints; 0 for none on the way. None
            for one every two minutes if the run calibrates, else for none.
        checkpoint_at_end: Whether there is one at the end; None for what the algorithm does.
        num_to_keep: Checkpoints that are kept; None for all, or for three if they come every two
            minutes.
    """

    checkpoint_frequency: NonNegativeInt | None = None
    checkpoint_at_end: bool | None = None
    num_to_keep: Count | None = None

    def given(self) -> dict[str, Any]:
        """The fields that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@configuration
class Experiment:
    """One experiment of a file.

    Attributes:
        name: Its key in the file.
        run: Name of the algorithm.
        config: The algorithm's configuration, ``env`` included; may hold ``grid_search``.
        stop: ``{result name: value}``; a run stops when a result reaches its value.
        num_samples: Times that the whole grid is run.
        checkpoint: Fields of Tune's `CheckpointConfig`.
        storage_path: Folder of the runs; Tune's default when None.
    """

    name: str
    run: str
    config: dict[str, Any]
    stop: dict[str, Any] = field(default_factory=dict)
    num_samples: Count = 1
    checkpoint: dict[str, Any] = field(default_factory=dict)
    storage_path: str | None = None

    @property
    def is_calsheq(self) -> bool:
        """Whether it calibrates."""
        return self.run == CALSHEQ_NAME

    @property
    def is_saved_by_the_clock(self) -> bool:
        """Whether checkpoints come every few minutes, since the file states no frequency."""
        return self.is_calsheq and "checkpoint_frequency" not in self.checkpoint


def load_experiments(path: str | Path, overrides: list[str] | None = None) -> list[Experiment]:
    """Reads an experiment file.

    Args:
        path: The YAML file; or the name of one of the package's own (`find_experiment_file`).
        overrides: ``path.to.key=value`` strings, applied to every experiment of the file.

    Raises:
        ValueError: If the file is missing or no experiment file, or a key is unknown.
    """
    file = find_experiment_file(path)
    content = read_yaml(file, str(file))
    named = isinstance(content, dict) and len(content) > 0
    if not named or not all(isinstance(v, dict) for v in content.values()):
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
        message = unknown_key_message("an experiment", keys[0], list(EXPERIMENT_KEYS))
        raise ValueError(
            f"--set {override}: {message}. Fields of its algorithm are inside config, e.g. "
            f"--set config.{override}"
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
    node[keys[-1]] = read_yaml(text, f"--set {override}: the value")


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
        # An empty key of a YAML file is None.
        given = {} if spec.get(key) is None else spec[key]
        require(isinstance(given, Mapping), f"{key} of experiment {name!r}", given, "a mapping")
    config = resolve_grid(spec.get("config") or {})
    env = spec.get("env", config.get("env"))
    if env is not None:
        config["env"] = resolve_grid(env, "env.")
    checkpoint = dict(spec.get("checkpoint_config") or {})
    for old, new in (
        ("checkpoint_freq", "checkpoint_frequency"),
        ("checkpoint_at_end", "checkpoint_at_end"),
        ("keep_checkpoints_num", "num_to_keep"),
    ):
        if old in spec and new in checkpoint:
            raise ValueError(
                f"experiment {name!r} has {old}, and {new} in checkpoint_config, which are the "
                f"same: leave {old} out"
            )
        if old in spec:
            checkpoint[new] = spec[old]
    fields = from_mapping(CheckpointFields, checkpoint, f"checkpoint_config of {name!r}")
    timed = run == CALSHEQ_NAME and fields.checkpoint_frequency is None
    stop = {RENAMED_STOPS.get(k, k): v for k, v in flatten(spec.get("stop") or {}).items()}
    if run == CALSHEQ_NAME:
        _replace_all(stop, f"stop of experiment {name!r}")
    _check_stop(stop, f"stop of experiment {name!r}", known=run == CALSHEQ_NAME)
    folder_key = next((key for key in ("storage_path", "local_dir") if key in spec), "storage_path")
    run_folder = spec.get(folder_key)
    fits = run_folder is None or (
        isinstance(run_folder, str) and run_folder.isprintable() and run_folder
    )
    require(bool(fits), f"{folder_key} of experiment {name!r}", run_folder, "the path of a folder")
    experiment = from_mapping(
        Experiment,
        {
            "name": name,
            "run": run,
            "config": config,
            "stop": stop,
            "num_samples": spec.get("num_samples", 1),
            "checkpoint": (TIMED_CHECKPOINTS if timed else {}) | fields.given(),
            "storage_path": run_folder,
        },
        f"experiment {name!r}",
    )
    if experiment.is_calsheq and "targets" in config:
        # Read here and carried inside the configuration: the run may start on another machine.
        targets = inline_targets(config["targets"], folder)
        experiment.config["targets"] = resolve_grid(targets, "targets.")
    return experiment


def _replace_all(stop: dict[str, Any], what: str) -> None:
    """Writes ``targets_met: all`` as the number of stages in a row that it stands for."""
    if stop.get(TARGETS_MET) != ALL:
        return
    require(
        STAGES_ALL_MET not in stop,
        f"{TARGETS_MET} in {what}",
        ALL,
        f"numbers where {STAGES_ALL_MET} is stated, too, which says after how many stages in a row",
    )
    del stop[TARGETS_MET]
    stop[STAGES_ALL_MET] = STAGES_UNTIL_DONE


def _check_stop(stop: Mapping[str, Any], what: str, known: bool) -> None:
    """Checks that criteria are numbers and, if ``known``, that CALSHEQ's results have their names.

    Tune finds a name that no result has only when the first iteration is over.
    """
    for name, value in stop.items():
        top, _, rest = name.partition("/")
        if known and not (top in STOP_GROUPS if rest else name in STOP_RESULTS):
            groups = [f"{group}/..." for group in STOP_GROUPS]
            raise ValueError(unknown_key_message(what, name, [*STOP_RESULTS, *groups]))
        group, _, inside = rest.partition("/")
        if known and top == "calibration":
            allowed = [f"calibration/{result}" for result in STAGE_RESULTS]
            allowed += [f"calibration/{mapping}/..." for mapping in STAGE_MAPPINGS]
            if not (group in STAGE_MAPPINGS if inside else rest in STAGE_RESULTS):
                raise ValueError(unknown_key_message(what, name, allowed))
        if name == "training_iteration":
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            require(whole, f"{name} in {what}", value, "integers from 1")
        words = f"numbers, or {ALL!r}" if known and name == TARGETS_MET else "numbers"
        require(is_number(value), f"{name} in {what}", value, words)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{a: {b: c}}`` as ``{"a/b": c}``, the way Tune names nested results."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def resolve_grid(config: Any, path: str = "") -> Any:
    """A copy in which every ``{grid_search: [...]}`` is Tune's own object.

    Args:
        config: A configuration, or a part of one.
        path: Keys that lead to the part, each with a dot behind, for error messages.

    Raises:
        ValueError: If a grid is no list of values.
    """
    if isinstance(config, Mapping):
        if set(config) == {"grid_search"}:
            values = config["grid_search"]
            fits = isinstance(values, list) and len(values) > 0
            require(fits, f"{path}grid_search", values, "lists of values")
            return tune.grid_search(values)
        return {key: resolve_grid(value, f"{path}{key}.") for key, value in config.items()}
    if isinstance(config, list):
        return [resolve_grid(value, path) for value in config]
    return config


def variants(config: dict[str, Any]) -> list[dict[str, Any]]:
    """All configurations of the grid."""
    from ray.tune.search.variant_generator import generate_variants

    return [variant for _, variant in generate_variants(copy.deepcopy(config))]
