"""MyEnv can be calibrated, and does what its description says. Run: python -m pytest."""

import numpy as np
import pytest
from my_env import MyEnv

from rllib_calsheq import check_environment


def test_it_can_be_calibrated():
    """The protocol, on random episodes."""
    check_environment(MyEnv)
    check_environment(MyEnv, {"num_sellers": 2, "episode_length": 4})


def test_an_episode_by_hand():
    """Prices, profits and the outcome of one round."""
    env = MyEnv({"num_sellers": 2, "episode_length": 1})
    env.set_supertypes([0.2])
    observations, _ = env.reset(seed=0)
    costs = [float(observations[agent][0]) for agent in env.agents]
    # Actions of -0.2 and 0.2 are prices of 0.4 and 0.6.
    actions = {"seller_1": np.array([-0.2]), "seller_2": np.array([0.2])}
    _, rewards, ends, _, _ = env.step(actions)
    assert ends["__all__"]
    assert rewards["seller_1"] == pytest.approx((0.4 - costs[0]) * (1 - 2 * 0.4 + 0.6), abs=1e-6)
    assert rewards["seller_2"] == pytest.approx((0.6 - costs[1]) * (1 - 2 * 0.6 + 0.4), abs=1e-6)
    assert env.episode_outcomes() == pytest.approx([0.5])


def test_an_unknown_field_is_refused():
    """A typing error in the experiment file is found."""
    with pytest.raises(ValueError, match="num_seler"):
        MyEnv({"num_seler": 3})
