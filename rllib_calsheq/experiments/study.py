"""What a study consists of: every setting with every calibrator and every seed.

All runs of a setting have the same environment steps, the same training of the shared policy,
the same start Λ_0 and the same seeds; only the calibrator differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rllib_calsheq.calibrators import DEFAULT_CALIBRATOR, calibrator_config, find_entry
from rllib_calsheq.core.configuration import require
from rllib_calsheq.data.examples import FOLDER, shipped_examples
from rllib_calsheq.data.experiment_files import Experiment, load_experiments, variants
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.data.yaml_text import read_yaml
from rllib_calsheq.experiments.paper_settings import SETTINGS

#: Between the name of a calibrator and its fields, and between these.
FIELD_SEPARATOR = ":"
#: Learning rates by stage: the Robbins-Monro schedules of the configuration, or no decay.
DECAYING, CONSTANT = SCHEDULES = ("decaying", "constant")


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        setting: Setting 1 to 5.
        calibrator: Label of the calibrator, ``name`` or ``name:field=value:...``; the name may be
            the dotted path of a class.
        seed: Seed of everything random.
        lr_ratio: Ratio of the calibrator's to the shared policy's initial learning rate; the
            configuration's own where None.
        schedule: ``decaying`` or ``constant`` learning rates.
    """

    setting: int
    calibrator: str
    seed: int
    lr_ratio: float | None = None
    schedule: str = DECAYING

    @property
    def name(self) -> str:
        """Unique name within a study, also of the run's folder."""
        calibrator = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.calibrator)
        name = f"setting_{self.setting}-{calibrator}"
        if self.lr_ratio is not None:
            name += f"-ratio_{self.lr_ratio:g}-{self.schedule}"
        return f"{name}-seed_{self.seed}"

    def to_mapping(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Study:
    """All runs that are compared.

    Attributes:
        experiments: The tuned example of each setting.
        calibrators: Labels of the calibrators.
        seeds: Number of seeds; they are `first_seed`, `first_seed` + 1, ...
        stages: Stages of every run.
        measure_every: Stages between two checkpoints, at each of which the calibrated profile
            is measured.
        episodes: Fresh episodes of such a measurement.
        final_episodes: Fresh episodes of the measurement at the end.
        lr_ratios: Ratios of learning rates to compare, each with both schedules; empty for
            the configuration's own rates.
        first_seed: The first of the seeds.
    """

    experiments: dict[int, Experiment]
    calibrators: tuple[str, ...]
    seeds: int
    stages: int
    measure_every: int
    episodes: int
    final_episodes: int
    lr_ratios: tuple[float, ...] = ()
    first_seed: int = 0

    def __post_init__(self) -> None:
        for name, flag in (
            ("seeds", "--seeds"),
            ("stages", "--stages"),
            ("measure_every", "--measure-every"),
            ("episodes", "--episodes"),
            ("final_episodes", "--final-episodes"),
        ):
            value = getattr(self, name)
            require(value >= 1, flag, value, "integers from 1")
        require(self.first_seed >= 0, "--first-seed", self.first_seed, "integers from 0")
        require(
            self.measure_every <= self.stages,
            "--measure-every",
            self.measure_every,
            f"integers up to the number of stages, {self.stages}",
        )
        require(len(self.calibrators) > 0, "--calibrators", "", "one name or more")
        _require_distinct("--calibrators", self.calibrators)
        _require_distinct("--lr-ratios", self.lr_ratios)
        for label in self.calibrators:
            name = parse_calibrator(label)["name"]
            if self.lr_ratios and not find_entry(name).has_learning_rate:
                raise ValueError(
                    f"--lr-ratios compares learning rates, which calibrator {name!r} does not "
                    f"have; give --calibrators {DEFAULT_CALIBRATOR}"
                )
        for ratio in self.lr_ratios:
            require(0 < ratio < float("inf"), "--lr-ratios", ratio, "numbers > 0")

    def runs(self) -> list[Run]:
        """All runs, seed by seed, so that a study that is cut off compares what it has."""
        ratios: list[tuple[float | None, str]] = [(None, DECAYING)]
        if self.lr_ratios:
            ratios = list(product(self.lr_ratios, SCHEDULES))
        return [
            Run(setting, calibrator, seed, ratio, schedule)
            for seed in range(self.first_seed, self.first_seed + self.seeds)
            for setting, calibrator, (ratio, schedule) in product(
                self.experiments, self.calibrators, ratios
            )
        ]

    def config(self, run: Run) -> dict[str, Any]:
        """The configuration of a run: its setting's tuned example, and what the run varies."""
        return run_config(self.experiments[run.setting].config, run)

    def check(self) -> None:
        """Builds and checks the configuration of every kind of run; starts nothing.

        Raises:
            ValueError: If one of them cannot run.
        """
        from rllib_calsheq.algorithm import CALSHEQConfig

        for run in self.runs():
            # Those of other seeds differ in nothing else; constant rates warn, by intention.
            if run.seed == self.first_seed and run.schedule == DECAYING:
                CALSHEQConfig().update_from_dict(self.config(run)).validate()

    def targets(self, setting: int) -> TargetFile:
        """The target file of a setting."""
        return TargetFile.load(self.experiments[setting].config["targets"])

    def to_mapping(self) -> dict[str, Any]:
        """What must not change while a study goes on, as JSON holds it."""
        return {
            "stages": self.stages,
            "measure_every": self.measure_every,
            "settings": {str(s): e.config for s, e in self.experiments.items()},
        }


def run_config(example: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """The configuration of a run.

    Args:
        example: The configuration of the setting's tuned example.
        run: What it varies.
    """
    config = dict(example)
    config["calibrator"] = parse_calibrator(run.calibrator)
    config["seed"] = run.seed
    if run.lr_ratio is not None:
        config["lr_ratio"] = run.lr_ratio
    if run.schedule == CONSTANT:
        for name in ("lr_shared", "lr_cal"):
            config[name] = {**config.get(name, {}), "exponent": 0.0}
        config["assumption_2"] = "warn"
    return config


def parse_calibrator(label: str) -> dict[str, Any]:
    """Reads ``name`` or ``name:field=value:...``; values are YAML.

    Returns:
        ``{name: ..., field: value}``, as a configuration's ``calibrator``.

    Raises:
        ValueError: If it cannot be read, or there is no such calibrator or field.
    """
    name, *fields = label.split(FIELD_SEPARATOR)
    values: dict[str, Any] = {}
    for field in fields:
        key, equals, text = field.partition("=")
        if not key or not equals:
            raise ValueError(
                f"calibrator {label!r} has the part {field!r}; write its fields as "
                "name:field=value:field=value, e.g. bo:stages_per_trial=5"
            )
        values[key] = read_yaml(text, f"calibrator {label!r}: the value of {key}")
    calibrator_config(name, values)
    return {"name": name, **values}


def examples_folder(given: str | Path | None = None) -> Path:
    """The folder of the tuned examples: the given one, one here, or the package's own.

    Raises:
        ValueError: If there is none.
    """
    if given is not None:
        folder = Path(given)
        require(folder.is_dir(), "--examples", str(given), "folders that exist")
        return folder
    for found in (Path.cwd() / FOLDER, shipped_examples()):
        if found is not None and found.is_dir():
            return found
    raise ValueError(
        "there is no folder tuned_examples here or beside the package; name the one that holds "
        "experiment_1.yaml ... experiment_5.yaml with --examples"
    )


def load_settings(settings: list[int], folder: Path) -> dict[int, Experiment]:
    """The tuned example ``experiment_N.yaml`` of each setting N.

    Raises:
        ValueError: If a setting is unknown or named twice, or its file cannot be used.
    """
    _require_distinct("the settings", settings)
    found = {}
    for setting in settings:
        require(setting in SETTINGS, "setting", setting, str(list(SETTINGS)))
        file = folder / f"experiment_{setting}.yaml"
        experiments = load_experiments(file)
        if len(experiments) != 1 or not experiments[0].is_calsheq:
            raise ValueError(f"{file} must hold one experiment with `run: CALSHEQ`")
        if len(variants(experiments[0].config)) != 1:
            raise ValueError(f"{file} must hold no grid_search: the study varies what it compares")
        if not experiments[0].config.get("targets"):
            raise ValueError(f"{file} has no targets; set config.targets to a target file")
        found[setting] = experiments[0]
    return found


def _require_distinct(what: str, values: Any) -> None:
    repeated = sorted({v for v in values if list(values).count(v) > 1})
    require(not repeated, what, list(values), f"each one once, but {repeated} are repeated")


def run_of(mapping: Mapping[str, Any]) -> Run:
    """The run that `Run.to_mapping` described."""
    return Run(**mapping)
