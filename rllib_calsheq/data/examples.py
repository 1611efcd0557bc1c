"""The tuned examples that come with the package, wherever it was installed."""

from __future__ import annotations

import difflib
from pathlib import Path

#: Their folder: inside of an installed package, beside it in a checkout.
FOLDER = "tuned_examples"


def shipped_examples() -> Path | None:
    """The folder of the package's own examples; None where it came without them."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / FOLDER, package.parent / FOLDER)
    return next((folder for folder in folders if folder.is_dir()), None)


def find_experiment_file(path: str | Path) -> Path:
    """An experiment file: the user's own, or else the package's of this name.

    Args:
        path: What the user calls it, e.g. ``mine.yaml``, or as a file of the package's
            ``calsheq.yaml`` or ``tuned_examples/calsheq.yaml``.

    Raises:
        ValueError: If there is neither.
    """
    file = Path(path)
    if file.is_file():
        return file
    shipped = shipped_examples()
    names = sorted(p.name for p in shipped.glob("*.yaml")) if shipped else []
    if shipped and file.name in names and file.parent in (Path(), Path(FOLDER)):
        return shipped / file.name
    beside = sorted(p.name for p in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
    near = difflib.get_close_matches(file.name, [*beside, *names], n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(
        f"there is no experiment file {file}{hint}; the package's own are {', '.join(names)}"
    )
