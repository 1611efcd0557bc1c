"""The lag gap: the fit that a calibration reports, against the fit at equilibrium.

While the supertypes move the shared policy follows them with a lag. Here it is trained on at fixed
supertypes, as a run with the ``fixed`` calibrator would from the checkpoint's weights, optimizer
and learning rate, and the outcomes of fresh single episodes are compared before and after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rllib_calsheq.algorithm import SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.certificates.search.deviators import (
    Weights,
    action_transform,
    build_learner,
    get_weights,
    update,
)
from rllib_calsheq.certificates.search.values import Episodes, Policy, draw_episodes, play
from rllib_calsheq.core.outcomes import OutcomeColumns, read_outcomes
from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool
from rllib_calsheq.learning.rollout import rollout, supertype_returns
from rllib_calsheq.learning.seeding import torch_stream
from rllib_calsheq.results.checkpoints import learner_state


def settle(
    config: CALSHEQConfig,
    env: ArrayEnv,
    checkpoint: Path,
    profiles: FloatArray,
    finished_stages: int,
    stages: int,
    *keys: int,
) -> Iterator[Weights]:
    """Trains the shared policy on at fixed supertypes; yields its weights after each stage.

    Args:
        config: The run's configuration.
        env: The environment.
        checkpoint: The checkpoint, whose learner's state is taken up.
        profiles: Supertype profile (d,), or a distribution as equally likely profiles (B, d).
        finished_stages: Stages that the run had finished; the learning rates go on from there.
        stages: Stages to train for, of ``num_particles`` episodes each.
        *keys: Of its random streams.
    """
    learner = build_learner(config, env, None, *keys)
    learner.set_state(learner_state(checkpoint, SHARED_POLICY))
    module = learner.module[SHARED_POLICY].unwrapped()
    rates, _ = config.learning_rates()
    for m in range(stages):
        episodes = draw_episodes(
            env, profiles, config.num_particles, Stream.SETTLING_EPISODES, *keys, m
        )
        with torch_stream(Stream.SETTLING_ACTIONS, *keys, m):
            block, *_ = rollout(
                module,
                env,
                episodes.profiles,
                [int(seed) for seed in episodes.seeds],
                transform=action_transform(config, env),
            )
        learner.set_learning_rate(rates.at(finished_stages + m))
        learner.set_stream(Stream.SETTLING_MINIBATCHES, *keys, m)
        update(learner, config, block, finished_stages + m)
        yield get_weights(module)


def sample_outcomes(env: ArrayEnv, policy: Policy, episodes: Episodes) -> FloatArray:
    """Outcome vectors (E, N + G) of single episodes, mean returns of supertypes last."""
    columns, found = OutcomeColumns.of(env), []
    for _, chunk in episodes.chunks():
        returns = play(env, policy, chunk)
        by_supertype = supertype_returns(
            returns, env.agent_supertypes, env.supertype_space.supertypes
        )
        found.append(columns.join(read_outcomes(env, len(chunk)), by_supertype))
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class LagGap:
    """The fit before and after settling, measured on the same fresh episodes.

    Attributes:
        before, after: Mean outcome vectors (N + G,).
        reward_before, reward_after: Mean of r_cal over single episodes; None without targets.
        gap: ``reward_before − reward_after``: what the fit owes to the lag.
        gap_stderr: Standard error of it, from paired differences.
    """

    before: FloatArray
    after: FloatArray
    reward_before: float | None
    reward_after: float | None
    gap: float | None
    gap_stderr: float | None


def lag_gap(before: FloatArray, after: FloatArray, targets: TargetSet) -> LagGap:
    """Compares outcome vectors (E, N + G) of single episodes with the same random numbers."""
    means = pool(before), pool(after)
    if not len(targets):
        return LagGap(*means, None, None, None, None)
    rewards = targets.reward(before), targets.reward(after)
    difference = rewards[0] - rewards[1]
    return LagGap(
        *means,
        float(rewards[0].mean()),
        float(rewards[1].mean()),
        float(difference.mean()),
        float(difference.std() / np.sqrt(len(difference))),
    )
