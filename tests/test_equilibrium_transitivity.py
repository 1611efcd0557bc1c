"""Extended transitivity (Assumption 1) of payoff matrices, exact and measured."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rllib_calsheq.equilibrium.decomposition import (
    cyclic_p_value,
    decompose,
    episode_noise,
    independent_noise,
)
from rllib_calsheq.equilibrium.measured import check_skill, gain_errors, measured_transitivity
from rllib_calsheq.equilibrium.transitivity import (
    epsilons,
    extended_transitivity,
    gains,
    smallest_rise,
)

#: Rows beat columns: paper (1) beats rock (0), scissors (2) beat paper, rock beats scissors.
ROCK_PAPER_SCISSORS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
#: It pays to do what others do not.
ANTI_COORDINATION = np.array([[0, 1], [1, 0]])

# Whole numbers, so that sums of gains are exact.
matrices = st.integers(1, 5).flatmap(
    lambda m: hnp.arrays(np.int64, (m, m), elements=st.integers(-3, 3))
)
skills = hnp.arrays(np.int64, st.integers(1, 7), elements=st.integers(-20, 20))


def is_cycle(payoff, cycle, epsilon=0.0):
    after = (*cycle[1:], cycle[0])
    return all(payoff[y, x] - payoff[x, x] > epsilon for x, y in zip(cycle, after, strict=True))


def brute_force(payoff):
    """All cycles without a repetition, over all ordered subsets."""
    orders = (
        order
        for size in range(2, len(payoff) + 1)
        for order in itertools.permutations(range(len(payoff)), size)
    )
    return [order for order in orders if is_cycle(payoff, order)]


@settings(max_examples=200, deadline=None)
@given(payoff=matrices)
def test_t_satisfies_assumption_1_or_the_cycle_is_one(payoff):
    found = extended_transitivity(payoff)
    cycles = brute_force(payoff)
    assert found.holds == (not cycles)
    if not found.holds:
        assert found.skill is None
        assert is_cycle(payoff, found.cycle)
        assert len(found.cycle) == min(map(len, cycles))
        return
    skill = found.skill
    for epsilon in (0, 0.5, 1, 2, 5):
        for x, y in itertools.product(range(len(payoff)), repeat=2):
            if payoff[y, x] - payoff[x, x] > epsilon:
                assert skill[y] - skill[x] > epsilon
        assert smallest_rise(payoff, skill, epsilon) > epsilon
    assert skill.min() == 0


@settings(max_examples=50, deadline=None)
@given(t=skills)
def test_a_transitive_game_gives_back_its_t(t):
    payoff = t[:, None] - t
    found = extended_transitivity(payoff)
    assert found.skill.tolist() == (t - t.min()).tolist()
    # The paper's δ_ε = ε with T = t.
    for epsilon in (0, 1, 7):
        assert smallest_rise(payoff, t, epsilon) > epsilon


@pytest.mark.parametrize(
    ("sigma", "inverse"),
    [
        (np.tanh, np.arctanh),
        (np.exp, np.log),
        (lambda z: z**3 + z, None),
        (lambda z: np.where(z > 0, 2 * z, z), lambda w: w / 2),
    ],
)
def test_monotonic_games_pass_with_the_papers_delta(sigma, inverse):
    t = np.random.default_rng(0).uniform(-1, 1, size=12)
    payoff = sigma(t[:, None] - t)
    assert extended_transitivity(payoff).holds
    for epsilon in (0.0, 0.05, 0.3):
        rise = smallest_rise(payoff, t, epsilon)
        if inverse is not None:
            assert rise > inverse(epsilon + sigma(np.zeros(()))) - 1e-12
        assert sigma(np.array(rise)) - sigma(np.zeros(())) > epsilon - 1e-12


def test_rock_paper_scissors_fails_with_its_cycle():
    found = extended_transitivity(ROCK_PAPER_SCISSORS)
    assert not found.holds
    assert found.cycle == (0, 1, 2)
    # No candidate T can rise on all three deviations.
    assert smallest_rise(ROCK_PAPER_SCISSORS, [0, 1, 2]) == -2
    assert epsilons(ROCK_PAPER_SCISSORS).tolist() == [1, 1, 1]
    # Gains of at most 1 do not count for ε = 1.
    assert extended_transitivity(ROCK_PAPER_SCISSORS, epsilon=1).holds


@settings(max_examples=50, deadline=None)
@given(t=skills.filter(lambda t: len(t) > 2), slack=st.integers(1, 5))
def test_a_cycle_stronger_than_the_skill_fails_and_a_weaker_one_does_not(t, slack):
    m = len(t)
    around = np.roll(np.eye(m), 1, axis=0) - np.roll(np.eye(m), -1, axis=0)
    transitive = t[:, None] - t
    # T would have to rise from each policy to the next and from the last to the first.
    strong = transitive + (np.ptp(t) + slack) * around
    found = extended_transitivity(strong)
    assert not found.holds
    assert is_cycle(strong, found.cycle)
    distinct = np.arange(m)
    assert extended_transitivity(distinct[:, None] - distinct + 0.9 * around).holds


@settings(max_examples=50, deadline=None)
@given(
    features=hnp.arrays(np.int64, (6, 3), elements=st.integers(-4, 4)),
    level=hnp.arrays(np.int64, 6, elements=st.integers(-4, 4)),
)
def test_potential_games_of_likeness_pass_with_delta_2_epsilon(features, level):
    """P = F Fᵀ has P(x, y) <= (P(x, x) + P(y, y)) / 2, so a gain is at most half of T's rise."""
    potential = features @ features.T
    payoff = potential + level
    assert extended_transitivity(payoff).holds
    for epsilon in (0, 1, 10):
        assert smallest_rise(payoff, np.diag(potential), epsilon) > 2 * epsilon


def test_a_potential_game_need_not_be_extended_transitive():
    """Anti-coordination is its own potential, and self-play jumps to and fro."""
    assert (ANTI_COORDINATION == ANTI_COORDINATION.T).all()
    assert extended_transitivity(ANTI_COORDINATION).cycle == (0, 1)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_logit_bertrand_competition_is_extended_transitive_on_a_grid(n):
    """n merchants, softness τ: all self-play ends within a step of the grid of τ n / (n − 1)."""
    tau = 0.2
    spread = np.linspace(0.01, 1.0, 100)
    pull = np.exp(-spread / tau)
    payoff = spread[:, None] * pull[:, None] / (pull[:, None] + (n - 1) * pull)
    found = extended_transitivity(payoff)
    assert found.holds
    ends = spread[epsilons(payoff) == 0]
    assert 1 <= len(ends) <= 2
    assert ends == pytest.approx(tau * n / (n - 1), abs=0.01 + 1e-9)
    assert spread[found.skill.argmax()] in ends


@settings(max_examples=50, deadline=None)
@given(payoff=matrices)
def test_gains_split_into_orthogonal_parts(payoff):
    parts = decompose(payoff)
    matrices = (parts.transitive, parts.cyclic, parts.mutual)
    assert sum(matrices) == pytest.approx(gains(payoff))
    for one, two in itertools.combinations(matrices, 2):
        assert (one * two).sum() == pytest.approx(0, abs=1e-9)
    assert parts.cyclic.sum(axis=1) == pytest.approx(0, abs=1e-9)
    assert parts.skill.mean() == pytest.approx(0, abs=1e-9)
    # The cyclic part is that of the antisymmetric part of the payoffs themselves.
    odd = (payoff - payoff.T) / 2
    mean = odd.mean(axis=1)
    assert parts.cyclic == pytest.approx(odd - mean[:, None] + mean)
    assert sum(parts.shares.values()) == pytest.approx(1 if gains(payoff).any() else 0)


def test_shares_of_pure_cases():
    t = np.array([0.0, 1.0, 5.0])
    assert decompose(t[:, None] - t).shares["transitive"] == pytest.approx(1)
    assert decompose(t[:, None] - t).skill == pytest.approx(t - 2)
    assert decompose(ROCK_PAPER_SCISSORS).shares["cyclic"] == pytest.approx(1)
    assert decompose(ANTI_COORDINATION).shares["mutual"] == pytest.approx(1)
    # ‖transitive‖² = Σ (t_y − t_x)² = 2 (1 + 16 + 25) = 84, ‖cyclic‖² = 6.
    both = decompose(t[:, None] - t + ROCK_PAPER_SCISSORS).shares
    assert both["cyclic"] == pytest.approx(6 / 90)


@settings(max_examples=100, deadline=None)
@given(payoff=matrices)
def test_no_cyclic_and_no_positive_mutual_part_is_extended_transitive(payoff):
    parts = decompose(payoff)
    tame = parts.transitive + np.minimum(parts.mutual, 0)
    assert extended_transitivity(tame, 1e-12).holds
    assert smallest_rise(tame, parts.skill, 0.5) > 0.5 - 1e-12


def test_the_cyclic_part_of_noise_is_told_from_a_true_one():
    rng = np.random.default_rng(1)
    t = rng.normal(size=6)
    errors = rng.uniform(0.1, 0.5, size=(6, 6))
    p_values = [
        cyclic_p_value(
            t[:, None] - t + errors * rng.standard_normal((6, 6)),
            independent_noise(errors, rng, 99),
        )
        for _ in range(100)
    ]
    # Uniform without a cyclic part: the mean of 100 has a standard error of 0.029.
    assert abs(np.mean(p_values) - 0.5) < 0.1
    small, large = (independent_noise(np.full((3, 3), error), rng) for error in (0.1, 10.0))
    assert cyclic_p_value(ROCK_PAPER_SCISSORS, small) < 0.001
    assert cyclic_p_value(ROCK_PAPER_SCISSORS, large) > 0.2


def test_noise_of_shared_episodes_is_that_of_their_means():
    rng = np.random.default_rng(5)
    # What all entries of an episode share is no cycle.
    samples = 3 * rng.normal(size=(400, 1, 1)) + rng.normal(size=(400, 4, 4))
    draws = episode_noise(samples, rng, 4000)
    assert np.allclose(draws.std(axis=0), samples.std(axis=0) / 20, rtol=0.1)
    assert np.allclose(draws.mean(axis=0), 0.0, atol=0.02)
    shared = np.corrcoef(draws[:, 0, 1], draws[:, 2, 3])[0, 1]
    assert abs(shared - 0.9) < 0.03
    with pytest.raises(ValueError, match="one matrix of the payoffs' shape"):
        cyclic_p_value(np.zeros((3, 3)), draws)


@settings(max_examples=100, deadline=None)
@given(payoff=matrices)
def test_measured_without_errors_is_exact(payoff):
    exact = extended_transitivity(payoff)
    found = measured_transitivity(payoff, np.zeros(payoff.shape))
    assert found.verdict == ("holds" if exact.holds else "fails")
    assert found.cycle == exact.cycle
    assert found.improves[~np.eye(len(payoff), dtype=bool)].all()
    if exact.holds:
        assert found.skill.tolist() == exact.skill.tolist()


def test_verdicts_depend_on_the_errors():
    small, large = np.full((3, 3), 0.05), np.full((3, 3), 1.0)
    found = measured_transitivity(ROCK_PAPER_SCISSORS, small)
    assert (found.verdict, found.cycle) == ("fails", (0, 1, 2))
    found = measured_transitivity(ROCK_PAPER_SCISSORS, large)
    assert found.verdict == "undecided"
    assert found.cycle
    assert (found.improves == -np.eye(3)).all()
    t = np.arange(3)
    found = measured_transitivity(t[:, None] - t, small)
    assert found.verdict == "holds"
    # T covers the true gains, that may be larger than the measured ones.
    assert found.skill[2] > 2
    assert found.improves.tolist() == [[-1, -1, -1], [1, -1, -1], [1, 1, -1]]
    assert measured_transitivity(t[:, None] - t, large).verdict == "undecided"
    # Six statements at 95 %: 2.39 standard errors. A gain of 1 is clear of 0.41, not of 0.43.
    for error, verdict in ((0.41, "fails"), (0.43, "undecided")):
        found = measured_transitivity(ROCK_PAPER_SCISSORS, np.full((3, 3), error))
        assert found.verdict == verdict


def test_verdicts_are_right_as_often_as_promised():
    rng = np.random.default_rng(2)
    t = np.array([0.0, 0.1, 0.5, 2.0])
    shaky = t[:, None] - t
    cyclic = np.zeros((4, 4))
    cyclic[:3, :3] = 0.4 * ROCK_PAPER_SCISSORS
    errors = np.full((4, 4), 0.1)
    verdicts = {
        name: [
            measured_transitivity(
                truth + errors * rng.standard_normal((4, 4)), gain_errors(errors)
            ).verdict
            for _ in range(300)
        ]
        for name, truth in (("shaky", shaky), ("cyclic", cyclic))
    }
    assert verdicts["shaky"].count("fails") <= 15
    assert verdicts["cyclic"].count("holds") <= 15
    assert verdicts["cyclic"].count("fails") > 0


def test_errors_of_gains_add_up_in_squares():
    combined = gain_errors([[3.0, 1.0], [4.0, 0.0]])
    assert combined.tolist() == [[0, 1], [5, 0]]


def test_a_candidate_t_is_checked_along_training():
    # Three snapshots: each improves on the one before by 1.
    t = np.arange(3.0)
    payoff = t[:, None] - t
    good = check_skill(payoff, t)
    assert good.pairs.tolist() == [[0, 1], [1, 2]]
    assert good.gains.tolist() == good.rises.tolist() == [1, 1]
    assert good.supported.all()
    assert good.verdict == "holds"
    # Own payoff is no skill in a zero-sum game: it stays at 0, which is no rise.
    flat = check_skill(payoff, np.diag(payoff))
    assert flat.contradicted.all()
    assert flat.verdict == "fails"
    # The same under noise.
    noise = {"errors_of_gains": np.full((3, 3), 0.1), "skill_errors": np.full(3, 0.1)}
    assert check_skill(payoff, t, **noise).verdict == "holds"
    assert check_skill(payoff, [0, 1, 0.0], **noise).contradicted.tolist() == [False, True]
    assert check_skill(payoff, [0, 1, 1.1], **noise).verdict == "undecided"
    loud = {**noise, "errors_of_gains": np.full((3, 3), 1.0)}
    # T fell for certain, but whether the step improved is not known.
    hidden = check_skill(payoff, [0, 1, 0.0], **loud)
    assert hidden.improved.tolist() == [0, 0]
    assert hidden.verdict == "undecided"
    # A step that certainly does not improve asks nothing of T.
    back = check_skill(payoff, t, pairs=[[2, 0]], **noise)
    assert back.improved.tolist() == [-1]
    assert back.verdict == "holds"


def test_one_policy_is_trivially_transitive():
    assert extended_transitivity([[3.0]]).skill.tolist() == [0]
    assert check_skill([[3.0]], [1.0]).verdict == "holds"
    assert measured_transitivity([[3.0]], [[0.5]]).verdict == "holds"


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"payoff has shape \(2, 3\); give a square matrix"):
        extended_transitivity(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"payoff\[0, 1\] is nan"):
        gains([[0, np.nan], [0, 0]])
    with pytest.raises(ValueError, match="epsilon is -1"):
        extended_transitivity(np.zeros((2, 2)), -1)
    with pytest.raises(ValueError, match="give 2 finite numbers"):
        smallest_rise(np.zeros((2, 2)), [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="standard error >= 0"):
        measured_transitivity(np.zeros((2, 2)), -np.ones((2, 2)))
    with pytest.raises(ValueError, match="confidence is 95"):
        measured_transitivity(np.zeros((2, 2)), np.ones((2, 2)), confidence=95)
    with pytest.raises(ValueError, match="policies 0 to 1"):
        check_skill(np.zeros((2, 2)), [0, 1], pairs=[[0, 2]])
