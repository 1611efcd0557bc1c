"""What a run was asked for, in a file of its folder, and what may be other when it goes on.

Tune goes on with the configuration that it saved, whatever the file says by now.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rllib_calsheq.core.comparing import differences, plain
from rllib_calsheq.core.files import write_json, write_text
from rllib_calsheq.core.manifest import MOST_DIFFERENCES
from rllib_calsheq.data.experiment_files import Experiment, flatten
from rllib_calsheq.results.checkpoints import STATED_FILE
from rllib_calsheq.running.resuming import newest_state

#: Stands for a field that the file leaves out.
NOT_STATED = "not stated"
#: Statuses of Tune's trials.
FINISHED, WAITING = "TERMINATED", "PENDING"


def stated(experiment: Experiment, num_samples: int) -> dict[str, Any]:
    """What a run is asked for, as JSON, but for when it stops.

    Args:
        experiment: The experiment.
        num_samples: How often the whole grid is run.
    """
    asked = {"config": experiment.config, "checkpoint_config": experiment.checkpoint}
    found: dict[str, Any] = plain(asked | {"num_samples": num_samples})
    return found


def note_stated(run: Path, asked: dict[str, Any]) -> None:
    """Writes what a run is asked for into its folder."""
    write_json(run / STATED_FILE, asked)


def require_same_stated(
    run: Path, asked: dict[str, Any], resolve: Callable[[dict[str, Any]], Any] | None = None
) -> None:
    """Checks that a run that is to go on is asked for what it was begun with.

    A line names what else differs and has no effect any more: checkpoints, the number of samples.

    Args:
        run: Its folder; one of an earlier version has no note, and is not checked.
        asked: What `stated` says now.
        resolve: All that a ``config`` comes to, defaults included: what is stated in another way
            and comes to the same may be.

    Raises:
        ValueError: If the configuration differs; the message says where.
    """
    file = run / STATED_FILE
    if not file.is_file():
        return
    then = json.loads(file.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(asked))
    found = differences(then["config"], now["config"], "config.", NOT_STATED)
    if found and not _come_to_the_same(then["config"], now["config"], resolve):
        more = len(found) - MOST_DIFFERENCES
        said = found[:MOST_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
        raise ValueError(
            f"{file}: this run was begun with another configuration: {'; '.join(said)}. A run goes "
            "on with the one that it was begun with, and to another `stop` if the file has one: "
            "put these back, or start the run again under another --name"
        )
    for line in differences(then | {"config": None}, now | {"config": None}, missing=NOT_STATED):
        print(f"{line}: a run that goes on keeps the first", flush=True)


def _come_to_the_same(then: Any, now: Any, resolve: Callable[[dict[str, Any]], Any] | None) -> bool:
    if resolve is None:
        return False
    try:
        return bool(resolve(then) == resolve(now))
    except ValueError:
        # This version refuses what an earlier one took.
        return False


def begun_with(run: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration that a run was begun with, which Tune compares keys of; else the given."""
    file = run / STATED_FILE
    if not file.is_file():
        return config
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["config"]
    return config if found == json.loads(json.dumps(plain(config))) else found


def stop_at(run: Path, stop: dict[str, Any]) -> None:
    """Makes all trials in Tune's last note of a run's state stop at these results.

    Those that had finished go on if they have not reached them.

    Args:
        run: Its folder, whose last note is whole.
        stop: ``{result: value}``, results by their names with slashes.
    """
    file = newest_state(run)
    if file is None:
        return
    state = json.loads(file.read_text(encoding="utf-8"))
    changed = False
    for pair in state["trial_data"]:
        trial, metadata = (json.loads(text) for text in pair)
        if trial["stopping_criterion"] == stop:
            continue
        trial["stopping_criterion"] = stop
        if trial["status"] == FINISHED and not _has_reached(metadata.get("last_result"), stop):
            trial["status"] = WAITING
        pair[0] = json.dumps(trial)
        changed = True
    if changed:
        write_text(file, json.dumps(state))


def _has_reached(result: dict[str, Any] | None, stop: dict[str, Any]) -> bool:
    found = flatten(result or {})
    return any(name in found and found[name] >= value for name, value in stop.items())
