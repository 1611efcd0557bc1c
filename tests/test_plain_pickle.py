"""Pickles that are read as data: what is no data is refused by name, and is never run."""

import contextlib
import datetime
import pickle
from collections import OrderedDict, deque
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rllib_calsheq.core.plain_pickle import TRUST, ForeignCodeError, UnreadableError, load_plain

DATA = {
    "numbers": [1, -(2**80), 1.5, float("inf"), True, None, 1j, Fraction(1, 3)],
    "texts": ("a", b"b", bytearray(b"c")),
    "sets": [{1, 2}, frozenset("ab"), range(3), slice(1, 2)],
    "containers": [OrderedDict(a=1), deque([1], maxlen=3), Path("a/b")],
    "times": [datetime.timedelta(seconds=3), datetime.datetime(2024, 1, 2)],
    "arrays": [
        np.arange(6.0).reshape(2, 3).T,
        np.array([], dtype=np.float32),
        np.array(["a", None], dtype=object),
        np.array([("x", 1)], dtype=[("name", "U3"), ("n", "i4")]),
        np.float32(0.5),
        np.array(["2024-01-01"], dtype="M8[D]"),
    ],
}


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_data_is_read_as_pickle_reads_it(tmp_path, protocol):
    file = tmp_path / "state.pkl"
    file.write_bytes(pickle.dumps(DATA, protocol))
    np.testing.assert_equal(load_plain(file), pickle.loads(file.read_bytes()))
    assert load_plain(file)["arrays"][0].dtype == np.float64


def attacks(marker):
    """Pickles that make a file when they are read as usual, and what each calls."""
    make = f"open({str(marker)!r}, 'w').close()"
    return {
        "pathlib.Path.touch": pickle.dumps(Calls(Path.touch, marker)),
        "builtins.exec": pickle.dumps({"deep": [({"a": Calls(exec, make)},)]}),
        "builtins.eval": pickle.dumps([np.arange(3), Calls(eval, make)]),
        "builtins.getattr": pickle.dumps(Calls(getattr, marker, "name")),
        "os.system": f"cos\nsystem\n(S'touch {marker}'\ntR.".encode(),
        "numpy.load": b"cnumpy\nload\n.",
        # An allowed module's other names, and names that lead out of it.
        "collections.namedtuple": b"ccollections\nnamedtuple\n.",
        "numpy.dtype.__class__": b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.",
    }


@pytest.mark.parametrize("name", attacks(Path("x")))
def test_what_is_no_data_is_refused_by_name_and_not_run(tmp_path, name):
    file, marker = tmp_path / "state.pkl", tmp_path / "marker"
    file.write_bytes(attacks(marker)[name])
    with pytest.raises(ForeignCodeError) as refused:
        load_plain(file)
    said = str(refused.value)
    assert str(file) in said
    assert TRUST in said
    # `Path.touch` is found by way of `getattr`.
    assert (name in said) or ("builtins.getattr" in said)
    assert not marker.exists()


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x05", b"hello", pickle.dumps(DATA)[:-40]],
    # Not by what is in it: a set's order differs from process to process.
    ids=["empty", "begun", "text", "cut off"],
)
def test_a_damaged_file_is_named(tmp_path, content, trusted):
    file = tmp_path / "state.pkl"
    file.write_bytes(content)
    with pytest.raises(UnreadableError, match=f"{file} is damaged"):
        load_plain(file, trusted)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path, seed):
    """Files in which some bytes are others; what they call is looked up in the same list."""
    file, rng = tmp_path / "state.pkl", np.random.default_rng(seed)
    whole = pickle.dumps([OrderedDict(a=np.arange(3)), {1, 2}, "text", 1.5, Fraction(1, 3)])
    for _ in range(100):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        file.write_bytes(bytes(content))
        with contextlib.suppress(ForeignCodeError, UnreadableError):
            load_plain(file)


def test_where_the_user_trusts_its_author_a_pickle_is_read_as_usual(tmp_path, monkeypatch):
    file, marker = tmp_path / "state.pkl", tmp_path / "marker"
    file.write_bytes(attacks(marker)["builtins.exec"])
    monkeypatch.setenv(TRUST, "1")
    load_plain(file)
    assert marker.exists()
