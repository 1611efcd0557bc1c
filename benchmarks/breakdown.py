"""Where the time of a stage goes, callback and broadcast named apart.

    python benchmarks/breakdown.py            # n = 5, T = 60, B = 64
    python benchmarks/breakdown.py --particles 1024 --json

Shares of a stage's time (median over rounds). ``market`` is the market's core, ``policy`` the
rest of sampling; ``tell`` is the calibrator's learning, ``broadcast`` asking it for the next
profiles and handing them to the env runners; ``rest`` is RLlib's own bookkeeping.
"""

from timing import parser, quiet, show, spread  # isort: skip
import time

from stage import build_calsheq

from rllib_calsheq.callbacks import calibration


class Clock:
    """Adds up the seconds spent inside functions that it wraps."""

    def __init__(self):
        self.seconds = {}

    def wrap(self, owner, method, name):
        original = getattr(owner, method)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

        setattr(owner, method, timed)


def main():
    options = parser(__doc__)
    options.add_argument("--merchants", type=int, default=5)
    options.add_argument("--particles", type=int, default=64)
    args = options.parse_args()
    quiet()
    algorithm = build_calsheq({"num_merchants": args.merchants}, args.particles, {"name": "ppo"})
    algorithm.train()
    clock = Clock()
    runner, market = algorithm.env_runner, algorithm.env_runner._array_env
    for method in ("reset", "step", "episode_outcomes"):
        clock.wrap(market, method, "market")
    clock.wrap(runner, "sample", "sample")
    clock.wrap(algorithm.learner_group, "update", "update")
    clock.wrap(calibration, "end_stage", "tell")
    clock.wrap(calibration, "begin_stage", "broadcast")
    rows = []
    for _ in range(args.rounds):
        clock.seconds.clear()
        start = time.perf_counter()
        algorithm.train()
        total = time.perf_counter() - start
        spent = dict(clock.seconds)
        spent["policy"] = spent.pop("sample") - spent["market"]
        spent["rest"] = total - sum(spent.values())
        rows.append({"seconds": total} | {name: s / total for name, s in spent.items()})
    found = {
        ("seconds" if name == "seconds" else f"share_{name}"): spread([row[name] for row in rows])
        for name in ("seconds", "market", "policy", "update", "tell", "broadcast", "rest")
    }
    show(found, args.json)
    algorithm.stop()


if __name__ == "__main__":
    main()
