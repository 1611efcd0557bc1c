"""The documents against the code: snippets run, commands parse, names and links exist."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.cli import calsheq, rllib, train
from rllib_calsheq.conformance.plain import check_environment
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.data.experiment_files import load_experiments
from rllib_calsheq.envs import MarketConfig, MarketEnv

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for path in (ROOT / "docs").rglob("*.md") if path.name != "summary.md"),
    ]
)
EXAMPLES = sorted((ROOT / "tuned_examples").glob("*.yaml"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
#: Stages of a snippet that trains for a minute, and is cut here.
LONG_RUN = 100
PARSERS = {"rllib": rllib._parser, "calsheq": calsheq._parser}


def blocks(language):
    """``(document, text)`` of every fenced block in a language."""
    found = []
    for document in DOCUMENTS:
        for kind, text in BLOCK.findall(document.read_text(encoding="utf-8")):
            if kind == language:
                found.append((document.name, text))
    return found


def commands():
    """``(document, words)`` of every rllib or calsheq command line in a bash block."""
    found = []
    for document, text in blocks("bash"):
        for line in text.replace("\\\n", "").splitlines():
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                # What `ray job submit` runs comes after its own "--".
                words = words[words.index("--") + 1 :] if "--" in words else words
                if words and Path(words[0]).name in PARSERS:
                    found.append((document, [Path(words[0]).name, *words[1:]]))
    return found


def table_names(path, heading):
    """Names in backticks in the first column of the table after a line that has ``heading``."""
    text = (ROOT / path).read_text(encoding="utf-8")
    rows = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def own_fields(cls, base=None):
    inherited = set(vars(base())) if base else set()
    return {name for name in vars(cls()) if not name.startswith("_")} - inherited


@pytest.mark.learning
def test_every_python_snippet_runs(tmp_path):
    found = blocks("python")
    assert len(found) >= 4
    # One process for all, so that Ray starts once.
    script = tmp_path / "snippets.py"
    text = "\n".join(text for _, text in found)
    script.write_text(re.sub(rf"\bstages={LONG_RUN}\b", "stages=2", text), encoding="utf-8")
    # What readers are told to put beside it.
    shutil.copytree(ROOT / "docs" / "data", tmp_path, dirs_exist_ok=True)
    run = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("document", "text"), blocks("python"))
def test_every_python_snippet_is_complete(document, text):
    tree = ast.parse(text, filename=document)
    assert any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in tree.body)


@pytest.mark.parametrize(("document", "words"), commands())
def test_every_command_parses(document, words):
    args = PARSERS[words[0]]().parse_args(words[1:])
    file = getattr(args, "file_flag", None)
    if file is not None and not file.startswith("my_"):
        folder = ROOT if "/" in file else ROOT / "tuned_examples"
        assert load_experiments(folder / file, args.overrides)


def test_the_page_of_commands_lists_every_flag():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    table = text[text.index("| command | flag |") :].split("\n\n")[0]
    listed = set(re.findall(r"`(--?[a-z][a-z0-9-]*)", table))
    known = set()
    for parser in PARSERS.values():
        (choices,) = (a.choices for a in parser()._actions if a.dest == "command")
        for command in choices.values():
            known |= {s for action in command._actions for s in action.option_strings}
    assert listed == known - {"-h", "--help"}


@pytest.mark.parametrize(("document", "text"), blocks("yaml"))
def test_every_yaml_block_is_an_experiment_or_a_target_file(document, text, tmp_path, monkeypatch):
    content = yaml.safe_load(text)
    assert isinstance(content, dict)
    if "targets" in content:
        space = MarketEnv.array_form(content["env_config"])
        TargetSet.from_mapping(content["targets"], space.outcomes)
        return
    (tmp_path / "my_targets.yaml").write_text("{supertype_1.share: 0.3}", encoding="utf-8")
    file = tmp_path / "experiment.yaml"
    file.write_text(text, encoding="utf-8")
    for experiment in load_experiments(file):
        train.check(experiment)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_tuned_example_is_ready_to_run(file):
    (experiment,) = load_experiments(file)
    train.check(experiment)
    assert f"rllib train -f tuned_examples/{file.name}" in file.read_text(encoding="utf-8")
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert f"tuned_examples/{file.name}" in page


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://", "#")):
            assert (document.parent / link.partition("#")[0]).exists(), link


def test_the_documented_fields_are_the_classes_fields():
    assert set(table_names("docs/fields.md", "| field | default |")) == own_fields(
        CALSHEQConfig, PPOConfig
    )
    assert set(table_names("docs/calibrator.md", "| field | default |")) == own_fields(
        PPOCalibratorConfig
    )
    fields = set(MarketConfig.__dataclass_fields__)
    assert set(table_names("docs/market.md", "| field | default |")) == fields


def test_the_documented_defaults_are_the_classes_defaults():
    text = (ROOT / "docs" / "fields.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.M))
    config = CALSHEQConfig()
    for name in own_fields(CALSHEQConfig, PPOConfig):
        documented = yaml.safe_load(rows[name].strip().strip("`").replace("none", "null"))
        assert documented == getattr(config, name), name


def test_the_documented_outcomes_and_parameters_are_the_markets():
    market = MarketEnv.array_form()
    text = (ROOT / "docs" / "market.md").read_text(encoding="utf-8")
    for supertype, names in (("supertype_1", ("tolerance",)), ("supertype_2", ("tolerance_mean",))):
        for name in names:
            row = next(line for line in text.splitlines() if f"`{supertype}.{name}`" in line)
            assert row.startswith(f"| {market.supertype_space.names.index(row.split('`')[1]) + 1} ")
    reported = {o.name for o in market.outcomes} | {"supertype_1.reward"}
    assert set(table_names("docs/market.md", "| outcome |")) - {"quantity_p90"} <= reported


def test_no_document_claims_an_environment_that_fails_its_own_checks():
    check_environment(MarketEnv, {"episode_length": 3})


def test_no_file_names_this_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Put together here, so that this file does not hold them.
    needles = ["/".join(["", *parts]) for parts in (("work", ""), ("tmp", "venv"), ("root", ""))]
    needles += ["/".join(["", "home", ""]), "/".join(["", "opt", ""])]
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {needle}" for needle in needles if needle in text]
    assert not found


#: Marks of tests that are left out unless they are asked for.
LEFT_OUT = ("cluster", "slow")


def shown_by(page):
    """``(files of tests, what -k selects in them, what -m asks for)`` of the commands on a page."""
    for command in re.findall(r"`((?:-m \w+ )?tests/[^`]+)`", page):
        words = shlex.split(command)
        files = [word for word in words if word.startswith("tests/")]
        after = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-k", "-m")}
        yield files, after.get("-k", ""), after.get("-m", "")


def names_of_tests(file, mark):
    """The names that `-k` looks at, but for parameters', of a file's tests that a mark leaves out,
    or of those that none does."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    of_file = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign)]
    of_file = [text for text in of_file if text.startswith("pytestmark")]
    found = set()
    for outer in tree.body:
        for node in outer.body if isinstance(outer, ast.ClassDef) else [outer]:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = of_file + [ast.unparse(decorator) for decorator in node.decorator_list]
                own = [m for m in LEFT_OUT if any(f"mark.{m}" in text for text in marks)]
                if own == ([mark] if mark else []):
                    found |= {node.name, getattr(outer, "name", "")}
    return found


def test_every_test_that_shows_a_fault_exists():
    shown = list(shown_by((ROOT / "docs" / "faults.md").read_text(encoding="utf-8")))
    assert len(shown) > 25
    for files, selection, mark in shown:
        for file in files:
            names = names_of_tests(file, mark)
            assert names, f"{file} -m {mark!r}"
            # Each alternative has to choose something: pytest says nothing of one that does not.
            for word in selection.split(" or "):
                assert any(word in name for name in names), f"{file} -k {selection!r}: {word}"
