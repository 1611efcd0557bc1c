"""`calsheq targets` of any file at all: a target file that can be used, or one error."""

import contextlib
import csv
import io
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import event, example, given
from hypothesis import strategies as st

from rllib_calsheq.cli import calsheq
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.envs import ArrayMarket, MarketConfig

NAMES = st.sampled_from(["when", "", " seller", "Quantity", "a.1", "é☃", "x,y", '"'])
SELLERS = st.sampled_from(["a", "b", "c d", "1", "2.0", "NaN", "", "é", "a\nb", "True"])
#: Mostly of one size, at times of any that a float can have.
SIZES = st.sampled_from([*[(1e-3, 1e6)] * 6, (1e-20, 1e20), (5e-324, 1.7e308)])
ODD_CELLS = st.sampled_from(
    [
        "", "nan", "inf", "-1", "0", "1e400", "1e308", "1e-308", "5e-324", "9" * 400, "1,000",
        "0x10", "12 kg", "True", "2013-01-01", "2013-13-45", "None", "\x00", "'", "=1+1", "١٢",
    ]
) | st.text(max_size=4)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-7")


@st.composite
def good_rows(draw, sizes=SIZES):
    """The header and rows of a table of sellers, of which ``a`` and ``b`` are two."""
    header = draw(st.permutations(["seller", "quantity", *draw(st.lists(NAMES, max_size=2))]))
    quantities = (st.floats(*draw(sizes)) | st.integers(1, 99)).map(str)
    sellers = ["a", "b", *draw(st.lists(SELLERS, max_size=10))]
    return header, [
        [draw(quantities) if name == "quantity" else seller for name in header]
        for seller in sellers
    ]


def written(header, rows, quoting=csv.QUOTE_MINIMAL, delimiter=",", end="\n"):
    """The text of a table; ``quoting`` None writes cells as they are."""
    text = io.StringIO()
    if quoting is None:
        text.writelines(delimiter.join(row) + end for row in [header, *rows])
    else:
        writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
        writer.writerows([header, *rows])
    return text.getvalue()


@st.composite
def tables(draw):
    """Bytes of a table that is mostly good, as some program may write it."""
    header, rows = draw(good_rows())
    for _ in range(draw(st.sampled_from([0, 1, 1, 3]))):
        row = draw(st.sampled_from(rows))
        place = draw(st.integers(0, len(header) - 1))
        change = draw(st.sampled_from(["cell", "cell", "longer", "shorter", "empty column"]))
        if change == "longer":
            row.append(draw(ODD_CELLS))
        elif change == "shorter":
            del row[place:]
        elif change == "empty column":
            for other in rows:
                other[place : place + 1] = [""]
        else:
            row[place : place + 1] = [draw(ODD_CELLS)]
    text = written(
        header,
        rows,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, None])),
        delimiter=draw(st.sampled_from(",,,,,,,,;\t")),
        end=draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])),
    )
    encoding = draw(st.sampled_from([*["utf-8"] * 20, *ENCODINGS]))
    return text.encode(encoding, errors="replace")


def run(content, options):
    """The command on a file of these bytes: its code, its target file or None, what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "sales.csv", Path(folder) / "targets.yaml"
        source.write_bytes(content)
        printed, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            code = calsheq.main(["targets", str(source), *options, "-o", str(made)])
        return code, TargetFile.load(made) if made.exists() else None, said.getvalue()


def check(content, options):
    """Checks what became of a file; returns whether it is a target file."""
    code, found, said = run(content, options)
    if code:
        event("refused")
        assert code == 2
        assert found is None
        assert said.startswith("error: ")
        assert "\n\n" not in said.strip()
        return False
    event("made")
    market = ArrayMarket(MarketConfig(**found.env_config, episode_length=2))
    targets = TargetSet.from_mapping(found.targets, market.outcomes)
    assert np.isfinite(targets.values).all()
    market.reset(market.supertype_space.start[None], [0])
    _, rewards = market.step(np.zeros((1, market.config.num_merchants, 2)))
    assert np.isfinite(rewards).all()
    return True


@given(
    good_rows(st.sampled_from([(1e-3, 1e6), (1e-20, 1e20)])),
    st.sampled_from([[], ["--share-by", "count"], ["--supertype-2"], ["--num-merchants", "2"]]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_good_table_is_a_target_file_that_can_be_used(table, more, quoting):
    content = written(*table, quoting).encode()
    assert check(content, ["--seller=seller", "--quantity=quantity", "--merchant=a", *more])


@given(
    tables(),
    st.sampled_from([*["a"] * 9, "b", "1", "é", "nobody"]),
    st.sampled_from([*["seller"] * 20, "quantity", "nothing"]),
    st.sampled_from([*["quantity"] * 20, "when", "seller"]),
    st.sampled_from([*[[]] * 6, ["--share-by", "count"], ["--supertype-2"], ["--require=when"],
                     ["--num-merchants", "2"], ["--percentile-floor", "nan"],
                     ["--percentile-floor", "1e308"], ["--num-merchants", "-1"]]),
)  # fmt: skip
@example(b"seller,quantity\na,1\nb,2\n", "a", "seller", "quantity", [])
def test_a_table_is_a_target_file_or_an_error(content, merchant, seller, quantity, more):
    check(
        content, [f"--seller={seller}", f"--quantity={quantity}", f"--merchant={merchant}", *more]
    )


@given(st.binary(max_size=300) | st.text(alphabet='ab,;"\n\r\t 1e.-\x00é', max_size=60))
def test_any_bytes_are_a_target_file_or_an_error(content):
    raw = content if isinstance(content, bytes) else content.encode()
    check(raw, ["--seller=a", "--quantity=b", "--merchant=a"])
    check(b"a,b\n" + raw, ["--seller=a", "--quantity=b", "--merchant=a"])
