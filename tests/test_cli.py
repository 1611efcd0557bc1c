"""The commands: experiment files, and refusals in one paragraph."""

import pickle
import tracemalloc

import pytest
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_calsheq.cli import calsheq, rllib, train
from rllib_calsheq.core import memory
from rllib_calsheq.results.failures import DIRECT_CAUSE

from experiment_specs import SPEC, refusal, spec, write


class NoProtocol(MultiAgentEnv):
    def __init__(self, config=None):
        super().__init__()


# --- experiment files -----------------------------------------------------------------------


MARKET = "rllib_calsheq.envs.MarketEnv"
SHARE = {"supertype_1.share": 0.3}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (spec({"num_particels": 4}), ["no field 'num_particels'", "did you mean 'num_particles'"]),
        (
            spec(
                {
                    "targets": SHARE,
                    "env_config": {"supertypes": {"supertype_1.connection_1": 1.2}},
                },
                env=MARKET,
            ),
            ["supertype_1.connection_1 = 1.2 is outside its allowed range [0, 1]"],
        ),
        (spec({"targets": {"suburbs.taxi": 1}}), ["suburbs.taxi", "its outcomes are"]),
        (
            spec(
                {
                    "targets": {
                        "suburbs.subway_rate": {"value": 1, "weight": 0.3},
                        "inside.subway_rate": {"value": 1, "weight": 0.3},
                    }
                }
            ),
            ["weights of the targets sum to 0.6", "must sum to 1"],
        ),
        (spec({"targets": "nowhere.yaml"}), ["there is no target file nowhere.yaml"]),
        (spec({"lr_cal": {"exponent": 0.55}}), ["break Assumption 2", "assumption_2: warn"]),
        (
            spec({"lr_cal": {"exponent": {"grid_search": [0.9, 0.4]}}}),
            ["break Assumption 2", "exponent 0.4"],
        ),
        (spec({"num_learners": 9}), ["num_learners is 9"]),
        (spec({"num_env_runners": 9}), ["num_env_runners is 9", "num_particles = 8"]),
        (spec(env=f"{__name__}.NoProtocol"), ["NoProtocol cannot be calibrated", "conformance"]),
        (spec(env="CartPole-v1"), ["cannot be imported", "dotted path"]),
        # Values of the wrong kind.
        (spec(stop=3), ["stop of experiment 'experiment' is 3", "a mapping"]),
        ({**spec(), "config": [1]}, ["config of experiment 'experiment' is [1]"]),
        (spec(checkpoint_config=3), ["checkpoint_config of experiment", "a mapping"]),
        (spec(checkpoint_freq="often"), ["checkpoint_frequency", "'often'"]),
        (spec(num_samples="two"), ["num_samples", "'two'", "integers from 1"]),
        (spec({"lr_ratio": {"grid_search": 3}}), ["grid_search is 3"]),
        (spec({"env_config": 3}), ["env_config is 3"]),
        (spec({"model_config": 3}), ["model_config is 3"]),
        (spec({"num_env_runners": "two"}), ["num_env_runners is 'two'"]),
        (spec({"minibatch_size": "x"}), ["minibatch_size is 'x'"]),
        (spec({"seed": -1}), ["seed is -1"]),
        (spec({"calibrator": {"name": "ppo", "hidden_sizes": 3}}), ["hidden_sizes is 3"]),
        (spec({"env_config": {"distance_spread": "x"}}), ["distance_spread is 'x'"]),
        (spec({"targets": {"targets": None}}), ["no targets given"]),
        (
            spec({"targets": {"targets": SHARE, "env_config": 3}}),
            ["the targets: env_config is 3; allowed: a mapping"],
        ),
        (spec({"lr": 0.1}), ["lr has no effect on CALSHEQ", "lr_shared.initial"]),
        (
            spec({"calibrator": {"name": "ppo", "learning_rate": 0.1}}),
            ["calibrator.learning_rate has no effect", "lr_cal.initial"],
        ),
        ({"run": "PPPO", "env": "CartPole-v1"}, ["no algorithm 'PPPO'", "CALSHEQ"]),
        # A bool is no number, and neither is a text.
        (spec({"num_particles": True}), ["num_particles is True; allowed: integers from 1"]),
        (spec({"num_particles": "8"}), ["num_particles is '8', and that is text"]),
        (spec({"num_particles": 2.5}), ["num_particles is 2.5; allowed: integers from 1"]),
        (spec({"profile_window": True}), ["profile_window is True"]),
        (spec({"lr_ratio": True}), ["lr_ratio is True; allowed: numbers > 0"]),
        (spec({"lr_ratio": float("inf")}), ["lr_ratio is inf"]),
        (spec({"sampling": True}), ["sampling is True; allowed: 'auto' or 'arrays'"]),
        (spec({"assumption_2": False}), ["assumption_2 is False"]),
        (spec({"lr_shared": {"initial": True}}), ["lr_shared: initial is True"]),
        (spec({"lr_shared": {"offset": float("inf")}}), ["lr_shared: offset is inf"]),
        (spec({"lr_cal": {"initial": "1e-3"}}), ["lr_cal: initial is '1e-3'", "1.0e-3"]),
        (
            spec({"lr_cal": 0.001}),
            ["lr_cal must be a mapping of its fields", "write lr_cal: {initial: 0.001} for"],
        ),
        (spec({"lr_shared": "fast"}), ["'fast' was given", "lr_shared: {initial: 0.001} for"]),
        # Names of other times and places.
        (spec({"num_sgd_iter": 10}), ["older versions of RLlib", "write num_epochs: 10"]),
        (spec({"sgd_minibatch_size": 64}), ["it is called minibatch_size now"]),
        (spec({"num_envs_per_worker": 2}), ["num_envs_per_env_runner, which has no effect"]),
        (spec({"use_lstm": True}), ["write model_config: {use_lstm: true}"]),
        (spec({"training_iteration": 9}), ["write stop: {training_iteration: 9} beside config"]),
        (
            spec({"stop": {"training_iteration": 9}}),
            ["no field 'stop': it is a key of the experiment"],
        ),
        (spec({"learning_rate": 0.01}), ["write lr_shared: {initial: 0.01}"]),
        (spec({"calibrator": {"num_epochs": True}}), ["calibrator 'ppo': num_epochs is True"]),
        (
            spec({"calibrator": {"critic_heteroscedastic": 1}}),
            ["critic_heteroscedastic is 1", "true or"],
        ),
        (spec({"calibrator": {"name": "cma", "min_std": True}}), ["'cma': min_std is True"]),
        (spec({"calibrator": {"name": "random", "memory": "x"}}), ["'random': memory is 'x'"]),
        (spec({"env_config": {"num_inside": True}}), ["the subway: num_inside is True"]),
        (spec({"env_config": {"congestion": float("nan")}}), ["congestion is nan"]),
        (spec({"env_config": {"num_merchants": True}}, env=MARKET), ["num_merchants is True"]),
        (spec({"env_config": {"lot_size": "x"}}, env=MARKET), ["lot_size is 'x'", "> 0"]),
        (
            spec({"env_config": {"supertypes": {"inside.mean_distance": True}}}),
            ["inside.mean_distance = True is not a number"],
        ),
        # Targets.
        (
            spec({"targets": {"supertype_1.share": 7}, "env_config": {}}, env=MARKET),
            ["target 'supertype_1.share' has the value 7, which is impossible", "[0, 1]"],
        ),
        (
            spec({"targets": {"supertype_2.share": 0.3}, "env_config": {}}, env=MARKET),
            ["value 0.3, which is impossible", "[0, 0.25]"],
        ),
        (
            spec({"targets": {"supertype_1.quantity_p10": 0.5}, "env_config": {}}, env=MARKET),
            ["value 0.5, which is impossible", "[1, 100]"],
        ),
        (spec({"targets": {"suburbs.subway_rate": -0.1}}), ["-0.1, which is impossible"]),
        (spec({"targets": {"suburbs.subway_rate": True}}), ["value is True; allowed: numbers"]),
        (spec({"targets": {"suburbs.subway_rate": "0.5"}}), ["value is '0.5', and that is text"]),
        (
            spec({"targets": {"targets": {"suburbs.subway_rate": 0.5}, "ceiling": True}}),
            ["the targets: ceiling is True; allowed: numbers"],
        ),
        # What is known about the parameters.
        (
            spec({"parameters": {"fixed": {"inside.mean_distence": 1}}}),
            ["parameters.fixed names", "did you mean 'inside.mean_distance'"],
        ),
        (
            spec({"parameters": {"bounds": {"inside.mean_distance": [2, 1]}}}),
            ["parameters.bounds of inside.mean_distance is [2, 1]", "low < high within [0, 3]"],
        ),
        (
            spec(
                {
                    "parameters": {"bounds": {"inside.mean_distance": [2, 3]}},
                    "env_config": {"supertypes": {"inside.mean_distance": 1.0}},
                }
            ),
            ["the start of inside.mean_distance is 1", "[2, 3]"],
        ),
        (
            spec(
                {
                    "parameters": {"prior": {"inside.mean_distance": {"mean": 1.0}}},
                    "calibrator": {"name": "random"},
                }
            ),
            ["parameters.prior is stated, but calibrator 'random'"],
        ),
        (
            spec(
                {
                    "parameters": {"fixed": {"inside.mean_distance": 1}},
                    "calibrator": {"name": "cma"},
                }
            ),
            ["number of parameters of calibrator 'cma' is 1; allowed: 2 or more"],
        ),
        # Keys of the experiment.
        (spec(num_samples=True), ["num_samples is True; allowed: integers from 1"]),
        (
            spec(storage_path=3),
            ["storage_path of experiment 'experiment' is 3; allowed: the path of a folder"],
        ),
        (spec(stop={"training_iteration": "abc"}), ["training_iteration in stop", "is 'abc'"]),
        (spec(stop={"training_iteration": True}), ["training_iteration in stop", "is True"]),
        (spec(stop={"training_iteration": 0}), ["is 0; allowed: integers from 1"]),
        (
            spec(stop={"calibration/targets_met": "most"}),
            ["targets_met in stop", "is 'most'; allowed: numbers, or 'all'"],
        ),
        (spec(stop={"calibration": {"targets_met": "all", "stages_all_met": 3}}), ["targets_met"]),
        (spec(stop={"calibration/reward_mean": "all"}), ["is 'all'; allowed: numbers"]),
        (spec(stop={"time_total_s": "long"}), ["time_total_s in stop", "'long'", "numbers"]),
        (spec(stop={"training_iterations": 3}), ["did you mean 'training_iteration'"]),
        (spec(stop={"calibration": {"reward_men": 1}}), ["did you mean 'calibration/reward_mean"]),
        (spec(stop={"nothing": {"else": 1}}), ["has no field 'nothing/else'"]),
        ({"run": "PPO", "env": "CartPole-v1", "stop": {"x": "abc"}}, ["x in stop", "'abc'"]),
        (spec(checkpoint_config={"num_to_keep": 0}), ["num_to_keep is 0", "integers from 1"]),
        (spec(keep_checkpoints_num=0), ["num_to_keep is 0"]),
        (spec(checkpoint_config={"num_to_keep": True}), ["num_to_keep is True"]),
        (spec(checkpoint_config={"checkpoint_frequency": True}), ["checkpoint_frequency is True"]),
        (spec(checkpoint_config={"checkpoint_frequency": -1}), ["checkpoint_frequency is -1"]),
        (spec(checkpoint_config={"checkpoint_at_end": "yes"}), ["checkpoint_at_end is 'yes'"]),
    ],
)
def test_a_bad_experiment_is_refused_before_anything_starts(tmp_path, capsys, content, words):
    message = refusal(capsys, rllib.main, ["train", "-f", write(tmp_path, content)])
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"env_config": {"num_merchants": 10_000_000}}, "num_merchants = 10000000"),
        ({"env_config": {"num_merchants": 10**30}}, "one episode of a market"),
        ({"env_config": {"num_clusters": 10_000_000}}, "num_clusters = 10000000"),
        ({"env_config": {}, "num_particles": 10_000_000}, "a stage (10000000 episodes of 60"),
    ],
)
def test_what_cannot_fit_into_memory_is_refused_before_it_is_built(
    tmp_path, capsys, monkeypatch, fields, words
):
    monkeypatch.setattr(memory, "available_bytes", lambda: 16e9)
    file = write(tmp_path, spec({"targets": SHARE, **fields}, env=MARKET))
    tracemalloc.start()
    try:
        message = refusal(capsys, rllib.main, ["train", "-f", file])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert words in message
    assert "of memory, and 16.0 GB are available: lower" in message
    assert most < 20e6


@pytest.mark.parametrize(
    "words", [["train"], ["train", "a", "b"], ["train", "-f", "nowhere.yaml"]], ids=" ".join
)
def test_a_command_without_a_good_file_is_refused(capsys, words):
    assert "file" in refusal(capsys, rllib.main, words)


def test_a_number_of_samples_below_one_is_refused(tmp_path, capsys):
    words = ["train", "-f", write(tmp_path, SPEC), "--num-samples", 0]
    assert "--num-samples is 0" in refusal(capsys, rllib.main, words)


@pytest.mark.parametrize("command", [rllib.main, calsheq.main])
def test_evaluating_what_is_not_there_is_refused(tmp_path, capsys, command):
    assert "there is nothing at" in refusal(capsys, command, ["evaluate", tmp_path / "none"])
    assert "is no run" in refusal(capsys, command, ["evaluate", tmp_path])
    assert "--episodes is 0" in refusal(capsys, command, ["evaluate", tmp_path, "--episodes", 0])
    (tmp_path / "result.json").write_text("{}\n", encoding="utf-8")
    assert "has no checkpoint" in refusal(capsys, command, ["evaluate", tmp_path])


def test_half_a_checkpoint_is_refused(tmp_path, capsys):
    (tmp_path / "rllib_checkpoint.json").write_text("{}", encoding="utf-8")
    said = refusal(capsys, calsheq.main, ["evaluate", tmp_path])
    assert "is no whole checkpoint: it lacks manifest.json" in said


def old_checkpoint(folder, **changes):
    """A checkpoint whose calibration was written as version 0.1.0 did: without a format."""
    (folder / "calibration").mkdir(parents=True)
    state = {"parameters": [], "outcomes": [], "calibrator": {"stage": 3}, "recent": [], **changes}
    (folder / "calibration" / "state.pkl").write_bytes(pickle.dumps(state))
    (folder / "rllib_checkpoint.json").write_text("{}", encoding="utf-8")
    # Its classes may be elsewhere by now: this cannot be loaded, and need not be.
    (folder / "class_and_ctor_args.pkl").write_bytes(b"crllib_calsheq.nowhere\nConfig\n.")
    return folder


@pytest.mark.parametrize(
    ("command", "words"),
    [(rllib.main, "evaluate"), (calsheq.main, "evaluate"), (calsheq.main, "certify")],
)
def test_a_checkpoint_of_version_0_1_0_is_refused_with_what_to_do(tmp_path, capsys, command, words):
    said = refusal(capsys, command, [words, old_checkpoint(tmp_path / "checkpoint_000001")])
    assert "was written by version 0.1.0 of rllib-calsheq" in said
    assert "where rllib-calsheq==0.1.0 is installed, or start the run again" in said


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path, capsys):
    said = refusal(capsys, calsheq.main, ["evaluate", old_checkpoint(tmp_path / "c", format=99)])
    assert "by another version (format 99)" in said


def test_a_checkpoint_of_classes_that_moved_is_refused(tmp_path, capsys):
    folder = old_checkpoint(tmp_path / "c")
    (folder / "calibration" / "state.pkl").write_bytes(b"crllib_calsheq.nowhere\nState\n.")
    said = refusal(capsys, calsheq.main, ["evaluate", folder])
    assert "was written by another version" in said


def begun(run):
    """What a run has once Tune has noted its state."""
    for name in ("tuner.pkl", "experiment_state-1.json"):
        (run / name).touch()


def test_a_run_of_version_0_1_0_is_not_resumed(tmp_path, capsys):
    run = tmp_path / "experiment"
    old_checkpoint(run / "trial_00000" / "checkpoint_000001")
    begun(run)
    words = ["train", "-f", write(tmp_path, SPEC), "--storage-path", tmp_path, "--resume"]
    said = refusal(capsys, rllib.main, words)
    assert "was written by version 0.1.0" in said
    assert "start the run again under another name" in said


def test_a_run_is_not_resumed_with_other_parameters_than_it_was_made_with(tmp_path, capsys):
    """Tune goes on with the configuration that it saved, whatever the file says by now."""
    run = tmp_path / "experiment"
    stated = {"fixed": {"inside.mean_distance": 1.0}}
    old_checkpoint(run / "trial_00000" / "checkpoint_000001", format=2, stated=stated)
    begun(run)
    changed = spec({"parameters": {"fixed": {"inside.mean_distance": 2.0}}})
    words = ["train", "-f", write(tmp_path, changed), "--storage-path", tmp_path, "--resume"]
    said = refusal(capsys, rllib.main, words)
    assert "fixed was {'inside.mean_distance': 1.0} then and is" in said
    assert "{'inside.mean_distance': 2.0} now" in said


def test_a_run_that_is_there_already_is_not_written_over(tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    begun(tmp_path / "experiment")
    words = ["train", "-f", write(tmp_path, SPEC), "--storage-path", tmp_path]
    assert "go on with it (--resume)" in refusal(capsys, rllib.main, words)


def test_plotting_what_is_not_there_is_refused(tmp_path, capsys):
    assert "there is nothing at" in refusal(capsys, calsheq.main, ["plot", tmp_path / "none"])
    assert "is no run" in refusal(capsys, calsheq.main, ["plot", tmp_path])
    (tmp_path / "result.json").touch()
    assert "has no results yet" in refusal(capsys, calsheq.main, ["plot", tmp_path])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--setting", "9", "-o", "x"], "--setting is 9"),
        (["--profile", "nobody", "-o", "x"], "hidden profile is 'nobody'"),
        (["--profile", "small", "large", "-o", "x"], "put {profile} into the name"),
    ],
)
def test_bad_hidden_targets_are_refused(capsys, words, said):
    assert said in refusal(capsys, calsheq.main, ["hidden-targets", *words])


# --- trials that fail -----------------------------------------------------------------------


def test_the_cause_of_a_failure_is_what_follows_the_first_trace():
    trace = (
        "ray::CALSHEQ.train() (pid=1)\n"
        '  File "a.py", line 1, in f\n    g()\n    ^^^\n'
        '  File "b.py", line 2, in g\n    raise KeyError(1)\n'
    )
    assert train.cause(f"{trace}KeyError: 'state_in'") == "KeyError: 'state_in'"
    assert train.cause(f"{trace}ValueError: no trades:\n  none") == "ValueError: no trades: none"
    chain = f"{trace}KeyError: 1\n\n{DIRECT_CAUSE}\n\n{trace}ValueError: wrapped"
    assert train.cause(chain) == "KeyError: 1"
    assert train.cause("the actor died\nunexpectedly") == "the actor died unexpectedly"


@pytest.mark.learning
def test_a_failed_trial_exits_with_1_and_its_cause_is_the_last_line(tmp_path):
    import subprocess
    import sys

    config = {"targets": {"only.a": 0.5}, "env_config": {}}
    file = write(tmp_path, spec(config, env="failing_env.FailingEnv"))
    command = [sys.executable, "-m", "rllib_calsheq.cli.rllib", "train", "-f", str(file)]
    run = subprocess.run(
        [*command, "--storage-path", str(tmp_path / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    assert run.stdout.strip().splitlines()[-1] == (
        "error: trial trial_00000 stopped: ValueError: the market is closed: no trades today"
    )
