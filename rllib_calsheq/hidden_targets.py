"""Making targets from a hidden profile: train the shared policy there, record what emerges."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.evaluation import EVALUATION_SEED_OFFSET, FrozenRun
from rllib_calsheq.supertypes import FloatArray
from rllib_calsheq.target_files import TargetFile
from rllib_calsheq.targets import TargetSet, pool

DEFAULT_STAGES = 200
DEFAULT_EPISODES = 1024


def make_hidden_targets(
    env: Any,
    env_config: Mapping[str, Any],
    profile: Mapping[str, float],
    outcomes: Sequence[str],
    *,
    stages: int = DEFAULT_STAGES,
    episodes: int = DEFAULT_EPISODES,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> TargetFile:
    """Targets that the environment meets at a hidden profile Λ*.

    Two shared policies are trained, one at Λ* and one at Λ_0, both with the profile fixed.
    The first gives the targets (mean outcomes of fresh episodes) and the ceiling (mean of
    r_cal over those single episodes, below 1 because one episode is noisy); the second gives
    the reward at the start.

    Args:
        env: Environment class or its dotted path.
        env_config: Its configuration.
        profile: Λ* by parameter name, natural units.
        outcomes: Names of the outcomes that become targets, of equal weight.
        stages: Stages that each policy is trained for.
        episodes: Fresh episodes that are recorded.
        seed: Seed of both runs.
        progress: Called with a line a few times while it runs.
    """
    at_hidden, names = _train_and_sample(
        env, env_config, profile, stages, episodes, seed, lambda s: progress(f"at Λ*: {s}")
    )
    pooled = pool(at_hidden)
    values = {name: float(pooled[names.index(name)]) for name in outcomes}
    at_start, _ = _train_and_sample(
        env, env_config, None, stages, episodes, seed, lambda s: progress(f"at Λ_0: {s}")
    )
    config = CALSHEQConfig().environment(env, env_config=dict(env_config))
    targets = TargetSet.from_mapping(values, config.problem().outcomes)
    deviations = np.sqrt(pool((at_hidden - pooled) ** 2) / episodes)
    return TargetFile(
        targets=targets.to_mapping(),
        env_config=dict(env_config),
        ceiling=float(targets.reward(at_hidden).mean()),
        reward_start=float(targets.reward(at_start).mean()),
        profile={k: float(v) for k, v in profile.items()},
        standard_errors={name: float(deviations[names.index(name)]) for name in outcomes},
        source={"kind": "hidden profile", "stages": stages, "episodes": episodes, "seed": seed},
    )


def _train_and_sample(
    env: Any,
    env_config: Mapping[str, Any],
    profile: Mapping[str, float] | None,
    stages: int,
    episodes: int,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[FloatArray, list[str]]:
    """Outcome vectors (episodes, N) of a policy trained at a fixed profile, and their names."""
    config = CALSHEQConfig().environment(env, env_config={**env_config, "supertypes": profile})
    config.calibration(calibrator={"name": "fixed"}).debugging(seed=seed)
    algorithm = config.build_algo()
    try:
        for stage in range(1, stages + 1):
            result = algorithm.train()
            if stage % 20 == 0 or stage == stages:
                rewards = {
                    name: round(numbers["mean"], 1)
                    for name, numbers in result["calibration"]["outcomes"].items()
                    if name.endswith(".reward")
                }
                progress(f"stage {stage}/{stages} {rewards}")
        with tempfile.TemporaryDirectory() as folder:
            algorithm.save_to_path(folder)
            run = FrozenRun(folder)
            found = run.sample(run.calibration.space.start, episodes, seed + EVALUATION_SEED_OFFSET)
    finally:
        algorithm.stop()
    return found, list(run.targets.outcome_names)
