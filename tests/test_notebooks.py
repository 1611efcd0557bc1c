"""The tutorials run, with their numbers cut, and hold what they show."""

import importlib.util
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "docs" / "tutorials").glob("*.ipynb"))
#: Seconds that a cell may take on a busy machine.
PATIENCE = 240
#: Bytes of a notebook that everybody can load.
LARGEST = 400_000


def runner():
    """The tool that runs notebooks, which is no package."""
    spec = importlib.util.spec_from_file_location("run", ROOT / "tools" / "run_notebooks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run"] = module
    spec.loader.exec_module(module)
    return module


def test_the_five_tutorials_are_there():
    assert NAMES == ["cluster", "how_sure", "market", "your_data", "your_environment"]


@pytest.mark.learning
@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs(name):
    cells = runner().run(name, cut=True, patience=PATIENCE).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(o.output_type != "error" for cell in code for o in cell.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_shows_what_its_whole_run_gave(name):
    file = ROOT / "docs" / "tutorials" / f"{name}.ipynb"
    cells = nbformat.read(file, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    # Every cell was run, in order, and something was shown.
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code)
    assert file.stat().st_size < LARGEST
