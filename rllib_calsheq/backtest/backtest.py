"""A backtest: calibrated to some rows, judged by others, against dull rivals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.backtest.config import BacktestConfig, Reading
from rllib_calsheq.backtest.folds import Fold
from rllib_calsheq.backtest.markets import Markets, Said, calibrate, configure
from rllib_calsheq.backtest.observations import (
    PREDICTED,
    Lesson,
    Observations,
    learn,
    split_rows,
)
from rllib_calsheq.backtest.predictions import (
    MEANINGS,
    Predictor,
    in_words,
    predictions,
    rows_of,
    score,
)
from rllib_calsheq.core.comparing import plain
from rllib_calsheq.core.files import fingerprint, replacing, write_json
from rllib_calsheq.core.version import __version__
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.learning.threads import limited_threads

RESULT_FILE, ROWS_FILE = "backtest.json", "predictions.csv"

Progress = Callable[[str], None]


@limited_threads()
def backtest(
    table: pd.DataFrame,
    reading: Reading,
    config: BacktestConfig,
    inference: InferenceConfig,
    base: Mapping[str, Any],
    folder: str | Path,
    workers: int = 1,
    progress: Progress = lambda line: None,
    command: str = "",
) -> dict[str, Any]:
    """Calibrates the market to a part of the rows and judges what it says of the others.

    Everything is checked before the first calibration begins. What the same backtest has calibrated
    and simulated before is taken from its folder.

    Args:
        table: One transaction a row.
        reading: How it is read as a market.
        config: What is asked for.
        inference: What is asked of each inference; its seed and draws are those of ``config``.
        base: Configuration of the calibrations, as an experiment's ``config``, but for the targets.
        folder: Where all is kept.
        workers: Processes that share the simulations. More than 1 need the caller's main module to
            be importable.
        progress: Called with a line now and then.
        command: What was typed, for whoever reads the result.

    Returns:
        The findings as `RESULT_FILE` in ``folder`` holds them: ``folds``, and what
        `rllib_calsheq.backtest.predictions.score` found. `ROWS_FILE` has every prediction.

    Raises:
        ValueError: If rows, columns, folds or configuration do not fit.
    """
    begun = time.monotonic()
    place = Path(folder).expanduser().absolute()
    seen = Observations.of(table, reading, config)
    folds = split_rows(seen, config)
    lessons = [learn(seen, fold, config) for fold in folds]
    configs = [configure(base, lesson.content, config) for lesson in lessons]
    inference = replace(inference, seed=config.seed, draws=config.draws)
    tables, done = [], []
    for fold, lesson, own in zip(folds, lessons, configs, strict=True):
        line = f"fold {fold.number}/{len(folds)}: "
        said, home = _ask(
            fold, lesson, own, config, inference, place, workers,
            lambda text, line=line: progress(line + text),  # type: ignore[misc]
        )  # fmt: skip
        tables.append(_predict(seen, fold, lesson, said, config))
        done.append(_summary(fold, lesson, said) | {"folder": home.name})
    rows = pd.concat(tables, ignore_index=True)
    result: dict[str, Any] = score(rows)
    result = {
        "in_words": in_words(result),
        **result,
        "predictors": {str(k): v for k, v in MEANINGS.items()},
        "folds": done,
        "reading": asdict(reading),
        "settings": asdict(config),
        "inference": asdict(inference),
        "rows": len(seen.table),
        "data_hash": seen.fingerprint,
        "seed": config.seed,
        "version": __version__,
        "command": command,
        "seconds": round(time.monotonic() - begun, 1),
    }
    with replacing(place / ROWS_FILE) as unfinished:
        rows.to_csv(unfinished, index=False, float_format="%.6g")
    write_json(place / RESULT_FILE, result)
    return result | {"folder": str(place)}


def _ask(
    fold: Fold,
    lesson: Lesson,
    own: CALSHEQConfig,
    config: BacktestConfig,
    inference: InferenceConfig,
    place: Path,
    workers: int,
    progress: Progress,
) -> tuple[tuple[Said, Said], Path]:
    """What a fold's markets say, with learning and with fixed quotes, and the fold's folder."""
    made_by = {
        "version": __version__,
        "targets": lesson.content,
        "stages": config.stages,
        "config": plain(own.to_dict()),
    }
    home = place / f"fold-{fold.number}-{fingerprint(made_by)}"
    checkpoint = calibrate(own, home / "calibration", config.stages, progress)
    TargetFile.load(lesson.content).save(home / "targets.yaml")
    markets = Markets(checkpoint, PREDICTED, config, inference, home, workers, progress)
    return (markets.learning(), markets.fixed()), home


def _predict(
    seen: Observations, fold: Fold, lesson: Lesson, said: tuple[Said, Said], config: BacktestConfig
) -> pd.DataFrame:
    """Every prediction of a fold; see `rows_of`."""
    tables = []
    for k, part in enumerate(fold.test):
        found = predictions(
            *said, lesson, k,
            None if fold.ahead is None else fold.ahead[k], config.seed, fold.number,
        )  # fmt: skip
        tables.append(rows_of(found, seen.outcomes(part.rows), lesson, fold.number, part.name))
    return pd.concat(tables, ignore_index=True)


def _summary(fold: Fold, lesson: Lesson, said: tuple[Said, Said]) -> dict[str, Any]:
    """A fold, and how well its markets fit the rows that they learned from."""
    learning, fixed = said
    fits = (
        (Predictor.LEARNING, np.median(learning.inferred, axis=0)),
        (Predictor.LEARNING_POINT, learning.calibrated),
        (Predictor.FIXED, np.median(fixed.inferred, axis=0)),
        (Predictor.FIXED_POINT, fixed.calibrated),
    )
    return {
        "fold": fold.number,
        "train": [part.name for part in fold.train],
        "train_rows": len(fold.train_rows),
        "test": [part.name for part in fold.test],
        "calibration": learning.verdict,
        "fixed_quotes": fixed.verdict,
        "training": [
            {
                "outcome": name,
                "target": bool(lesson.is_target[i]),
                "observed": float(lesson.pooled[i]),
                "scale": float(lesson.scales[i]),
                **{str(who): float(values[i]) for who, values in fits},
            }
            for i, name in enumerate(PREDICTED)
        ],
    }
