"""Checks which package imports which, against the contracts in `.importlinter`.

python tools/check_layers.py [CONTRACTS]
"""

import os
import subprocess
import sys
from pathlib import Path

from installed_layout import ROOT, installed_layout

RUN_LINTER = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def main() -> int:
    """Returns the linter's exit code: 0 where all contracts are kept."""
    contracts = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / ".importlinter"
    with installed_layout() as folder:
        command = [sys.executable, "-c", RUN_LINTER, "--no-cache", "--no-logo", str(contracts)]
        return subprocess.call(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})


if __name__ == "__main__":
    sys.exit(main())
