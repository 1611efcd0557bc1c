"""A stage on one thread against the same stage on all cores that this process may use.

    python benchmarks/cores.py            # n = 10, T = 60, B = 128
    python benchmarks/cores.py --json     # ratio_stage, ratio_update, ratio_two_runners

``ratio_stage`` is the time of a stage in which as many threads as are fastest share the merchants'
update, over that of one in which a single thread does everything; ``ratio_update`` is the same for
the update alone; ``ratio_two_runners`` is that of a stage in which two env runners sample besides.
The first two take the same numbers to the last bit. Seconds are the clock's: the machine must have
nothing else to do.
"""

from timing import interleave, parser, quiet, ratios, show, spread, time_calls  # isort: skip
import os

import ray
from stage import build_calsheq

from rllib_calsheq.core.cores import NUM_THREADS


def build(args, threads, num_env_runners=0):
    """A run whose updates are tried with so many threads; all that there are for None."""
    os.environ.pop(NUM_THREADS, None)
    if threads is not None:
        os.environ[NUM_THREADS] = str(threads)
    env_config = {"num_merchants": args.merchants}
    return build_calsheq(env_config, args.particles, {"name": args.calibrator}, num_env_runners)


def main():
    options = parser(__doc__)
    options.add_argument("--merchants", type=int, default=10)
    options.add_argument("--particles", type=int, default=128)
    options.add_argument("--calibrator", default="ppo")
    args = options.parse_args()
    quiet()
    # More actors than cores: they are not busy at the same time.
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    algorithms = {
        "one": build(args, 1),
        "all": build(args, None),
        "two_runners": build(args, None, num_env_runners=2),
    }
    contenders = {name: algorithm.train for name, algorithm in algorithms.items()}
    # Numbers of threads are tried in the first stages.
    interleave(contenders, 7)
    updates = {name: time_calls(a.learner_group, "update") for name, a in algorithms.items()}
    seconds = interleave(contenders, args.rounds)
    found = {
        "ratio_stage": ratios(seconds["all"], seconds["one"]),
        "ratio_two_runners": ratios(seconds["two_runners"], seconds["one"]),
        "ratio_update": ratios(updates["all"], updates["one"]),
        **{f"seconds_{name}": spread(values) for name, values in seconds.items()},
    }
    show(found, args.json)
    for algorithm in algorithms.values():
        algorithm.stop()


if __name__ == "__main__":
    main()
