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
    """Every field that a run states; those that differ come first and are marked."""
    flat = [flattened(run.params) for run in runs]
    names = list(dict.fromkeys(name for fields in flat for name in fields))
    same: list[list[Cell]] = []
    differing: list[list[Cell]] = []
    for name in names:
        values = [fields.get(name, DEFAULT) for fields in flat]
        differs = len({repr(v) for v in values}) > 1
        mark = Mark.DIFFERS if differs else Mark.NONE
        row = [Cell(f"`{name}`"), *(Cell(_short(v), mark) for v in values)]
        (differing if differs else same).append(row)
    heads = ("field", *(run.label for run in runs))
    blocks: list[Any] = []
    if differing:
        blocks.append(Table.of("Fields that differ", heads, differing, numbers=False))
    elif len(runs) > 1:
        blocks.append(Text(("The runs state the same configuration.",)))
    what = "Fields that all runs state alike" if len(runs) > 1 else "Fields that were stated"
    rest = Table.of(f"{what}; all others have their defaults", heads, same, numbers=False,
                    folded=True)  # fmt: skip
    return Section.of("configuration", "Configuration", *blocks, rest)


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
