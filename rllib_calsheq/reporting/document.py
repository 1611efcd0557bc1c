"""What a report consists of: sections of texts, tables and figures, in no format yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Mark(StrEnum):
    """What a cell of a table is beside its text; never said by colour alone."""

    NONE = ""
    GOOD = "good"
    BAD = "bad"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    mark: Mark = Mark.NONE


@dataclass(frozen=True)
class Text:
    """Paragraphs; what stands between backticks is code."""

    paragraphs: tuple[str, ...]

    @classmethod
    def of(cls, *paragraphs: str) -> Text:
        """The paragraphs that are not empty."""
        return cls(tuple(p for p in paragraphs if p))


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; the first column names its rows.

    Attributes:
        caption: What it shows.
        columns: Headings, as many as each row has cells.
        rows: The cells.
        numbers: Whether all columns but the first hold numbers, which stand to the right.
        folded: Whether it is shown only when asked for, as the numbers of a figure are.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: bool = True
    folded: bool = False

    @classmethod
    def of(
        cls,
        caption: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[str | Cell]],
        numbers: bool = True,
        folded: bool = False,
    ) -> Table:
        """A table of texts and cells."""
        cells = [tuple(c if isinstance(c, Cell) else Cell(c) for c in row) for row in rows]
        for row in cells:
            assert len(row) == len(columns), (caption, row)
        return cls(caption, tuple(columns), tuple(cells), numbers, folded)


@dataclass(frozen=True)
class Choice:
    """One of the views of a figure.

    Attributes:
        label: What it is called.
        traces: Indices of the traces that it shows.
        layout: What changes in the layout.
    """

    label: str
    traces: tuple[int, ...]
    layout: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """An interactive figure, as Plotly draws it.

    Attributes:
        name: Short name, unique in the report.
        title: What it shows.
        caption: How to read it.
        data: Plotly's traces. ``meta`` of a trace names the run that it is of.
        layout: Plotly's layout.
        choices: The views that a reader can choose from, the first to begin with; () for one view.
        picture: A picture of the same in the run's folder, for formats that show no figures.
    """

    name: str
    title: str
    caption: str
    data: tuple[Mapping[str, Any], ...]
    layout: Mapping[str, Any]
    choices: tuple[Choice, ...] = ()
    picture: Path | None = None


Block = Text | Bullets | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading, what stands below it, and the sections in it."""

    name: str
    heading: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()

    @classmethod
    def of(cls, name: str, heading: str, *blocks: Block | None) -> Section:
        """A section of the blocks that there are."""
        return cls(name, heading, tuple(b for b in blocks if b is not None))


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: Its title.
        runs: Labels of the runs that it is about.
        summary: What was asked and what came out, three sentences for each run.
        good: Whether every target of every run is met; None where nothing was judged.
        sections: Its sections.
        footer: Where it comes from.
    """

    title: str
    runs: tuple[str, ...]
    summary: tuple[str, ...]
    good: bool | None
    sections: tuple[Section, ...]
    footer: str

    def figures(self) -> list[Figure]:
        """All figures, in order."""
        found: list[Figure] = []
        for section in self.sections:
            for part in (section, *section.sections):
                found += [block for block in part.blocks if isinstance(block, Figure)]
        return found


def number(value: float | None, form: str = ".4g") -> str:
    """A number for a table; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{form}}"


def interval(ends: Sequence[float] | None, form: str = ".3g") -> str:
    """Both ends of an interval for a table; a dash for none."""
    return "–" if ends is None else f"{ends[0]:{form}} to {ends[1]:{form}}"


def percent(share: float | None) -> str:
    """A share of 1 for people; a dash for none."""
    return "–" if share is None else f"{100 * share:.2f} %"


def duration(seconds: float | None) -> str:
    """A time in words."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
