"""Payoffs between a run's snapshots, and what they say about Assumption 1."""

import json

import numpy as np
import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.certificates.report.pictures import draw_transitivity
from rllib_calsheq.certificates.report.transitivity import describe, percent
from rllib_calsheq.certificates.snapshots import choose_snapshots, measure_transitivity
from rllib_calsheq.cli import calsheq
from rllib_calsheq.results.checkpoints import TRIAL_FILE, find_checkpoints

from echo_env import EchoEnv

STAGES = (1, 4, 8)
ROCK_PAPER_SCISSORS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trial whose policy learns a reward that no one else has a part in."""
    folder = tmp_path_factory.mktemp("run") / "trial"
    folder.mkdir()
    config = CALSHEQConfig().environment(EchoEnv).training(minibatch_size=32)
    config.calibration(calibrator={"name": "fixed"}, num_particles=32, lr_shared={"initial": 0.01})
    algorithm = config.build_algo()
    for stage in range(1, STAGES[-1] + 1):
        algorithm.train()
        if stage in STAGES:
            algorithm.save_to_path(folder / f"checkpoint_{STAGES.index(stage):06d}")
    algorithm.stop()
    (folder / TRIAL_FILE).write_text(json.dumps({"training_iteration": STAGES[-1]}))
    return folder


def samples(gains, noise=0.01, episodes=200):
    """Values and gains of single episodes with the given means."""
    rng = np.random.default_rng(0)
    m = len(gains)
    off_diagonal = 1.0 - np.eye(m)
    values = 10.0 + noise * rng.normal(size=(episodes, m))
    return values, gains + noise * rng.normal(size=(episodes, m, m)) * off_diagonal


def test_where_nobody_matters_to_others_all_gains_are_transitive(run, tmp_path):
    """The reward is t(own action): u(y, x) = t(y), so that T = t and no part is cyclic."""
    lines = []
    found = measure_transitivity(
        find_checkpoints(run), episodes=128, folder=tmp_path, progress=lines.append
    )
    assert found["stages"] == list(STAGES)
    assert found["verdict"] == "holds"
    assert found["shares"]["transitive"] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(
        np.array(found["gains"])[:, 0], np.array(found["values"]) - found["values"][0], atol=0.05
    )
    for candidate in found["candidates"].values():
        assert [step["improved"] for step in candidate["steps"]] == ["yes", "yes"]
        assert [step["rose"] for step in candidate["steps"]] == ["yes", "yes"]
        assert candidate["verdict"] == "holds"
    assert "extended transitivity holds" in found["statement"]
    assert len(lines) == 3
    assert json.loads((tmp_path / found["file"]).read_text()) == found


def test_columns_are_kept_and_other_processes_find_the_same(run, tmp_path):
    snapshots, lines = find_checkpoints(run)[::2], []
    config = CertificateConfig(supertypes="particles", seed=3)
    first = measure_transitivity(snapshots, config, 16, folder=tmp_path / "one")
    again = measure_transitivity(
        snapshots, config, 16, folder=tmp_path / "one", progress=lines.append
    )
    assert all("was stored" in line for line in lines)
    elsewhere = measure_transitivity(snapshots, config, 16, folder=tmp_path / "two", workers=2)
    assert first == again == {**elsewhere, "folder": first["folder"]}
    measure_transitivity(snapshots, config, 17, folder=tmp_path / "one")
    assert len(list((tmp_path / "one").glob("parts-*"))) == 2


def test_a_cycle_is_found_for_certain_or_hidden_by_noise():
    rng = np.random.default_rng(1)
    found = describe(*samples(ROCK_PAPER_SCISSORS), [10, 20, 30], 0.01, rng)
    assert found["verdict"] == "fails"
    assert sorted(found["cycle"]) == [10, 20, 30]
    assert found["shares"]["cyclic"] > 0.99
    assert found["cyclic_p_value"] < 0.01
    assert "form a cycle" in found["statement"]
    found = describe(*samples(ROCK_PAPER_SCISSORS, noise=50.0), [10, 20, 30], 0.01, rng)
    assert found["verdict"] == "undecided"
    assert found["cyclic_p_value"] > 0.05
    assert "more episodes" in found["statement"]


def test_a_rise_of_the_value_is_told_from_one_of_skill():
    """Later policies beat earlier ones, and all are worse off once all play them."""
    skill = np.array([0.0, 1.0, 2.0])
    values, gains = samples(skill[:, None] - skill)
    found = describe(values - skill, gains, [1, 2, 3], 0.01, np.random.default_rng(0))
    by_part, by_value = (found["candidates"][name] for name in ("transitive_part", "value"))
    assert by_part["verdict"] == "holds"
    assert by_value["verdict"] == "fails"
    assert [step["rose"] for step in by_value["steps"]] == ["no", "no"]
    assert np.diff(by_part["skill"]) == pytest.approx([1.0, 1.0], abs=0.01)


def test_snapshots_are_evenly_spaced(tmp_path):
    folders = [tmp_path / f"checkpoint_{k:06d}" for k in range(9)]
    assert choose_snapshots(folders, 3) == [folders[0], folders[4], folders[8]]
    assert choose_snapshots(folders, 20) == folders
    with pytest.raises(ValueError, match="num_to_keep"):
        choose_snapshots(folders[:1], 3)


def test_shares_are_written_with_the_digits_that_tell():
    assert [percent(s) for s in (0.99921, 0.00046, 0.25)] == ["99.92 %", "0.046 %", "25 %"]


def test_the_command_prints_a_table_or_json_and_draws(run, tmp_path, capsys):
    words = ["transitivity", str(run), "--episodes", "16", "--workers", "1", "-o", str(tmp_path)]
    assert calsheq.main(words) == 0
    said = capsys.readouterr().out
    assert "1 → 4" in said
    (picture,) = tmp_path.glob("transitivity_*.png")
    assert picture.stat().st_size > 20_000
    assert calsheq.main([*words, "--json", "--snapshots", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(list(tmp_path.glob("transitivity_*.json"))) == 2
    assert found["stages"] == [1, 8]
    # One statement of many episodes, and a matrix too large for numbers in its cells.
    found["stages"] = list(range(20))
    for key in ("gains", "cyclic"):
        found[key] = np.zeros((20, 20)).tolist()
    for key in ("values", "value_errors"):
        found[key] = [1.0] * 20
    for key in ("skill", "errors"):
        found["candidates"]["transitive_part"][key] = [0.0] * 20
    assert draw_transitivity(found, tmp_path / "large.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--snapshots", "1"], "--snapshots is 1"),
        (["--episodes", "1"], "--episodes is 1"),
        (["--epsilon", "-1"], "--epsilon is -1"),
        (["--workers", "0"], "--workers is 0"),
        (["--env-config", "num_agents"], "--env-config takes KEY=VALUE"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(words, message, run, capsys):
    assert calsheq.main(["transitivity", str(run), *words]) == 2
    assert message in capsys.readouterr().err
