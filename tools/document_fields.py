"""Writes docs/configuration.md from the table of RLlib's fields in the code.

How to run: python tools/document_fields.py (--check only says whether the page is up to date)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rllib_calsheq.algorithm.networks import NETWORK_FIELDS
from rllib_calsheq.algorithm.rllib_fields import FIELDS, Field

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

HEADER = """\
# Which of RLlib's settings CALSHEQ honours

CALSHEQ is RLlib's PPO with a schedule of its own, so that most, but not all, fields of RLlib's
`PPOConfig` mean something here. Every field is listed below; one that would have no effect is
refused with a sentence, and none is ignored. CALSHEQ's own fields have
[a page of their own](fields.md), the environment's go under `env_config`. Keys of an experiment
file's `config` are these names, flat: RLlib's methods (`training`, `env_runners`, ...) are for
Python.

This page is written by `python tools/document_fields.py` from the table in
[rllib_fields.py](../rllib_calsheq/algorithm/rllib_fields.py).
"""


def page() -> str:
    """The whole page."""
    both = _kept(lambda field: field.treatment == "honoured" and field.arrays)
    episodes = _kept(lambda field: not field.arrays)
    derived = _kept(lambda field: field.treatment == "derived")
    refused = _kept(lambda field: field.treatment == "refused")
    sections = [
        HEADER,
        "## Honoured\n\nBy both sampling paths.\n",
        _table("allowed values", both, _words),
        "## Honoured on RLlib's own sampling path only\n\nIf one of these differs from its "
        "default, `sampling: auto` takes RLlib's own path, several times slower, and says so; "
        "`sampling: arrays` refuses it. The same goes for callback classes that define "
        "`on_episode_*`, for `use_lstm`, and for observations that are no `Box`.\n",
        _table(
            "allowed values | why not on the array path",
            episodes,
            lambda field: f"{_words(field)} | {field.reason}",
        ),
        "## Set by CALSHEQ\n\nA value of your own is refused.\n",
        _table("why, and what to set instead", derived, lambda field: field.reason),
        "## Refused\n\nAny value but the default is refused.\n",
        _table("why, and what to do instead", refused, lambda field: field.reason),
        "## The network\n\n`model_config` is a mapping, which changes single fields of the "
        "shared policy's network, or in Python RLlib's `DefaultModelConfig`, which states all of "
        "them. For RLlib's own networks its fields are these; where `rl_module_spec` brings a "
        "module of yours, they are up to that module. With `use_lstm`, `free_log_std` is false "
        "unless you set it.\n",
        _network_table(),
    ]
    return "\n".join(sections)


def _kept(wanted: Callable[[Field], bool]) -> dict[str, Field]:
    return {name: field for name, field in FIELDS.items() if wanted(field)}


def _words(field: Field) -> str:
    return field.allowed.text if field.allowed else ""


def _table(heading: str, fields: dict[str, Field], describe: Callable[[Field], str]) -> str:
    """A table with one row for all fields of the same description."""
    rows: dict[str, list[str]] = {}
    for name, field in fields.items():
        rows.setdefault(describe(field), []).append(name)
    return _markdown(f"fields | {heading}", rows)


def _network_table() -> str:
    rows: dict[str, list[str]] = {}
    for name, allowed in NETWORK_FIELDS.items():
        rows.setdefault(allowed.text, []).append(name)
    return _markdown("fields of `model_config` | allowed values", rows)


def _markdown(heading: str, rows: dict[str, list[str]]) -> str:
    lines = [f"| {heading} |", "|" + "---|" * (heading.count("|") + 1)]
    for text, names in rows.items():
        lines.append(f"| {', '.join(f'`{name}`' for name in sorted(names))} | {text} |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Writes the page; with --check returns 1 if it is not up to date."""
    text = page()
    if sys.argv[1:] == ["--check"]:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
