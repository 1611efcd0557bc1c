"""`calsheq doctor`: each check on machines that lack something."""

import pytest

from rllib_calsheq.cli import calsheq
from rllib_calsheq.running import checkup
from rllib_calsheq.running.checkup import Finding


def test_a_python_that_is_not_allowed_is_wrong():
    assert checkup.check_python("3.12.1", ">=3.11,<3.14").advice is None
    assert checkup.check_python("3.10.2", ">=3.11,<3.14").advice == "use a Python >=3.11,<3.14"


def test_packages_that_are_missing_or_of_another_version_are_wrong():
    needed = ["numpy>=2.0", "no-such-package>=1", "pandas>=99", 'emcee>=99; extra == "infer"']
    found = {finding.name: finding.advice for finding in checkup.check_packages(needed)}
    assert found == {
        "numpy": None,
        "no-such-package": 'pip install "no-such-package>=1"',
        "pandas": 'pip install "pandas>=99"',
    }


def test_extras_are_named_and_never_wrong():
    needed = ["numpy", 'no-such-package; extra == "bo"', 'pandas; extra == "infer"']
    found = checkup.check_extras(needed)
    assert found.found == "infer, sweeps; not installed: bo"
    assert found.advice is None


def test_a_package_that_cannot_be_imported_is_wrong(tmp_path, monkeypatch):
    (tmp_path / "broken_build.py").write_text("raise OSError('libx.so: not found')\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = checkup.check_import("broken_build")
    assert found.found == "OSError: libx.so: not found"
    assert found.advice.startswith("install broken_build anew")
    assert checkup.check_import("json").advice is None


@pytest.mark.parametrize(
    ("environment", "found", "wrong"),
    [
        ({"OMP_NUM_THREADS": "2"}, "OMP_NUM_THREADS=2", False),
        ({"OMP_NUM_THREADS": "64"}, "OMP_NUM_THREADS=64", True),
        ({"CALSHEQ_NUM_THREADS": "none"}, "CALSHEQ_NUM_THREADS=none", True),
        ({"CALSHEQ_NUM_THREADS": "0", "OMP_NUM_THREADS": "2"}, "CALSHEQ_NUM_THREADS=0", True),
        ({"CALSHEQ_NUM_THREADS": "1", "OMP_NUM_THREADS": "64"}, "CALSHEQ_NUM_THREADS=1", False),
    ],
)
def test_threads_are_a_number_that_there_are_cores_for(environment, found, wrong):
    finding = checkup.check_threads(environment, cores=2)
    assert (finding.found, finding.advice is not None) == (found, wrong)


@pytest.mark.parametrize(
    ("environment", "token", "advice"),
    [
        ({}, False, None),
        ({"RAY_AUTH_MODE": "disabled"}, False, None),
        ({"RAY_AUTH_MODE": "token"}, True, None),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "x"}, False, None),
        ({"RAY_AUTH_MODE": "token"}, False, "ray get-auth-token --generate"),
        ({"RAY_AUTH_MODE": "on"}, True, "set RAY_AUTH_MODE to token or disabled"),
    ],
)
def test_a_token_is_there_where_it_is_asked_for(tmp_path, environment, token, advice):
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret", encoding="utf-8")
    finding = checkup.check_token(environment, tmp_path)
    assert (finding.advice is None) == (advice is None)
    assert advice is None or advice in finding.advice
    assert "secret" not in f"{finding}"


def test_too_little_memory_is_wrong():
    assert checkup.check_memory(8e9) == Finding("memory", "8.0 GB available")
    assert "end other programs" in checkup.check_memory(0.5e9).advice


def test_disks_without_room_or_that_cannot_be_written_to_are_wrong(tmp_path, monkeypatch):
    good = checkup.check_disk("results", tmp_path / "not" / "made" / "yet")
    assert good.name == "disk of results"
    monkeypatch.setattr(checkup, "LEAST_DISK", 1e30)
    assert "make room" in checkup.check_disk("results", tmp_path).advice
    (tmp_path / "file").touch()
    assert "give another folder" in checkup.check_disk("results", tmp_path / "file" / "x").advice
    usage = type("Usage", (), {"free": 0, "total": 0})
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda folder: usage)
    assert "make room" in checkup.check_disk("results", tmp_path).advice


@pytest.mark.parametrize(("advice", "code"), [(None, 0), ("do this", 1)])
def test_the_command_says_what_to_do_and_exits_with_1(monkeypatch, capsys, advice, code):
    found = [Finding("memory", "8.0 GB available"), Finding("threads", "two", advice)]
    monkeypatch.setattr(checkup, "check_up", lambda storage: found)
    assert calsheq.main(["doctor"]) == code
    printed = capsys.readouterr().out
    assert "ok    memory   8.0 GB available" in printed
    assert ("- threads: do this" in printed) == bool(code)
    assert ("nothing is wrong" in printed) == (not code)


def test_all_checks_run_here(tmp_path):
    names = [finding.name for finding in checkup.check_up(tmp_path)]
    assert {"Python", "ray", "torch", "memory", "disk of results"} <= {*names}
    assert len(names) == len({*names})
