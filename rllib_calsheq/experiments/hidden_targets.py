"""Making targets from a hidden profile: train the shared policy there, record what emerges."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.algorithm.local_ray import built
from rllib_calsheq.core.outcomes import return_name
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.experiments.paper_settings import HIDDEN_EPISODES, HIDDEN_STAGES
from rllib_calsheq.results.evaluation import FrozenRun

#: Stages between two lines of progress.
PROGRESS_EVERY = 20


def make_hidden_targets(
    env: Any,
    env_config: Mapping[str, Any],
    outcomes: Sequence[str],
    at_hidden: FloatArray,
    at_start: FloatArray,
    profile: Mapping[str, float],
    source: Mapping[str, Any],
) -> TargetFile:
    """Targets that the environment meets at a hidden profile Λ*.

    Args:
        env: Environment class or its dotted path.
        env_config: Its configuration.
        outcomes: Names of the outcomes that become targets, of equal weight.
        at_hidden: `sample_trained` at Λ*: their mean gives the targets, and the mean of r_cal
            over the single episodes the ceiling (below 1 because one episode is noisy).
        at_start: `sample_trained` at Λ_0: gives the reward at the start.
        profile: Λ* by parameter name, natural units.
        source: How the targets were made, for people.
    """
    columns = CALSHEQConfig().environment(env, env_config=dict(env_config)).problem().columns
    names = columns.names
    pooled = pool(at_hidden)
    deviations = np.sqrt(pool((at_hidden - pooled) ** 2) / len(at_hidden))
    values = {name: _rounded(pooled[names.index(name)]) for name in outcomes}
    targets = TargetSet.from_mapping(values, columns.all)
    return TargetFile(
        targets=targets.to_mapping(),
        env_config=dict(env_config),
        ceiling=_rounded(targets.reward(at_hidden).mean()),
        reward_start=_rounded(targets.reward(at_start).mean()),
        profile={k: float(v) for k, v in profile.items()},
        standard_errors={name: _rounded(deviations[names.index(name)]) for name in outcomes},
        source={"kind": "hidden profile", **source},
    )


def sample_trained(
    env: Any,
    env_config: Mapping[str, Any],
    profile: Mapping[str, float] | None,
    *,
    stages: int = HIDDEN_STAGES,
    episodes: int = HIDDEN_EPISODES,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> FloatArray:
    """Outcome vectors (episodes, N) of a shared policy trained at a fixed profile.

    Args:
        env: Environment class or its dotted path.
        env_config: Its configuration.
        profile: The profile by parameter name, natural units; None for Λ_0.
        stages: Stages that the policy is trained for.
        episodes: Fresh episodes that are recorded.
        seed: Seed of the run.
        progress: Called with a line a few times while it runs.
    """
    config = CALSHEQConfig().environment(env, env_config={**env_config, "supertypes": profile})
    config.calibration(calibrator={"name": "fixed"}).debugging(seed=seed)
    with built(config) as algorithm:
        for stage in range(1, stages + 1):
            result = algorithm.train()
            if stage % PROGRESS_EVERY == 0 or stage == stages:
                rewards = {
                    return_name(supertype): round(numbers["mean"], 1)
                    for supertype, numbers in result["calibration"]["returns"].items()
                }
                progress(f"stage {stage}/{stages} {rewards}")
        with tempfile.TemporaryDirectory() as folder:
            algorithm.save_to_path(folder)
            run = FrozenRun(folder)
            return run.sample(run.calibration.space.start, episodes, seed)


def _rounded(value: float) -> float:
    """Five significant digits: more than the standard error bears."""
    return float(f"{value:.5g}")
