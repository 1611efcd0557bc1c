"""`rllib train --overwrite`: what is set aside, and what is left alone."""

import argparse

import pytest

from rllib_calsheq.cli import rllib, train
from rllib_calsheq.results.checkpoints import LOCK_FILE
from rllib_calsheq.running.overwriting import set_aside
from rllib_calsheq.running.resuming import sole_use

from experiment_specs import SPEC, refusal, write


def run_at(folder, content="results"):
    """A folder as `rllib train` leaves it."""
    folder.mkdir(parents=True)
    for name in ("tuner.pkl", "experiment_state-1.json", LOCK_FILE):
        (folder / name).touch()
    (folder / "result.txt").write_text(content, encoding="utf-8")
    return folder


def test_a_run_is_kept_until_the_next_time(tmp_path):
    run, kept = tmp_path / "run", tmp_path / "run.before"
    assert set_aside(run) is None
    for content in ("first", "second"):
        assert set_aside(run_at(run, content)) == kept
        assert not run.exists()
        assert (kept / "result.txt").read_text(encoding="utf-8") == content


def test_a_run_that_never_began_is_no_obstacle(tmp_path):
    with sole_use(tmp_path / "run"):
        pass
    assert set_aside(tmp_path / "run") is None


@pytest.mark.parametrize("missing", ["tuner.pkl", "experiment_state-1.json", LOCK_FILE])
def test_what_is_no_run_of_ours_is_left_alone(tmp_path, missing):
    run = run_at(tmp_path / "run")
    (run / missing).unlink()
    with pytest.raises(ValueError, match="is none: move it away yourself"):
        set_aside(run)
    assert (run / "result.txt").is_file()


def test_a_stranger_in_the_place_of_the_run_before_is_left_alone(tmp_path):
    run, stranger = run_at(tmp_path / "run"), tmp_path / "run.before"
    stranger.write_text("a file", encoding="utf-8")
    with pytest.raises(ValueError, match=r"run\.before is none"):
        set_aside(run)
    assert (run / "result.txt").is_file()
    assert stranger.read_text(encoding="utf-8") == "a file"


def test_a_run_that_goes_on_is_left_alone(tmp_path):
    run = run_at(tmp_path / "run")
    with sole_use(run), pytest.raises(ValueError, match="another process works in"):
        set_aside(run)
    assert (run / "result.txt").is_file()


def test_overwriting_and_going_on_exclude_each_other(tmp_path, capsys):
    words = ["train", "-f", write(tmp_path, SPEC), "--resume", "--overwrite"]
    assert "give one" in refusal(capsys, rllib.main, words)


def test_experiments_of_one_name_do_not_replace_each_other(tmp_path, capsys):
    file = tmp_path / "two.yaml"
    file.write_text("a: {run: PPO, env: CartPole-v1}\nb: {run: PPO, env: CartPole-v1}\n", "utf-8")
    words = ["train", "-f", file, "--name", "one", "--overwrite"]
    assert "has 2 experiments" in refusal(capsys, rllib.main, words)


def test_a_bad_file_leaves_the_run_before_where_it_is(tmp_path, capsys):
    run = run_at(tmp_path / "experiment")
    bad = {**SPEC, "config": {**SPEC["config"], "num_particles": 0}}
    words = ["train", "-f", write(tmp_path, bad), "--storage-path", tmp_path, "--overwrite"]
    assert "num_particles is 0" in refusal(capsys, rllib.main, words)
    assert (run / "result.txt").is_file()


def test_going_on_with_what_was_begun_anew_does_not_begin_it_anew():
    args = argparse.Namespace(line=["train", "-f", "a.yaml", "--overwrite"])
    assert train._go_on(args) == "rllib train -f a.yaml --resume"
