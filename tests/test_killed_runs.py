"""Commands that are killed midway: nothing computed is lost, and what is done is not repeated."""

import itertools
import json
import os
import time

import pandas as pd
import pytest
import yaml
from killable_commands import calibration_by_stage, finish, kill_once, rows, stages, start, trial_of

from rllib_calsheq.cli import calsheq
from rllib_calsheq.experiments import tables
from rllib_calsheq.results.checkpoints import (
    CALIBRATION_STATE,
    finished_stages,
    trial_checkpoints,
)

#: Stages of a run, and how many the killed one must have behind it.
STAGES, KILL_AFTER = 40, 8
EXPERIMENT = {
    "run": "CALSHEQ",
    "env": "rllib_calsheq.envs.SubwayEnv",
    "stop": {"training_iteration": STAGES},
    "checkpoint_config": {"checkpoint_frequency": 1, "checkpoint_at_end": True},
    "config": {
        "targets": {
            "targets": {"suburbs.subway_rate": 0.8, "inside.subway_rate": 0.2},
            "ceiling": 0.95,
            "reward_start": 0.1,
        },
        "env_config": {"num_suburbs": 3, "num_inside": 2, "episode_length": 5},
        "num_particles": 8,
        "minibatch_size": 64,
    },
}
EVALUATION_KEYS = {
    "profile", "reward", "reward_start", "ceiling", "recovered_fraction", "outcomes"
}  # fmt: skip


@pytest.mark.learning
@pytest.mark.timeout(900)
def test_a_killed_run_goes_on_bit_for_bit_and_can_be_evaluated(tmp_path, ray_folder, capsys):
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({"experiment": EXPERIMENT}), encoding="utf-8")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train = ["train", "-f", file, "--storage-path", tmp_path, "--name"]

    def known_to_tune():
        """Whether some stages are checkpointed, and a snapshot of Tune's knows it."""
        files = sorted(cut.glob(f"*/checkpoint_*{KILL_AFTER:02d}/rllib_checkpoint.json"))
        newest = [s.stat().st_mtime for s in cut.glob("experiment_state-*.json")]
        return bool(files and newest) and max(newest) > files[0].stat().st_mtime

    # As a script that goes on with what there is; of a name that is misspelt it is told.
    printed = finish(start("rllib", [*train, "whole", "--resume"], ray_folder))
    assert f"there is no run at {whole} to go on with: one begins" in printed
    assert f"{STAGES}/{STAGES}" in printed
    assert "recovered fraction" in printed
    assert f"results in {whole}" in printed

    kill_once(start("rllib", [*train, "cut"], ray_folder), known_to_tune, ray_folder)
    assert KILL_AFTER <= max(stages(trial_of(cut))) < STAGES
    # The machine that failed had not written all that it said it had.
    for checkpoint in sorted(trial_of(cut).glob("checkpoint_*"))[KILL_AFTER - 2 :]:
        os.truncate(checkpoint / CALIBRATION_STATE, 1000)
    # A second kill, as soon as the run has gone on by a stage: what `tools/kill_set.py` does.
    before = len(stages(trial_of(cut)))
    again = start("rllib", [*train, "cut", "--resume"], ray_folder)
    kill_once(again, lambda: len(stages(trial_of(cut))) > before, ray_folder)
    assert max(stages(trial_of(cut))) < STAGES
    mark = len(stages(trial_of(cut))), finished_stages(trial_checkpoints(trial_of(cut))[-1])

    printed = finish(start("rllib", [*train, "cut", "--resume"], ray_folder))
    assert f"resuming {cut}" in printed
    assert stages(trial_of(cut))[mark[0]] == mark[1] + 1
    assert finished_stages(sorted(trial_of(cut).glob("checkpoint_*"))[KILL_AFTER - 3])
    after = stages(trial_of(cut))
    assert max(after) == STAGES
    assert after.count(1) == 1, "the run began anew instead of going on"

    expected = calibration_by_stage(trial_of(whole))
    assert list(expected) == list(range(1, STAGES + 1))
    assert {"reward_mean", "lr_shared", "kl_coefficient_shared", "profile", "calibrator"} <= set(
        json.loads(expected[STAGES])
    )
    # Exact, and so is every stage before the kill.
    assert calibration_by_stage(trial_of(cut)) == expected

    words = ["evaluate", whole, "--json", "--episodes", 32]
    evaluation = json.loads(finish(start("calsheq", words, ray_folder)))
    assert set(evaluation) >= EVALUATION_KEYS
    assert (evaluation["ceiling"], evaluation["reward_start"]) == (0.95, 0.1)
    assert evaluation["recovered_fraction"] == pytest.approx((evaluation["reward"] - 0.1) / 0.85)
    names = {row["name"] for row in evaluation["outcomes"]}
    assert names == set(EXPERIMENT["config"]["targets"]["targets"])
    for row in evaluation["outcomes"]:
        numbers = {"value", "stderr", "median", "target", "scale", "tolerance", "miss"}
        assert set(row) == {"name", "met", *numbers}
    saved = json.loads(next(whole.glob("*/evaluation.json")).read_text(encoding="utf-8"))
    assert saved["profile"] == evaluation["profile"]

    pictures = tmp_path / "pictures"
    assert calsheq.main(["plot", str(cut), "-o", str(pictures)]) == 0
    names = {"reward", "supertype_rewards", "outcomes", "parameters"}
    assert {picture.stem for picture in pictures.glob("*.png")} == names
    assert all(picture.stat().st_size > 1000 for picture in pictures.glob("*.png"))
    assert capsys.readouterr().out.count("drew ") == len(names)


@pytest.mark.learning
@pytest.mark.timeout(300)
def test_a_kill_costs_a_run_that_states_no_frequency_what_the_clock_allows(tmp_path, ray_folder):
    """Two minutes, made short; killed when the next checkpoint is nearly due."""
    every = 2.0
    experiment = {k: v for k, v in EXPERIMENT.items() if k != "checkpoint_config"}
    experiment["stop"] = {"training_iteration": 100_000}
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump({"experiment": experiment}), encoding="utf-8")
    shorter = "from rllib_calsheq.running import checkpoints\n"
    shorter += f"checkpoints.CHECKPOINT_EVERY_S = {every}"
    seen = []

    def nearly_due():
        """Whether most of an interval has passed since the second checkpoint was made."""
        if not seen and len(list(tmp_path.glob("*/*/checkpoint_*/manifest.json"))) >= 2:
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() - seen[0] > 0.8 * every

    words = ["train", "-f", file, "--storage-path", tmp_path]
    kill_once(start("rllib", words, ray_folder, before=shorter), nearly_due, ray_folder)
    trial = trial_of(tmp_path / "experiment")
    took = {row["training_iteration"]: row["time_this_iter_s"] for row in rows(trial)}
    saved = [finished_stages(checkpoint) for checkpoint in trial_checkpoints(trial)]
    assert len(saved) >= 2
    assert saved[-1] > len(saved), "not every stage has a checkpoint"
    lost = range(saved[-1] + 1, max(took) + 1)
    assert lost
    assert sum(took[stage] for stage in lost) <= every + max(took[stage] for stage in lost)
    for one, other in itertools.pairwise(saved):
        assert sum(took[stage] for stage in range(one + 1, other)) <= every + max(took.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_study_goes_on_and_recovers_the_share(tmp_path, ray_folder):
    study = tmp_path / "study"
    words = ["experiment", "1", "--quick", "--calibrators", "fixed,ppo", "--jobs", "1"]
    words += ["--storage-path", study]
    fixed, ppo = (study / "batch_1" / f"setting_1-{name}-seed_0" for name in ("fixed", "ppo"))

    def in_the_second_run():
        """Whether the second run has a checkpoint, and some stages beyond it."""
        return bool(list(ppo.glob("checkpoint_*"))) and max(stages(ppo), default=0) > 11

    kill_once(start("calsheq", words, ray_folder), in_the_second_run, ray_folder)
    assert max(stages(ppo)) < 30
    finished = (fixed / "result.json").stat().st_mtime_ns

    out = finish(start("calsheq", words, ray_folder))
    assert "2 runs of 30 stages, 1 at a time; 1 to do" in out
    # The finished run was left alone; the other went on from its checkpoint.
    assert stages(fixed) == list(range(1, 31))
    assert (fixed / "result.json").stat().st_mtime_ns == finished
    assert sorted(set(stages(ppo))) == list(range(1, 31))
    assert stages(ppo).count(1) == 1

    final = pd.read_csv(study / "results" / tables.FINAL).set_index("calibrator")
    # Without calibration nothing is recovered; 30 stages find most of a market share.
    assert abs(final.loc["fixed", "recovered_fraction"]) < 0.05
    assert final.loc["ppo", "recovered_fraction"] > 0.4
