"""`--print-completion SHELL`: what makes a shell complete commands, flags and files."""

from __future__ import annotations

import argparse
from typing import Any

import shtab

#: What a value's name says of it, in its help, and what the shell offers then.
OFFERED = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY, "RUN": shtab.DIRECTORY}


class CompletingParser(argparse.ArgumentParser):
    """A parser whose values are completed by what their names in the help say of them.

    Parsers of commands that are added to it are of this class, too.
    """

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """As argparse has it."""
        action = super().add_argument(*args, **kwargs)
        name = action.metavar if isinstance(action.metavar, str) else ""
        for word, offered in OFFERED.items():
            if word in name:
                action.complete = offered  # type: ignore[attr-defined]
        return action

    def add_completion(self) -> None:
        """Lets a program print what its user's shell needs to complete it."""
        shtab.add_argument_to(
            self, ["--print-completion"], help="print what makes this shell complete the command"
        )
