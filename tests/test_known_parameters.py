"""What a user knows about parameters, in configurations and in runs."""

import json

import numpy as np
import pytest
from test_calibrators import VARIANTS
from test_checkpoints import numbers

from rllib_calsheq.algorithm import CALSHEQ, CALSHEQConfig
from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.cli import rllib
from rllib_calsheq.core.particles import StageReport
from rllib_calsheq.reporting.facts import gather
from rllib_calsheq.results.checkpoints import find_trials, read_history
from rllib_calsheq.results.evaluation import evaluate
from rllib_calsheq.results.stated import stated

from echo_env import EchoEnv
from experiment_specs import spec, write

#: Of three parameters c is known, and a is b: one is left, and it has half of its range.
KNOWN = {
    "fixed": {"only.c": 0.25},
    "ties": [["only.a", "only.b"]],
    "bounds": {"only.b": [0.2, 0.6]},
}
SUPERTYPES = ("suburbs", "inside")
MARKET = "rllib_calsheq.envs.MarketEnv"
FIRST = "supertype_1.connection_1"


def configured(parameters=KNOWN, **calibration):
    calibration = {"targets": {"only.a": 0.9, "only.b": 0.9}, "num_particles": 6, **calibration}
    return (
        CALSHEQConfig()
        .environment(EchoEnv)
        .training(minibatch_size=8, num_epochs=2)
        .calibration(parameters=parameters, **calibration)
    )


def market(parameters, start=None, suggested=None):
    targets = {"targets": {"supertype_1.share": 0.2}, "env_config": {"supertypes": suggested or {}}}
    own = {"supertypes": start} if start else {}
    config = CALSHEQConfig().update_from_dict(
        {"env": MARKET, "targets": targets, "parameters": parameters, "env_config": own}
    )
    config.validate()
    return config


def start_of(config):
    space = config.parameter_map().space
    return dict(zip(space.names, space.start.tolist(), strict=True))[FIRST]


def allowed(profiles):
    """Whether whole profiles (..., 3) are what `KNOWN` allows."""
    a, b, c = np.moveaxis(np.asarray(profiles), -1, 0)
    return bool(((a == b) & (a >= 0.2) & (a <= 0.6) & (c == 0.25)).all())


# --- configurations ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ([], ["parameters is []", "a mapping"]),
        ({"fix": {}}, ["parameters has no field 'fix'", "did you mean 'fixed'"]),
        ({"fixed": {"only.z": 1}}, ["parameters.fixed names 'only.z'", "only.a"]),
        ({"bounds": {"only.a": [0.5, 0.2]}}, ["parameters.bounds of only.a is [0.5, 0.2]"]),
        ({"fixed": dict.fromkeys(("only.a", "only.b", "only.c"), 0.5)}, ["nothing is left"]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(parameters, words):
    with pytest.raises(ValueError, match=r".") as caught:
        configured(parameters).validate()
    for word in words:
        assert word in str(caught.value)


def test_the_users_start_outside_of_the_bounds_is_refused_and_a_suggested_one_moves():
    bounds = {"bounds": {FIRST: [0.4, 0.45]}}
    assert start_of(market(bounds)) == 0.45
    assert start_of(market(bounds, suggested={FIRST: 0.1})) == 0.4
    assert start_of(market(bounds, start={FIRST: 0.42}, suggested={FIRST: 0.1})) == 0.42
    with pytest.raises(ValueError, match=f"the start of {FIRST} is 0.7.*leave it out"):
        market(bounds, start={FIRST: 0.7}, suggested={FIRST: 0.1})


def test_a_checked_configuration_is_checked_again_as_it_was():
    """A checkpoint's is: the target file's start is then in env_config, beside the user's own."""
    config = market({"bounds": {FIRST: [0.4, 0.45]}}, suggested={FIRST: 0.1})
    config.validate()
    assert start_of(config) == 0.4


@pytest.mark.parametrize("name", ["cma", "fixed", "own_calibrator.Walk"])
def test_a_prior_is_refused_by_calibrators_without_one(name):
    config = configured({"prior": {"only.a": {"mean": 0.3}}}, calibrator={"name": name})
    with pytest.raises(ValueError, match=rf"'{name}' with these fields pulls to none"):
        config.validate()


def test_a_calibrator_of_ones_own_may_pull_to_the_prior():
    parameters = {
        "fixed": {"only.c": 0.25},
        "prior": {"only.a": {"mean": 0.3}, "only.b": {"std": 0.1}},
    }
    config = configured(parameters, calibrator={"name": "own_calibrator.Drawn"})
    config.validate()
    prior = config.build_calibration().calibrator.prior
    np.testing.assert_allclose(prior.mean, [0.3, 0.5])
    np.testing.assert_allclose(prior.std, [np.nan, 0.1])


def test_the_default_calibrator_pulls_to_the_prior():
    config = configured({"prior": {"only.a": {"mean": 0.3, "std": 0.1}}})
    config.validate()
    prior = config.build_calibration().calibrator.prior
    np.testing.assert_allclose(prior.mean, [0.3, 0.5, 0.5])
    np.testing.assert_allclose(prior.std, [0.1, np.nan, np.nan])


def test_a_prior_is_refused_by_the_papers_form_which_has_none():
    config = configured(
        {"prior": {"only.a": {"mean": 0.3}}}, calibrator={"name": "ppo", "critic": "none"}
    )
    with pytest.raises(ValueError, match=r"'ppo' with these fields .* of \['ppo', 'eki'\]"):
        config.validate()


def test_a_study_measures_from_the_start_of_the_run_in_the_environments_box():
    config = configured()
    made = stated({"env": EchoEnv, "targets": config.targets, "parameters": KNOWN})
    space = made.parameter_map().space
    np.testing.assert_allclose(space.start, [0.5, 0.5, 0.25])
    np.testing.assert_array_equal(space.high, 1.0)


# --- every calibrator -------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [KNOWN, {"fixed": {"only.c": 0.25}}], ids=["one", "two"])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_calibrator_plays_only_what_the_user_left(variant, parameters):
    if variant == "cma" and parameters is KNOWN:
        pytest.skip("CMA-ES needs two parameters, and says so")
    # In a run a schedule sets the rate.
    fields = {k: v for k, v in VARIANTS[variant].items() if k != "learning_rate"}
    config = configured(parameters, calibrator=fields, num_particles=8)
    config.validate()
    calibration = config.build_calibration()
    particles = np.arange(8)
    for _ in range(6):
        table = calibration.begin_stage()
        assert (table.profiles[:, 2] == 0.25).all()
        assert parameters is not KNOWN or allowed(table.profiles)
        report = StageReport(table.stage, 0, particles, table.profiles, np.zeros((8, 1)))
        calibration.end_stage([report])
    assert parameters is not KNOWN or allowed(calibration.calibrated_profile())


# --- a run ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_env_runners", "sampling"), [(0, "arrays"), (2, "arrays"), (0, "episodes")]
)
def test_episodes_are_played_with_whole_profiles(ray_cluster, tmp_path, num_env_runners, sampling):
    """The outcomes of this environment are the parameters that its episodes were played with."""
    algorithm = (
        configured(sampling=sampling).env_runners(num_env_runners=num_env_runners).build_algo()
    )
    for _ in range(3):
        found = algorithm.train()["calibration"]
        assert found["outcomes"]["only.a"] == found["outcomes"]["only.b"]
        assert found["outcomes"]["only.c"] == {"mean": 0.25, "std": 0.0}
        assert found["profile"]["only.c"] == {"mean": 0.25, "std": 0.0}
        assert 0.2 <= found["outcomes"]["only.a"]["mean"] <= 0.6
    path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    expected = [numbers(algorithm.train()) for _ in range(2)]
    algorithm.stop()
    resumed = CALSHEQ.from_checkpoint(path)
    assert [numbers(resumed.train()) for _ in range(2)] == expected
    resumed.stop()


def test_a_checkpoint_is_evaluated_certified_and_restored_as_it_was_made(ray_cluster, tmp_path):
    # The default start, 0.5, moves to the nearest bound, and there this calibrator stays.
    known = {**KNOWN, "bounds": {"only.b": [0.6, 0.9]}, "fixed": {"only.c": 0.0}}
    targets = {"targets": {"only.a": 0.9, "only.b": 0.9}, "reward_start": 0.123}
    algorithm = configured(known, calibrator={"name": "fixed"}, targets=targets).build_algo()
    algorithm.train()
    path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    algorithm.stop()
    found = evaluate(path, episodes=4)
    assert found["profile"] == {"only.a": 0.6, "only.b": 0.6, "only.c": 0.0}
    # By the bounds that are left; what is fixed stands at none, although 0 is one.
    assert found["at_bounds"] == {"only.a": 0.6, "only.b": 0.6}
    # The target file's reward was measured at another start.
    assert found["reward_start"] == found["reward"] != 0.123
    game = FrozenGame(path, CertificateConfig(supertypes="particles"))
    np.testing.assert_array_equal(game.profiles, [[0.6, 0.6, 0.0]] * 6)

    other = configured({**known, "fixed": {"only.c": 0.1}}, calibrator={"name": "fixed"})
    algorithm = other.build_algo()
    with pytest.raises(ValueError, match=r"stated.fixed.only.c: 0.0 then, 0.1 now"):
        algorithm.restore_from_path(path)
    algorithm.stop()


@pytest.mark.learning
def test_a_run_with_known_parameters_stops_when_done(ray_cluster, tmp_path):
    """Its targets are so tolerant that every stage meets them."""
    targets = {f"{who}.subway_rate": {"value": 0.5, "tolerance": 1e3} for who in SUPERTYPES}
    content = spec(
        {"targets": targets, "parameters": {"fixed": {"inside.mean_distance": 1.25}}},
        stop={"training_iteration": 30, "calibration/targets_met": "all"},
        checkpoint_config={"checkpoint_at_end": True},
    )
    words = ["train", "-f", write(tmp_path, content), "--storage-path", tmp_path]
    assert rllib.main([str(word) for word in words]) == 0
    (trial,) = find_trials(tmp_path / "experiment")
    history = read_history(trial)
    assert history["calibration/stages_all_met"].tolist() == list(range(1, 11))
    assert (history["calibration/profile/inside.mean_distance/mean"] == 1.25).all()
    assert (trial / "parameters.png").is_file()
    found = json.loads((trial / "evaluation.json").read_text(encoding="utf-8"))
    assert found["profile"]["inside.mean_distance"] == 1.25
    assert (trial.parent / "report.html").is_file()
    (run,) = gather([trial])
    assert run.starts[0]["command"].startswith("rllib train -f ")
    # The particles of the last checkpoint are whole profiles.
    assert run.particles.shape == (run.num_particles, len(run.ranges))
    assert (run.particles[:, list(run.ranges).index("inside.mean_distance")] == 1.25).all()
