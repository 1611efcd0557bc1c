"""Which sections a report has, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from rllib_calsheq.core.version import __version__
from rllib_calsheq.reporting.card import (
    assumptions_section,
    data_section,
    limits_section,
    monitoring_section,
    provenance_section,
    purpose_section,
)
from rllib_calsheq.reporting.comparison import configuration_section
from rllib_calsheq.reporting.document import Document, Section
from rllib_calsheq.reporting.equilibrium import equilibrium_section, simulation_section
from rllib_calsheq.reporting.evidence import predictions_section, profile_section, targets_section
from rllib_calsheq.reporting.facts import RunFacts
from rllib_calsheq.reporting.history import history_section
from rllib_calsheq.reporting.words import in_short


def document_of(runs: Sequence[RunFacts], command: str = "") -> Document:
    """The report of some runs.

    Args:
        runs: Their facts, one at least.
        command: What was typed to make it.
    """
    parts = (
        targets_section(runs),
        history_section(runs),
        profile_section(runs),
        predictions_section(runs),
        equilibrium_section(runs),
        simulation_section(runs),
    )
    performance = replace(
        Section("performance", "Performance"),
        sections=tuple(part for part in parts if part is not None),
    )
    several = len(runs) > 1
    judged = [run.met for run in runs if run.met is not None]
    summary = [
        (f"{run.label}. " if several else "") + " ".join(in_short(run)) for run in runs
    ] if several else list(in_short(runs[0]))  # fmt: skip
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Document(
        title=f"Calibration of {len(runs)} runs" if several else f"Calibration: {runs[0].label}",
        runs=tuple(run.label for run in runs),
        summary=tuple(summary),
        good=all(met == count for met, count in judged) if judged else None,
        sections=(
            performance,
            purpose_section(runs),
            data_section(runs),
            assumptions_section(runs),
            limits_section(runs),
            monitoring_section(runs),
            configuration_section(runs),
            provenance_section(runs),
        ),
        footer=f"Written {made} by rllib-calsheq {__version__}"
        + (f": {command}" if command else ""),
    )
