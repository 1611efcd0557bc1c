"""`calsheq doctor`: whether the machine and the installation are fit for a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rllib_calsheq.core.defaults import STORAGE
from rllib_calsheq.core.version import __version__


def add_doctor_command(commands: Any) -> None:
    """Adds `doctor` to the commands of `calsheq`."""
    doctor = commands.add_parser(
        "doctor", help="check versions, cores, memory, disk and Ray, and say what is wrong"
    )
    doctor.add_argument("--storage-path", default=STORAGE, help=f"folder of all runs ({STORAGE})")
    doctor.set_defaults(function=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from rllib_calsheq.running.checkup import check_up

    findings = check_up(Path(args.storage_path))
    width = max(len(finding.name) for finding in findings)
    print(f"rllib-calsheq {__version__}")
    for finding in findings:
        mark = "ok   " if finding.advice is None else "WRONG"
        print(f"{mark} {finding.name:{width}}  {finding.found}")
    wrong = [finding for finding in findings if finding.advice is not None]
    print("nothing is wrong" if not wrong else f"{len(wrong)} wrong; what to do:")
    for finding in wrong:
        print(f"- {finding.name}: {finding.advice}")
    return 1 if wrong else 0
