"""What the site (mkdocs.yml) does beside MkDocs: pages of notebooks and of linked sources.

- A notebook `docs/tutorials/NAME.ipynb` becomes the page `tutorials/NAME`.
- Documents link to files of the repository (`../rllib_calsheq/core/targets.py`), which works where
  the repository is looked at. In the site each such file is a page of its own below `source/`, so
  that links work without a network and wherever the site is read.
"""

from __future__ import annotations

import ast
import base64
import posixpath
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
#: Folder of the site in which the repository's files are.
SOURCES = "source"
#: A link of Markdown: its text and an image's mark stay, its address is rewritten.
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cfg": "ini", ".toml": "toml", ".cff": "yaml"}
#: What pandas says of how its tables look; the site's look is its own.
STYLES = re.compile(
    r"<style scoped>.*?</style>\n?|(?<=<table) border=\"1\" class=\"dataframe\"", re.DOTALL
)
HIDDEN = "---\nsearch:\n  exclude: true\n---\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages that are made: of notebooks, and of what documents link to."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            for made in _notebook(config, file):
                files.append(made)
    texts = {f.src_uri: f.content_string for f in files if f.is_documentation_page()}
    done: set[str] = set()
    while texts:
        linked = {
            target
            for uri, text in texts.items()
            for link in LINK.findall(text)
            if (target := outside(uri, link)) is not None
        } - done
        done |= linked
        texts = {}
        for target in sorted(linked):
            made = File.generated(config, page_of(target), content=_source_page(ROOT / target))
            files.append(made)
            if target.endswith(".md"):
                texts[made.src_uri] = made.content_string
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Rewrites links to notebooks and to files outside of docs."""
    uri = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        link, _, anchor = match.group().partition("#")
        target = outside(uri, link)
        if target is not None:
            link = posixpath.relpath(page_of(target), posixpath.dirname(uri) or ".")
        elif not link or _elsewhere(link):
            return match.group()
        else:
            inside = posixpath.normpath(posixpath.join(_folder(uri), link)).removeprefix("docs/")
            if inside.endswith(".ipynb"):
                inside = inside.removesuffix(".ipynb") + ".md"
            link = posixpath.relpath(inside, posixpath.dirname(uri) or ".")
        return f"{link}#{anchor}" if anchor else link

    return LINK.sub(rewritten, markdown)


def outside(uri: str, link: str) -> str | None:
    """The path in the repository that a page links to, if it is outside of docs.

    Args:
        uri: The page, relative to docs.
        link: What it links to.
    """
    path = link.partition("#")[0]
    if not path or _elsewhere(path):
        return None
    target = posixpath.normpath(posixpath.join(_folder(uri), path))
    return None if target.startswith(("docs/", "..")) or target == "docs" else target


def page_of(target: str) -> str:
    """Page of a file or folder of the repository, relative to docs."""
    return f"{SOURCES}/{target}" if target.endswith(".md") else f"{SOURCES}/{target}.md"


def _folder(uri: str) -> str:
    """Where a page's relative links begin, in the repository."""
    if uri.startswith(SOURCES + "/"):
        return posixpath.dirname(uri.removeprefix(SOURCES + "/"))
    return posixpath.join("docs", posixpath.dirname(uri))


def _elsewhere(link: str) -> bool:
    return link.startswith(("http://", "https://", "mailto:", "/"))


def _source_page(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        rows = [f"| `{file.name}` | {_first_line(file)} |" for file in sorted(path.glob("*.py"))]
        rows += [f"| `{file.name}` | |" for file in sorted(path.glob("*.yaml"))]
        return f"{HIDDEN}# `{name}/`\n\n| file | what it is |\n|---|---|\n" + "\n".join(rows) + "\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return HIDDEN + text
    language = LANGUAGES.get(path.suffix, "text")
    return f"{HIDDEN}# `{name}`\n\n````{language}\n{text}````\n"


def _first_line(file: Path) -> str:
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0].replace("|", "\\|")


def _notebook(config: MkDocsConfig, file: File) -> list[File]:
    """A notebook's page and its pictures; the notebook itself stays, to be taken from there."""
    assert file.abs_src_path is not None
    stem = posixpath.splitext(file.src_uri)[0]
    name = posixpath.basename(stem)
    parts, pictures = [], []
    for cell in nbformat.read(file.abs_src_path, as_version=4).cells:
        parts.append(cell.source if cell.cell_type == "markdown" else _fenced(cell.source))
        if len(parts) == 1:
            parts.append(f'<a href="{name}.ipynb" download>This page as a notebook</a>')
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{name}_{len(pictures)}.png"
                content = base64.b64decode(data["image/png"])
                pictures.append(
                    File.generated(config, f"{posixpath.dirname(stem)}/{picture}", content=content)
                )
                parts.append(f"![What the cell draws]({picture})")
            elif "text/html" in data:
                parts.append(STYLES.sub("", data["text/html"]))
            elif said := output.get("text") or data.get("text/plain"):
                parts.append(_fenced(said.rstrip("\n"), "text"))
    text = "\n\n".join(parts) + "\n"
    return [File.generated(config, f"{stem}.md", content=text), *pictures]


def _fenced(text: str, language: str = "python") -> str:
    return f"````{language}\n{text}\n````"
