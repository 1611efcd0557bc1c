"""Runs experiment files that are wrong at random, each for a stage.

Each must run, or be refused with one paragraph that names the key. All else is a bug, which is
printed with its seed and its files; then the exit code is 1. The same seed makes the same file.

How to run: python tools/fuzz_configurations.py --seeds 0 500
"""

import argparse
import collections
import os
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))
# Ray's workers import what the experiments name, too.
os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fuzz_verdicts import BUG, judge, prepare  # noqa: E402
from fuzzed_experiments import make_case  # noqa: E402

#: Characters of a file that is printed with a bug.
LONGEST_FILE = 4000


def main() -> int:
    """Returns 1 if there is a bug."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seeds", nargs=2, type=int, default=(0, 300), metavar=("FIRST", "END"),
        help="seeds from FIRST up to END, which is left out (default: 0 300)",
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true", help="print every verdict")
    args = parser.parse_args()
    prepare()
    began, counts = time.monotonic(), collections.Counter[str]()
    for seed in range(*args.seeds):
        case = make_case(seed)
        verdict = judge(case)
        counts[verdict.kind] += 1
        if args.verbose or verdict.kind == BUG:
            print(f"seed {seed}: {verdict.kind}: {'; '.join(case.changes)}", flush=True)
            print(f"    {verdict.message}"[:LONGEST_FILE], flush=True)
        if verdict.kind == BUG:
            for name, content in case.files.items():
                text = content.decode(errors="backslashreplace")
                print(f"--- {name}\n{text[:LONGEST_FILE]}", flush=True)
    print("\n| verdict | cases |\n|---|---|")
    for kind, count in sorted(counts.items()):
        print(f"| {kind} | {count} |")
    print(f"{counts.total()} cases in {time.monotonic() - began:.0f} s")
    return int(counts[BUG] > 0)


if __name__ == "__main__":
    sys.exit(main())
