"""The commands that make targets of a table: refusals in one paragraph, and what comes of one."""

import pytest
import yaml

from rllib_calsheq.cli import calsheq, train
from rllib_calsheq.data.target_files import TargetFile

from experiment_specs import load_one, refusal, spec, write

ROWS = "shop,kilograms\n" + "".join(f"{'ABC'[i % 3]},{1 + i % 40}\n" for i in range(240))
COLUMNS = ["--seller", "shop", "--quantity", "kilograms", "--merchant", "A"]


@pytest.mark.parametrize(
    ("table", "words", "said"),
    [
        ("", COLUMNS, "is empty"),
        ("shop,kilograms\n", COLUMNS, "but no rows"),
        ("shop,kilograms\nA,1\nB,two\n", COLUMNS, "are not numbers, e.g. ['two']"),
        ("shop,kilograms\nA,1\nB,-2\n", COLUMNS, "are not positive"),
        ("shop;kilograms\nA;1\n", COLUMNS, "separates its columns by ';'"),
        (ROWS, [*COLUMNS[:-1], "Z"], "no seller 'Z'"),
        (ROWS, ["--seller", "shp", *COLUMNS[2:]], "did you mean 'shop'"),
        (ROWS, [*COLUMNS, "--num-merchants", "1"], "num_merchants is 1"),
        (ROWS, [*COLUMNS, "--require", "paid"], "no column 'paid'"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, capsys, table, words, said):
    file = write(tmp_path, table, "table.csv")
    assert said in refusal(capsys, calsheq.main, ["targets", file, *words])


def test_a_missing_table_is_refused(tmp_path, capsys):
    words = ["targets", tmp_path / "none.csv", *COLUMNS]
    assert "does not exist" in refusal(capsys, calsheq.main, words)


def test_a_target_file_that_cannot_be_written_is_refused(tmp_path, capsys):
    words = ["targets", write(tmp_path, ROWS, "table.csv"), *COLUMNS, "-o", tmp_path / "no" / "x"]
    assert "No such file or directory" in refusal(capsys, calsheq.main, words)


def test_targets_of_a_table_can_be_calibrated_to(tmp_path, capsys):
    table = write(tmp_path, ROWS, "table.csv")
    output = tmp_path / "targets.yaml"
    assert calsheq.main(["targets", str(table), *COLUMNS, "-o", str(output)]) == 0
    assert f"wrote {output}: 10 targets" in capsys.readouterr().out
    target_file = TargetFile.load(output)
    assert target_file.env_config["num_merchants"] == 3
    assert target_file.source["file"] == "table.csv"
    config = {"targets": output.name, "env_config": {}}
    train.check(load_one(tmp_path, spec(config, env="rllib_calsheq.envs.MarketEnv")))
    # Printed, it is the same file.
    assert calsheq.main(["targets", str(table), *COLUMNS]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed == yaml.safe_load(output.read_text(encoding="utf-8"))


def test_a_table_of_three_rows_is_warned_of(tmp_path, capsys):
    table = write(tmp_path, "shop;kilograms\nA;1,5\nA;2,5\nB;3\n", "table.csv")
    words = ["targets", str(table), *COLUMNS, "--sep", ";", "--decimal", ","]
    assert calsheq.main(words) == 0
    assert "warning: 'A' has 2 transactions, of which 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("A,\n", "1 row has no 'shop' or no 'kilograms' and is left out; 3 are used"),
        (",5\nB,\n", "2 rows have no 'shop' or no 'kilograms' and are left out; 3 are used"),
    ],
)
def test_rows_that_are_left_out_are_counted(tmp_path, capsys, left_out, said):
    table = write(tmp_path, f"shop,kilograms\nA,1\nA,2\n{left_out}B,3\n", "table.csv")
    assert calsheq.main(["targets", str(table), *COLUMNS]) == 0
    assert f"warning: {said}" in capsys.readouterr().err
