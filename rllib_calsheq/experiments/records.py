"""What made a run: its whole configuration, the package's version and a hash of its source.

A study keeps a record beside each run, so that runs that were made by different calibrators, or
by different code, do not share one label.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from rllib_calsheq.calibrators import calibrator_config, entries, find_entry
from rllib_calsheq.core import comparing
from rllib_calsheq.core.comparing import UNKNOWN
from rllib_calsheq.core.version import __version__

#: Packages whose source is hashed: in a checkout the last two are no folders of the first.
PACKAGES = ("rllib_calsheq", "rllib_calsheq.envs", "rllib_calsheq.callbacks")
#: Differences and runs that a message names.
MOST_DIFFERENCES, MOST_RUNS = 5, 3


@cache
def source_hash() -> str:
    """A short hash of the package's Python source, the same however it is installed."""
    files: dict[str, Path] = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for file in Path(folder).rglob("*.py"):
                name = Path(*package.split("."), file.relative_to(folder)).as_posix()
                files[name] = file
    return _hash_of(files)


def _hash_of(files: Mapping[str, Path]) -> str:
    """A short hash of files and their names."""
    total = hashlib.sha256()
    for name, file in sorted(files.items()):
        total.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()[:12]


def _calibrator_source(name: str) -> dict[str, str]:
    """A hash of the module of a calibrator from elsewhere; {} for those of this package."""
    if name in entries():
        return {}
    file = inspect.getsourcefile(find_entry(name).load())
    return {"calibrator_source": _hash_of({name: Path(file)}) if file else UNKNOWN}


def record_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run with this configuration would be made by now, as JSON holds it.

    Returns:
        ``version``, ``source``, ``calibrator`` (its name and all its fields, defaults included),
        ``calibrator_source`` of one that is not in this package, and ``configuration`` (every
        field of the `CALSHEQConfig`).

    Raises:
        ValueError: If it cannot run.
    """
    from rllib_calsheq.algorithm import CALSHEQConfig

    made = CALSHEQConfig().update_from_dict(config)
    with warnings.catch_warnings():
        # The run itself says what it warns of.
        warnings.simplefilter("ignore")
        made.validate()
    fields = {k: v for k, v in made.to_dict().items() if not k.startswith("_")}
    fields["model_config"] = made.model_config
    fields["lr_shared"], fields["lr_cal"] = (asdict(rate) for rate in made.learning_rates())
    del fields["calibrator"]
    own = calibrator_config(made.calibrator_name, made.calibrator_fields)
    record = {
        "version": __version__,
        "source": source_hash(),
        "calibrator": {"name": made.calibrator_name, **(asdict(own) if own else {})},
        **_calibrator_source(made.calibrator_name),
        "configuration": fields,
    }
    return dict(json.loads(json.dumps(comparing.plain(record), default=str)))


def differences(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """What differs between two records, one line for each field; [] if nothing does.

    Args:
        then: The earlier record; None if there is none.
        now: The present one.
    """
    return [f"what made it is {UNKNOWN}"] if then is None else comparing.differences(then, now)


def describe_differences(found: Mapping[str, Iterable[str]]) -> str:
    """Differences of several runs in one paragraph, runs that share one named together."""
    runs: dict[str, list[str]] = {}
    for run, lines in found.items():
        for line in lines:
            runs.setdefault(line, []).append(run)
    said = []
    for line, names in list(runs.items())[:MOST_DIFFERENCES]:
        more = f" and {len(names) - MOST_RUNS} more" if len(names) > MOST_RUNS else ""
        said.append(f"{line} ({', '.join(names[:MOST_RUNS])}{more})")
    if len(runs) > MOST_DIFFERENCES:
        said.append(f"and {len(runs) - MOST_DIFFERENCES} more differences")
    return "; ".join(said)
