"""Pickles read as data: numbers, texts, arrays and containers of them; nothing else is called.

A pickle names functions and calls them while it is read, so that whoever wrote it can make any
program run. Here every name is looked up in `PLAIN`, a list of what only puts values together.
"""

from __future__ import annotations

import importlib
import os
import pickle
from pathlib import Path
from typing import IO, Any

#: What a pickle may call, by module. A module that was renamed has both names.
PLAIN = {
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"OrderedDict", "deque"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "pathlib": {"Path", "PosixPath", "PurePosixPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePosixPath"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}
#: Environment variable: 1 says that the authors of all checkpoints may run programs here.
TRUST = "CALSHEQ_TRUST_CHECKPOINTS"


class ForeignCodeError(ValueError):
    """A file that is to hold data holds something that only running a program would make."""

    def __init__(self, file: Path, name: str) -> None:
        super().__init__(
            f"{file} holds {name}, which is no number, text or array: nothing in the file was run. "
            f"If you would run its author's programs, set {TRUST}=1 and try again"
        )
        self.name = name


class UnreadableError(ValueError):
    """A file that is no pickle, or a damaged one."""


class PlainUnpickler(pickle.Unpickler):
    """Reads a pickle that calls nothing outside of `PLAIN`.

    Args:
        stream: The open file.
        file: Its path, for messages.
    """

    def __init__(self, stream: IO[bytes], file: Path) -> None:
        super().__init__(stream)
        self._file = file

    def read(self) -> Any:
        """What the pickle holds.

        Raises:
            ForeignCodeError: If it calls what it may not.
            UnreadableError: If it is damaged.
        """
        try:
            return self.load()
        except ForeignCodeError:
            raise
        except Exception as error:
            # A damaged one may ask for anything: memory beyond all bounds, keys that are none.
            raise UnreadableError(
                f"{self._file} is damaged: {type(error).__name__}: {error}"
            ) from None

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle calls by a name.

        Raises:
            ForeignCodeError: If it is not in `PLAIN`.
        """
        if name in PLAIN.get(module, ()):
            return getattr(importlib.import_module(module), name)
        return self.foreign(module, name)

    def foreign(self, module: str, name: str) -> Any:
        """What stands for a name that is not in `PLAIN`; here there is no such thing."""
        raise ForeignCodeError(self._file, f"{module}.{name}")


def trusts_checkpoints() -> bool:
    """Whether the user said that checkpoints may run programs."""
    return os.environ.get(TRUST) == "1"


def load_plain(file: Path, trusted: bool = False) -> Any:
    """What a pickle holds.

    Args:
        file: The pickle.
        trusted: Whether it may run programs, as it may where the user said so (`TRUST`).

    Raises:
        ForeignCodeError: If it is not trusted and is more than data.
        UnreadableError: If it is damaged.
    """
    with open(file, "rb") as stream:
        if not (trusted or trusts_checkpoints()):
            return PlainUnpickler(stream, file).read()
        try:
            return pickle.load(stream)
        except (EOFError, pickle.UnpicklingError) as error:
            raise UnreadableError(f"{file} is damaged: {error}") from None
