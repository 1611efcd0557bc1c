"""Random streams: every name and every list of keys has numbers of its own."""

import subprocess
import sys

import numpy as np
import pytest
from known_optimum import parameter_targets

from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.streams import Stream, episode_seed, fresh_seeds, stream_rng, stream_seed

#: Lists of keys that a seed sequence alone takes for one another.
ALIKE = [(), (0,), (0, 0), (4, 23), (4, 23, 0), (4, 23, 0, 0), (0, 1), (2**32,), (1, 0, 2)]


def test_no_two_streams_or_lists_of_keys_share_their_numbers():
    names = [(stream, *keys) for stream in Stream for keys in ALIKE]
    seeds = {stream_seed(*name) for name in names}
    draws = {stream_rng(*name).random() for name in names}
    assert len(seeds) == len(draws) == len(names)


def test_the_same_name_gives_the_same_numbers():
    one, other = (stream_rng(Stream.PROPOSAL, 3, 5).random(4) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert stream_seed(Stream.PROPOSAL, 3, 5) == stream_seed(Stream.PROPOSAL, np.int64(3), 5)


@pytest.mark.parametrize("key", [-1, 2**64])
def test_a_key_out_of_range_is_refused(key):
    with pytest.raises(ValueError, match=rf"PROPOSAL is {key}; keys .* below 2\*\*64"):
        stream_rng(Stream.PROPOSAL, 0, key)


def test_a_name_that_is_none_is_refused():
    with pytest.raises(ValueError, match="999"):
        stream_seed(999, 1)


def test_an_episode_that_judges_is_none_that_a_run_has_seen():
    run = {episode_seed(Stream.EPISODES, 0, stage, b, 0) for stage in range(200) for b in range(64)}
    drawn = fresh_seeds(stream_rng(Stream.FRESH, 0), 5000)
    evaluated = {episode_seed(Stream.EVALUATION_EPISODES, 0, k, 0, 0) for k in range(5000)}
    assert max(run) < 2**31 <= min(evaluated | set(drawn.tolist()))
    assert max(max(evaluated), drawn.max()) < 2**32


def test_streams_need_neither_torch_nor_ray():
    module = "rllib_calsheq.core.streams"
    code = f"import sys, {module}; print('torch' in sys.modules, 'ray' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


class Drawing(Calibrator):
    """A calibrator of someone else."""

    def _propose(self):
        return self.rng().random(self.profiles.shape)

    def _learn(self, particles, rewards, outcomes):
        return {"number": float(self.rng(1).random())}


def test_a_calibrator_has_generators_of_its_own_by_seed_stage_and_key():
    made = [Drawing(np.full(2, 0.5), 3, parameter_targets(np.full(2, 0.5)), s) for s in (0, 0, 1)]
    first, again, other = (calibrator.ask() for calibrator in made)
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()
    one = made[0]
    number = one.tell(np.arange(3), np.ones(3), np.ones((3, 2)), 1)["number"]
    assert number not in first
    assert not np.isclose(one.ask(), first).any()


def test_evaluation_plays_episodes_of_its_own_even_with_the_runs_seed_and_stage():
    from rllib_calsheq.algorithm.env_runners import EpisodeEnvRunner
    from rllib_calsheq.core.particles import SupertypeTable

    def seeds(**fields):
        runner = object.__new__(EpisodeEnvRunner)
        runner.worker_index = 0
        runner.set_supertypes(
            SupertypeTable(1, np.zeros((4, 2)), np.zeros(4, dtype=np.intp), 0, **fields)
        )
        return runner._next_round()[2], runner._action_stream()

    (trained, actions), (judged, other_actions) = seeds(), seeds(evaluation=True)
    assert not set(trained) & set(judged)
    assert actions[0] == Stream.ACTIONS
    assert other_actions[0] == Stream.EVALUATION_ACTIONS
