"""A package whose parts stand beside it and not in it, as in a checkout that is not installed.

That is so in the working directory of a Ray job, which stands before an installed copy on Python's
path.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType


class _Beside(MetaPathFinder):
    """Finds the parts of a package in folders that do not lie in it.

    Args:
        folders: ``{full name of the part: its folder}``.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The part of this name, if it is one of them."""
        folder = self._folders.get(fullname)
        if folder is None:
            return None
        return spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def find_beside(package: str, folder: Path, parts: Sequence[str]) -> None:
    """Lets a package find those of its parts that stand beside its folder and not in it.

    Args:
        package: Name of the package.
        folder: Its folder.
        parts: Names of the parts.
    """
    beside = {
        f"{package}.{part}": folder.parent / part
        for part in parts
        if not (folder / part).is_dir() and (folder.parent / part / "__init__.py").is_file()
    }
    if beside:
        # Last, after what an editable install has to say.
        sys.meta_path.append(_Beside(beside))
