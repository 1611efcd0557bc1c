"""A run that is watched while it goes on: its files are written as a run does."""

import io
import json
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress

import numpy as np
import pytest
from rich.console import Console

from rllib_calsheq.cli import watch as watch_command
from rllib_calsheq.cli.calsheq import main
from rllib_calsheq.results.provenance import End, read_starts, record_end, record_start, recorded
from rllib_calsheq.watching import terminal
from rllib_calsheq.watching.following import RunNow
from rllib_calsheq.watching.page import NOT_YET, serving, watch_report
from rllib_calsheq.watching.sparkline import around, between, thinned

from run_folders import OUTCOMES, evaluation, make_run, manifest, row, write

STAGES = 30


@pytest.fixture
def run(tmp_path):
    """The folder of a run of which no trial has begun."""
    folder = tmp_path / "run"
    folder.mkdir()
    record_start(folder, "rllib train -f my.yaml", STAGES)
    return folder


def add_stages(folder, stages, end="\n", trial="trial_00000"):
    """Adds results of stages to a trial's file."""
    file = folder / trial / "result.json"
    file.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with open(file, "a", encoding="utf-8") as opened:
        for stage in stages:
            opened.write(json.dumps(row(stage, STAGES, 0.0, rng)) + end)


def finish(folder):
    """Ends a run as `rllib train` does: evaluated, and noted to be done."""
    targets = {name: {"value": value, "scale": scale} for name, (value, scale) in OUTCOMES.items()}
    write(folder / "trial_00000" / "params.json", {"env": "no.Env", "targets": targets})
    write(folder / "trial_00000" / "evaluation.json", evaluation(STAGES, 0.0))
    checkpoint = folder / "trial_00000" / "checkpoint_000000"
    write(checkpoint / "manifest.json", manifest(STAGES))
    write(checkpoint / "rllib_checkpoint.json", {})
    record_end(folder, End.DONE)


def seen(now, width=120, height=40):
    """What a terminal shows of a run."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    console.print(terminal.view(now, console))
    return console.file.getvalue()


def plain(now, width=120, height=40):
    """The same without colours."""
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(terminal.view(now, console))
    return console.file.getvalue()


def test_blocks_show_a_series_against_its_target():
    assert around([1.0, 2.0, 4.0, 5.0, 7.0, float("nan")], 4.0) == "▁▂▄▅▇·"
    assert around([3.0, 3.0], 3.0) == "▄▄"
    assert between([-1.0, 0.0, 0.5, 1.0], 0.0, 1.0) == "▁▁▄▇"
    assert thinned(list(range(100)), 4) == [24, 49, 74, 99]
    assert thinned([1, 2], 4) == [1, 2]


def test_results_are_read_on_and_a_torn_line_once_it_is_whole(run):
    now = RunNow(run)
    now.look()
    assert (now.trials, now.stages, now.end) == ([], STAGES, None)
    add_stages(run, [1, 2])
    add_stages(run, [3], end="")
    now.look()
    (trial,) = now.trials
    assert [r["training_iteration"] for r in trial.fresh] == [1, 2]
    add_stages(run, [], end="")
    with open(run / "trial_00000" / "result.json", "a", encoding="utf-8") as file:
        file.write("\n{")
    now.look()
    assert [r["training_iteration"] for r in trial.fresh] == [3]
    now.look()
    assert trial.fresh == []
    assert [r["training_iteration"] for r in trial.rows] == [1, 2, 3]


def test_a_run_that_goes_on_from_an_earlier_stage_counts_each_stage_once(run):
    now = RunNow(run)
    add_stages(run, range(1, 9))
    now.look()
    # Tune goes on in the same file, `calibrate` writes another one.
    add_stages(run, [5, 6])
    now.look()
    assert [r["training_iteration"] for r in now.trials[0].rows] == [1, 2, 3, 4, 5, 6]
    (run / "trial_00000" / "result.json").unlink()
    add_stages(run, [1, 2])
    now.look()
    assert [r["training_iteration"] for r in now.trials[0].rows] == [1, 2]


def test_a_block_says_where_a_trial_stands(run):
    now = RunNow(run)
    now.look()
    assert "waiting for the first stage" in plain(now)
    add_stages(run, range(1, 13))
    now.look()
    text = plain(now)
    for said in ("stage 12/30", "met 2/2", "worst target (miss / scale) share (0.12)", "left"):
        assert said in text
    (share,) = [line for line in text.splitlines() if line.startswith("│ share")]
    assert share.split()[2:6] == ["0.3058", "0.3", "0.12", "met"]
    # From far above the target down to it.
    assert share.split()[6].startswith("▇")
    assert share.split()[6].endswith("▄")
    assert "\x1b[32m" in seen(now)


@pytest.mark.parametrize(("height", "tables", "left_out"), [(40, 3, 0), (24, 0, 0), (8, 0, 1)])
def test_a_small_terminal_shows_what_fits(run, height, tables, left_out):
    for k in range(3):
        add_stages(run, range(1, 4), trial=f"trial_0000{k}")
    now = RunNow(run)
    now.look()
    console = Console(file=io.StringIO(), width=100, height=height)
    assert len(console.render_lines(terminal.view(now, console))) < height
    text = plain(now, 100, height)
    assert text.count("reward, pooled") == tables
    assert ("more trials" in text) == bool(left_out)


def test_without_a_terminal_there_is_a_line_a_stage_and_the_verdict_ends_it(
    run, monkeypatch, capsys
):
    # What the run does while the command sleeps.
    happens = iter(
        [
            lambda: add_stages(run, [1, 2]),
            lambda: add_stages(run, [3, 4]),
            lambda: (add_stages(run, [STAGES]), finish(run)),
        ]
    )
    monkeypatch.setattr(terminal.time, "sleep", lambda s: next(happens)())
    assert main(["watch", str(run), "--every", "0.5"]) == 0
    waiting, heading, *lines, verdict = capsys.readouterr().out.splitlines()
    assert waiting == "waiting for the first stage"
    assert heading.split()[:2] == ["stage", "reward"]
    assert [line.split()[0] for line in lines] == [f"{k}/30" for k in (1, 2, 3, 4, 30)]
    assert verdict.startswith("Came out: every target is met on 512 fresh episodes")


def test_ctrl_c_ends_with_130_and_says_how_to_look_again(run, monkeypatch, capsys):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(terminal.time, "sleep", interrupt)
    assert main(["watch", str(run), "--every", "3"]) == 130
    assert f"look again: calsheq watch {run} --every 3" in capsys.readouterr().out


def test_how_a_run_ended_is_told(run, capsys):
    add_stages(run, range(1, 4))
    (run / "trial_00000" / "error.txt").write_text("ValueError: no trades", encoding="utf-8")
    record_end(run, End.DONE)
    assert main(["watch", str(run)]) == 1
    assert "Stopped by: ValueError: no trades" in capsys.readouterr().out
    add_stages(run, [4])
    (run / "trial_00000" / "error.txt").unlink()
    record_end(run, End.STOPPED)
    assert main(["watch", str(run)]) == 0
    assert "--resume (resume=True) goes on with it" in capsys.readouterr().out


def test_a_run_that_is_silent_may_have_been_killed(run):
    add_stages(run, range(1, 4))
    now = RunNow(run)
    now.look()
    assert not now.trials[0].may_be_dead
    now.trials[0].silent_s = 600.0
    assert "no new stage for 10 min: was the run killed?" in plain(now)


def test_a_run_of_an_earlier_version_that_noted_no_end_has_ended(tmp_path, capsys):
    make_run(tmp_path / "old")
    assert main(["watch", str(tmp_path / "old")]) == 0
    assert "every target is met" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "there is nothing at"),
        (["empty"], "is no run"),
        (["ppo"], "another algorithm than CALSHEQ"),
        (["ppo", "--every", "0"], "--every is 0; allowed: seconds from 0.1"),
    ],
)
def test_what_cannot_be_watched_is_said(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "ppo" / "trial" / "result.json", {"training_iteration": 1})
    with open(tmp_path / "ppo" / "trial" / "result.json", "a", encoding="utf-8") as file:
        file.write("\n")
    assert main(["watch", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert watch_command.EVERY_S > 0


def test_a_runs_folder_notes_how_it_ended(tmp_path):
    for error, end in ((None, "done"), (SystemExit(130), "stopped"), (ValueError("x"), "failed")):
        with suppress(SystemExit, ValueError), recorded(tmp_path, "rllib train", 7):
            assert read_starts(tmp_path)[-1]["end"] is None
            if error is not None:
                raise error
        assert (read_starts(tmp_path)[-1]["end"], read_starts(tmp_path)[-1]["stages"]) == (end, 7)


# --- the report, renewed --------------------------------------------------------------------------


def ask(address, host=None):
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    # Not by a proxy that the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return answer.headers, answer.read().decode()


def test_a_page_is_served_to_this_machine_alone_and_loads_itself_again():
    with serving(0, 60.0) as server:
        assert server.server_address[0] == "127.0.0.1"
        headers, page = ask(server.address)
        assert (headers["Refresh"], page) == ("5", NOT_YET)
        server.page = b"<p>report"
        headers, page = ask(server.address.replace("127.0.0.1", "localhost"))
        assert (headers["Refresh"], page) == ("60", "<p>report")
        server.is_final = True
        assert not server.final_was_sent.is_set()
        assert ask(server.address)[0]["Refresh"] is None
        # Its thread notes it after the last byte, which may be here before.
        assert server.final_was_sent.wait(timeout=10)
        for address, host in ((f"{server.address}etc/passwd", None), (server.address, "evil.org")):
            with pytest.raises(urllib.error.HTTPError, match=r"40[34]"):
                ask(address, host)
        with pytest.raises(ValueError, match="give another one"), serving(server.server_port, 1.0):
            pass


def test_the_report_is_renewed_until_the_run_is_done(run):
    lines, pages, stage = [], [], threading.Event()

    def write_one():
        pages.append(len(RunNow(run).trials))
        if not (run / "trial_00000").is_dir():
            raise ValueError("no results yet")
        file = run / "report.html"
        file.write_text(f"<p>{read_starts(run)[-1]['end']}", encoding="utf-8")
        stage.set()
        return file

    watching = threading.Thread(
        target=watch_report,
        args=([run], write_one),
        kwargs={"every_s": 0.05, "say": lines.append},
        daemon=True,
    )
    watching.start()
    add_stages(run, [1, 2])
    assert stage.wait(10)
    address = next(word for word in lines[0].split() if word.startswith("http")).rstrip(",")
    # It is written before it is on the page.
    while (page := ask(address)[1]) == NOT_YET:
        time.sleep(0.01)
    assert page == "<p>None"
    finish(run)
    watching.join(0.5)
    # A browser that has asked before gets the last page.
    headers, page = ask(address)
    assert (headers["Refresh"], page) in ((None, "<p>done"), ("1", "<p>None"))
    while headers["Refresh"] is not None:
        headers, page = ask(address)
    watching.join(10)
    assert not watching.is_alive()
    assert page == "<p>done"
    assert (run / "report.html").read_text(encoding="utf-8") == "<p>done"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "8000"], "belong to --watch"),
        (["--watch", "--port", "70000"], "--port is 70000; allowed"),
        (["--watch", "--every", "0.1"], "--every is 0.1; allowed: seconds from 1"),
    ],
)
def test_flags_of_a_renewed_report_that_are_refused(run, capsys, words, said):
    assert main(["report", str(run), *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_report_of_a_run_that_is_done_is_written_and_that_is_all(tmp_path, capsys):
    make_run(tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--watch"]) == 0
    assert f"wrote {tmp_path / 'run' / 'report.html'}" in capsys.readouterr().out
    assert "<script" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
