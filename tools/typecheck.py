"""Runs mypy over the package as it is installed; arguments are passed on."""

import subprocess
import sys

from installed_layout import ROOT, installed_layout


def main() -> int:
    """Returns mypy's exit code."""
    with installed_layout() as folder:
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg")]
        command += ["--cache-dir", str(ROOT / ".mypy_cache"), "-p", "rllib_calsheq", *sys.argv[1:]]
        return subprocess.call(command, cwd=folder)


if __name__ == "__main__":
    sys.exit(main())
