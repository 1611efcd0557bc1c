"""What is said and drawn after a run: pictures, and each outcome against its target."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rllib_calsheq.core.files import json_text, write_json
from rllib_calsheq.results.checkpoints import (
    EVALUATION_FILE,
    TRIAL_FILE,
    find_checkpoint,
    find_trials,
    finished_stages,
    trial_checkpoints,
)

#: Trials that a report at the end of a run shows side by side, at most.
MOST_TRIALS = 12
#: Exit code of a strict command whose targets are not all met.
MISSED = 3
#: Commands that take a finished run further, and what each answers.
NEXT_COMMANDS = {
    "infer": "which profiles explain the targets, and how sure is each parameter?",
    "certify": "can an agent gain by leaving the shared policy?",
}


def print_evaluation(path: str, *, episodes: int, as_json: bool, strict: bool = False) -> int:
    """Evaluates a run or checkpoint and prints it; returns the exit code."""
    from rllib_calsheq.running.quiet import quiet

    if episodes < 1:
        raise ValueError(f"--episodes is {episodes}; allowed: integers from 1")
    checkpoint = find_checkpoint(path)
    with quiet():
        from rllib_calsheq.results.evaluation import evaluate

        found = evaluate(checkpoint, episodes=episodes)
    if as_json:
        print(json_text(found))
    else:
        show_evaluation(found)
    return MISSED if strict and not all_met([found]) else 0


def all_met(evaluations: list[dict[str, Any]]) -> bool:
    """Whether there are evaluations, and in each of them every target is met."""
    return bool(evaluations) and all(
        row["met"] for found in evaluations for row in found["outcomes"]
    )


def show_evaluation(found: dict[str, Any], console: Console | None = None) -> None:
    """Prints an evaluation as tables."""
    console = console or Console(width=None if Console().is_terminal else 110)
    outcomes = Table(title=f"outcomes at the calibrated profile, stage {found['stage']}")
    outcomes.add_column("outcome", no_wrap=True)
    for heading in ("mean", "stderr", "median", "target", "miss/scale", "verdict"):
        outcomes.add_column(heading, justify="right")
    for row in found["outcomes"]:
        outcomes.add_row(
            row["name"],
            f"{row['value']:.4g}",
            f"{row['stderr']:.2g}",
            f"{row['median']:.4g}",
            f"{row['target']:.4g}",
            f"{row['miss']:.2f}",
            "met" if row["met"] else "[bold red]MISSED[/]",
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
        met = found["verdict"]["targets_met"] == found["verdict"]["num_targets"]
        console.print(verdict_line(found), style="bold green" if met else "bold red")
    if found["outcomes"] and found["at_bounds"]:
        at = ", ".join(f"{name} ({bound:g})" for name, bound in found["at_bounds"].items())
        console.print(f"at a bound, which targets seldom say: {at}")


def summary_line(found: dict[str, Any]) -> str:
    """Rewards and recovered fraction in one line."""
    line = (
        f"reward {found['reward']:.3f} ± {found['reward_stderr']:.3f} at the calibrated profile, "
        f"{found['reward_start']:.3f} at the start"
    )
    if found["ceiling"] is not None:
        line += f", {found['ceiling']:.3f} can be reached"
    else:
        line += f", {found['reward_on_target']:.3f} if every mean were on its target"
    if found["recovered_fraction"] is not None:
        line += f": recovered fraction {found['recovered_fraction']:.3f}"
    return line


def verdict_line(found: dict[str, Any]) -> str:
    """Which targets are met, and what is missed by how much."""
    return f"{found['verdict']['summary']} (worst miss {found['verdict']['worst_miss']:.2f} scales)"


def finish_run(folder: Path, *, evaluate: bool, report: bool) -> list[dict[str, Any]]:
    """Draws every trial's pictures and, if asked to, evaluates their last checkpoints.

    Args:
        folder: The run's folder.
        evaluate: Whether to evaluate.
        report: Whether to write the run's report.

    Returns:
        The evaluations; those of trials without a checkpoint are left out.
    """
    from rllib_calsheq.results.plots import draw_trial

    try:
        trials = find_trials(folder)
    except ValueError:
        return []
    found = []
    for trial in trials:
        if not (trial / TRIAL_FILE).stat().st_size:
            continue  # It failed before its first result.
        for picture in draw_trial(trial):
            print(f"drew {picture}", flush=True)
        if evaluate and trial_checkpoints(trial):
            # It was made by this command.
            found.append(_evaluate_trial(trial, trusted=True))
    if report:
        _write_report(folder, len(trials))
    return found


def _write_report(folder: Path, trials: int) -> None:
    """Writes the report of a run; says why where there is none, since the run itself went well."""
    if trials > MOST_TRIALS:
        print(
            f"no report of {trials} trials side by side; of some of them: calsheq report TRIAL "
            "[TRIAL ...]"
        )
        return
    from rllib_calsheq.reporting.writing import write_report

    try:
        for file in write_report([folder]):
            print(f"wrote {file}", flush=True)
    except Exception as error:
        print(f"no report was written: {error}; later: calsheq report {folder}", flush=True)


def evaluate_missing(runs: Sequence[str]) -> None:
    """Evaluates the last checkpoint of each trial that has no evaluation of it."""
    for trial in (trial for run in runs for trial in find_trials(run)):
        checkpoints, file = trial_checkpoints(trial), trial / EVALUATION_FILE
        if not checkpoints:
            continue
        stage = None
        if file.is_file():
            stage = json.loads(file.read_text(encoding="utf-8")).get("stage")
        if stage != finished_stages(checkpoints[-1]):
            print(f"evaluating {checkpoints[-1]}", flush=True)
            _evaluate_trial(trial)


def _evaluate_trial(trial: Path, trusted: bool = False) -> dict[str, Any]:
    from rllib_calsheq.results.evaluation import evaluate

    found = evaluate(find_checkpoint(trial), trusted=trusted)
    write_json(trial / EVALUATION_FILE, found)
    show_evaluation(found)
    return found


def next_lines(folder: Path) -> list[str]:
    """What to ask of a finished run: one command a line, and the question that it answers.

    Args:
        folder: The run's. With several trials, the commands name the first that can be asked.

    Returns:
        Nothing if no trial has a checkpoint to ask.
    """
    from rllib_calsheq.results.reading import params_of

    try:
        trials = [trial for trial in find_trials(folder) if trial_checkpoints(trial)]
    except ValueError:
        return []
    if not trials:
        return []
    run = shlex.quote(str(folder if len(find_trials(folder)) == 1 else trials[0]))
    params = params_of(trials[0])
    asked = dict(NEXT_COMMANDS)
    if params.get("policy_of") or (params.get("model_config") or {}).get("use_lstm"):
        # It is refused for several policies, and for one with a memory.
        del asked["certify"]
    lines = [f"  calsheq {name} {run}  # {asks}" for name, asks in asked.items()]
    return ["what to ask next:", *lines]
