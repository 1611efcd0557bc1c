"""Targets met at hidden profiles: several target files, several seeds.

    python benchmarks/recovery.py                                 # eight profiles, seed 0
    python benchmarks/recovery.py --targets setting_3_small --seeds 0 1 2 3

Every run is `rllib train -f tuned_examples/calsheq.yaml --resume` with another target file or
seed in a folder of its own, so that a study that was stopped goes on where it was.
"""

from timing import parser, show  # isort: skip
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rllib_calsheq.core.defaults import STORAGE
from rllib_calsheq.results.checkpoints import EVALUATION_FILE

ROOT = Path(__file__).resolve().parent.parent
TARGETS = [f"setting_3_{name}" for name in ("small", "large", "middle", "extremes", "lower_half")]
TARGETS += [f"setting_5_edge_{name}" for name in ("small", "large", "middle")]


def run(storage, targets, seed, stages, extra):
    """One calibration to its end; returns what its evaluation says."""
    name = f"{targets}_seed{seed}"
    found = storage / name / "trial_00000" / EVALUATION_FILE
    start = time.perf_counter()
    if not found.is_file():
        command = [
            str(Path(sys.executable).parent / "rllib"), "train",
            "-f", str(ROOT / "tuned_examples" / "calsheq.yaml"), "--resume",
            "--name", name, "--storage-path", str(storage),
            "--set", f"config.targets=targets/{targets}.yaml",
            "--set", f"config.seed={seed}", "--set", f"stop.training_iteration={stages}",
        ]  # fmt: skip
        for override in extra:
            command += ["--set", override]
        log = storage / f"{name}.log"
        with open(log, "a", encoding="utf-8") as output:
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            subprocess.run(command, check=True, stdout=output, stderr=output, env=environment)
    evaluation = json.loads(found.read_text(encoding="utf-8"))
    keys = ("recovered_fraction", "reward", "reward_stderr", "reward_start", "ceiling")
    result = dict(evaluation["verdict"])
    result |= {key: evaluation[key] for key in keys}
    print(
        f"{name}: {result['summary']} (worst miss {result['worst_miss']:.2f} scales, recovered "
        f"fraction {result['recovered_fraction']:.3f}) after {time.perf_counter() - start:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return name, result


def main():
    options = parser(__doc__)
    options.add_argument("--targets", nargs="+", default=TARGETS, help="target files, by name")
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument("--stages", type=int, default=200)
    options.add_argument("--jobs", type=int, default=2, help="runs at a time (default: 2)")
    options.add_argument("--storage-path", default=f"{STORAGE}/recovery")
    options.add_argument("--set", dest="extra", action="append", default=[], help="as rllib train")
    args = options.parse_args()
    storage = Path(args.storage_path).expanduser()
    storage.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = [
            pool.submit(run, storage, targets, seed, args.stages, args.extra)
            for targets in args.targets
            for seed in args.seeds
        ]
        found = dict(future.result() for future in runs)
    if args.json:
        show(found, True)
    else:
        show({name: result["summary"] for name, result in found.items()}, False)


if __name__ == "__main__":
    main()
