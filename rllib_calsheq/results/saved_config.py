"""The configuration in a checkpoint, read without running what the checkpoint brings along.

RLlib pickles it together with the algorithm's class, which is code. Every name in that file that is
not data is read as a note of the name (`Noted`); what it would have made is a note, too. Then the
notes that the configuration needs are looked up on this machine: classes that are here and are what
their field wants, none that the file would make.
"""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import TorchCompileWhatToCompile
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.rllib.env.env_runner import EnvRunner

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.core.plain_pickle import ForeignCodeError, PlainUnpickler, trusts_checkpoints

#: Classes of which a configuration may hold subclasses, from wherever they are.
BASES = (gym.Env, RLlibCallback, RLModule, Learner, EnvRunner)
#: Packages of which it may hold classes; of our own, functions, too.
OURS, RLLIBS = "rllib_calsheq.", "ray.rllib."
#: Objects that it may hold.
_SPECS = (TorchCompileWhatToCompile, RLModuleSpec, MultiRLModuleSpec)
HELD = {(c.__module__, c.__qualname__): c for c in _SPECS}
#: Fields that are made anew.
MADE_ANEW = ("_problem",)


class Noted:
    """Stands for what a pickle names: the class for the name, an object for what it would make."""

    named = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Noted:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Noted:
        return self

    def _ignore(self, *args: Any) -> None: ...

    __setstate__ = __setitem__ = append = extend = add = _ignore


class _NotingUnpickler(PlainUnpickler):
    """Reads a pickle of RLlib's with notes in the place of what is no data."""

    def foreign(self, module: str, name: str) -> Any:
        """Our own dataclasses and what is `HELD`; a note of everything else."""
        if (module, name) in HELD:
            return HELD[module, name]
        if module.startswith(OURS):
            found = _look_up(f"{module}:{name}")
            if dataclasses.is_dataclass(found) and _may_be_named(found):
                return found
        return type(name, (Noted,), {"named": f"{module}:{name}"})


def read_config(file: Path, trusted: bool = False) -> CALSHEQConfig:
    """The configuration in a checkpoint's file of its algorithm's arguments.

    Args:
        file: The file.
        trusted: Whether it may run programs, as it may where the user said so.

    Raises:
        ForeignCodeError: If it needs an object that only running a program would make.
        UnreadableError: If it is damaged.
        ValueError: If it is not a run of CALSHEQ.
    """
    trusted = trusted or trusts_checkpoints()
    with open(file, "rb") as stream:
        saved = pickle.load(stream) if trusted else _NotingUnpickler(stream, file).read()
    state = _arguments(saved, file)
    if not trusted:
        state = {k: _looked_up(v, file) for k, v in state.items() if k not in MADE_ANEW}
    made_by = state.get("class")
    if not (isinstance(made_by, type) and issubclass(made_by, CALSHEQConfig)):
        raise ValueError(f"{file.parent} is a checkpoint of {made_by}, not of CALSHEQ")
    config: CALSHEQConfig = CALSHEQConfig.from_state({"_problem": None, **state})
    return config


def _arguments(saved: Any, file: Path) -> dict[str, Any]:
    """The configuration's fields, the only argument of an algorithm."""
    if isinstance(saved, Noted):
        raise ForeignCodeError(file, f"an object made by {_name(saved)}")
    try:
        ((state,), _) = saved["ctor_args_and_kwargs"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{file} holds no algorithm's arguments as RLlib writes them") from None
    if isinstance(state, Noted):
        raise ForeignCodeError(file, f"an object made by {_name(state)}")
    if not isinstance(state, dict):
        raise ValueError(f"{file} holds no fields of an algorithm's configuration")
    return state


def _looked_up(value: Any, file: Path) -> Any:
    """A value in which every note of a class is the class; keys are texts, and stay."""
    if isinstance(value, Noted):
        raise ForeignCodeError(file, f"an object made by {_name(value)}")
    if isinstance(value, type) and issubclass(value, Noted):
        found = _look_up(value.named)
        if not _may_be_named(found):
            raise ForeignCodeError(file, _name(value))
        return found
    if isinstance(value, dict):
        return {key: _looked_up(inner, file) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_looked_up(inner, file) for inner in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for name, inner in vars(value).items():
            object.__setattr__(value, name, _looked_up(inner, file))
    return value


def _may_be_named(found: Any) -> bool:
    """By where a thing is at home, not by the name that led to it: modules hold others'."""
    home = str(getattr(found, "__module__", ""))
    if isinstance(found, type):
        return issubclass(found, BASES) or home.startswith((OURS, RLLIBS))
    return isinstance(found, types.FunctionType) and home.startswith(OURS)


def _look_up(named: str) -> Any:
    """What has a name on this machine; None if there is no such thing."""
    module, _, path = named.partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def _name(note: Any) -> str:
    return str(note.named).replace(":", ".")
