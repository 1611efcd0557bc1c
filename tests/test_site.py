"""The site's pages against the code and each other; `.ci/run` builds it, strictly."""

import re
from pathlib import Path

import pytest
import yaml

import rllib_calsheq
import rllib_calsheq.envs

from test_docs import PARSERS, names_of_tests, shown_by

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
#: Words of the machinery below, which a newcomer does not know.
MACHINERY = (
    "rllib", "ray", "ppo", "tune", "policy", "env runner", "learner", "checkpoint", "rollout",
    "multiagentenv", "trial", "episode", "particle", "supertypes", "reward",
)  # fmt: skip


def read(name):
    return (DOCS / name).read_text(encoding="utf-8")


def navigation():
    """The pages of the site's navigation, in order."""

    class Loader(yaml.SafeLoader):
        """Reads mkdocs.yml, whose Python names are not needed here."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    found, left = [], yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]
    while left:
        item = left.pop(0)
        inside = [item] if isinstance(item, str) else list(item.values())
        for value in inside:
            if isinstance(value, str):
                found.append(value)
            else:
                left = value + left
    return found


def test_every_page_is_in_the_navigation_once_and_none_else():
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    pages |= {f"tutorials/{path.stem}.md" for path in DOCS.rglob("*.ipynb")}
    earlier = {page for page in pages if page.startswith("results/version_0_1/")}
    found = navigation()
    assert sorted(found) == sorted(pages - earlier)


def test_start_has_four_pictures_and_no_word_of_the_machinery():
    page = read("index.md")
    assert len(re.findall(r"!\[[^\]]+\]\(figures/", page)) == 4
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", page, flags=re.S).lower()
    assert [word for word in MACHINERY if re.search(rf"\b{word}\b", prose)] == []


def test_the_glossary_explains_twenty_words():
    words = re.findall(r"^\*\*([^*]+)\.\*\*", read("glossary.md"), re.M)
    assert len(words) == len(set(words)) == 20


def test_every_public_name_is_in_the_reference():
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    listed = {name.rpartition(".")[2] for name in re.findall(r"^::: ([\w.]+)$", text, re.M)}
    public = {*rllib_calsheq.__all__} - {"__version__"}
    assert public <= listed
    assert listed <= public | {*rllib_calsheq.envs.__all__}


def rows_of_paper():
    table = read("paper.md").partition("| paper | module | test | command |\n")[2]
    for row in table.partition("\n\n")[0].splitlines()[1:]:
        yield [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize("row", rows_of_paper(), ids=lambda row: row[0])
def test_a_row_of_paper_and_code_has_a_module_and_tests_and_a_command_that_parses(row):
    _, modules, tests, command = row
    links = re.findall(r"\]\(([^)]+)\)", modules)
    assert links
    for link in links:
        assert (DOCS / link).exists(), link
    shown = list(shown_by(tests))
    assert shown
    for files, selection, mark in shown:
        for file in files:
            names = names_of_tests(file, mark)
            assert names, file
            for word in filter(None, selection.split(" or ")):
                assert any(word in name for name in names), f"{file} -k {selection!r}: {word}"
    for line in re.findall(r"`([^`]+)`", command):
        program, *words = line.split()
        PARSERS[program]().parse_args(words)


def test_the_paper_is_there_in_full():
    rows = [row[0] for row in rows_of_paper()]
    text = " ".join(rows)
    for part in (
        *(f"equation ({k})" for k in range(1, 6)), "Definition 1", "Definition 2", "Assumption 1",
        "Assumption 2", "Proposition 1", "Theorem 1", "algorithm 1", "figures 1, 2 and 3",
    ):  # fmt: skip
        assert part in text
