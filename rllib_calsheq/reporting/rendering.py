"""A document as one HTML file that needs no network, or as Markdown."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_calsheq.reporting.document import Bullets, Cell, Document, Figure, Mark, Table, Text
from rllib_calsheq.results.palette import GOAL, MAIN

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: What is written as code.
CODE = re.compile(r"`([^`]*)`")
#: Where a long name may be broken.
BREAKS = re.compile(r"(?<=[./=])(?=\w)")
#: What is left of a name in an identifier.
NO_IDENTIFIER = re.compile(r"[^a-z0-9]+")


def to_html(document: Document) -> str:
    """The document as one HTML file, with the code that draws its figures in it."""
    environment = _environment()
    figures = document.figures()
    return environment.get_template("report.html.j2").render(
        document=document,
        figures=_json({identifier(f.name): _drawn(f) for f in figures}),
        library=_library() if figures else "",
        main_colour=MAIN,
        good_colour=GOAL,
    )


def to_markdown(document: Document, folder: Path) -> str:
    """The document as Markdown; figures are the run's own pictures, where there are any.

    Args:
        document: The document.
        folder: Where the file will be, from which links to pictures start.
    """

    def link(figure: Figure) -> str:
        if figure.picture is None or not figure.picture.is_file():
            return ""
        return Path(os.path.relpath(figure.picture, folder)).as_posix()

    text = _environment().get_template("report.md.j2").render(document=document, link=link)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def identifier(name: str) -> str:
    """A name as it can stand in ``id`` of an element."""
    return NO_IDENTIFIER.sub("-", name.lower()).strip("-") or "figure"


def _environment() -> Environment:
    """The templates, with what they need."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("rllib_calsheq.reporting"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": _code,
        "lead": _lead,
        "identifier": identifier,
        "cell": _markdown_cell,
    }
    kinds = {"text": Text, "bullets": Bullets, "table": Table, "figure": Figure}
    for name, kind in kinds.items():
        environment.tests[name] = lambda block, kind=kind: isinstance(block, kind)
    return environment


def _code(text: str) -> Markup:
    """A text as HTML: code where it has backticks, and breaks within long names."""
    from markupsafe import Markup, escape

    def marked(found: re.Match[str]) -> str:
        return f"<code>{BREAKS.sub('<wbr>', found[1])}</code>"

    return Markup(CODE.sub(marked, str(escape(text))))


def _lead(text: Markup) -> Markup:
    """The words before the first colon, as what a sentence is about."""
    from markupsafe import Markup

    first, colon, rest = str(text).partition(": ")
    return Markup(f"<strong>{first}:</strong> {rest}" if colon else first)


def _markdown_cell(cell: Cell) -> str:
    """A cell of a table in Markdown; what differs or is missed is bold."""
    text = cell.text.replace("|", "\\|").replace("\n", " ") or " "
    bold = cell.mark in (Mark.BAD, Mark.DIFFERS) and text.strip()
    return f"**{text}**" if bold else text


def _drawn(figure: Figure) -> Mapping[str, Any]:
    """A figure as the page's script takes it."""
    choices = [{"traces": c.traces, "layout": c.layout} for c in figure.choices]
    return {"data": figure.data, "layout": figure.layout, "choices": choices}


def _json(content: Any) -> str:
    """JSON that can stand within an element of an HTML page."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _library() -> str:
    """Plotly's own script, compressed: a page is 2 MB with it and would be 5 MB otherwise."""
    from plotly.offline import get_plotlyjs

    # The same bytes each time: a report of the same run does not differ by the clock.
    packed = gzip.compress(get_plotlyjs().encode(), compresslevel=9, mtime=0)
    return base64.b64encode(packed).decode("ascii")
