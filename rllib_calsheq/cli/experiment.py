"""`calsheq experiment`: the study of the five settings, its tables and its figures."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_calsheq.cli.messages import fail
from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.defaults import EVALUATION_EPISODES, STORAGE

if TYPE_CHECKING:
    from rllib_calsheq.experiments.study import Study

DEFAULT_STORAGE = f"{STORAGE}/experiment"
#: What is run where the command does not say, in full and with --quick.
FULL: dict[str, Any] = {
    "settings": [1, 2, 3, 4, 5],
    "seeds": 5,
    "stages": 200,
    "measure_every": 20,
    "episodes": 256,
    "final_episodes": EVALUATION_EPISODES,
}
QUICK: dict[str, Any] = {
    "settings": [1],
    "seeds": 1,
    "stages": 30,
    "measure_every": 10,
    "episodes": 64,
    "final_episodes": 128,
}


def add_experiment_command(commands: Any) -> None:
    """Adds the command to the parser of `calsheq`."""
    command = commands.add_parser(
        "experiment", help="calibrators against each other in the paper's settings, over seeds"
    )
    command.add_argument(
        "settings", nargs="*", type=int, metavar="SETTING",
        help="settings 1 to 5 (default: all)",
    )  # fmt: skip
    command.add_argument(
        "--calibrators", metavar="NAME,...",
        help="calibrators, by name or by the dotted path of a class, each with fields as "
        "name:field=value (default: all of the package but `fixed`, which is no calibration; "
        "ppo with --lr-ratios)",
    )  # fmt: skip
    command.add_argument(
        "--seeds", type=int, metavar="N", help=f"number of seeds (default: {FULL['seeds']})"
    )
    command.add_argument(
        "--first-seed", type=int, default=0, metavar="SEED",
        help="the first of the seeds, which follow each other (default: 0)",
    )  # fmt: skip
    command.add_argument(
        "--stages", type=int, help=f"stages of every run (default: {FULL['stages']})"
    )
    command.add_argument(
        "--measure-every", type=int, metavar="STAGES",
        help="stages between two measurements of the calibrated profile "
        f"(default: {FULL['measure_every']})",
    )  # fmt: skip
    command.add_argument(
        "--episodes",
        type=int,
        help="fresh episodes of such a measurement (default: the study's, at first "
        f"{FULL['episodes']}); another number measures again",
    )
    command.add_argument(
        "--final-episodes",
        type=int,
        help=f"the same at the end (default: the study's, at first {FULL['final_episodes']})",
    )
    command.add_argument(
        "--lr-ratios", metavar="RATIO,...",
        help="compare ratios of the calibrator's to the shared policy's learning rate instead, "
        "each with decaying and with constant rates",
    )  # fmt: skip
    command.add_argument("--jobs", type=int, help="runs at a time (default: the machine's CPUs)")
    command.add_argument(
        "--quick", action="store_true",
        help=f"a slice of minutes: setting 1, one seed, {QUICK['stages']} stages, unless given",
    )  # fmt: skip
    command.add_argument(
        "--storage-path", metavar="FOLDER",
        help=f"where the study's runs are kept (default: {DEFAULT_STORAGE}, quick: ..._quick)",
    )  # fmt: skip
    command.add_argument("--examples", metavar="FOLDER", help="folder of experiment_N.yaml")
    command.add_argument(
        "-o", "--output", metavar="DIR",
        help="where tables and figures go (default: results in the study's folder)",
    )  # fmt: skip
    command.add_argument(
        "--report", action="store_true",
        help="train nothing: measurements, tables and figures of the runs that are finished",
    )  # fmt: skip
    command.add_argument(
        "--accept-mixture", action="store_true",
        help="go on although runs of the study were made by another version of the package or "
        "other defaults; the summary says which",
    )  # fmt: skip
    command.add_argument(
        "--redraw", action="store_true",
        help="run and read nothing but the CSV files in DIR: draw their figures again",
    )  # fmt: skip
    command.set_defaults(function=experiment)


def experiment(args: argparse.Namespace) -> int:
    """Runs, measures, tabulates and draws a study; returns the exit code."""
    if args.redraw:
        from rllib_calsheq.experiments.figures import draw_all

        require(args.output is not None, "--redraw without --output", None, "-o DIR")
        return _say_drawn(draw_all(Path(args.output)))

    study = study_of(args)
    jobs = (os.cpu_count() or 1) if args.jobs is None else args.jobs
    require(jobs >= 1, "--jobs", jobs, "integers from 1")

    from rllib_calsheq.experiments.store import StudyFolder

    path = args.storage_path or default_storage(args)
    folder = StudyFolder(path)
    if args.report:
        require(bool(folder.content), "--report: the study's folder", path, "folders of a study")
        for name in ("stages", "measure_every"):
            given, own = getattr(args, name), folder.content[name]
            flag = "--" + name.replace("_", "-")
            require(given in (None, own), f"{flag} of a --report", given, f"the study's own, {own}")
    else:
        study.check()

    from rllib_calsheq.algorithm.local_ray import local_ray
    from rllib_calsheq.experiments.figures import draw_all
    from rllib_calsheq.experiments.runner import cpus_of, measure_study, run_study
    from rllib_calsheq.experiments.tables import SUMMARY, write_tables
    from rllib_calsheq.running.resuming import sole_use
    from rllib_calsheq.running.stopping import command_line, stop_signals

    failed = []
    cpus = jobs if args.report else jobs * cpus_of(study)
    with ExitStack() as stack:
        # A report may be made of a study that runs.
        if not args.report:
            stack.enter_context(sole_use(folder.path))
            folder = StudyFolder(path)
            folder.begin(study, args.accept_mixture)
            if not folder.batches():
                folder.episodes(episodes=study.episodes, final_episodes=study.final_episodes)
        stop = stack.enter_context(stop_signals(command_line("calsheq", args.line)))
        stack.enter_context(local_ray(cpus))
        # Ray has taken SIGTERM for itself.
        stop.listen()
        if not args.report:
            runs = study.runs()
            print(
                f"{len(runs)} runs of {study.stages} stages, {jobs} at a time; "
                f"{len(folder.unfinished(runs))} to do, in {folder.path}",
                flush=True,
            )
            failed = run_study(study, folder, jobs, stop)
        failed += measure_study(folder, args.episodes, args.final_episodes, study, jobs)
    output = Path(args.output) if args.output else folder.path / "results"
    for written in write_tables(folder, output):
        print(f"wrote {written}")
    _say_drawn(draw_all(output))
    print((output / SUMMARY).read_text(encoding="utf-8"))
    for run in failed:
        fail(f"{run.name} is not finished: see {folder.trial(run)}")
    return 1 if failed else 0


def study_of(args: argparse.Namespace) -> Study:
    """The study that the command's words describe.

    Raises:
        ValueError: If they describe none.
    """
    from rllib_calsheq.calibrators import DEFAULT_CALIBRATOR, entries
    from rllib_calsheq.experiments.study import Study, examples_folder, load_settings

    values = dict(QUICK if args.quick else FULL)
    settings = args.settings or values.pop("settings")
    values.pop("settings", None)
    values.update({k: getattr(args, k) for k in values if getattr(args, k) is not None})
    if args.measure_every is None:
        values["measure_every"] = min(values["measure_every"], max(values["stages"], 1))
    if args.calibrators is not None:
        calibrators = _words(args.calibrators)
    elif args.lr_ratios:
        calibrators = [DEFAULT_CALIBRATOR]
    else:
        calibrators = [entry.name for entry in entries().values() if entry.needs_targets]
    return Study(
        experiments=load_settings(settings, examples_folder(args.examples)),
        calibrators=tuple(calibrators),
        lr_ratios=tuple(_ratios(args.lr_ratios)),
        first_seed=args.first_seed,
        **values,
    )


def default_storage(args: argparse.Namespace) -> str:
    """A folder for each kind of study, since runs of different length are not compared."""
    suffix = ("_lr_ratios" if args.lr_ratios else "") + ("_quick" if args.quick else "")
    return DEFAULT_STORAGE + suffix


def _say_drawn(paths: list[Path]) -> int:
    for path in paths:
        print(f"drew {path}")
    return 0


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _ratios(text: str | None) -> list[float]:
    try:
        return [float(word) for word in _words(text or "")]
    except ValueError:
        raise ValueError(
            f"--lr-ratios is {text!r}; allowed: numbers > 0 with commas between, e.g. 1,0.1,0.01"
        ) from None
