"""`rllib train`: runs experiment files with Tune."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rllib_calsheq.cli.messages import fail
from rllib_calsheq.core.defaults import STORAGE
from rllib_calsheq.results.failures import cause
from rllib_calsheq.running.quiet import quieten_rllib

STRICT_HELP = "exit with 3 if a target is missed at the end"
#: Longest name of a trial's folder.
MAX_NAME_LENGTH = 100
#: Seconds between snapshots of an experiment's state: what a kill can cost at most.
SNAPSHOT_EVERY_S = "5"


def add_train_command(commands: Any) -> None:
    """Adds `train` to the commands of `rllib`."""
    run = commands.add_parser("train", help="run the experiments of a YAML file")
    run.add_argument("words", nargs="*", metavar="[file] FILE", help="the experiment file")
    run.add_argument("-f", "--file", dest="file_flag", metavar="FILE", help="the experiment file")
    run.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="PATH.TO.KEY=VALUE",
        help="override a key of the experiment, e.g. --set config.num_particles=32",
    )  # fmt: skip
    run.add_argument("--name", help="name of the run's folder (default: the experiment's name)")
    run.add_argument("--storage-path", help=f"folder of all runs (default: {STORAGE})")
    run.add_argument("--num-samples", type=int, help="how often to run the whole grid")
    run.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoints of the run of this name",
    )
    run.add_argument(
        "--overwrite",
        action="store_true",
        help="begin anew; the run of this name is kept as NAME.before until the next time",
    )
    run.add_argument("--strict", action="store_true", help=STRICT_HELP)
    run.add_argument(
        "--no-report", dest="report", action="store_false", help="write no report at the end"
    )
    run.add_argument("-v", "--verbose", action="store_true", help="show the workers' own logs")
    run.set_defaults(function=_train)


def _train(args: argparse.Namespace) -> int:
    file = args.file_flag or (args.words[-1] if args.words else None)
    if file is None or (args.words and args.words[:-1] not in ([], ["file"])):
        return fail("give one experiment file: rllib train -f FILE or rllib train file FILE")
    return train(args, file)


def train(args: argparse.Namespace, file: str) -> int:
    """Checks and runs all experiments of a file."""
    from rllib_calsheq.data.examples import find_experiment_file
    from rllib_calsheq.data.experiment_files import load_experiments

    if (found := find_experiment_file(file)) != Path(file):
        print(f"experiment file: {found}", flush=True)
    experiments = load_experiments(file, args.overrides)
    if args.num_samples is not None and args.num_samples < 1:
        raise ValueError(f"--num-samples is {args.num_samples}; allowed: integers from 1")
    if args.overwrite and args.resume:
        raise ValueError("--resume goes on with a run and --overwrite begins it anew: give one")
    if args.overwrite and args.name and len(experiments) > 1:
        raise ValueError(
            f"{file} has {len(experiments)} experiments, of which with --name {args.name} and "
            "--overwrite each would replace the one before: leave out one of the two"
        )
    for experiment in experiments:
        if experiment.is_calsheq:
            import rllib_calsheq.algorithm  # noqa: F401 - sets the levels of RLlib's loggers

            if not args.verbose:
                quieten_rllib()
            check(experiment)
        else:
            check_algorithm(experiment.run)
    from rllib_calsheq.running.stopping import stop_signals

    with stop_signals(_go_on(args)) as stop:
        return max([_run(experiment, args, stop) for experiment in experiments])


def check(experiment: Any) -> None:
    """Builds and checks every configuration of an experiment's grid.

    Raises:
        ValueError: If one of them cannot run.
    """
    for _ in configurations(experiment):
        pass


def configurations(experiment: Any) -> Iterator[Any]:
    """Every configuration of an experiment's grid, checked.

    Raises:
        ValueError: If one is not allowed.
    """
    yield from _configurations(experiment.config)


def _configurations(space: dict[str, Any]) -> Iterator[Any]:
    from rllib_calsheq.data.experiment_files import variants
    from rllib_calsheq.running.checking import checked_config

    for variant in variants(space):
        yield checked_config(variant)


def check_algorithm(name: str) -> None:
    """Checks that Ray knows an algorithm of this name.

    Raises:
        ValueError: If it does not.
    """
    from ray.tune.error import TuneError
    from ray.tune.registry import validate_trainable

    try:
        validate_trainable(name)
    except TuneError:
        raise ValueError(
            f"there is no algorithm {name!r}; set `run` to CALSHEQ or to one of RLlib's, e.g. PPO"
        ) from None


def _run(experiment: Any, args: argparse.Namespace, stop: Any) -> int:
    """Runs one experiment to its end; returns 0 if no trial failed."""
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", SNAPSHOT_EVERY_S)
    from ray import tune

    from rllib_calsheq.cli.table import LiveTable
    from rllib_calsheq.data.experiment_files import resolve_grid
    from rllib_calsheq.learning.ray_private.access import replace_watchers
    from rllib_calsheq.results.checkpoints import TRIAL_FILE, has_begun
    from rllib_calsheq.results.provenance import recorded
    from rllib_calsheq.running.checkpoints import TimedCheckpoints
    from rllib_calsheq.running.records import (
        KeepsWholeState,
        WritesResultsAtOnce,
        naming_a_full_disk,
    )
    from rllib_calsheq.running.resuming import mend, sole_use
    from rllib_calsheq.running.stated_run import begun_with, note_stated, stated, stop_at
    from rllib_calsheq.running.stopping import EndsWhenSaved, StopsAtStageEnds, command_line
    from rllib_calsheq.running.waiting import SaysWhatIsWaitedFor

    storage = Path(args.storage_path or experiment.storage_path or STORAGE).expanduser()
    name = args.name or experiment.name
    folder = storage.resolve() / name
    stages = experiment.stop.get("training_iteration")
    keeper = KeepsWholeState(folder)
    callbacks: list[Any] = [WritesResultsAtOnce(), keeper]
    callbacks += [EndsWhenSaved(stop), SaysWhatIsWaitedFor()]
    callbacks += [LiveTable(stages)] if experiment.is_calsheq else []
    callbacks += [TimedCheckpoints()] if experiment.is_saved_by_the_clock else []
    scheduler = StopsAtStageEnds(stop)
    trainable = _trainable(experiment)
    resumes = args.resume and has_begun(folder)
    if (folder / TRIAL_FILE).is_file():
        raise ValueError(
            f"the run at {folder} was made by rllib_calsheq.calibrate: go on with it there "
            "(folder, resume=True), or give another --name or --storage-path"
        )
    if args.overwrite:
        from rllib_calsheq.running.overwriting import set_aside

        if (before := set_aside(folder)) is not None:
            print(f"the run before is kept at {before}", flush=True)
    if has_begun(folder) and not resumes:
        raise ValueError(
            f"there is a run at {folder} already: go on with it (--resume), begin it anew "
            "(--overwrite), or give another --name or --storage-path"
        )
    asked = stated(experiment, args.num_samples or experiment.num_samples)
    if resumes:
        _require_same(folder, experiment, asked)
    with sole_use(folder):
        _start_ray(experiment, args.verbose)
        # Ray has taken SIGTERM for itself.
        stop.listen()
        if resumes:
            print(f"resuming {folder}", flush=True)
            mend(folder)
            stop_at(folder, experiment.stop)
            tuner = tune.Tuner.restore(
                str(folder),
                trainable,
                resume_errored=True,
                param_space=resolve_grid(begun_with(folder, experiment.config)),
            )
            replace_watchers(tuner, callbacks, scheduler, experiment.stop)
        else:
            note_stated(folder, asked)
            if args.resume:
                print(f"there is no run at {folder} to go on with: one begins", flush=True)
            print(f"running {experiment.name}: results in {folder}", flush=True)
            tuner = tune.Tuner(
                trainable,
                param_space=experiment.config,
                tune_config=tune.TuneConfig(
                    scheduler=scheduler,
                    num_samples=asked["num_samples"],
                    # A process that has ended one trial goes on with the next one.
                    reuse_actors=experiment.is_calsheq,
                    trial_name_creator=trial_name,
                    trial_dirname_creator=trial_name,
                ),
                run_config=tune.RunConfig(
                    name=name,
                    storage_path=str(storage.resolve()),
                    stop=experiment.stop,
                    checkpoint_config=tune.CheckpointConfig(**experiment.checkpoint),
                    callbacks=callbacks,
                    verbose=0 if experiment.is_calsheq else 1,
                ),
            )
        go_on = _go_on(args)
        command = command_line("rllib", args.line)
        with naming_a_full_disk(folder, go_on), recorded(folder, command, stages):
            with stop.training():
                results = tuner.fit()
            keeper.end(len(results))
            return _report(experiment, folder, results, go_on, args)


def _require_same(folder: Path, experiment: Any, asked: dict[str, Any]) -> None:
    """Checks that the run in a folder is the one that is to go on.

    Raises:
        ValueError: If it is another one, or of another version; the message says what to do.
    """
    from rllib_calsheq.core.comparing import plain
    from rllib_calsheq.data.experiment_files import resolve_grid
    from rllib_calsheq.results.checkpoints import require_readable
    from rllib_calsheq.running.stated_run import require_same_stated

    def resolve(config: dict[str, Any]) -> list[Any]:
        return [plain(vars(c)) for c in _configurations(resolve_grid(config))]

    if experiment.is_calsheq:
        maps = [config.parameter_map() for config in configurations(experiment)]
        require_readable(folder, [parameters.stated for parameters in maps])
    require_same_stated(folder, asked, resolve if experiment.is_calsheq else None)


def _go_on(args: argparse.Namespace) -> str:
    """The command that goes on with what this one has begun."""
    from rllib_calsheq.running.stopping import command_line

    return command_line("rllib", [w for w in args.line if w != "--overwrite"], "--resume")


def _start_ray(experiment: Any, verbose: bool) -> None:
    """Starts a Ray of our own, or joins the cluster that the environment names."""
    import ray

    if ray.is_initialized():
        return
    from rllib_calsheq.algorithm.local_ray import start_ray

    start_ray(local_cpus(experiment), verbose, verbose or not experiment.is_calsheq)


def local_cpus(experiment: Any) -> int:
    """CPUs that a Ray of our own counts for an experiment; see `cpus_for`."""
    import multiprocessing

    if not experiment.is_calsheq:
        return multiprocessing.cpu_count()
    from rllib_calsheq.algorithm import CALSHEQ
    from rllib_calsheq.algorithm.local_ray import cpus_for
    from rllib_calsheq.data.experiment_files import variants

    return cpus_for(CALSHEQ.default_resource_request(v) for v in variants(experiment.config))


def trial_name(trial: Any) -> str:
    """Name of a trial and its folder: its number, and what the grid varies."""
    number = trial.trial_id.rpartition("_")[2]
    varied = "".join(
        f"_{key.rpartition('/')[2]}={value}"
        for key, value in sorted(trial.evaluated_params.items())
        if isinstance(value, (int, float, str))
    )
    return f"trial_{number}{varied}"[:MAX_NAME_LENGTH]


def _trainable(experiment: Any) -> Any:
    if experiment.is_calsheq:
        from rllib_calsheq.algorithm import CALSHEQ

        return CALSHEQ
    return experiment.run


def _report(
    experiment: Any, folder: Path, results: Any, go_on: str, args: argparse.Namespace
) -> int:
    """Draws the pictures, prints the evaluation, and says which trials failed and why."""
    code = 0
    strict = args.strict
    if experiment.is_calsheq:
        from rllib_calsheq.cli.reports import MISSED, all_met, finish_run, next_lines

        found = finish_run(folder, evaluate=strict or len(results) == 1, report=args.report)
        judged = experiment.config.get("targets") is not None
        code = MISSED if strict and judged and not all_met(found) else 0
    print(f"results in {folder}", flush=True)
    if experiment.is_calsheq and experiment.config.get("targets") is not None:
        for line in next_lines(folder):
            print(line, flush=True)
    failed = [result for result in results if result.error is not None]
    if failed:
        print(f"once the cause is gone, go on with: {go_on}", flush=True)
    for result in failed:
        # Last, and each in one line, so that the cause is what one sees.
        name = Path(result.path).name
        print(f"error: trial {name} stopped: {cause(result.error)}", file=sys.stderr, flush=True)
    return 1 if failed else code
