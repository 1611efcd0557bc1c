"""The calibration profile of one parameter: the best fit with it held, along its range.

The other parameters are calibrated anew at each held value, on the emulator and from the draws that
lie nearest to it, and what was found is simulated with the frozen policy. Where the squared
distance to all targets stays within the quantile of its growth by chance, the targets allow the
value (a profile likelihood).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import chi2

from rllib_calsheq.certificates.jobs.store import result_name
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.files import replacing, write_json
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import pool
from rllib_calsheq.inference.asking import question_of
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.jobs import Bench, Laboratory
from rllib_calsheq.inference.waves import Set, explore
from rllib_calsheq.learning.threads import limited_threads
from rllib_calsheq.results.checkpoints import CERTIFICATES
from rllib_calsheq.results.palette import GOAL, MAIN, SECOND, WHOLE

#: Draws that the search at a held value starts from.
STARTS = 4
#: Steps of the search from each, and of a difference, in logits.
ITERATIONS, DIFFERENCE = 60, 1e-4
#: Held values and starts are so far inside the cube.
INSIDE = 1e-3
#: Values between which the allowed range is read off, on straight lines between the held ones.
FINE = 2001
#: Number of the design that is simulated, after those of the waves; one more for each parameter.
DESIGN = 3000


@limited_threads()
def profile_parameter(
    checkpoint: str | Path,
    parameter: str,
    config: InferenceConfig | None = None,
    points: int = 15,
    folder: str | Path | None = None,
    workers: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Best fit along the range of one parameter.

    Args:
        checkpoint: Folder of the checkpoint.
        parameter: Its name.
        config: As for `infer`, whose simulations are taken if they are there.
        points: Held values, evenly over the range.
        folder: Where the results go; beside the certificates of the checkpoint when None.
        workers: Processes that share the simulations.
        progress: Called with a line now and then.

    Returns:
        ``points``: for each held ``value`` the ``square`` (squared distance of all targets, by
        all errors), the ``worst_miss`` that the frozen policy shows there, in scales, and the other
        ``parameters``. ``allowed``: the range of values whose square is within the quantile at
        the confidence of ``config``.

    Raises:
        ValueError: If there is no such parameter, or the run has no targets.
    """
    begun = time.monotonic()
    config = config or InferenceConfig()
    path = Path(checkpoint)
    place = Path(folder) if folder else path.absolute().parent / CERTIFICATES / path.name
    laboratory = Laboratory(path, config, place)
    free = laboratory.run.calibration.parameters.free
    require(parameter in free.names, "--parameter", parameter, str(list(free.names)))
    require(points >= 3, "--points", points, "integers from 3")
    held = free.names.index(parameter)
    question = question_of(laboratory.run)
    bench = Bench(laboratory, workers, lambda job, seconds: None)
    found, _ = explore(question, bench, config, progress)
    grid = np.linspace(INSIDE, 1.0 - INSIDE, points)
    best = np.stack([_best(found, held, value) for value in grid])
    squares = found.squares(best)
    episodes = config.held_out_episodes * 4
    name = f"profile-{parameter}-{points}"
    _, outcomes = bench.simulate(name, DESIGN + held, lambda: np.repeat(best, episodes, axis=0))
    misses = np.stack(
        [
            pool(part)[question.index] / question.scales[question.index] - question.values
            for part in outcomes.reshape(points, episodes, -1)
        ]
    )
    values = free.from_unit(best)[:, held]
    between = np.linspace(values[0], values[-1], FINE)
    limit = squares.min() + chi2.ppf(config.confidence, 1)
    allowed = between[np.interp(between, values, squares) <= limit]
    run = laboratory.run
    known = (run.config.target_file().profile or {}).get(parameter)
    calibrated = run.calibration.parameters.reduce(run.calibration.calibrated_profile())
    result: dict[str, Any] = {
        "parameter": parameter,
        "points": [
            {
                "value": float(values[i]),
                "square": float(squares[i]),
                "worst_miss": float(np.abs(misses[i]).max()),
                "parameters": free.to_mapping(free.from_unit(best[i])),
            }
            for i in range(points)
        ],
        "allowed": [float(allowed.min()), float(allowed.max())],
        "confidence": config.confidence,
        "calibrated": float(free.from_unit(calibrated)[held]),
        "true": None if known is None else float(known),
        "checkpoint": str(path),
        "seconds": round(time.monotonic() - begun, 1),
        "folder": str(place),
    }
    marks = {"parameter": parameter, "points": points}
    result["file"] = result_name("profile", marks, {**laboratory.identity(), **marks})
    write_json(place / result["file"], result)
    return result


def _best(found: Set, held: int, value: float) -> FloatArray:
    """The profile (f,) of the least square with one parameter held at a value, unit cube."""
    draws = found.draws.profiles
    nearest = draws[np.argsort(np.abs(draws[:, held] - value))[:200]]
    starts = nearest[np.argsort(found.squares(nearest))[:STARTS]]
    others = np.arange(draws.shape[1]) != held

    def place(logits: FloatArray) -> FloatArray:
        profiles = np.full((len(logits), len(others)), value)
        profiles[:, others] = expit(logits)
        return profiles

    def square_and_slope(logits: FloatArray) -> tuple[float, FloatArray]:
        moved = np.concatenate([logits[None], logits + DIFFERENCE * np.eye(len(logits))])
        squares = found.squares(place(moved))
        return float(squares[0]), (squares[1:] - squares[0]) / DIFFERENCE

    if not others.any():
        return np.array([value])
    reached = [
        minimize(
            square_and_slope, logit(np.clip(start[others], INSIDE, 1.0 - INSIDE)), jac=True,
            method="L-BFGS-B", bounds=[(logit(INSIDE), -logit(INSIDE))] * int(others.sum()),
            options={"maxiter": ITERATIONS},
        )
        for start in starts
    ]  # fmt: skip
    return place(min(reached, key=lambda r: r.fun).x[None])[0]


def draw_profile(result: dict[str, Any], path: Path) -> Path:
    """Draws the profile of a parameter; returns the path of the PNG file."""
    mpl.use("Agg")
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    values = [p["value"] for p in result["points"]]
    squares = np.array([p["square"] for p in result["points"]])
    upper.plot(values, squares, color=MAIN, marker="o", markersize=3)
    limit = squares.min() + chi2.ppf(result["confidence"], 1)
    upper.axhline(limit, color=SECOND, linestyle="--", linewidth=1)
    # Values that are far off would hide where the line is crossed.
    upper.set_ylim(0.0, max(4.0 * limit, squares.min() + 4.0))
    upper.set_ylabel("squared distance of\nall targets", fontsize=9)
    lower.plot(values, [p["worst_miss"] for p in result["points"]], color=MAIN, marker="o",
               markersize=3)  # fmt: skip
    lower.set_ylabel("worst miss as simulated,\nin scales", fontsize=9)
    lower.set_xlabel(result["parameter"])
    lower.set_ylim(bottom=0.0)
    for axes in (upper, lower):
        axes.axvspan(*result["allowed"], color=MAIN, alpha=0.1)
        axes.axvline(result["calibrated"], color=WHOLE, linewidth=1, label="calibrated")
        if result["true"] is not None:
            axes.axvline(result["true"], color=GOAL, linewidth=1.4, label="hidden")
        axes.grid(alpha=0.3)
    upper.legend(fontsize=8, loc="upper right")
    low, high = result["allowed"]
    figure.suptitle(
        f"{result['parameter']}: the targets allow {low:.3g} to {high:.3g} (shaded), the other "
        "parameters being calibrated anew", fontsize=10,
    )  # fmt: skip
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    return path
