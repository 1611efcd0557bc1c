"""What a run needs of the machine and of its installation, checked one by one.

Each check returns a `Finding`: what is there, and if that is wrong, what to do.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rllib_calsheq.core.memory import available_bytes, gigabytes

#: The package whose requirements are checked.
PACKAGE = "rllib-calsheq"
#: What must not only be installed but work: their builds fail on some machines.
IMPORTED = ("torch", "ray.rllib")
#: Extras that commands ask for; those for tests are nobody's lack, and that of clusters is Ray's.
EXTRAS = ("infer", "bo", "sweeps")
#: Memory and disk below which a run is not to be begun. The main job's processes take 1.1 GB.
LEAST_MEMORY, LEAST_DISK = 1.5e9, 1e9
#: Part of a disk from which on Ray spills nothing to it any more, and runs stop.
FULL_DISK = 0.95
#: Ray's variables: how its nodes know each other, and where the token is.
AUTH_MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
#: Where Ray keeps its token by default, from the home folder on.
TOKEN_FILE = Path(".ray") / "auth_token"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        found: What was found.
        advice: What to do about it; None where nothing is wrong.
    """

    name: str
    found: str
    advice: str | None = None


def check_up(storage: Path) -> list[Finding]:
    """Everything, in the order in which it is mended.

    Args:
        storage: The folder of all runs.
    """
    return [
        check_python(platform.python_version(), _required_python()),
        *check_packages(metadata.requires(PACKAGE) or []),
        *(check_import(name) for name in IMPORTED),
        check_extras(metadata.requires(PACKAGE) or []),
        check_cores(len(os.sched_getaffinity(0)), os.getloadavg()[0]),
        check_threads(os.environ, len(os.sched_getaffinity(0))),
        check_cluster(os.environ),
        check_token(os.environ, Path.home()),
        check_memory(available_bytes()),
        check_disk("results", storage),
        check_disk("Ray's temporary files", Path(os.environ.get("RAY_TMPDIR") or "/tmp")),
    ]


def check_python(version: str, allowed: str) -> Finding:
    """Whether Python has a version that the package allows."""
    advice = f"use a Python {allowed}" if version not in SpecifierSet(allowed) else None
    return Finding("Python", f"{version} on {platform.system()}", advice)


def check_packages(requirements: list[str]) -> list[Finding]:
    """Whether each package that must be there is, in an allowed version."""
    found = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        fits = version is not None and requirement.specifier.contains(version, prereleases=True)
        advice = None if fits else f'pip install "{requirement}"'
        found.append(Finding(requirement.name, version or "not installed", advice))
    return found


def check_import(name: str) -> Finding:
    """Whether a package can be imported here."""
    try:
        importlib.import_module(name)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        package = name.partition(".")[0]
        advice = f"install {package} anew, in a build for this machine (the README says which)"
        return Finding(f"import {name}", why, advice)
    return Finding(f"import {name}", "works")


def check_extras(requirements: list[str]) -> Finding:
    """Which extras are installed; none of them must be."""
    missing = []
    for extra in EXTRAS:
        of_extra = [
            r
            for r in map(Requirement, requirements)
            if r.marker is not None
            and r.marker.evaluate({"extra": extra})
            and not r.marker.evaluate({"extra": ""})
        ]
        if not all(_version(r.name) for r in of_extra):
            missing.append(extra)
    there = ", ".join(extra for extra in EXTRAS if extra not in missing) or "none"
    lacking = f"; not installed: {', '.join(missing)}" if missing else ""
    return Finding("extras", f"{there}{lacking}")


def check_cores(cores: int, load: float) -> Finding:
    """How many cores this process may use, and how busy the machine is."""
    return Finding("cores", f"{cores}, with a load of {load:.1f} in the last minute")


def check_threads(environment: Mapping[str, str], cores: int) -> Finding:
    """Whether Torch's threads are a number that there are cores for."""
    from rllib_calsheq.core.cores import NUM_THREADS
    from rllib_calsheq.learning.threads import TORCHS_OWN, num_threads

    own, torchs = environment.get(NUM_THREADS), environment.get(TORCHS_OWN)
    name, given = (NUM_THREADS, own) if own is not None else (TORCHS_OWN, torchs)
    if not given and own is None:
        found = f"{num_threads() or 1} for each process; more share an update where that is faster"
        return Finding("threads", found)
    found, fits = f"{name}={given}", given is not None and given.isdecimal() and int(given) >= 1
    if not fits or int(given or 0) > cores:
        advice = f"set {name} to an integer from 1 to {cores}; 1 suits small networks best"
        return Finding("threads", found, advice)
    return Finding("threads", found)


def check_cluster(environment: Mapping[str, str]) -> Finding:
    """Whether a run starts a Ray of its own or joins a cluster."""
    address = environment.get("RAY_ADDRESS")
    return Finding(
        "Ray", f"joins the cluster at {address}" if address else "starts on this machine"
    )


def check_token(environment: Mapping[str, str], home: Path) -> Finding:
    """Whether Ray's nodes can know each other; the token itself is not read."""
    mode = environment.get(AUTH_MODE)
    file = Path(environment.get(TOKEN_PATH) or home / TOKEN_FILE)
    has_token = bool(environment.get(TOKEN)) or file.is_file()
    there = f"a token {'is there' if has_token else 'is not there'}"
    if mode is None:
        return Finding("Ray's token", f"{AUTH_MODE} is not set; {there}")
    found = f"{AUTH_MODE}={mode}; {there}"
    if mode not in ("token", "disabled"):
        return Finding("Ray's token", found, f"set {AUTH_MODE} to token or disabled")
    if mode == "token" and not has_token:
        advice = (
            f"copy the cluster's token to {file}, make one with `ray get-auth-token --generate`, "
            f"or set {AUTH_MODE}=disabled where every member of the network may run code"
        )
        return Finding("Ray's token", found, advice)
    return Finding("Ray's token", found)


def check_memory(available: float) -> Finding:
    """Whether there is memory for a run."""
    advice = (
        f"end other programs: a run of the main job's size wants {gigabytes(LEAST_MEMORY)}"
        if available < LEAST_MEMORY
        else None
    )
    return Finding("memory", f"{gigabytes(available)} available", advice)


def check_disk(what: str, folder: Path) -> Finding:
    """Whether a folder, or what it will be made in, can be written to and has room."""
    folder = folder.expanduser()
    there = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    usage = shutil.disk_usage(there)
    # Some file systems, as /proc, have no size.
    full = 1.0 - usage.free / usage.total if usage.total else 1.0
    found = f"{folder}: {gigabytes(usage.free)} free, {full:.0%} full"
    if not there.is_dir() or not os.access(there, os.W_OK):
        advice = f"{there} cannot be written to: give another folder"
    elif usage.free < LEAST_DISK or full > FULL_DISK:
        advice = f"make room: Ray stops spilling at {FULL_DISK:.0%} full, and checkpoints need some"
    else:
        advice = None
    return Finding(f"disk of {what}", found, advice)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _required_python() -> str:
    return metadata.metadata(PACKAGE)["Requires-Python"] or ">=3.11"
