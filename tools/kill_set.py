"""Kills the driver of a small grid again and again, and compares it with one that nobody killed.

    python tools/kill_set.py                  # 20 kills, about 8 minutes on 2 cores
    python tools/kill_set.py --kills 3 --seed 7

Two trials of the city. The driver gets SIGKILL at random moments by seed, some results after it was
started, within stages and between them; `rllib train --resume` goes on each time. At the end every
trial must have each of its stages with the numbers of the grid that was never killed, to the last
bit, and a kill must have cost no stage that was before a trial's last whole checkpoint.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from killable_commands import calibration_by_stage, finish, kill_once, stages, start  # noqa: E402

from rllib_calsheq.results.checkpoints import finished_stages, trial_checkpoints  # noqa: E402

#: Stages of a trial.
STAGES = 200
#: A kill comes after so many new results at most, however fast the machine is, and then within so
#: many seconds: a few stages.
MOST_RESULTS, LONGEST_S = 8, 0.5
EXPERIMENT = {
    "run": "CALSHEQ",
    "env": "rllib_calsheq.envs.SubwayEnv",
    "stop": {"training_iteration": STAGES},
    "checkpoint_config": {"checkpoint_frequency": 3, "num_to_keep": 3, "checkpoint_at_end": True},
    "config": {
        "targets": {"suburbs.subway_rate": 0.8, "inside.subway_rate": 0.2},
        "env_config": {"num_suburbs": 3, "num_inside": 2, "episode_length": 5},
        "num_particles": 8,
        "minibatch_size": 64,
        "lr_ratio": {"grid_search": [1.0, 0.3]},
        "seed": 0,
    },
}


def trials_of(run: Path) -> list[Path]:
    """Folders of a run's trials, by name."""
    return sorted(path for path in run.glob("trial_*") if path.is_dir())


def last_checkpoint(trial: Path) -> int:
    """Stages behind a trial's last whole checkpoint."""
    return max((finished_stages(path) for path in trial_checkpoints(trial)), default=0)


def kill(words: list[Any], run: Path, ray_folder: str, rng: random.Random) -> None:
    """Starts or resumes a run, and kills it a random time after a random number of new results."""
    begun = sum(len(stages(trial)) for trial in trials_of(run))
    results, wait = rng.randint(1, MOST_RESULTS), rng.uniform(0.0, LONGEST_S)
    since: list[float] = []

    def ready() -> bool:
        if not since:
            if sum(len(stages(trial)) for trial in trials_of(run)) >= begun + results:
                since.append(time.monotonic())
            return False
        return time.monotonic() - since[0] >= wait

    kill_once(start("rllib", words, ray_folder), ready, ray_folder)


def main() -> int:
    """Returns 0 if nothing was lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep the runs there")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    # Ray's sockets want a short path.
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(prefix="ks") as ray:
        place = args.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        file = place / "grid.yaml"
        file.write_text(yaml.safe_dump({"grid": EXPERIMENT}), encoding="utf-8")
        train: list[Any] = ["train", "-f", file, "--storage-path", place, "--name"]
        finish(start("rllib", [*train, "whole"], ray))
        run = place / "cut"
        # For each kill and trial: results so far, and stages behind the last whole checkpoint.
        marks: dict[str, list[tuple[int, int]]] = {}
        for k in range(args.kills):
            kill([*train, "cut"] + (["--resume"] if k else []), run, ray, rng)
            for trial in trials_of(run):
                mark = (len(stages(trial)), last_checkpoint(trial))
                marks.setdefault(trial.name, []).append(mark)
            print(f"kill {k + 1}: { ({name: m[-1] for name, m in marks.items()}) }", flush=True)
        finish(start("rllib", [*train, "cut", "--resume"], ray))
        wrong, costly = 0, []
        for whole, cut in zip(trials_of(place / "whole"), trials_of(run), strict=True):
            expected, found = calibration_by_stage(whole), calibration_by_stage(cut)
            wrong += list(found) != list(range(1, STAGES + 1)) or found != expected
            rows = stages(cut)
            costly += [
                {"trial": cut.name, "kill": k + 1, "saved": saved, "went_on_at": rows[n]}
                for k, (n, saved) in enumerate(marks[cut.name])
                if n < len(rows) and rows[n] != saved + 1
            ]
    found = {"kills": args.kills, "trials_that_differ": wrong, "kills_that_cost_more": costly}
    print(json.dumps(found))
    return 1 if wrong or costly else 0


if __name__ == "__main__":
    sys.exit(main())
