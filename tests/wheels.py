"""The wheel of this checkout, built elsewhere."""

import shutil
import subprocess
import sys
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
#: Folders of the checkout and the packages that they are installed as.
FOLDERS = {"rllib_calsheq": "rllib_calsheq", "envs": "rllib_calsheq.envs"}
FOLDERS["callbacks"] = "rllib_calsheq.callbacks"
#: Folders that hold files and no code.
DATA = {"tuned_examples": "rllib_calsheq.tuned_examples"}
#: What a wheel is built from.
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", *FOLDERS, *DATA)
#: The oldest setuptools that pyproject.toml takes.
SETUPTOOLS = Version("77")


def build_wheel(folder):
    """Builds the wheel of a copy of the checkout in a folder; returns its path."""
    source, wheels = folder / "source", folder / "wheels"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(wheels)]
    try:
        import setuptools

        if Version(setuptools.__version__) >= SETUPTOOLS:
            command.append("--no-build-isolation")
    except ImportError:
        pass
    # Run from elsewhere: Python would take the folder `build` of a checkout for the package.
    subprocess.run([*command, str(source)], check=True, timeout=300, cwd=folder)
    (wheel,) = wheels.glob("*.whl")
    return wheel
