"""What a stage costs the driver when many env runners sample, and that none is mistaken.

    python benchmarks/many_runners.py                       # 64 runners of 16 particles, minutes
    python benchmarks/many_runners.py --runners 8 --particles 128 --json

Seconds of a stage by what the driver does (median over rounds): ``sample`` waits for the env
runners, which here share the machine's cores by fractions of CPUs and would not on a cluster;
``update`` is the shared policy's learning, ``tell`` the calibrator's and the outcomes' coming
together, ``broadcast`` asking for the next profiles and handing the whole table to every runner;
``rest`` is RLlib's own. Then one runner is killed: ``stages_without`` are stages in which some
particle had no outcome, ``stages_until_back`` those until all had one again. ``stale_reports``
are reports of other profiles than the stage's, which are left out.
"""

from timing import parser, quiet, show, spread  # isort: skip
import os
import signal
import time

from breakdown import Clock

from rllib_calsheq.callbacks import calibration

#: Stages after a runner was killed, at most.
MOST_STAGES = 60


def build(particles, runners):
    """A run on the market whose env runners take as little of a CPU as lets all of them start."""
    from rllib_calsheq.algorithm import CALSHEQConfig

    return (
        CALSHEQConfig()
        .environment("rllib_calsheq.envs.MarketEnv")
        .env_runners(
            num_env_runners=runners, num_cpus_per_env_runner=0.01, sample_timeout_s=120
        )
        .fault_tolerance(restart_failed_env_runners=True, ignore_env_runner_failures=True)
        .calibration(targets={"supertype_1.share": 0.12}, num_particles=particles)
        .build_algo()
    )  # fmt: skip


def kill_one(algorithm):
    """SIGKILL to the first env runner's process."""
    group = algorithm.env_runner_group
    own = lambda runner: os.getpid()  # noqa: E731
    (pid,) = group.foreach_env_runner(own, local_env_runner=False, remote_worker_ids=[1])
    os.kill(pid, signal.SIGKILL)


def main():
    options = parser(__doc__)
    options.add_argument("--particles", type=int, default=1024)
    options.add_argument("--runners", type=int, default=64)
    args = options.parse_args()
    quiet()
    import ray

    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False)
    from ray.rllib.algorithms.ppo import ppo

    start = time.perf_counter()
    algorithm = build(args.particles, args.runners)
    found = {"seconds_to_start": time.perf_counter() - start}
    clock = Clock()
    clock.wrap(ppo, "synchronous_parallel_sample", "sample")
    clock.wrap(algorithm.learner_group, "update", "update")
    clock.wrap(calibration, "end_stage", "tell")
    clock.wrap(calibration, "begin_stage", "broadcast")
    stale = 0
    rows = []
    for k in range(args.rounds + 1):
        clock.seconds.clear()
        start = time.perf_counter()
        metrics = algorithm.train()["calibration"]
        total = time.perf_counter() - start
        assert metrics["num_particles"] == args.particles, metrics["num_particles"]
        stale += metrics["stale_reports"]
        row = dict(clock.seconds)
        row["rest"] = total - sum(row.values())
        if k:
            rows.append(row | {"stage": total})
    found |= {f"{name}_s": spread([row[name] for row in rows]) for name in rows[0]}

    kill_one(algorithm)
    numbers = []
    while len(numbers) < MOST_STAGES and not (numbers and numbers[-1] == args.particles):
        metrics = algorithm.train()["calibration"]
        stale += metrics["stale_reports"]
        numbers.append(metrics["num_particles"])
    found["stages_without"] = sum(k < args.particles for k in numbers)
    found["stages_until_back"] = len(numbers)
    found["stale_reports"] = stale
    algorithm.stop()
    show(found, args.json)


if __name__ == "__main__":
    main()
