"""Runs the tutorials, and keeps what their cells show.

How to run: python tools/run_notebooks.py [NAME ...] [--cut]

A cell with the tag `parameters` says in its metadata, under `cut`, which values make the notebook
quick. With `--cut` they take effect, and nothing is written: this is what the tests do. Without it
the notebook is run whole and written with its outputs, which the site shows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).resolve().parent.parent / "docs"
TUTORIALS = DOCS / "tutorials"
#: Seconds that a cell may take.
PATIENCE = 1800
#: What of a cell's output is kept.
KINDS = ("text/plain", "text/html", "image/png")


def run(name: str, cut: bool, patience: float = PATIENCE) -> Any:
    """Runs a tutorial in a folder of its own, beside the data of the documents.

    Args:
        name: Its name.
        cut: Whether its numbers are cut, so that it is quick.
        patience: Seconds that a cell may take.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
        ValueError: If no cell says how the notebook is cut.
    """
    notebook = nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if "cut" in cell.metadata]
    if len(cells) != 1:
        raise ValueError(f"{len(cells)} cells of {name} say how it is cut; one should")
    whole = cells[0].source
    if cut:
        cells[0].source = f"{whole}\n{cells[0].metadata['cut']}"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(DOCS / "data", folder, dirs_exist_ok=True)
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=patience, resources=resources).execute()
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if "text" in output:
                    output.text = output.text.replace(f"{folder}/", "")
    cells[0].source = whole
    return notebook


def tidied(notebook: Any) -> Any:
    """A notebook with what readers look at, and nothing of the machine or the time."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        outputs = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                continue
            if "data" in output:
                output.data = {kind: output.data[kind] for kind in KINDS if kind in output.data}
                if "image/png" in output.data:
                    output.data.pop("text/plain", None)
            outputs.append(output)
        if cell.cell_type == "code":
            cell.outputs = outputs
    notebook.metadata = {
        "kernelspec": notebook.metadata["kernelspec"],
        "language_info": {"name": "python"},
    }
    return notebook


def main() -> int:
    """Runs the notebooks that are named, or all; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="tutorials (default: all)")
    parser.add_argument("--cut", action="store_true", help="quick, and nothing is written")
    args = parser.parse_args()
    # One thread, as everywhere: networks of this size are slower on more.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in args.names or sorted(path.stem for path in TUTORIALS.glob("*.ipynb")):
        begun = time.monotonic()
        notebook = run(name, args.cut)
        if not args.cut:
            nbformat.write(tidied(notebook), TUTORIALS / f"{name}.ipynb")
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
