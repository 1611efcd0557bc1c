"""The subway city, worked out by hand."""

import numpy as np
import pytest

from rllib_calsheq.envs import ArraySubway, SubwayConfig, SubwayEnv

#: Nothing random: distances are the supertypes' means, every day is alike.
CALM = {"distance_spread": 0.0, "time_noise": 0.0}
CAR, SUBWAY = 0, 1


def start(profile, **fields):
    city = ArraySubway(SubwayConfig(**CALM | fields))
    return city, city.reset(np.atleast_2d(profile), [0] * len(np.atleast_2d(profile)))


def test_travel_times_by_hand():
    """Suburbs at distance 2, inside at 1; three of ten take the subway, seven drive."""
    city, observations = start([2.0, 1.0])
    np.testing.assert_allclose(observations[0, :, 0], [2.0] * 6 + [1.0] * 4)
    assert (observations[0, :, 1] == 0.0).all()
    actions = np.array([[SUBWAY] * 3 + [CAR] * 7])
    observations, rewards = city.step(actions)
    car_pace = 0.5 * (1 + 2.0 * 0.7)
    subway = 0.5 + 0.6 * 2.0
    expected = [-subway] * 3 + [-car_pace * 2.0] * 3 + [-car_pace] * 4
    np.testing.assert_allclose(rewards[0], expected, rtol=1e-6)
    np.testing.assert_allclose(observations[0, :, 1], 1 / 20)
    np.testing.assert_allclose(city.episode_outcomes(), [[0.5, 0.0]])


def test_congestion_is_shared_by_all_drivers():
    paces = []
    for riders in (0, 5, 9):
        city, _ = start([1.0, 1.0])
        _, rewards = city.step(np.array([[SUBWAY] * riders + [CAR] * (10 - riders)]))
        paces.append(-rewards[0, -1])
    np.testing.assert_allclose(paces, [1.5, 0.5 * (1 + 2 * 0.5), 0.5 * (1 + 2 * 0.1)], rtol=1e-6)


def test_outcomes_are_rates_over_days_by_supertype():
    city, _ = start([2.0, 1.0], episode_length=4)
    for day in range(4):
        city.step(np.array([[SUBWAY if day < 1 else CAR] * 6 + [SUBWAY if day < 3 else CAR] * 4]))
    np.testing.assert_allclose(city.episode_outcomes(), [[0.25, 0.75]])


def test_who_lives_far_gains_more_from_the_subway():
    gains = []
    for distance in (0.2, 1.0, 3.0):
        times = []
        for action in (CAR, SUBWAY):
            city, _ = start([distance, 1.0])
            _, rewards = city.step(np.array([[action] + [CAR] * 9]))
            times.append(-rewards[0, 0])
        gains.append(times[0] - times[1])
    assert gains == sorted(gains)
    assert gains[0] < 0 < gains[-1]


def test_distances_follow_the_profile_and_are_never_negative():
    city = ArraySubway()
    profiles = np.tile([2.0, 0.1], (400, 1))
    distance = city.reset(profiles, range(400))[..., 0].astype(float)
    assert distance[:, :6].mean() == pytest.approx(2.0, abs=0.03)
    assert distance[:, :6].std() == pytest.approx(0.3, abs=0.02)
    assert distance[:, 6:].min() == 0.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_inside": 0}, "num_inside is 0"),
        ({"congestion": -1.0}, "congestion"),
        ({"time_noise": float("nan")}, "time_noise"),
        ({"num_suburbs": -3}, "num_suburbs is -3"),
        ({"episode_length": 10**30}, "GB of memory"),
        ({"car_pace": 1e39}, r"car_pace is 1e\+39; allowed: numbers in \[0, 100\]"),
        ({"distance_spread": 101.0}, "distance_spread is 101.0"),
        ({"time_noise": 1000.0}, r"time_noise is 1000.0; allowed: numbers in \[0, 3\]"),
        ({"num_subrubs": 3}, "did you mean 'num_suburbs'"),
        ({"supertypes": {"inside.mean_distance": 4.0}}, "outside its allowed range"),
    ],
)
def test_bad_configurations_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        SubwayEnv(config)


def test_the_largest_numbers_that_are_allowed_give_finite_rewards():
    largest = {"distance_spread": 100.0, "subway_walk": 100.0, "subway_pace": 100.0}
    largest |= {"car_pace": 100.0, "congestion": 100.0, "time_noise": 3.0}
    city = ArraySubway(SubwayConfig(**largest))
    observations = city.reset(np.full((200, 2), 3.0), range(200))
    for _ in range(city.episode_length):
        _, rewards = city.step(np.full((200, 10), CAR))
        # Their squares are what a value function learns from, in single precision.
        assert np.isfinite(rewards**2).all()
    assert np.isfinite(observations).all()


def test_plain_form_starts_from_the_configured_profile():
    env = SubwayEnv(CALM | {"supertypes": {"inside.mean_distance": 0.5}})
    observations, _ = env.reset(seed=0)
    assert observations["inhabitant_1"][0] == 1.5
    assert observations["inhabitant_10"][0] == 0.5
    assert env.agent_supertypes["inhabitant_6"] == "suburbs"
    assert env.agent_supertypes["inhabitant_7"] == "inside"
