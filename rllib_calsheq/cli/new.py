"""`calsheq new`: an environment to begin with, its test and an experiment file."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
from importlib import resources
from pathlib import Path
from typing import Any

from rllib_calsheq.core.configuration import require
from rllib_calsheq.core.files import write_text

#: Where the template stands, and the names in it that become the user's.
PACKAGE, FOLDER = "rllib_calsheq.cli", "template"
MODULE, CLASS = "my_env", "MyEnv"
FILES = (f"{MODULE}.py", f"test_{MODULE}.py", f"{MODULE}.yaml")


def add_new_command(commands: Any) -> None:
    """Adds `new` to the commands of `calsheq`."""
    new = commands.add_parser("new", help="write an environment to begin with, its test and YAML")
    new.add_argument("name", metavar="NAME", help="name of its module, e.g. my_env")
    new.add_argument("-o", "--output", metavar="FOLDER", help="folder to make (default: NAME)")
    new.set_defaults(function=_new)


def _new(args: argparse.Namespace) -> int:
    folder = Path(args.output or args.name)
    for path in write_template(args.name, folder):
        print(f"wrote {path}")
    print("what to do next:")
    print(f"  cd {folder}")
    print("  python -m pytest  # does it keep the protocol? (pip install pytest)")
    print(f"  PYTHONPATH=. rllib train -f {args.name}.yaml")
    return 0


def write_template(name: str, folder: Path) -> list[Path]:
    """Writes the template under another name; returns the files.

    Args:
        name: Name of the environment's module, in small letters with underscores.
        folder: Where to; it is made, and must not hold anything.

    Raises:
        ValueError: If the name is none of a module, or that of another module, or the folder
            holds something.
    """
    fits = name.isidentifier() and name == name.lower() and not keyword.iskeyword(name)
    require(fits, "NAME", name, "names of Python modules in small letters, e.g. my_env")
    if importlib.util.find_spec(name) is not None:
        raise ValueError(f"Python has a module {name!r} already: choose another name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already: choose another name or --output")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in FILES:
        text = (resources.files(PACKAGE) / FOLDER / file).read_text(encoding="utf-8")
        path = folder / file.replace(MODULE, name)
        write_text(path, text.replace(MODULE, name).replace(CLASS, class_name(name)))
        written.append(path)
    return written


def class_name(module: str) -> str:
    """The name of the class of a module: ``my_env`` has ``MyEnv``."""
    return "".join(word.capitalize() for word in module.split("_"))
