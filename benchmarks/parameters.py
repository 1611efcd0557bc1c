"""What the calibrator costs, and whether it still learns, with 23 to 500 parameters.

    python benchmarks/parameters.py                  # about 5 minutes
    python benchmarks/parameters.py --sizes 23 64    # ms a stage, worst misses

No agents: outcomes are known functions of the profile, with noise. ``identity``: they are the first
ten parameters, and nothing else moves them. ``mixed``: ten sums of all parameters and of products
of pairs of them, which the critic's features hold up to `MAX_DIM_WITH_PRODUCTS` parameters alone.
``ms`` is CPU time of an ask and a tell, of this thread. ``miss`` is the worst miss, in scales, of
the outcomes without noise at the calibrated profile, and ``start`` that at Λ_0. ``explained`` is
the part of the variance of the outcomes over particles, noise left out, that the critic predicts
before it sees them, in all stages after the tenth: 1 is all of it, 0 what their mean explains.
"""

from timing import parser, quiet, show, spread  # isort: skip
import time

import numpy as np

SIZES = (23, 32, 33, 64, 128, 200, 500)
PARTICLES = 64
OUTCOMES = 10
SCALE = 0.05
NOISE = 0.05
#: Stages before the critic's errors count.
SEEN = 10


def make_world(kind, dim, seed):
    """A function of profiles (M, d) -> outcomes (M, 10), and a profile that meets the targets."""
    rng = np.random.default_rng([seed, dim])
    hidden = rng.uniform(0.1, 0.9, dim)
    if kind == "identity":
        return lambda profiles: profiles[:, :OUTCOMES], hidden
    slopes = rng.normal(0.0, 0.5 / np.sqrt(dim), (dim, OUTCOMES))
    pairs = rng.integers(dim, size=(2, 2 * dim))
    curves = rng.normal(0.0, 1.0 / np.sqrt(2 * dim), (2 * dim, OUTCOMES))

    def outcomes(profiles):
        centred = 2.0 * profiles - 1.0
        return centred @ slopes + (centred[:, pairs[0]] * centred[:, pairs[1]]) @ curves

    return outcomes, hidden


def calibrate(kind, dim, stages, seed):
    """Milliseconds of each stage, worst misses at start and end, what the critic explains."""
    from rllib_calsheq.calibrators import make_calibrator
    from rllib_calsheq.core.targets import Outcome, TargetSet

    outcomes, hidden = make_world(kind, dim, seed)
    names = [f"outcome_{k}" for k in range(OUTCOMES)]
    values = outcomes(hidden[None])[0]
    targets = TargetSet.from_mapping(
        dict(zip(names, values.tolist(), strict=True)), [Outcome(n, SCALE) for n in names]
    )
    start = np.full(dim, 0.5)
    calibrator = make_calibrator(
        "ppo", start=start, num_particles=PARTICLES, targets=targets, seed=seed
    )
    rng = np.random.default_rng([seed, dim, 1])
    seconds, errors, variances = [], [], []
    for _ in range(stages):
        begun = time.thread_time()
        profiles = calibrator.ask()
        asked = time.thread_time() - begun
        exact = outcomes(profiles)
        found = exact + NOISE * rng.standard_normal(exact.shape)
        begun = time.thread_time()
        numbers = calibrator.tell(
            np.arange(PARTICLES), targets.reward(found), found, calibrator.stage
        )
        seconds.append(asked + time.thread_time() - begun)
        errors.append(numbers["critic_error"] ** 2 - (NOISE / SCALE) ** 2)
        variances.append((exact / SCALE).var(axis=0).mean())

    def miss(at):
        return float(np.abs(outcomes(at[None])[0] - values).max() / SCALE)

    explained = 1.0 - np.sum(errors[SEEN:]) / np.sum(variances[SEEN:])
    return {
        "ms": 1e3 * float(np.median(seconds)),
        "start": miss(start),
        "miss": miss(calibrator.estimate()),
        "explained": float(explained),
    }


def main():
    options = parser(__doc__)
    options.set_defaults(rounds=3)
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers d")
    options.add_argument("--stages", type=int, default=120, help="stages of each run")
    args = options.parse_args()
    quiet()
    found = {}
    for dim in args.sizes:
        for kind in ("identity", "mixed"):
            runs = [calibrate(kind, dim, args.stages, seed) for seed in range(args.rounds)]
            of_size = {
                f"{name}_{kind}_{dim}": spread([run[name] for run in runs]) for name in runs[0]
            }
            found |= of_size
            if not args.json:
                show(of_size, False)
    if args.json:
        show(found, True)


if __name__ == "__main__":
    main()
