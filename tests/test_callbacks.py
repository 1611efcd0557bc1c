"""Callbacks of the user's own: called once an episode or once a round, or refused."""

from collections import Counter
from typing import ClassVar

import gymnasium as gym
import pytest
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.algorithm.env_runners import ArrayEnvRunner, EpisodeEnvRunner
from rllib_calsheq.learning.ray_private.hooks import RAY_ENV_NAME

from echo_env import EchoEnv

LENGTH = 3


@pytest.mark.parametrize("sampling", ["arrays", "episodes"])
def test_several_runners_in_a_process_make_no_warning(sampling, recwarn):
    made = config(sampling=sampling)
    made.validate()
    for _ in range(2):
        made.env_runner_cls(config=made, worker_index=0)
    # What RLlib registers, it registers under this name.
    assert RAY_ENV_NAME in gym.registry
    assert [str(w.message) for w in recwarn if "registry" in str(w.message)] == []


class Counting(RLlibCallback):
    calls: ClassVar[Counter] = Counter()

    def on_sample_end(self, *, samples, **kwargs):
        self.calls["sample_end"] += 1
        self.calls["samples"] += len(samples)


class CountingEpisodes(Counting):
    calls: ClassVar[Counter] = Counter()

    def on_episode_created(self, **kwargs):
        self.calls["created"] += 1

    def on_episode_start(self, **kwargs):
        self.calls["start"] += 1

    def on_episode_step(self, **kwargs):
        self.calls["step"] += 1

    def on_episode_end(self, *, episode, **kwargs):
        assert len(episode) == LENGTH
        self.calls["end"] += 1


def config(callbacks=RLlibCallback, particles=4, **fields):
    return CALSHEQConfig().update_from_dict(
        {
            "env": EchoEnv,
            "env_config": {"episode_length": LENGTH},
            "targets": {"only.a": 0.5},
            "num_particles": particles,
            "minibatch_size": 8,
            "callbacks": callbacks,
        }
        | fields
    )


def train(made, stages=2):
    algorithm = made.build_algo()
    for _ in range(stages):
        algorithm.train()
    algorithm.stop()


@pytest.mark.parametrize("sampling", ["arrays", "episodes"])
def test_on_sample_end_is_called_once_a_round(sampling):
    Counting.calls.clear()
    # More particles than a runner has slots for.
    train(config(Counting, 18, sampling=sampling))
    assert Counting.calls == {
        "sample_end": 2,
        "samples": 2 * (1 if sampling == "arrays" else 18),
    }


def test_a_function_for_on_sample_end_is_called_once_a_round():
    seen = []
    made = config()
    made.callbacks(on_sample_end=lambda *, samples, **kwargs: seen.append(len(samples)))
    train(made)
    assert seen == [1, 1]


def test_episode_callbacks_are_called_once_an_episode_and_not_for_idle_slots():
    CountingEpisodes.calls.clear()
    # 18 particles in 16 slots: the second turn leaves 14 of them idle.
    train(config(CountingEpisodes, 18, sampling="episodes"))
    calls = CountingEpisodes.calls
    assert calls["created"] == calls["start"] == calls["end"] == 2 * 18
    assert calls["step"] == 2 * 18 * LENGTH
    assert calls["sample_end"] == 2


def test_episode_callbacks_are_refused_on_the_array_path():
    with pytest.raises(ValueError, match="CountingEpisodes defines on_episode_created") as caught:
        config(CountingEpisodes, sampling="arrays").validate()
    assert "sampling: episodes" in str(caught.value)
    made = config(sampling="arrays")
    made.callbacks(on_episode_end=lambda **kwargs: None)
    with pytest.raises(ValueError, match="callbacks_on_episode_end is set"):
        made.validate()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"callbacks": CountingEpisodes}, "CountingEpisodes defines on_episode_created"),
        ({"shuffle_batch_per_epoch": False}, "shuffle_batch_per_epoch is set"),
        ({"model_config": {"use_lstm": True}}, "use_lstm is set"),
    ],
)
def test_auto_takes_the_episode_path_and_says_why(caplog, change, says):
    from rllib_calsheq.algorithm.validation import say_once

    say_once.cache_clear()
    made = config(**change)
    made.validate()
    made.copy(copy_frozen=False).validate()
    assert made.env_runner_cls is EpisodeEnvRunner
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("rllib_calsheq")]
    assert says in line
    assert "several times slower" in line


def test_a_callback_without_episodes_keeps_the_array_path(caplog):
    made = config(Counting)
    made.validate()
    assert made.env_runner_cls is ArrayEnvRunner
    assert not [r for r in caplog.records if r.name.startswith("rllib_calsheq")]


def test_callbacks_can_be_named_by_their_dotted_path():
    made = config(f"{__name__}.Counting")
    made.validate()
    assert Counting in made.callbacks_class


@pytest.mark.parametrize("given", [3, "nowhere.Class", "builtins.dict", [dict]])
def test_what_is_no_callback_is_refused(given):
    with pytest.raises(ValueError, match=r"callbacks is|nowhere\.Class"):
        config(given)
