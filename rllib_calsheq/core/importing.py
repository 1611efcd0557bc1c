"""What to say of a module that Python does not find: where it looks, and how to add a folder."""

from __future__ import annotations

from pathlib import Path


def not_found_hint(error: Exception) -> str:
    """Where modules are looked for, in a sentence, if a module was not found; else nothing.

    Args:
        error: What importing or unpickling raised.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    name = error.name.partition(".")[0]
    if Path(f"{name}.py").is_file() or Path(name, "__init__.py").is_file():
        return (
            f"{name} is in the current folder, where commands do not look: write PYTHONPATH=. in "
            "front of the command, or install the package"
        )
    return (
        f"install the package that has {name}, or write PYTHONPATH=FOLDER in front of the command, "
        f"with the folder that {name} is in"
    )
