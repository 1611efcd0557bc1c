"""Files are written whole or not at all, everywhere."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from rllib_calsheq.core.files import fingerprint, replacing, write_json, write_text
from rllib_calsheq.data.target_files import TargetFile

ROOT = Path(__file__).resolve().parent.parent
#: What writes a file in place.
WRITES = re.compile(r"\.(write_text|write_bytes|to_csv|savefig)\(|savez|json\.dump\(")


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    before = file.read_text()

    def stop_half_way():
        with replacing(file) as unfinished:
            unfinished.write_text("half")
            assert file.read_text() == before
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_half_way()
    assert file.read_text() == before
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_has_no_infinity_and_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"miss": float("inf"), "rows": [(np.nan, np.float64(1.5))]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"miss": None, "rows": [[None, 1.5]]}


def test_the_unfinished_file_lies_beside_its_place_with_the_same_ending(tmp_path):
    with replacing(tmp_path / "page.png") as unfinished:
        unfinished.touch()
        assert (unfinished.parent, unfinished.suffix) == (tmp_path, ".png")
    assert os.listdir(tmp_path) == ["page.png"]


def test_links_are_followed_and_devices_are_written_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    write_text("/dev/null", "text")
    assert not Path("/dev/null").is_file()


def test_a_target_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    file = tmp_path / "targets.yaml"
    TargetFile(targets={"a": 1.0}).save(file)
    before = file.read_text()

    def full(self, *args, **kwargs):
        with open(self, "w") as half:
            half.write("targets: {")
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        TargetFile(targets={"a": 2.0}).save(file)
    assert file.read_text() == before


def test_nothing_in_the_package_writes_a_file_in_place():
    found = []
    for folder in ("rllib_calsheq", "envs", "callbacks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            lines = file.read_text(encoding="utf-8").splitlines()
            found += [
                f"{file.relative_to(ROOT)}: {line.strip()}"
                for line in lines
                if WRITES.search(line) and "unfinished" not in line
            ]
    assert not found


def test_a_fingerprint_does_not_depend_on_the_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1})
