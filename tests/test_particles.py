import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rllib_calsheq.core.outcomes import OutcomeColumns
from rllib_calsheq.core.particles import (
    MISSES_BEFORE_REASSIGNMENT,
    ParticleAssignment,
    StageReport,
    SupertypeTable,
    merge_reports,
)
from rllib_calsheq.core.targets import Outcome


@given(workers=st.integers(1, 9), extra=st.integers(0, 40))
def test_particles_are_spread_evenly_and_each_has_one_worker(workers, extra):
    particles = workers + extra
    counts = np.bincount(ParticleAssignment(particles, workers).workers(), minlength=workers + 1)
    assert counts[0] == 0
    assert counts[1:].sum() == particles
    assert counts[1:].max() - counts[1:].min() <= 1


def test_driver_samples_everything_without_remote_workers():
    assert (ParticleAssignment(5, 0).workers() == 0).all()


def test_a_lost_workers_particles_go_to_the_others_and_come_back():
    assignment = ParticleAssignment(8, 4)
    home = assignment.workers()
    for _ in range(MISSES_BEFORE_REASSIGNMENT):
        assert (assignment.workers() == home).all()
        assignment.record([1, 3, 4])
    now = assignment.workers()
    assert 2 not in now
    assert (now[home != 2] == home[home != 2]).all()
    assert len(set(now[home == 2])) == 2  # dealt, not dumped on one
    assignment.revive([2])
    assert (assignment.workers() == home).all()


def test_one_miss_is_forgiven_when_the_worker_is_heard_again():
    assignment = ParticleAssignment(4, 2)
    for _ in range(5):
        assignment.record([1])
        assignment.record([1, 2])
    assert assignment.lost() == []


def test_all_lost_keeps_the_home_assignment():
    assignment = ParticleAssignment(4, 2)
    for _ in range(MISSES_BEFORE_REASSIGNMENT):
        assignment.record([])
    assert (assignment.workers() == assignment.home()).all()


COLUMNS = OutcomeColumns((Outcome("x", 1.0), Outcome("y", 1.0)), ("s",))


def report(stage, worker, particles, outcomes):
    returns = np.array(particles, dtype=float)[:, None]
    return StageReport(stage, worker, np.array(particles), np.array(outcomes, dtype=float), returns)


def test_merge_averages_repeats_and_leaves_out_nan_and_other_stages():
    particles, outcomes = merge_reports(
        [
            report(3, 1, [0, 1], [[1.0, np.nan], [5.0, 6.0]]),
            report(3, 1, [0], [[3.0, 8.0]]),
            report(2, 2, [3], [[9.0, 9.0]]),
        ],
        stage=3,
        num_particles=4,
        columns=COLUMNS,
    )
    assert particles.tolist() == [0, 1]
    np.testing.assert_array_equal(outcomes, [[2.0, 8.0, 0.0], [5.0, 6.0, 1.0]])


def test_merge_keeps_nan_that_happened_nowhere():
    reports = [report(1, 0, [2], [[np.nan, 1.0]])]
    _, outcomes = merge_reports(reports, stage=1, num_particles=3, columns=COLUMNS)
    np.testing.assert_array_equal(outcomes, [[np.nan, 1.0, 2.0]])


def test_merge_of_nothing_is_empty():
    particles, outcomes = merge_reports([], stage=1, num_particles=3, columns=COLUMNS)
    assert len(particles) == 0
    assert outcomes.shape == (0, 3)


def test_table_tells_each_worker_its_particles():
    table = SupertypeTable(1, np.zeros((4, 2)), np.array([1, 1, 2, 2]), seed=0)
    assert table.particles_of(2).tolist() == [2, 3]
    assert table.particles_of(7).tolist() == []
