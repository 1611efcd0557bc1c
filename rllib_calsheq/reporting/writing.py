"""Writes the report of some runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rllib_calsheq.core.files import write_text
from rllib_calsheq.reporting.facts import gather
from rllib_calsheq.reporting.rendering import to_html, to_markdown
from rllib_calsheq.reporting.sections import document_of
from rllib_calsheq.results.checkpoints import REPORT_FILE


def write_report(
    runs: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    markdown: bool = False,
    command: str = "",
) -> list[Path]:
    """Writes what some runs were asked for and what came out of them.

    Args:
        runs: Folders of runs or of trials, one at least. All trials of a run are taken.
        output: The HTML file. When None it is ``report.html``, in the folder of the run, or in the
            working directory for several runs.
        markdown: Whether the same is written as Markdown, too, beside it.
        command: What was typed, for whoever reads the report.

    Returns:
        The files.

    Raises:
        ValueError: If a folder is no run, a run has no result yet, or a file of it is damaged.
    """
    document = document_of(gather(runs), command)
    if output is not None:
        file = Path(output).expanduser()
        if file.is_dir():
            raise ValueError(
                f"{file} is a folder; give the name of a file, e.g. {file / REPORT_FILE}"
            )
    else:
        file = (Path(runs[0]).expanduser() if len(runs) == 1 else Path()) / REPORT_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, to_html(document))
    if not markdown:
        return [file]
    other = file.with_suffix(".md")
    write_text(other, to_markdown(document, other.parent.resolve()))
    return [file, other]
