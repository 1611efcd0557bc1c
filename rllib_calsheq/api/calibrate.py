"""`calibrate` and `load`: from an environment and targets to a `Result`, in one call each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_calsheq.api.progress import Progress, watcher
from rllib_calsheq.api.result import Result
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.defaults import STORAGE
from rllib_calsheq.data.target_files import inline_targets
from rllib_calsheq.results.checkpoints import find_checkpoint
from rllib_calsheq.running.quiet import quiet

#: Stages of a run that does not say how many.
STAGES = 100


def calibrate(
    env: Any,
    targets: Any = None,
    *,
    stages: int = STAGES,
    until_met: bool = False,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: Progress = True,
    verbose: bool = False,
    **config: Any,
) -> Result:
    """Calibrates an environment to targets, and evaluates what came out.

    It runs in this process; its folder is one that all commands read. Everything is checked before
    anything starts. Ctrl-C, or a notebook's interrupt, ends the stage and saves it.

    Example:
        >>> import rllib_calsheq as cq
        >>> near = {"tolerance": 0.5}  # of a scale of 0.1: within 5 points of a hundred
        >>> result = cq.calibrate(
        ...     "rllib_calsheq.envs.SubwayEnv",
        ...     {"suburbs.subway_rate": {"value": 0.3, **near},
        ...      "inside.subway_rate": {"value": 0.6, **near}},
        ...     stages=60, num_particles=64, seed=0, progress=False,
        ... )
        >>> result.targets[["target", "met"]]
                             target   met
        outcome
        suburbs.subway_rate     0.3  True
        inside.subway_rate      0.6  True

    Args:
        env: The environment's class, its dotted path, or a mapping with ``env`` and further fields
            (``env_config``, ``targets``, ...), as the ``config`` of an experiment file.
        targets: ``{outcome: value}``, ``{outcome: {value: ..., weight: ..., scale: ...}}``, the
            content of a target file, its path, or a Series of values by outcome. Left out only
            where ``env`` is a mapping that has them.
        stages: Stages of the whole run; one episode for each particle in each of them.
        until_met: Whether to end earlier, once all targets have been met in ten stages in a row.
        folder: The run's folder; when None, one that is named after the environment and the time,
            below the folder of all runs.
        resume: Whether to go on with the run in ``folder``, if there is one.
        progress: Whether to show how it goes on, or a function that is called with the numbers of
            each stage (``stage``, ``reward_mean``, ``targets_met``, ...).
        verbose: Whether Ray's own words are shown.
        **config: Any field of `CALSHEQConfig`: ``env_config``, ``num_particles``, ``seed``, ...

    Returns:
        The result, evaluated on fresh episodes.

    Raises:
        ValueError: If something cannot run; the message says what is allowed.
        KeyboardInterrupt: If it was interrupted; the message says how to go on.
    """
    fits = isinstance(stages, int) and not isinstance(stages, bool) and stages >= 1
    require(fits, "stages", stages, "integers from 1")
    given = configuration_of(env, targets, config)
    with quiet(verbose):
        # Here, since what they import sets the levels of Ray's loggers.
        from rllib_calsheq.running.checking import checked_config
        from rllib_calsheq.running.in_process import require_free, run_in_process

        checked = checked_config(given)
        require(folder is not None or not resume, "resume", resume, "True only with a folder")
        place = _new_folder(checked.env) if folder is None else Path(folder).expanduser()
        require_free(place.absolute(), resume)

        def judged() -> Result:
            found = Result(find_checkpoint(place).absolute(), trusted=True)
            found.targets  # noqa: B018 - the evaluation is a part of the run
            return found

        on_stage = watcher(progress, stages)
        result = run_in_process(
            checked, given, place.absolute(), stages, until_met, on_stage, judged, verbose
        )
    if progress is True:
        print(result, flush=True)
    return result


def load(run: str | Path) -> Result:
    """The result of a run, whoever made it: `calibrate`, or ``rllib train``.

    Example:
        >>> from rllib_calsheq import load
        >>> load("my_city").targets["target"].to_dict()
        {'suburbs.subway_rate': 0.3, 'inside.subway_rate': 0.6}

    Args:
        run: Folder of the run, of one of its trials, or of a checkpoint.

    Raises:
        ValueError: If there is no run, it has several trials, or no checkpoint yet.
    """
    checkpoint = find_checkpoint(run)
    return Result(checkpoint.absolute())


def configuration_of(env: Any, targets: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What `calibrate` was given as one configuration, its targets read.

    Raises:
        ValueError: If there are no targets, or a field is stated twice.
    """
    given = {"env": env} if not isinstance(env, Mapping) else dict(env)
    twice = sorted(set(given) & (set(fields) | ({"targets"} if targets is not None else set())))
    if twice:
        raise ValueError(
            f"{twice} stand both in the mapping that `env` is and beside it: state each once"
        )
    given |= fields
    if targets is not None:
        given["targets"] = dict(targets) if isinstance(targets, pd.Series) else targets
    if given.get("env") is None:
        raise ValueError(
            "there is no environment: give a class, its dotted path, e.g. "
            "'rllib_calsheq.envs.MarketEnv', or a mapping with the key `env`"
        )
    if not isinstance(given.get("targets"), (Mapping, str, Path)) or not given["targets"]:
        raise ValueError(
            f"targets are {given.get('targets')!r}; give {{outcome: value}}, e.g. "
            "{'supertype_1.share': 0.3}, or the path of a target file"
        )
    given["targets"] = inline_targets(given["targets"])
    return given


def _new_folder(env: type) -> Path:
    """A folder of its own for a run, named after its environment and the time."""
    stem = f"{env.__name__}_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    storage = Path(STORAGE).expanduser()
    names = [stem, *(f"{stem}_{k}" for k in range(2, 1000))]
    return next(storage / name for name in names if not (storage / name).exists())
