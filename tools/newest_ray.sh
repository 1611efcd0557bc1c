#!/usr/bin/env bash
# Runs the contract with Ray and the fast tests with the newest Ray there is, for a scheduled job.
#
# Everything else is as setup.cfg has it, PyTorch as constraints.txt. The virtual environment goes
# into a temporary folder. Words are passed on to pip, e.g. --pre.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
python="$scratch/venv/bin/python"
pip=("$python" -m pip install --quiet)

"${pip[@]}" packaging
# Requirements of setup.cfg, and the tests that tools/versions.py takes for fast.
PYTHONPATH=tools "$python" - "$scratch" <<'PYTHON'
import configparser
import sys
from pathlib import Path

import versions
from packaging.requirements import Requirement

parser = configparser.ConfigParser()
parser.read("setup.cfg", encoding="utf-8")
wanted = parser["options"]["install_requires"] + parser["options.extras_require"]["test"]
lines = []
for requirement in map(Requirement, filter(str.strip, wanted.split("\n"))):
    if requirement.name == "ray":
        bounds = [s for s in requirement.specifier if s.operator in versions.LOWER]
        requirement.specifier = type(requirement.specifier)(",".join(map(str, bounds)))
    lines.append(str(requirement))
folder = Path(sys.argv[1])
folder.joinpath("requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
ignored = [f"--ignore=tests/test_{name}.py" for name in (*versions.LEFT_OUT, "ray_contract")]
folder.joinpath("ignored.txt").write_text("\n".join(ignored) + "\n", encoding="utf-8")
PYTHON

# First and by itself, as in the README: pip would take another build of the version.
"${pip[@]}" "$(grep '^torch==' constraints.txt)"
"${pip[@]}" "$@" -r "$scratch/requirements.txt"
"${pip[@]}" --no-deps -e .
"$python" -c 'import ray; print("the newest Ray is", ray.__version__, flush=True)'

mapfile -t ignored < "$scratch/ignored.txt"
pytest=("$python" -m pytest -q -p no:cacheprovider)
failed=0
"${pytest[@]}" tests/test_ray_contract.py || failed=1
"${pytest[@]}" -m "not learning and not slow" "${ignored[@]}" tests || failed=1
exit "$failed"
