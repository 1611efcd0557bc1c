"""The statement of a certificate: what an agent can gain, and when that is noise."""

import pytest

from rllib_calsheq.certificates.report.description import _epsilon, statement
from rllib_calsheq.certificates.search.selection import Gain


def certificate(gain, low, high, mode=(0.0, -0.1, 0.1), value=100.0, kind="profile"):
    whole = Gain(gain, low, high, "shared policy, shifted")
    return {
        **_epsilon(whole, value),
        "value": value,
        "confidence": 0.95,
        "kinds": {} if mode is None else {"mode": _epsilon(Gain(*mode, "mode"), value)},
        "supertypes": {"kind": kind},
        "budget": {"training_episodes": 64, "deviators": 6, "untrained_deviations": 9},
    }


def test_a_gain_is_said_without_a_double_negative():
    said = statement(certificate(35.0, 34.0, 36.0))
    assert said.startswith(
        "One agent can gain ε = 35 (35.00% of |V̂(π, π)| = 100), 95% interval 34 to 36, at the "
        "calibrated profile. What gains that: shared policy, shifted."
    )
    assert "No deviation" not in said
    assert "lower bound" in said


@pytest.mark.parametrize(("gain", "low"), [(0.2, -0.1), (-0.3, -0.6), (0.2, 0.0)])
def test_that_nothing_gains_is_said_at_noise_alone(gain, low):
    said = statement(certificate(gain, low, 0.5, mode=(0.2, 0.1, 0.3), kind="particles"))
    assert said.startswith(
        "No deviation of one agent that was tried gains more than noise at the distribution of the "
        "last particles: at most 0.5 (0.50% of |V̂(π, π)| = 100)."
    )
    assert "One agent can gain" not in said
    assert "train longer" not in said


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ((0.6, 0.4, 0.8), "Most of it (60%) is the policy's own exploration noise"),
        ((1.2, 0.4, 2.0), "Most of it (100%)"),
        ((0.5, 0.4, 0.6), None),
        # Not surely above 0.
        ((0.6, -0.1, 0.8), None),
        # A policy that always takes one action has no noise to leave out.
        (None, None),
    ],
)
def test_training_longer_is_advised_where_most_of_it_is_exploration(mode, words):
    said = statement(certificate(1.0, 0.5, 1.5, mode))
    assert ("train longer" in said) == (words is not None)
    assert words is None or words in said


def test_a_value_of_0_has_no_shares():
    said = statement(certificate(1.0, 0.5, 1.5, value=0.0))
    assert said.startswith("One agent can gain ε = 1, 95% interval")
