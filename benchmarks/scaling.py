"""How a stage's cost grows with particles, merchants, steps, customers and env runners.

    python benchmarks/scaling.py            # all of it, about 10 minutes; --large 0: about 2
    python benchmarks/scaling.py --json     # exponent_B, exponent_n, exponent_T, ...

Every size is timed in turn, several rounds; an exponent is the slope of log seconds over log
size (least squares over the medians). 1 is proportional, below 1 cheaper by the piece.
"""

from timing import interleave, parser, quiet, ratios, show, spread  # isort: skip
import resource
from functools import partial

import numpy as np
from stage import build_calsheq

PARTICLES = (32, 64, 128, 256)
MERCHANTS = (5, 20, 80, 320)
STEPS = (15, 30, 60, 120)
CUSTOMERS = (25, 50, 100, 200)
RUNNERS = (0, 1, 2)


def build(particles=32, merchants=5, steps=60, customers=50, runners=0):
    env_config = {
        "num_merchants": merchants, "episode_length": steps, "customers_per_cluster": customers,
    }  # fmt: skip
    return build_calsheq(env_config, particles, {"name": "ppo"}, runners)


def time_sizes(sizes, make, rounds):
    """Median seconds of a stage at each size, all sizes in turn."""
    algorithms = {str(size): make(size) for size in sizes}
    contenders = {name: algorithm.train for name, algorithm in algorithms.items()}
    interleave(contenders, 1)
    seconds = interleave(contenders, rounds)
    for algorithm in algorithms.values():
        algorithm.stop()
    return {name: spread(values) for name, values in seconds.items()}


def exponent(sizes, seconds):
    """Slope of log median seconds over log size."""
    medians = [seconds[str(size)]["median"] for size in sizes]
    return float(np.polyfit(np.log(sizes), np.log(medians), 1)[0])


def large(merchants, particles):
    """Seconds of a stage with many merchants, and the peak memory of this process in GiB."""
    algorithm = build(particles=particles, merchants=merchants)
    seconds = interleave({"stage": algorithm.train}, 1)["stage"]
    algorithm.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds[-1], "peak_memory_gib": peak}


def time_runners(rounds):
    """Seconds that sampling takes with 0, 1 and 2 env runners, n = 10, B = 256."""
    from rllib_calsheq.learning.ray_private.access import sample_round

    algorithms = [build(particles=256, merchants=10, runners=r) for r in RUNNERS]

    contenders = {
        str(r): partial(sample_round, a.env_runner_group)
        for r, a in zip(RUNNERS, algorithms, strict=True)
    }
    interleave(contenders, 1)
    seconds = interleave(contenders, 3 * rounds)
    for algorithm in algorithms:
        algorithm.stop()
    return seconds


def main():
    options = parser(__doc__)
    options.set_defaults(rounds=3)
    options.add_argument("--large", type=int, default=5000, help="merchants of the largest market")
    args = options.parse_args()
    quiet()
    import ray

    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    found = {}
    for name, sizes, make in (
        ("B", PARTICLES, lambda size: build(particles=size)),
        ("n", MERCHANTS, lambda size: build(merchants=size)),
        ("T", STEPS, lambda size: build(steps=size)),
        ("customers", CUSTOMERS, lambda size: build(customers=size)),
    ):
        seconds = time_sizes(sizes, make, args.rounds)
        found[f"exponent_{name}"] = exponent(sizes, seconds)
        found[f"seconds_{name}"] = seconds
        if not args.json:
            show({f"exponent_{name}": found[f"exponent_{name}"]}, False)
    sampling = time_runners(args.rounds)
    found["sampling_seconds_by_env_runners"] = {k: spread(v) for k, v in sampling.items()}
    found["speedup_two_env_runners"] = ratios(sampling["1"], sampling["2"])
    if args.large:
        found[f"n_{args.large}_B_64"] = large(args.large, 64)
    show(found, args.json)
    ray.shutdown()


if __name__ == "__main__":
    main()
