"""Sweeps with Tune: schedulers that stop, copy and pause trials, and a searcher."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining
from ray.tune.search.optuna import OptunaSearch

from rllib_calsheq import CALSHEQ
from rllib_calsheq.algorithm import SHARED_POLICY
from rllib_calsheq.envs import SubwayEnv

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.learning]

METRIC = {"metric": "calibration/reward_pooled", "mode": "max"}
#: Fields of RLlib's that are swept over.
LEARNERS_FIELDS = ("gamma", "clip_param", "kl_target", "num_epochs")
SPACE = {
    "env": SubwayEnv,
    "env_config": {"num_suburbs": 3, "num_inside": 2, "episode_length": 5},
    "targets": {"suburbs.subway_rate": 0.8, "inside.subway_rate": 0.2},
    "num_particles": 8,
    "minibatch_size": 64,
}


class Watched(CALSHEQ):
    """Reports what its learner and its calibrator work with."""

    def step(self):
        (used,) = self.learner_group.foreach_learner(
            lambda learner: {
                name: getattr(learner.config.get_config_for_module(SHARED_POLICY), name)
                for name in LEARNERS_FIELDS
            }
        )
        fields = asdict(self.calibration.calibrator.config)
        return super().step() | {"learner_has": used.get(), "calibrator_has": fields}


def fit(folder, space, stages, frequency=0, trainable=CALSHEQ, **tuning):
    """Rows of every trial, in the order in which they were written, by the trial's folder."""
    results = tune.Tuner(
        trainable,
        param_space={**SPACE, **space},
        tune_config=tune.TuneConfig(**tuning),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(folder),
            stop={"training_iteration": stages},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=frequency),
            verbose=0,
        ),
    ).fit()
    assert not results.errors
    found = {}
    for result in results:
        lines = (Path(result.path) / "result.json").read_text(encoding="utf-8").splitlines()
        found[Path(result.path).name] = [json.loads(line) for line in lines]
    return found


def numbers(row):
    """Everything of a stage's calibration but what it learned with."""
    names = ("stage", "reward_mean", "profile", "outcomes", "calibrator")
    return json.dumps({name: row["calibration"][name] for name in names}, sort_keys=True)


def test_asha_stops_some_trials_early_and_lets_others_finish(tmp_path):
    scheduler = ASHAScheduler(
        time_attr="training_iteration", grace_period=2, max_t=9, reduction_factor=2, **METRIC
    )
    # Nobody moves, and the second starts far from where the others do, near the targets.
    starts = [(1.4, 0.6), (0.6, 1.4), (1.4, 0.6)]
    configs = [
        SPACE["env_config"]
        | {"supertypes": {"suburbs.mean_distance": far, "inside.mean_distance": near}}
        for far, near in starts
    ]
    space = {"env_config": tune.grid_search(configs), "calibrator": {"name": "fixed"}}
    # One after the other: each is held against those before it, whatever else the machine does.
    in_turn = {"max_concurrent_trials": 1, "reuse_actors": True}
    trials = fit(tmp_path, space, 9, scheduler=scheduler, **in_turn)
    for rows in trials.values():
        assert [row["training_iteration"] for row in rows] == list(range(1, len(rows) + 1))
    # A process whose trial was stopped has taken up the next one.
    assert len({rows[0]["pid"] for rows in trials.values()}) < 3
    ends = sorted(rows[-1]["training_iteration"] for rows in trials.values())
    assert len(ends) == 3
    assert ends[0] < 9 == ends[-1]


@pytest.mark.parametrize(
    ("rate", "begun", "tried"),
    [("lr_ratio", 1.0, [0.2, 0.4]), ("lr_cal", {"initial": 0.003}, {"initial": [0.0006, 0.0012]})],
)
def test_a_clone_goes_on_with_the_donors_particles_and_rates_of_its_own(
    tmp_path, rate, begun, tried
):
    every = 3
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=every,
        quantile_fraction=0.5,
        resample_probability=1.0,
        synch=True,
        hyperparam_mutations={
            rate: tried,
            "lr_shared": {"initial": [0.002, 0.004]},
            "clip_param": [0.15, 0.25],
            "kl_target": [0.02, 0.03],
            "calibrator": {"kl_limit": [1.0, 3.0], "clip_param": [0.1, 0.3]},
        },
        **METRIC,
    )
    space = {
        "seed": tune.grid_search([0, 1]),
        rate: begun,
        "lr_shared": {"initial": 0.001},
        "clip_param": 0.2,
        "kl_target": 0.01,
        "calibrator": {"name": "ppo"},
    }
    watched = {"trainable": Watched, "scheduler": scheduler}
    trials = fit(tmp_path, space, 3 * every, frequency=every, **watched)
    one, other = trials.values()
    # With other seeds the two differ, until one is made of the other.
    assert all(numbers(a) != numbers(b) for a, b in zip(one[:every], other[:every], strict=True))
    # The trial that was perturbed first goes on at once; Tune may have the other one wait.
    (clone,) = (
        rows[every]
        for rows in (one, other)
        if rows[every]["training_iteration"] == every + 1 and rows[every]["config"][rate] != begun
    )
    (name,) = (n for n, rows in trials.items() if rows[every] is not clone)
    before = trials[name][every - 1]
    # What the donor would have done next with its own rates.
    donor = CALSHEQ.from_checkpoint(str(tmp_path / "sweep" / name / "checkpoint_000000"))
    after = donor.train()["calibration"]
    donor.stop()
    assert after["stage"] == clone["calibration"]["stage"] == every + 1
    assert after["profile"] == clone["calibration"]["profile"]
    assert clone["config"]["lr_shared"]["initial"] in (0.002, 0.004)
    assert clone["config"]["calibrator"]["name"] == "ppo"
    assert clone["config"]["calibrator"]["clip_param"] in (0.1, 0.3)
    # What was changed reaches the learner, the calibrator and both optimizers.
    for name, chosen in (("clip_param", (0.15, 0.25)), ("kl_target", (0.02, 0.03))):
        assert clone["config"][name] == clone["learner_has"][name] in chosen
        assert before["learner_has"][name] not in chosen
    for name in ("kl_limit", "clip_param"):
        assert clone["calibrator_has"][name] == clone["config"]["calibrator"][name]
    shared = clone["calibration"]["lr_shared"] / after["lr_shared"]
    assert shared == pytest.approx(clone["config"]["lr_shared"]["initial"] / 0.001, rel=1e-3)
    rates = [row["calibrator"]["learning_rate"] for row in (clone["calibration"], after)]
    chosen = clone["config"][rate]
    # With lr_ratio the calibrator's rate is a multiple of the shared policy's.
    expected = chosen * shared if rate == "lr_ratio" else chosen["initial"] / begun["initial"]
    assert rates[0] / rates[1] == pytest.approx(expected, rel=1e-3)


class PausesOnce(FIFOScheduler):
    """Pauses each trial after its third stage, once; Tune goes on with it when it has room."""

    def __init__(self):
        super().__init__()
        self.paused = set()

    def on_trial_result(self, tune_controller, trial, result):
        if result["training_iteration"] == 3 and trial.trial_id not in self.paused:
            self.paused.add(trial.trial_id)
            return self.PAUSE
        return self.CONTINUE


def test_a_trial_that_is_paused_goes_on_to_the_last_bit(tmp_path):
    (whole,) = fit(tmp_path / "whole", {"seed": 4}, 6).values()
    (paused,) = fit(tmp_path / "paused", {"seed": 4}, 6, scheduler=PausesOnce()).values()
    assert [row["training_iteration"] for row in paused] == list(range(1, 7))
    assert [row["calibration"] for row in paused] == [row["calibration"] for row in whole]
    assert paused[-1]["iterations_since_restore"] == 3


def test_optuna_chooses_what_is_tried_and_it_reaches_learner_and_calibrator(tmp_path):
    """Fields of the calibration, of RLlib and of the calibrator."""
    space = {
        "lr_cal": {"initial": tune.loguniform(1e-4, 1e-2)},
        "gamma": tune.uniform(0.5, 0.99),
        "clip_param": tune.uniform(0.1, 0.4),
        "kl_target": tune.uniform(0.01, 0.03),
        "num_epochs": tune.choice([1, 2]),
        "calibrator": {"name": "ppo", "kl_limit": tune.uniform(0.5, 4.0), "clip_param": 0.15},
    }
    search = OptunaSearch(seed=0, **METRIC)
    trials = fit(tmp_path, space, 2, trainable=Watched, search_alg=search, num_samples=3)
    rows = [rows[-1] for rows in trials.values()]
    assert len({row["config"]["lr_cal"]["initial"] for row in rows}) == 3
    assert len({row["learner_has"]["gamma"] for row in rows}) == 3
    for row in rows:
        chosen = row["config"]
        assert 0.5 <= chosen["gamma"] <= 0.99
        assert row["learner_has"] == {name: chosen[name] for name in LEARNERS_FIELDS}
        assert 0.5 <= row["calibrator_has"]["kl_limit"] == chosen["calibrator"]["kl_limit"] <= 4.0
        assert row["calibrator_has"]["clip_param"] == 0.15
    # All rates fall in the same way from where they began.
    rates = [row["calibration"]["calibrator"]["learning_rate"] for row in rows]
    begun = [row["config"]["lr_cal"]["initial"] for row in rows]
    fallen = [rate / initial for rate, initial in zip(rates, begun, strict=True)]
    assert fallen == pytest.approx([fallen[0]] * 3, rel=1e-3)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"gamma": tune.grid_search([0.9, 1.5])}, "gamma is 1.5; allowed: numbers in [0, 1]"),
        ({"clip_parm": tune.grid_search([0.1, 0.2])}, "did you mean 'clip_param'"),
        ({"lr": tune.grid_search([1e-3, 1e-4])}, "set lr_shared.initial"),
        ({"calibrator": {"kl_limt": tune.grid_search([1.0, 2.0])}}, "did you mean 'kl_limit'"),
        ({"calibrator": {"clip_param": tune.grid_search([0.1, -0.2])}}, "clip_param is -0.2"),
        ({"calibrator": tune.grid_search([{}, {"name": "eki", "clip_param": 1.0}])}, "clip_param"),
        ({"calibrator": {"name": tune.grid_search(["ppo", "pppo"])}}, "unknown calibrator 'pppo'"),
    ],
)
def test_a_sweep_over_a_field_or_value_that_is_not_allowed_begins_nothing(tmp_path, space, said):
    mark = tmp_path / "begun"

    class Marks(CALSHEQ):
        def setup(self, config):
            mark.touch()
            super().setup(config)

    with pytest.raises(ValueError, match=re.escape(said)):
        fit(tmp_path, space, 1, trainable=Marks)
    assert not mark.exists()
    assert not list(tmp_path.glob("*/*/result.json"))
