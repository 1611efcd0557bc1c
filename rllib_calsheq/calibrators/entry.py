"""What is known of a calibrator before its class, and all that this imports, is loaded."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from importlib.util import find_spec

from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.configuration import require

#: Place in tables and legends of those that ask for none.
USUAL_ORDER = 50


@dataclass(frozen=True)
class Entry:
    """One calibrator.

    Attributes:
        name: Its name in a configuration, e.g. ``cma``; or the dotted path of its class.
        path: Dotted path of its class, a subclass of `Calibrator`.
        label: What legends call it.
        colour: Colour of its lines, ``#rrggbb``; None for one that is free.
        config_class: Dataclass of its fields, which checks them; None for no fields.
        order: Place in tables and legends, small ones first.
        needs_targets: Whether it can do nothing without targets.
        package: What it imports and rllib-calsheq does not require, if anything.
        extra: The extra of rllib-calsheq that installs ``package``.
    """

    name: str
    path: str
    label: str
    colour: str | None = None
    config_class: type | None = None
    order: int = USUAL_ORDER
    needs_targets: bool = True
    package: str | None = None
    extra: str | None = None

    def __post_init__(self) -> None:
        what = f"calibrator {self.name!r}"
        require(
            self.colour is None or bool(re.fullmatch("#[0-9a-fA-F]{6}", str(self.colour))),
            f"the colour of {what}",
            self.colour,
            "#rrggbb, e.g. #0072b2, or None for one that is free",
        )
        require(
            self.config_class is None or is_dataclass(self.config_class),
            f"config_class of {what}",
            self.config_class,
            "dataclasses, or None for a calibrator without fields",
        )

    @classmethod
    def of_class(cls, path: str) -> Entry:
        """The entry of a calibrator that a dotted path names.

        Raises:
            ValueError: If there is no such class or it is no calibrator.
        """
        found = load_calibrator(path)
        label = found.label or f"{found.__name__} ({path})"
        return cls(path, path, label, found.colour, found.config_class)

    def load(self) -> type[Calibrator]:
        """Its class; takes seconds where that imports Torch, RLlib or BoTorch.

        Raises:
            ValueError: If there is no such class, or a package is missing.
        """
        self.require_package()
        return load_calibrator(self.path)

    @property
    def has_learning_rate(self) -> bool:
        """Whether the schedule ``lr_cal`` does anything; loads the class."""
        return self.load().set_learning_rate is not Calibrator.set_learning_rate

    def require_package(self) -> None:
        """Checks that what it needs is installed; does not import it.

        Raises:
            ValueError: If it is not.
        """
        if self.package is not None and find_spec(self.package) is None:
            raise ValueError(
                f"calibrator {self.name!r} needs the package {self.package}, which is not "
                f'installed; install it with `pip install "rllib-calsheq[{self.extra}]"`, or '
                "choose another calibrator"
            )


def load_calibrator(path: str) -> type[Calibrator]:
    """The calibrator class at a dotted path.

    Raises:
        ValueError: If there is none; the message says what is there.
    """
    module, _, name = path.rpartition(".")
    what = f"calibrator {path!r}"
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{what} cannot be imported ({error}); give the dotted path of a class in a module "
            "that Python finds, e.g. in a folder of PYTHONPATH"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Calibrator)):
        raise ValueError(f"{what} is no subclass of rllib_calsheq.Calibrator, but {found!r}")
    if inspect.isabstract(found):
        missing = sorted(found.__abstractmethods__)
        raise ValueError(f"{what} is not finished: it does not define {', '.join(missing)}")
    return found
