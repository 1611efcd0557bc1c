"""Tables of transactions as files hold them: types, separators, what cannot be read."""

import gzip
import zipfile

import pytest

from rllib_calsheq.data.transactions import few_rows_warning, positive_quantities
from rllib_calsheq.envs.market.data import (
    read_transactions,
    targets_from_transactions,
)

CSV = b"seller,quantity\na,1\nb,2.5\n"

COLUMNS = {"seller": "seller", "quantity": "quantity"}


def test_all_file_types_are_read(tmp_path):
    (tmp_path / "plain.csv").write_bytes(CSV)
    (tmp_path / "marked.csv").write_bytes(b"\xef\xbb\xbf" + CSV)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(CSV))
    with zipfile.ZipFile(tmp_path / "packed.csv.zip", "w") as archive:
        archive.writestr("packed.csv", CSV)
    for path in tmp_path.iterdir():
        table = read_transactions(str(path))
        assert list(table.columns) == ["seller", "quantity"]
        assert table["quantity"].tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("image.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00", "cannot be read as CSV|not text"),
        ("latin.csv", "seller,quantity\ncafé,1\n".encode("latin-1"), "cannot be read as CSV"),
        ("utf16.csv", CSV.decode().encode("utf-16"), "cannot be read as CSV"),
        ("broken.csv.gz", CSV, "cannot be read as CSV"),
        ("broken.csv.zip", CSV, "cannot be read as CSV"),
        ("cut.csv.gz", gzip.compress(CSV, mtime=0)[:-9], "cannot be read as CSV"),
        ("ragged.csv", b"seller,quantity\na,1\na,1,2,3\n", "cannot be read as CSV"),
        ("headless.csv", b"a,1\nb,2\n", r"holds the numbers \['1'\]"),
        ("unnamed.csv", b"seller,quantity\na,1,x\nb,2,y\n", "more fields"),
        ("semicolon.csv", b"seller;quantity\na;1\n", "separates its columns by ';'"),
        ("decimals.csv", b"seller;quantity\na;1,5\nb;2\n", "--sep ';', and with --decimal ','"),
        ("tabs.csv", b"seller\tquantity\na\t1\n", "read it with --sep 'tab'"),
        ("table.xlsx", b"PK", "ends in '.xlsx'"),
        ("noending", CSV, "ends in 'nothing'"),
    ],
)
def test_bad_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_transactions(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sep", "decimal"),
    [
        (b"seller;quantity\na;1\nb;2,5\n", ";", ","),
        (b"seller;quantity\na;1\nb;2.5\n", ";", "."),
        (b"seller\tquantity\na\t1\nb\t2,5\n", "tab", ","),
        (b"seller,quantity\na,1\nb,2.5\n", ",", "."),
    ],
)
def test_separators_and_decimal_commas_are_read(tmp_path, content, sep, decimal):
    (tmp_path / "table.csv").write_bytes(content)
    table = read_transactions(tmp_path / "table.csv", sep, decimal)
    assert table["quantity"].tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("sep", "decimal", "message"),
    [
        ("", ".", "--sep is ''; allowed: one character, or tab"),
        (";;", ".", "--sep is ';;'"),
        (";", "'", "--decimal is \"'\"; allowed: '.' or ','"),
        (",", ",", "--sep is ','; allowed: another character than --decimal, ','"),
        (",", ".", "--sep ';'"),
    ],
)
def test_bad_separators_are_refused(tmp_path, sep, decimal, message):
    (tmp_path / "table.csv").write_bytes(b"seller;quantity\na;1,5\n")
    with pytest.raises(ValueError, match=r".") as caught:
        read_transactions(tmp_path / "table.csv", sep, decimal)
    assert message in str(caught.value)


def test_decimal_commas_that_were_read_as_text_are_named(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"seller;quantity\na;1,5\nb;2,5\n")
    table = read_transactions(tmp_path / "table.csv", ";")
    with pytest.raises(ValueError, match="for decimal commas, read the file with --decimal ','"):
        targets_from_transactions(table, merchant="a", **COLUMNS)


@pytest.mark.parametrize(
    ("rows", "words"),
    [(1, "1 transaction, of which 9 percentiles were made up"), (8, "made up"), (9, "were taken"),
     (89, "90 transactions or more"), (90, None)],
)  # fmt: skip
def test_few_rows_are_warned_of(rows, words):
    said = few_rows_warning("a", rows, 9)
    assert (said is None) == (words is None)
    assert words is None or words in said


def test_two_files_in_an_archive_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("one.csv", CSV)
        archive.writestr("two.csv", CSV)
    with pytest.raises(ValueError, match="Multiple files"):
        read_transactions(tmp_path / "two.csv.zip")


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "flights.csv").write_bytes(CSV)
    with pytest.raises(ValueError, match=r"does not exist; did you mean '.*flights\.csv'"):
        read_transactions(tmp_path / "flihgts.csv")
    with pytest.raises(ValueError, match="is a folder"):
        read_transactions(tmp_path)
    with pytest.raises(ValueError, match="does not exist: check the path"):
        read_transactions(tmp_path / "nowhere" / "flights.csv")


@pytest.mark.parametrize(
    ("entry", "wrong"),
    [("n/v", "1 of the 4.*'n/v'"), ("1.234,50", "1 of the 4.*'1.234,50'"), ("1.234", "1 of the 4")],
)
def test_of_decimal_commas_only_the_bad_rows_are_named(tmp_path, entry, wrong):
    rows = f"seller;quantity\n7;1,5\n8;{entry}\n7;3\n7;0,5\n"
    (tmp_path / "table.csv").write_text(rows, encoding="utf-8")
    table = read_transactions(tmp_path / "table.csv", ";", ",")
    with pytest.raises(ValueError, match=wrong) as caught:
        positive_quantities(table["quantity"])
    assert "--decimal" not in str(caught.value)


def test_of_decimal_commas_names_stay_names(tmp_path):
    rows = "seller;quantity\n12;1,5\nA7;2\n12;3\n"
    (tmp_path / "table.csv").write_text(rows, encoding="utf-8")
    table = read_transactions(tmp_path / "table.csv", ";", ",")
    assert table["seller"].tolist() == ["12", "A7", "12"]
    assert positive_quantities(table["quantity"]).tolist() == [1.5, 2.0, 3.0]
