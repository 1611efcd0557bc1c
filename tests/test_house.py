"""Which module may know which, what an import costs, and the public names."""

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rllib_calsheq
import rllib_calsheq.envs

ROOT = Path(__file__).resolve().parent.parent
#: Libraries that the numerics stand on, and how many times as long as these alone they may take to
#: import; the best of so many tries counts.
LIBRARIES, MAX_IMPORT_RATIO, TRIES = ["numpy", "gymnasium", "pydantic"], 3.5, 3
LIGHT = ("rllib_calsheq", "rllib_calsheq.core", "rllib_calsheq.envs.market.array")
CORE_MODULES = sorted(
    f"rllib_calsheq.core.{path.stem}"
    for path in (ROOT / "rllib_calsheq" / "core").glob("*.py")
    if path.stem != "__init__"
)


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )


def check_layers(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "check_layers.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_arrows_point_one_way_and_there_are_no_circles():
    done = check_layers()
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_arrow_that_points_up_is_found(tmp_path):
    contracts = (ROOT / ".importlinter").read_text(encoding="utf-8")
    turned = contracts.replace("    cli | api\n    experiments\n", "    experiments\n    cli\n")
    assert turned != contracts
    (tmp_path / "contracts").write_text(turned, encoding="utf-8")
    done = check_layers(str(tmp_path / "contracts"))
    assert done.returncode == 1
    assert "cli is not allowed to import" in done.stdout.replace("rllib_calsheq.", "")


def test_numerics_load_neither_ray_nor_torch():
    # In one process: what a module brings in is still there for the next to be blamed, too.
    code = (
        "import sys, importlib\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    heavy = [m for m in ('ray', 'torch') if m in sys.modules]\n"
        "    assert not heavy, (module, heavy)"
    )
    done = run(code, *LIGHT, *CORE_MODULES)
    assert done.returncode == 0, done.stderr


def import_seconds(modules):
    """Processor time, measured inside: the interpreter's start does not count."""
    code = (
        "import sys, time; start = time.process_time(); import importlib\n"
        "for module in sys.argv[1:]: importlib.import_module(module)\n"
        "print(time.process_time() - start)"
    )
    return float(run(code, *modules).stdout)


def test_numerics_are_imported_quickly():
    # By turns: a machine that slows down meanwhile slows all of them down.
    rows = [LIBRARIES, CORE_MODULES, ["rllib_calsheq.envs.market.array"]]
    seconds = np.array([[import_seconds(modules) for modules in rows] for _ in range(TRIES)])
    libraries, *ours = seconds.min(axis=0)
    assert max(ours) < MAX_IMPORT_RATIO * libraries, seconds


@pytest.mark.parametrize("package", ["rllib_calsheq", "rllib_calsheq.envs"])
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        found = getattr(module, name)
        assert name == "__version__" or found.__name__ == name
        assert name in dir(module)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'calibrate_everything'"):
        rllib_calsheq.calibrate_everything  # noqa: B018


@pytest.mark.parametrize("folder", ["envs", "callbacks"])
def test_a_folder_is_not_imported_under_its_bare_name(folder):
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "rllib_calsheq" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda f: f.stem)
def test_a_benchmark_imports_names_that_are_there(file):
    # Those inside its functions, too, which no other test runs.
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rllib_calsheq"):
            module = importlib.import_module(node.module)
            for name in node.names:
                inside = (
                    importlib.util.find_spec(f"{node.module}.{name.name}")
                    if hasattr(module, "__path__")
                    else None
                )
                assert hasattr(module, name.name) or inside, f"{node.module}.{name.name}"
