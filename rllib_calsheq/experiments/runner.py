"""Runs what a study lacks: several runs at a time through Tune, then their measurements."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune
from ray.tune import Callback

from rllib_calsheq.algorithm import CALSHEQ
from rllib_calsheq.experiments.measuring import measure_run, verdict_of
from rllib_calsheq.experiments.store import StudyFolder
from rllib_calsheq.experiments.study import Run, Study
from rllib_calsheq.learning.ray_private.access import replace_watchers
from rllib_calsheq.running.records import (
    KeepsWholeState,
    WritesResultsAtOnce,
    naming_a_full_disk,
)
from rllib_calsheq.running.resuming import mend
from rllib_calsheq.running.stopping import EndsWhenSaved, Stop, StopsAtStageEnds
from rllib_calsheq.running.waiting import SaysWhatIsWaitedFor

#: Seconds between two lines about runs under way.
LINE_EVERY_S = 30.0


class Progress(Callback):
    """Prints a line for each run that ends, and now and then one about those under way.

    Args:
        total: Runs of the study.
        done: Those that were finished before.
        stages: Stages of a run.
    """

    def __init__(self, total: int, done: int, stages: int) -> None:
        self.total, self.done, self.stages = total, done, stages
        self._under_way: dict[str, int] = {}
        self._last_line = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Notes the stage; prints a line if the last one is old."""
        self._under_way[str(trial)] = int(result["training_iteration"])
        now = time.monotonic()
        if now - self._last_line < LINE_EVERY_S:
            return
        self._last_line = now
        runs = ", ".join(f"{name} {s}/{self.stages}" for name, s in self._under_way.items())
        print(f"  {runs}", flush=True)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Prints what the run came to."""
        self.done += 1
        self._under_way.pop(str(trial), None)
        result = trial.last_result or {}
        metrics = result.get("calibration", {})
        print(
            f"{self.done}/{self.total} {trial}: reward {metrics.get('reward_mean', math.nan):.3f} "
            f"(particle mean), {result.get('time_total_s', math.nan):.0f} s",
            flush=True,
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Says that a run failed; the others go on."""
        self._under_way.pop(str(trial), None)
        print(f"{trial} failed", flush=True)


def run_study(study: Study, folder: StudyFolder, jobs: int, stop: Stop) -> list[Run]:
    """Runs everything of a study that is not finished yet.

    Args:
        study: The study; checked and begun.
        folder: Where it lives.
        jobs: Runs at a time.
        stop: Where it is noted that a signal asks to stop; then runs are saved where they are.

    Returns:
        Runs that could not be finished.
    """
    runs = study.runs()
    for number, batch in folder.batches().items():
        # A batch that was killed before its first note is done again in a new one.
        wanted = [run for run in batch if run in runs]
        if folder.can_go_on(number) and folder.unfinished(wanted):
            print(f"going on with {folder.batch_folder(number)}", flush=True)
            _run_batch(study, folder, number, batch, jobs, stop)
    begun = {r for k, batch in folder.batches().items() if folder.can_go_on(k) for r in batch}
    missing = [run for run in folder.unfinished(runs) if run not in begun]
    if missing:
        _run_batch(study, folder, folder.add_batch(missing), missing, jobs, stop)
    return folder.unfinished(runs)


def measure_study(
    folder: StudyFolder, episodes: int | None, final_episodes: int | None, default: Study, jobs: int
) -> list[Run]:
    """Measures the runs of a study that are finished and not measured yet, or not like this.

    Args:
        folder: The study.
        episodes: Fresh episodes at each checkpoint; None for those that the study has.
        final_episodes: Fresh episodes at the end; None for those that the study has.
        default: Has the numbers for runs that are not measured, where the study has none.
        jobs: Runs at a time.

    Returns:
        Runs whose measurement failed.
    """
    # A study of an earlier version does not say; what it has measured stays.
    held = folder.episodes(episodes=episodes, final_episodes=final_episodes)
    todo = [r for r in folder.runs() if not folder.is_measured(r, **held) and folder.is_finished(r)]
    numbers = {
        "episodes": held["episodes"] or default.episodes,
        "final_episodes": held["final_episodes"] or default.final_episodes,
    }
    if not todo:
        return []
    print(f"measuring {len(todo)} runs on fresh episodes", flush=True)
    task = ray.remote(num_cpus=1)(measure_run)
    waiting, failed = list(todo), []
    pending: dict[Any, Run] = {}
    while waiting or pending:
        while waiting and len(pending) < jobs:
            run = waiting.pop(0)
            pending[task.remote(folder.trial(run), **numbers)] = run
        (ready,), _ = ray.wait(list(pending), num_returns=1)
        run = pending.pop(ready)
        count = f"{len(todo) - len(waiting) - len(pending)}/{len(todo)}"
        try:
            found = ray.get(ready)
        except ray.exceptions.RayError as error:
            failed.append(run)
            print(f"{count} {run.name} failed: {str(error).splitlines()[-1]}", flush=True)
            continue
        print(f"{count} {run.name}: {verdict_of(found)}", flush=True)
    return failed


def cpus_of(study: Study) -> int:
    """CPUs that one run of a study asks Ray for."""
    configs = [study.config(run) for run in study.runs() if run.seed == study.first_seed]
    requests = [CALSHEQ.default_resource_request(config) for config in configs]
    return math.ceil(max(float(r.required_resources.get("CPU", 1.0)) for r in requests))


def _run_batch(
    study: Study, folder: StudyFolder, number: int, batch: Sequence[Run], jobs: int, stop: Stop
) -> None:
    """Runs a batch to its end, from where it is."""
    path = folder.batch_folder(number)
    counted = list(dict.fromkeys([*study.runs(), *batch]))
    done = len(counted) - len(folder.unfinished(counted))
    progress = Progress(len(counted), done, study.stages)
    keeper = KeepsWholeState(path)
    callbacks: list[Callback] = [WritesResultsAtOnce(), keeper, EndsWhenSaved(stop)]
    callbacks += [SaysWhatIsWaitedFor(), progress]
    scheduler = StopsAtStageEnds(stop)
    configs = [folder.config(run) for run in batch]
    for run in folder.unfinished(batch):
        folder.note_record(number, run)
    # The whole configuration is what the grid varies: the runs need be no full product.
    space: dict[str, Any] = tune.grid_search(configs)
    if folder.can_go_on(number):
        mend(path)
        tuner = tune.Tuner.restore(
            str(path), CALSHEQ, resume_unfinished=True, resume_errored=True, param_space=space
        )
        replace_watchers(tuner, callbacks, scheduler)
    else:
        names = [run.name for run in batch]

        def name_of(trial: Any) -> str:
            return names[int(trial.trial_id.rpartition("_")[2])]

        tuner = tune.Tuner(
            CALSHEQ,
            param_space=space,
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                max_concurrent_trials=jobs,
                reuse_actors=True,
                trial_name_creator=name_of,
                trial_dirname_creator=name_of,
            ),
            run_config=tune.RunConfig(
                name=path.name,
                storage_path=str(path.parent),
                stop={"training_iteration": study.stages},
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=study.measure_every, checkpoint_at_end=True
                ),
                callbacks=callbacks,
                verbose=0,
            ),
        )
    with stop.training(), naming_a_full_disk(path, "the same command"):
        keeper.end(len(tuner.fit()))
