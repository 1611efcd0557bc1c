"""A run as a block that renews itself, or as lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rllib_calsheq.core.stages import CALIBRATION_RESULTS
from rllib_calsheq.reporting.document import duration
from rllib_calsheq.reporting.facts import read_run
from rllib_calsheq.reporting.words import came_out
from rllib_calsheq.results.checkpoints import REPORT_FILE
from rllib_calsheq.results.provenance import End
from rllib_calsheq.running.stage_lines import StageLines
from rllib_calsheq.watching.following import RunNow, TargetNow, TrialNow
from rllib_calsheq.watching.sparkline import around, between, thinned

WAITING = "waiting for the first stage"
#: Width of all of a table but its sparklines and names; widths of a sparkline.
OTHER_COLUMNS, LEAST_WIDTH, MOST_WIDTH = 48, 8, 60
#: Width of a block's frame, and what is between two cells.
FRAME, BETWEEN = 4, "  "
#: Lines of a table beside its targets: its heading, and the reward.
TABLE_LINES = 2
MET, MISSED = "green", "red"


def watch(run: RunNow, every_s: float, console: Console | None = None) -> int:
    """Shows a run until it is done, and says what came of it.

    Args:
        run: The run.
        every_s: Seconds between two looks.
        console: Where to; what is no terminal gets one plain line a stage.

    Returns:
        0, or 1 if the run failed, or a trial of it did.

    Raises:
        ValueError: If it is a run of another algorithm.
        KeyboardInterrupt: When it comes; the run itself goes on.
    """
    console = console or Console()
    if console.is_terminal and not console.is_dumb_terminal:
        _renew(run, every_s, console)
    else:
        _print_lines(run, every_s)
    for line in end_lines(run):
        console.print(line, soft_wrap=True, highlight=False)
    return int(run.end == End.FAILED or any(trial.failure for trial in run.trials))


def end_lines(run: RunNow) -> list[Text]:
    """What came of a run that has ended: a sentence for each trial, and where the report is."""
    found = []
    if run.end == End.STOPPED:
        found.append(
            Text("The run was stopped before its end: --resume (resume=True) goes on with it.")
        )
    if run.end == End.FAILED:
        found.append(Text("The run failed: its own terminal says why.", style=MISSED))
    for trial in run.trials:
        name = f"{trial.folder.name}. " if len(run.trials) > 1 else ""
        if trial.failure is not None:
            found.append(Text(f"{name}Stopped by: {trial.failure}", style=MISSED))
        elif trial.rows:
            found.append(_verdict(trial, name))
    if (report := run.path / REPORT_FILE).is_file():
        found.append(Text(f"report: {report}"))
    return found


def _verdict(trial: TrialNow, name: str) -> Text:
    try:
        facts = read_run(trial.folder, trial.folder.name)
    except ValueError as error:
        return Text(f"{name}{error}")
    style = ""
    if facts.met is not None:
        style = MET if facts.met[0] == facts.met[1] else MISSED
    return Text(f"{name}{came_out(facts)}".replace("`", ""), style=style)


def _renew(run: RunNow, every_s: float, console: Console) -> None:
    # At the end the last view stays on the screen.
    with Live(console=console, auto_refresh=False) as live:
        for _ in looks(run, every_s):
            live.update(view(run, console), refresh=True)


def _print_lines(run: RunNow, every_s: float) -> None:
    lines = StageLines(None, every_s=0.0)
    said: set[str] = set()

    def say(line: str) -> None:
        if line not in said:
            said.add(line)
            print(line, flush=True)

    first = True
    for _ in looks(run, every_s):
        lines.stages = run.stages
        for trial in run.trials:
            label = trial.folder.name if len(run.trials) > 1 else ""
            # What was before this command came is no news.
            for row in trial.fresh[-1:] if first else trial.fresh:
                lines.show(row, label)
            if trial.may_be_dead and run.end is None:
                stage = trial.rows[-1]["training_iteration"] if trial.rows else 0
                say(f"{label} no new stage after {stage}: was the run killed?".strip())
        if not any(trial.rows for trial in run.trials):
            say(WAITING)
        first = False


def looks(run: RunNow, every_s: float) -> Iterator[None]:
    """Looks at a run again and again; the last time when it has ended."""
    while True:
        run.look()
        yield
        if run.end is not None:
            return
        time.sleep(every_s)


# --- what is seen -------------------------------------------------------------------------------


def view(run: RunNow, console: Console) -> RenderableType:
    """A run as one block a trial; where they do not fit, fewer targets and then fewer trials."""
    if not run.trials:
        return Panel(Text(WAITING), title=run.path.name, title_align="left")
    height = console.height - 1
    least = [len(console.render_lines(block(run, trial, 0, console.width))) for trial in run.trials]
    fit = next(
        (k for k in range(len(least), 1, -1) if sum(least[:k]) + (k < len(least)) <= height), 1
    )
    # Those that go on first, if not all can be shown.
    shown = run.trials if fit == len(least) else sorted(run.trials, key=_is_over)[:fit]
    share = (height - (fit < len(least))) // fit
    blocks: list[RenderableType] = []
    for trial in shown:
        room = share - len(console.render_lines(block(run, trial, 0, console.width))) - TABLE_LINES
        blocks.append(block(run, trial, max(0, room), console.width))
    if fit < len(least):
        blocks.append(Text(f"and {len(least) - fit} more trials"))
    return Group(*blocks)


def block(run: RunNow, trial: TrialNow, most: int, width: int) -> Panel:
    """A trial: where it stands, its targets, what is wrong.

    Args:
        run: Its run.
        trial: The trial.
        most: Lines for targets; 0 leaves out their table.
        width: Characters of a line.
    """
    parts: list[RenderableType] = []
    if not trial.rows:
        parts.append(Text(WAITING))
    else:
        parts.append(_numbers(run, trial, width - FRAME))
        if run.stages:
            done = trial.rows[-1]["training_iteration"]
            # By itself it would not end its line.
            parts.append(Padding(ProgressBar(total=run.stages, completed=done), 0))
        if most and trial.targets:
            parts.append(_table(trial, most, width))
    if trial.failure is not None:
        parts.append(Text(f"stopped by: {trial.failure}", style=MISSED))
    elif trial.may_be_dead and run.end is None:
        silent = duration(trial.silent_s)
        parts.append(Text(f"no new stage for {silent}: was the run killed?", style="yellow"))
    name = run.path.name if len(run.trials) == 1 else trial.folder.name
    return Panel(Group(*parts), title=name, title_align="left")


def _is_over(trial: TrialNow) -> bool:
    return trial.failure is not None or trial.may_be_dead


def _numbers(run: RunNow, trial: TrialNow, width: int) -> Text:
    """The cells of the last stage's line, each behind its heading and whole in its line."""
    row = trial.rows[-1]
    cells = StageLines(run.stages).cells(row[CALIBRATION_RESULTS], row, "")
    text, used = Text(), 0
    for heading, cell in cells.items():
        length = len(f"{heading} {cell}")
        if used:
            fits = used + len(BETWEEN) + length <= width
            text.append(BETWEEN if fits else "\n")
            used = used + len(BETWEEN) if fits else 0
        text.append(f"{heading} ", style="dim").append(cell, style="bold")
        used += length
    return text


def _table(trial: TrialNow, most: int, width: int) -> Table:
    """Reward and targets: numbers of the last stage, and a line of blocks over all stages."""
    targets = trial.targets
    named = targets
    if len(targets) > most:
        # One line says how many are left out.
        farthest = sorted(targets, key=lambda t: -t.miss)[: most - 1]
        named = [target for target in targets if target in farthest]
    most_of_a_name = max(LEAST_WIDTH, width - OTHER_COLUMNS - LEAST_WIDTH)
    longest = min(max(len(t.name) for t in targets), most_of_a_name)
    room = max(LEAST_WIDTH, min(MOST_WIDTH, width - OTHER_COLUMNS - longest))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for heading in ("value", "target", "miss/scale", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("by stage", no_wrap=True)
    rewards = trial.rewards
    reward = Text(between(thinned(rewards, room), 0.0, 1.0))
    table.add_row("reward, pooled", f"{rewards[-1]:.3f}", "1", "", "", reward)
    for target in named:
        table.add_row(
            # What tells names apart is at their ends.
            target.name if len(target.name) <= longest else f"…{target.name[1 - longest :]}",
            f"{target.values[-1]:.4g}",
            f"{target.target:.4g}",
            f"{target.miss:.2f}",
            Text("met", style=MET) if target.met[-1] else Text("missed", style=MISSED),
            _line(target, room),
        )
    if len(named) < len(targets):
        table.add_row(f"and {len(targets) - len(named)} nearer ones")
    return table


def _line(target: TargetNow, room: int) -> Text:
    """A target's outcome over the stages; in colour where it was met."""
    met = thinned(target.met, room)
    text = Text()
    for block_, is_met in zip(
        around(thinned(target.values, room), target.target), met, strict=True
    ):
        text.append(block_, style=MET if is_met else "")
    return text
