"""Several runs: what differs in their configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_calsheq.core.comparing import plain
from rllib_calsheq.reporting.document import Cell, Mark, Section, Table, Text
from rllib_calsheq.reporting.facts import RunFacts

#: What stands for a field that a run does not state.
DEFAULT = "default"
#: Longest value in a cell.
MOST_CHARACTERS = 60


def configuration_section(runs: Sequence[RunFacts]) -> Section:
    """Every field that a run states; those that differ are marked, and come first."""
    flat = [flattened(run.params) for run in runs]
    names = list(dict.fromkeys(name for fields in flat for name in fields))
    rows = []
    for name in names:
        values = [fields.get(name, DEFAULT) for fields in flat]
        differs = len({repr(v) for v in values}) > 1
        mark = Mark.DIFFERS if differs else Mark.NONE
        cells: list[Any] = [f"`{name}`", *(Cell(_short(v), mark) for v in values)]
        rows.append((not differs, [*cells, *(["differs" if differs else ""] * (len(runs) > 1))]))
    rows.sort(key=lambda row: row[0])
    marked = sum(not same for same, _ in rows)
    heads = ("field", *(run.label for run in runs), *([""] * (len(runs) > 1)))
    table = Table.of(
        "Fields that were stated; all others have their defaults", heads,
        [cells for _, cells in rows], numbers=False, folded=len(runs) == 1,
    )  # fmt: skip
    said = None
    if len(runs) > 1:
        said = Text((
            f"{marked} of the fields that were stated differ between the runs; they come first "
            f"and are "
            "marked." if marked else "The runs state the same configuration.",
        ))  # fmt: skip
    return Section.of("configuration", "Configuration", said, table)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with keys such as ``env_config.num_merchants``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = plain(value)
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
