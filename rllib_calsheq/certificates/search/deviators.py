"""Deviators: policies that RLlib's PPO trains against a frozen shared policy.

One agent of each episode is the deviator; only its steps are learned from. It sees its type like
the shared policy does, and starts from that policy's weights or from new ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_calsheq.algorithm import SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.certificates.search.policies import ModulePolicy
from rllib_calsheq.certificates.search.values import Episodes, Policy, draw_episodes, play_steps
from rllib_calsheq.core.actions import ActionTransform
from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.streams import Stream, stream_rng
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.ray_private.access import free_log_std, store
from rllib_calsheq.learning.rollout import RolloutBlock
from rllib_calsheq.learning.seeding import torch_stream

Weights = dict[str, npt.NDArray]


def build_learner(
    config: CALSHEQConfig, env: ArrayEnv, weights: Weights | None, *keys: int
) -> LeanPPOLearner:
    """A learner of one policy for an environment's agents, without Ray actors.

    Args:
        config: The run's configuration; its network and PPO fields are used.
        env: The environment.
        weights: The policy's weights; new ones when None.
        *keys: Of the random stream of new weights.
    """
    alone = config.copy(copy_frozen=False)
    alone.num_learners = alone.num_gpus_per_learner = 0
    store(alone, "learner_class", LeanPPOLearner)
    # It learns from arrays, whatever the run's own episodes came as.
    alone.sampling = "arrays"
    store(alone, "add_default_connectors_to_learner_pipeline", False)
    # With a seed of its own RLlib would draw the same weights every time.
    alone.seed = None
    with torch_stream(Stream.DEVIATOR_WEIGHTS, *keys):
        learner: LeanPPOLearner = alone.build_learner(
            spaces={SHARED_POLICY: (env.observation_space, env.action_space)}
        )
    if weights is not None:
        set_weights(learner.module[SHARED_POLICY].unwrapped(), weights)
    return learner


def get_weights(module: Any) -> Weights:
    """A module's weights by name, as copies."""
    return {
        name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()
    }


def set_weights(module: Any, weights: Weights) -> None:
    """Puts weights of `get_weights` into a module."""
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})


def action_transform(config: CALSHEQConfig, env: ArrayEnv) -> ActionTransform:
    """From a module's actions to the environment's, as in the run."""
    return ActionTransform(env.action_space, config.normalize_actions, config.clip_actions)


@dataclass(frozen=True)
class Training:
    """How deviators are trained.

    Attributes:
        iterations: PPO updates.
        episodes: Episodes in an update, each with one deviator.
        learning_rate: Adam's at the start; it falls linearly to 0.
        exploration: Standard deviation of a Gaussian policy's actions at the start, where it
            starts from given weights: a shared policy that has converged hardly explores.
        measurements: How often a deviator is measured on validation episodes on its way.
    """

    iterations: int = 48
    episodes: int = 128
    learning_rate: float = 1e-3
    exploration: float = 0.2
    measurements: int = 6


def train_deviator(
    config: CALSHEQConfig,
    env: ArrayEnv,
    policy: Policy,
    profiles: FloatArray,
    training: Training,
    keys: Sequence[int],
    supertype: int | None = None,
    weights: Weights | None = None,
) -> Iterator[tuple[int, Weights]]:
    """Trains one agent's policy while all others stay on the frozen one.

    Args:
        config: The run's configuration, whose PPO fields are used.
        env: The environment.
        policy: The frozen policy of the others.
        profiles: Supertype profile (d,) or profiles (B, d) of the episodes.
        training: How much, and how fast.
        keys: Of its random streams.
        supertype: Index of the supertype that deviates; a random agent (Definition 1) when None.
        weights: Weights to start from; new ones when None.

    Yields:
        Training episodes so far and the weights, `Training.measurements` times.
    """
    learner = build_learner(config, env, weights, *keys)
    module = learner.module[SHARED_POLICY].unwrapped()
    log_std = free_log_std(module)
    if weights is not None and log_std is not None:
        with torch.no_grad():
            log_std.clamp_(min=float(np.log(training.exploration)))
    deviator = ModulePolicy(module, action_transform(config, env))
    last = 0
    for m in range(1, training.iterations + 1):
        episodes = draw_episodes(
            env, profiles, training.episodes, Stream.DEVIATOR_EPISODES, *keys, m
        )
        roles = random_roles(env, episodes, supertype, *keys, m)
        recorder = _Recorder(deviator, stream_rng(Stream.DEVIATOR_ACTIONS, *keys, m))
        rewards = [
            step[np.arange(len(roles)), roles]
            for step in play_steps(env, policy, episodes, recorder, roles)
        ]
        learner.set_learning_rate(training.learning_rate * (1.0 - (m - 1) / training.iterations))
        learner.set_stream(Stream.DEVIATOR_MINIBATCHES, *keys, m)
        update(learner, config, recorder.block(np.array(rewards)), m)
        measured = m * training.measurements // training.iterations
        if measured > last:
            last = measured
            yield m * training.episodes, get_weights(module)


def update(learner: LeanPPOLearner, config: CALSHEQConfig, block: RolloutBlock, step: int) -> None:
    """One PPO update, as a stage of the run makes it."""
    learner.update(
        episodes=[block],
        timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: step * block.env_steps()},
        num_epochs=config.num_epochs,
        minibatch_size=config.minibatch_size,
    )


def random_roles(
    env: ArrayEnv, episodes: Episodes, supertype: int | None, *keys: int
) -> npt.NDArray[np.intp]:
    """The deviator's index in each episode, (E,): of one supertype, or α ~ U[1, n]."""
    if supertype is not None:
        return episodes.roles[supertype]
    return stream_rng(Stream.DEVIATOR_ROLES, *keys).integers(
        len(env.agent_supertypes), size=len(episodes)
    )


class _Recorder:
    """The deviator as it is trained: samples with noise of its own, and keeps what it did."""

    def __init__(self, policy: ModulePolicy, rng: np.random.Generator) -> None:
        self.policy = policy
        self.rng = rng
        self._steps: list[tuple[npt.NDArray, npt.NDArray, npt.NDArray]] = []

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray:
        return self.policy.draw_noise(rng, shape)

    def act(self, observations: npt.NDArray, noise: npt.NDArray) -> npt.NDArray:
        own = self.policy.draw_noise(self.rng, (len(observations),))
        logits = self.policy.logits(observations)
        actions = self.policy.choose(logits, own)
        self._steps.append((np.array(observations, dtype=np.float32), logits, actions))
        return self.policy.transform(actions)

    def block(self, rewards: FloatArray) -> RolloutBlock:
        """The deviator's steps as a rollout of one agent; ``rewards`` (T, E)."""
        observations, logits, actions = (
            np.stack(column)[:, :, None] for column in zip(*self._steps, strict=True)
        )
        distribution = self.policy.module.get_exploration_action_dist_cls().from_logits(
            torch.from_numpy(logits)
        )
        logp = distribution.logp(torch.from_numpy(actions)).numpy()
        return RolloutBlock(
            observations=observations,
            actions=actions,
            action_dist_inputs=logits,
            action_logp=logp,
            rewards=rewards[:, :, None].astype(np.float32),
        )
