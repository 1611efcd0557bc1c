"""Several seeds of the main job against one of them, from the command to the prompt.

    python benchmarks/seeds.py            # seeds 0 to 4, 120 stages
    python benchmarks/seeds.py --json     # ratio, seconds_one, seconds_all

The ratio is that of the clock's seconds of ``rllib train``, start-up, evaluation, pictures and
report included. ``same`` says whether the first seed came to the same numbers in both, stage by
stage. The machine must have nothing else to do.
"""

from timing import parser, show, spread  # isort: skip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("rllib")), "train"]
EXAMPLE = Path(__file__).resolve().parent.parent / "tuned_examples" / "calsheq.yaml"


def run(seeds, stages, folder):
    """Seconds of a run with these seeds."""
    command = [*COMMAND, "-f", str(EXAMPLE), "--storage-path", folder, "--name", f"{len(seeds)}"]
    command += ["--set", f"config.seed={{grid_search: {seeds}}}"]
    command += ["--set", f"stop.training_iteration={stages}"]
    environment = {n: v for n, v in os.environ.items() if n != "CALSHEQ_NUM_THREADS"}
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def profiles(folder, name):
    """The mean profiles of the first seed's trial, by stage."""
    (file,) = Path(folder, name).glob("trial_00000*/result.json")
    results = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [result["calibration"]["profile"] for result in results]


def main():
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--stages", type=int, default=120)
    args = options.parse_args()
    ones, alls, same = [], [], True
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            ones.append(run([0], args.stages, folder))
            alls.append(run(list(range(args.seeds)), args.stages, folder))
            same = same and profiles(folder, "1") == profiles(folder, str(args.seeds))
    found = {
        "ratio": spread([many / one for many, one in zip(alls, ones, strict=True)]),
        "seconds_one": spread(ones),
        "seconds_all": spread(alls),
        "same": same,
    }
    show(found, args.json)


if __name__ == "__main__":
    main()
