"""Runs mypy over the package as it is installed: `envs/` and `callbacks/` as subpackages.

The checkout keeps both folders at its top level, where mypy would take them for packages of
their own; a temporary tree of links shows it the layout of the installed package.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Returns mypy's exit code; its arguments are passed on."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "rllib_calsheq"
        package.mkdir()
        for entry in (ROOT / "rllib_calsheq").iterdir():
            if entry.name != "__pycache__":
                (package / entry.name).symlink_to(entry)
        for name in ("envs", "callbacks"):
            (package / name).symlink_to(ROOT / name)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg")]
        command += ["--cache-dir", str(ROOT / ".mypy_cache"), "-p", "rllib_calsheq", *sys.argv[1:]]
        return subprocess.call(command, cwd=folder)


if __name__ == "__main__":
    sys.exit(main())
