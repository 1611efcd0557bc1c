"""What is said and drawn after a run: pictures, and each outcome against its target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rllib_calsheq.core.files import write_json
from rllib_calsheq.results.checkpoints import (
    EVALUATION_FILE,
    TRIAL_FILE,
    find_checkpoint,
    find_trials,
)


def print_evaluation(path: str, *, episodes: int, as_json: bool) -> int:
    """Evaluates a run or checkpoint and prints it; returns the exit code."""
    from rllib_calsheq.results.evaluation import evaluate

    if episodes < 1:
        raise ValueError(f"--episodes is {episodes}; allowed: integers from 1")
    found = evaluate(find_checkpoint(path), episodes=episodes)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show_evaluation(found)
    return 0


def show_evaluation(found: dict[str, Any], console: Console | None = None) -> None:
    """Prints an evaluation as tables."""
    console = console or Console(width=None if Console().is_terminal else 110)
    outcomes = Table(title=f"outcomes at the calibrated profile, stage {found['stage']}")
    outcomes.add_column("outcome", no_wrap=True)
    for heading in ("mean", "stderr", "median", "target", "miss/scale"):
        outcomes.add_column(heading, justify="right")
    for row in found["outcomes"]:
        miss = abs(row["value"] - row["target"]) / row["scale"]
        outcomes.add_row(
            row["name"],
            f"{row['value']:.4g}",
            f"{row['stderr']:.2g}",
            f"{row['median']:.4g}",
            f"{row['target']:.4g}",
            f"{miss:.2f}",
        )
    profile = Table(title="calibrated profile")
    profile.add_column("parameter", no_wrap=True)
    profile.add_column("value", justify="right")
    for name, value in found["profile"].items():
        profile.add_row(name, f"{value:.3f}")
    console.print(profile)
    if found["outcomes"]:
        console.print(outcomes)
        console.print(summary_line(found))


def summary_line(found: dict[str, Any]) -> str:
    """Rewards and recovered fraction in one line."""
    line = (
        f"reward {found['reward']:.3f} ± {found['reward_stderr']:.3f} at the calibrated profile, "
        f"{found['reward_start']:.3f} at the start"
    )
    if found["ceiling"] is not None:
        line += f", {found['ceiling']:.3f} can be reached"
    if found["recovered_fraction"] is not None:
        line += f": recovered fraction {found['recovered_fraction']:.3f}"
    return line


def finish_run(folder: Path, *, evaluate: bool) -> None:
    """Draws every trial's pictures and, for a single trial, evaluates its last checkpoint."""
    from rllib_calsheq.results.plots import draw_trial

    try:
        trials = find_trials(folder)
    except ValueError:
        return
    for trial in trials:
        if not (trial / TRIAL_FILE).stat().st_size:
            continue  # It failed before its first result.
        for picture in draw_trial(trial):
            print(f"drew {picture}", flush=True)
    if not evaluate:
        return
    try:
        checkpoint = find_checkpoint(trials[0])
    except ValueError:
        return
    from rllib_calsheq.results.evaluation import evaluate as evaluate_checkpoint

    found = evaluate_checkpoint(checkpoint)
    write_json(trials[0] / EVALUATION_FILE, found)
    show_evaluation(found)
