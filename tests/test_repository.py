"""What stands beside the code for people: how to cite it, how to report, what a change needs."""

import re
from pathlib import Path

import yaml

from rllib_calsheq.core.version import __version__

ROOT = Path(__file__).resolve().parent.parent


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version_and_of_the_paper():
    cited = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= {*cited}
    assert cited["version"] == __version__
    assert cited["license"] in read("setup.cfg")
    (paper,) = cited["references"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Vadori", "Ganesh", "Reddy", "Veloso"]
    assert f'"{paper["title"]}"' in " ".join(read("README.md").split())


def test_issue_forms_are_forms():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [form.name for form in forms] == ["bug.yml", "config.yml", "question.yml"]
    for form in forms:
        content = yaml.safe_load(form.read_text(encoding="utf-8"))
        if form.stem == "config":
            continue
        assert {"name", "description", "body"} <= {*content}
        labels = [field["attributes"]["label"] for field in content["body"]]
        assert len(labels) == len({*labels})


def test_a_change_is_asked_for_the_checks_of_contributing():
    asked = re.findall(r"^- \[ \] `(.+)`$", read(".github/pull_request_template.md"), re.M)
    assert len(asked) == 3
    for command in asked:
        assert command in read("CONTRIBUTING.md")
