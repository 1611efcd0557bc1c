"""What is installed: packages, bounds and pins, the wheel, and the README's two commands."""

import configparser
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wheels import DATA, FOLDERS, build_wheel

ROOT = Path(__file__).resolve().parent.parent


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def requirements(section, option):
    return [Requirement(line) for line in lines(setup_cfg()[section][option])]


def pins():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [Requirement(line) for line in lines(text) if not line.startswith("#")]


def python(code, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_package_on_disk_is_in_setup_cfg_and_none_else():
    found = set()
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *parts)))
    assert set(lines(setup_cfg()["options"]["packages"])) == found | {*DATA.values()}


@pytest.mark.parametrize("folder", ["envs", "callbacks"])
def test_a_second_copy_under_the_folders_name_is_refused(folder):
    run = python(f"import {folder}", ROOT)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: this folder is the package `rllib_calsheq.{folder}`")
    assert "pip install -e ." in last


def test_the_wheel_holds_the_packages_and_works(tmp_path):
    wheel, target = build_wheel(tmp_path), tmp_path / "target"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(n for n in names if n.endswith("entry_points.txt"))
        commands = archive.read(entry_points).decode()
        archive.extractall(target)
    top_level = {name.partition("/")[0] for name in names}
    assert {n for n in top_level if not n.endswith(".dist-info")} == {"rllib_calsheq"}
    for expected in (
        "rllib_calsheq/py.typed",
        "rllib_calsheq/envs/market/array.py",
        "rllib_calsheq/callbacks/calibration.py",
        "rllib_calsheq/cli/rllib.py",
    ):
        assert expected in names
    for folder, package in (*DATA.items(), ("rllib_calsheq/cli/template", "rllib_calsheq.cli")):
        inside = package.replace(".", "/") if folder in DATA else folder
        for file in (ROOT / folder).rglob("*.*"):
            if "__pycache__" not in file.parts:
                assert f"{inside}/{file.relative_to(ROOT / folder)}" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert "rllib = " in commands
    assert "calsheq = " in commands
    code = "import rllib_calsheq.envs.market.config as m; print(m.__file__)"
    # A path comes before an editable install; the answer says which one it was.
    run = python(code, tmp_path, PYTHONPATH=str(target))
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()) == target / "rllib_calsheq/envs/market/config.py"
    # What is run by its name comes with its targets, from nothing but the wheel.
    code = (
        "from rllib_calsheq.data.experiment_files import load_experiments as load\n"
        "(found,) = load('calsheq.yaml'); print(len(found.config['targets']['targets']))"
    )
    run = python(code, tmp_path, PYTHONPATH=str(target))
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-1] == "10"


def test_every_dependency_has_a_lower_and_an_upper_bound():
    for requirement in requirements("options", "install_requires"):
        operators = {s.operator for s in requirement.specifier}
        assert operators & {">=", "==", "~="}, requirement
        assert operators & {"<", "==", "~="}, requirement


def test_the_lowest_versions_are_the_lower_bounds_of_setup_cfg():
    run = python("import versions; print(*versions.lowest_versions())", ROOT / "tools")
    assert run.returncode == 0, run.stderr
    lowest = dict(word.split("==") for word in run.stdout.split())
    for requirement in requirements("options", "install_requires"):
        version = lowest[requirement.name]
        assert requirement.specifier.contains(version), requirement
        bounds = {s.version for s in requirement.specifier if s.operator == ">="}
        assert bounds == {version}, requirement


def test_pythons_that_are_not_found_are_named_in_one_line(tmp_path):
    tool = "import sys, versions; sys.exit(versions.main(sys.argv[1:]))"
    command = [sys.executable, "-c", tool, "pythons", str(tmp_path), "3.98", "3.99"]
    run = subprocess.run(
        command, cwd=ROOT / "tools", capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "skipped: no interpreter for Python 3.98 and 3.99 here\n"


def test_constraints_pin_versions_within_the_bounds():
    pinned = {}
    for pin in pins():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert "+" not in specifier.version, f"{pin}: a local version is one machine's"
        pinned[canonicalize_name(pin.name)] = specifier.version
    extras = "options.extras_require"
    for section, option in (("options", "install_requires"), (extras, "test"), (extras, "docs")):
        for requirement in requirements(section, option):
            name = canonicalize_name(requirement.name)
            assert name in pinned, f"constraints.txt does not pin {name}"
            assert requirement.specifier.contains(pinned[name]), (requirement, pinned[name])


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("run", "rllib train -f tuned_examples/calsheq.yaml"),
        ("test", "python -m pytest -n 2 --dist loadfile"),
    ],
)
def test_the_readme_has_the_commands_that_do_everything(name, end):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^<!-- command: {name} -->\n```bash\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) == 1
    (command,) = lines(blocks[0])
    assert command.startswith("python3 -m venv .venv && ")
    assert command.endswith(end)
    assert "pip install -c constraints.txt torch==" in command
    torch = next(pin for pin in pins() if pin.name == "torch")
    assert str(torch) in command


def test_ci_takes_its_test_command_from_the_readme():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert "<!-- command: test -->" in text
    assert "pip install -c" not in text
    assert "tools/versions.py lowest" in text
    assert "tools/versions.py pythons" in text
