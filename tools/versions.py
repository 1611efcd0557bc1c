"""Runs the fast tests with the lowest versions that setup.cfg allows, or with other Pythons.

    python tools/versions.py lowest FOLDER
    python tools/versions.py pythons FOLDER [VERSION ...]

Each makes virtual environments in FOLDER. `lowest` installs every dependency at its lower bound.
`pythons` tries `python3.12` and `python3.13` unless told otherwise, with the versions of
constraints.txt, and says in one line which of them are skipped because they are not found.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.12", "3.13")
#: Operators of a bound that names the lowest version.
LOWER = (">=", "==", "~=")
#: Tests that train, wait for Ray's processes or look at the packaging: they say nothing about
#: versions that the others do not.
LEFT_OUT = (
    "api", "certify", "certify_snapshots", "checkpoints", "cluster", "experiments", "faults",
    "fuzz", "hostile_experiments", "infer", "killed_runs", "learners", "lost_actors", "manifest",
    "nodes", "packaging", "records", "rival_calibrators", "stopping", "tune",
)  # fmt: skip
#: Those of the files above that a version may well break.
ALL_THE_SAME = ("tests/test_rival_calibrators.py::TestTrials",)


def lowest_versions() -> list[str]:
    """``name==version`` of every lower bound in setup.cfg, its `test` extra included.

    Raises:
        ValueError: If one name has two lower bounds.
    """
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = (parser["options"]["install_requires"], parser["options.extras_require"]["test"])
    found: dict[str, str] = {}
    for line in "\n".join(texts).split("\n"):
        if not line.strip():
            continue
        requirement = Requirement(line)
        for specifier in requirement.specifier:
            if specifier.operator in LOWER:
                version = found.setdefault(requirement.name, specifier.version)
                if version != specifier.version:
                    raise ValueError(f"setup.cfg has two lower bounds of {requirement.name}")
    return [f"{name}=={version}" for name, version in found.items()]


def run_tests(python: str, venv: Path, constraints: Path) -> int:
    """Makes an environment, installs the package and runs the fast tests; the exit code."""
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    own = str(venv / "bin" / "python")
    pip = [own, "-m", "pip", "install", "--quiet", "-c", str(constraints)]
    torch = next(
        line for line in constraints.read_text("utf-8").split() if line.startswith("torch==")
    )
    # First and by itself, as in the README: pip would take another build of the version.
    for what in ([torch], ["-e", f"{ROOT}[test]"]):
        subprocess.run([*pip, *what], check=True, cwd=venv)
    ignored = [f"--ignore=tests/test_{name}.py" for name in LEFT_OUT]
    marks = ["-m", "not learning and not slow"]
    for chosen in (["tests", *ignored], list(ALL_THE_SAME)):
        command = [own, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *marks, *chosen]
        command += ["-n", "2", "--dist", "loadfile"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


def is_found(version: str) -> bool:
    """Whether ``pythonVERSION`` is there and starts."""
    python = shutil.which(f"python{version}")
    return (
        python is not None
        and not subprocess.run(
            [python, "-c", "import venv"], capture_output=True, check=False
        ).returncode
    )


def main(words: list[str]) -> int:
    """Runs what the words say; returns the exit code."""
    if len(words) < 2 or words[0] not in ("lowest", "pythons"):
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(words[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if words[0] == "lowest":
        constraints = folder / "lowest.txt"
        constraints.write_text("\n".join(lowest_versions()) + "\n", encoding="utf-8")
        print("lowest versions: " + ", ".join(lowest_versions()), flush=True)
        return run_tests(sys.executable, folder / "lowest", constraints)
    versions = words[2:] or list(PYTHONS)
    missing = [version for version in versions if not is_found(version)]
    if missing:
        print(f"skipped: no interpreter for Python {' and '.join(missing)} here", flush=True)
    for version in (v for v in versions if v not in missing):
        print(f"Python {version}", flush=True)
        code = run_tests(f"python{version}", folder / version, ROOT / "constraints.txt")
        if code:
            return code
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
