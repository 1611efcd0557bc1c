"""What becomes of an experiment file: it runs, it is refused with a sentence, or there is a bug."""

import contextlib
import resource
import signal
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import tune

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.cli import train
from rllib_calsheq.data.experiment_files import load_experiments, variants
from rllib_calsheq.learning.learner import NotFiniteError
from rllib_calsheq.running.quiet import quieten, quieten_rllib

RAN, REFUSED, STOPPED, BUG = "ran", "refused", "stopped", "bug"
#: Seconds after which a case hangs.
TIME_LIMIT_S = 60.0
#: Memory that this process may take while a case runs, so that a bug cannot take the machine's.
MEMORY_LIMIT = 8 << 30
#: Characters that a refusal may have.
LONGEST_MESSAGE = 6000
#: What is allowed to be huge, but is not run so: a stage would take hours, not go wrong.
CAPS = {
    "num_particles": 8, "num_epochs": 2, "num_env_runners": 1, "num_learners": 1,
    "num_merchants": 4, "num_suburbs": 4, "num_inside": 4, "episode_length": 6,
    "num_clusters": 12, "customers_per_cluster": 20, "imagined_states": 16,
    "imagined_increments": 64, "imagined_noise": 4,
}  # fmt: skip


class HangError(BaseException):
    """A case took too long; no `Exception`, so that nothing on the way takes it for its own."""


@dataclass
class Verdict:
    """What became of a case: one of `RAN`, `REFUSED`, `STOPPED`, `BUG`, and why."""

    kind: str
    message: str = ""


def prepare():
    """Starts Ray, for all cases."""
    quieten()
    quieten_rllib()
    warnings.simplefilter("ignore")
    if not ray.is_initialized():
        # One of its own, whatever cluster may be here.
        ray.init(
            "local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
        )


def judge(case):
    """Checks a case as `rllib train` does and runs one stage of it."""
    try:
        with tempfile.TemporaryDirectory() as folder, _limits():
            return _judge(case, Path(folder))
    except HangError:
        return Verdict(BUG, f"it took more than {TIME_LIMIT_S:g} s")


def _judge(case, folder):
    try:
        found = _checked(case.write(folder), folder)
    except (ValueError, OSError) as error:
        return _of_refusal(case, str(error))
    except Exception:
        return Verdict(BUG, f"not refused, but raised by the checks:\n{traceback.format_exc()}")
    try:
        for config in found[:1]:
            _run(config, folder)
    except Exception as error:
        if _is_documented(error):
            return Verdict(STOPPED, str(error))
        return Verdict(BUG, f"it passed the checks:\n{traceback.format_exc()}")
    return Verdict(RAN)


def _of_refusal(case, message):
    """The verdict on what a user reads."""
    if "\n\n" in message or not message:
        return Verdict(BUG, f"the refusal is no paragraph: {message!r}")
    if len(message) > LONGEST_MESSAGE:
        return Verdict(BUG, f"the refusal has {len(message)} characters: {message[:500]}")
    if not any(name.lower() in message.lower() for name in [*case.names, *case.files]):
        return Verdict(BUG, f"the refusal names none of {sorted(case.names)}: {message}")
    return Verdict(REFUSED, message)


def _checked(file, folder):
    """All that `rllib train` does before it starts Ray; returns a configuration a trial."""
    found = []
    experiments = load_experiments(file)
    if not experiments:
        raise AssertionError("a file without an experiment was accepted")
    for experiment in experiments:
        if not experiment.is_calsheq:
            train.check_algorithm(experiment.run)
            continue
        train.check(experiment)
        train.local_cpus(experiment)
        tune.RunConfig(
            storage_path=experiment.storage_path or str(folder),
            stop=experiment.stop,
            checkpoint_config=tune.CheckpointConfig(**experiment.checkpoint),
        )
        found += variants(experiment.config)
    return found


def _run(given, folder):
    """One stage and its checkpoint."""
    algorithm = CALSHEQConfig().update_from_dict(_capped(given)).build_algo()
    try:
        algorithm.train()
        algorithm.save_to_path(str(folder / "checkpoint"))
    finally:
        algorithm.stop()


def _is_documented(error):
    """Whether a run may stop in this way: docs/faults.md has it, and the message helps."""
    while error is not None:
        if isinstance(error, NotFiniteError):
            return True
        error = error.__cause__
    return False


def _capped(value, key=None):
    if isinstance(value, dict):
        return {k: _capped(v, k) for k, v in value.items()}
    too_large = key in CAPS and isinstance(value, int) and value > CAPS[key]
    return CAPS[key] if too_large else value


@contextlib.contextmanager
def _limits():
    """Limits the time and memory of a block; a timer that ran before goes on afterwards."""

    def ring(*_):
        raise HangError

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    handler = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT_S)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left)
