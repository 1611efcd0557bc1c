import numpy as np
import pytest

from rllib_calsheq.core.timescales import LearningRate, check_assumption_2


def test_rate_starts_at_initial_and_halves_as_the_exponent_says():
    rate = LearningRate(initial=2e-3, exponent=0.5, offset=100)
    assert rate.at(0) == 2e-3
    # (1 + 300/100)^(-1/2) = 1/2
    assert rate.at(300) == pytest.approx(1e-3)


def test_default_pair_satisfies_assumption_2_and_its_ratio_falls():
    shared, cal = LearningRate(exponent=0.6), LearningRate(exponent=0.9)
    check_assumption_2(shared, cal, on_break="refuse")
    ratios = [cal.at(m) / shared.at(m) for m in (0, 10, 100, 10_000, 10**8)]
    assert all(np.diff(ratios) < 0)
    assert ratios[-1] < 0.02


@pytest.mark.parametrize(
    ("shared", "cal", "word"),
    [(0.6, 0.6, "does not tend to 0"), (0.5, 0.9, "lr_shared"), (0.6, 1.1, "lr_cal")],
)
def test_broken_assumption_is_refused_or_warned_about(shared, cal, word):
    rates = LearningRate(exponent=shared), LearningRate(exponent=cal)
    with pytest.raises(ValueError, match=word):
        check_assumption_2(*rates, on_break="refuse")
    with pytest.warns(UserWarning, match=word):
        check_assumption_2(*rates, on_break="warn")


@pytest.mark.parametrize("fields", [{"initial": 0}, {"offset": -1}, {"exponent": "fast"}])
def test_bad_fields_are_refused(fields):
    ((name, value),) = fields.items()
    with pytest.raises(ValueError, match=f"^{name} is {value!r}; allowed: numbers >"):
        LearningRate(**fields)
