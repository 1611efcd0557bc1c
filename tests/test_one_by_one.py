"""The array form of an environment that has none."""

import numpy as np
import pytest
from plain_env import PlainSubway

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.certificates.certify import certify
from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.certificates.jobs.frozen_game import FrozenGame
from rllib_calsheq.certificates.sensitivity.measurement import measure_sensitivity
from rllib_calsheq.envs import SubwayEnv
from rllib_calsheq.learning.one_by_one import as_arrays

SIZES = {"num_suburbs": 3, "num_inside": 2, "episode_length": 5}
SMALL = CertificateConfig(
    seeds=1, budget=32, batch=16, measurements=2, validation=8, fresh=8, settling=1
)


def test_it_gives_the_numbers_of_the_array_form():
    own, made = as_arrays(SubwayEnv, SIZES), as_arrays(PlainSubway, SIZES)
    assert type(own) is not type(made)
    assert made.episode_length == own.episode_length == 5
    assert made.agent_supertypes == tuple(own.agent_supertypes)
    rng = np.random.default_rng(3)
    for episodes in (4, 2):
        profiles = own.supertype_space.from_unit(
            rng.uniform(size=(episodes, len(own.supertype_space)))
        )
        seeds = rng.integers(1000, size=episodes).tolist()
        np.testing.assert_array_equal(made.reset(profiles, seeds), own.reset(profiles, seeds))
        for t in range(5):
            actions = rng.integers(own.action_space.n, size=(episodes, 5))
            (seen, rewards), (expected, paid) = made.step(actions), own.step(actions)
            np.testing.assert_allclose(rewards, paid, rtol=1e-6)
            # Nothing depends on what is seen after the end.
            assert t == 4 or (seen == expected).all()
        np.testing.assert_array_equal(made.episode_outcomes(), own.episode_outcomes())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("leaves", r"\['inhabitant_1'\] are not there at step 1"),
        ("dict observations", "no Box of numbers"),
    ],
)
def test_what_arrays_cannot_hold_is_refused(fault, words):
    with pytest.raises(ValueError, match=f"PlainSubway has no array form.*{words}"):
        as_arrays(PlainSubway, {**SIZES, "fault": fault})


def test_an_episode_of_another_length_is_refused():
    env = as_arrays(PlainSubway, {**SIZES, "fault": "short"})
    actions = np.zeros((2, 5), dtype=int)
    env.reset(np.tile(env.supertype_space.start, (2, 1)), [1, 2])
    env.step(actions)
    env.step(actions)
    with pytest.raises(ValueError, match="ended after 3 steps and another after 5"):
        env.step(actions)


def test_a_run_on_the_episode_path_is_certified(tmp_path):
    config = CALSHEQConfig().environment(PlainSubway, env_config=SIZES)
    config.training(minibatch_size=32)
    targets = {"suburbs.subway_rate": 0.8, "inside.subway_rate": 0.3}
    config.calibration(targets=targets, calibrator={"name": "ppo"}, num_particles=8)
    algorithm = config.build_algo()
    algorithm.train()
    algorithm.save_to_path(tmp_path / "checkpoint_000000")
    algorithm.stop()
    found = certify(tmp_path / "checkpoint_000000", SMALL, tmp_path / "certificate")
    assert found["epsilon_low"] <= found["epsilon"] <= found["epsilon_high"]
    assert set(found["per_supertype"]) == {"suburbs", "inside"}
    assert found["lag_gap"] is not None
    game = FrozenGame(tmp_path / "checkpoint_000000", SMALL)
    measured = measure_sensitivity(game, episodes=8, retrain=1)
    assert len(measured["jacobian"]) == 2
