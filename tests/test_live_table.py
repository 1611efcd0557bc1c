"""The live table of a run."""

from types import SimpleNamespace

from rllib_calsheq.cli.table import LiveTable
from rllib_calsheq.running.stage_lines import WORST_TARGET, StageLines


def result(stage, **more):
    metrics = {
        "stage": stage,
        "num_particles": 8,
        "reward_mean": 0.5432,
        "reward_pooled": 0.6789,
        "num_targets": 2,
        "targets_met": 1,
        "worst_target": "suburbs.subway_rate",
        "worst_miss": 1.234,
        "outcomes": {"suburbs.subway_rate": {"mean": 0.4}, "fare.reward": {"mean": 2.0}},
        "returns": {"suburbs": {"mean": -12.34}},
        **more,
    }
    steps = {"num_agent_steps_sampled": {"shared_policy": 1000.0}}
    return {"calibration": metrics, "env_runners": steps, "time_this_iter_s": 0.5}


def test_a_line_of_the_live_table():
    found = result(40)
    cells = StageLines(100).cells(found["calibration"], found, "")
    assert cells == {
        "stage": "40/100",
        "reward": "0.543",
        "pooled": "0.679",
        "met": "1/2",
        WORST_TARGET: "suburbs.subway_rate (1.23)",
        "suburbs.reward": "-12.3",
        "steps/s": "2,000",
        "left": "0:30",
    }
    several = StageLines(None).cells(found["calibration"], found, "00003")
    assert several["trial"] == "00003"
    assert several["stage"] == "40"
    assert "left" not in several


def test_a_stage_without_an_outcome_says_so():
    metrics = {"stage": 4, "num_particles": 0}
    cells = StageLines(10).cells(metrics, {}, "")
    assert cells == {"stage": "4/10", "reward": "no outcome came back in this stage"}


def test_the_live_table_prints_a_heading_and_always_the_last_stage(capsys):
    table, trial = LiveTable(3), SimpleNamespace(trial_id="abc_00000")
    for stage in (1, 2, 3):
        table.on_trial_result(0, [trial], trial, result(stage))
    heading, first, last = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["stage", "reward", "pooled"]
    # Stage 2 came right after stage 1 and is left out.
    assert (first.split()[0], last.split()[0]) == ("1/3", "3/3")
    assert len(heading) == len(first) == len(last)


def test_env_runners_that_were_not_heard_of_are_named_once(capsys):
    table, trial = LiveTable(9), SimpleNamespace(trial_id="abc_00000")
    for stage in (1, 2, 3):
        more = {"absences": "env runner 2 is dead"} if stage > 1 else {}
        table.on_trial_result(0, [trial], trial, result(stage, **more))
    said = [line for line in capsys.readouterr().out.splitlines() if "env runner" in line]
    assert said == ["stage 2: env runner 2 is dead"]
