"""`--print-completion SHELL`: what makes a shell complete commands, flags and files."""

from __future__ import annotations

import argparse

import shtab

#: What a value's name says of it, in its help, and what the shell offers then.
OFFERED = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY, "RUN": shtab.DIRECTORY}


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Lets a program print what its user's shell needs to complete it.

    Args:
        parser: The program's, with all its commands.
    """
    shtab.add_argument_to(
        parser, ["--print-completion"], help="print what makes this shell complete the command"
    )
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _offer_files(command)


def _offer_files(command: argparse.ArgumentParser) -> None:
    for action in command._actions:
        name = action.metavar if isinstance(action.metavar, str) else ""
        for word, offered in OFFERED.items():
            if word in name:
                action.complete = offered  # type: ignore[attr-defined]
