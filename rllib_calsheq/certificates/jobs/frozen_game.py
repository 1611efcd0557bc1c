"""Everything that the jobs of a certificate are computed with, loaded from one checkpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_calsheq.algorithm import SHARED_POLICY, CALSHEQConfig
from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.certificates.search.deviations import (
    ConstantPolicy,
    NamedDeviation,
    SuppliesDeviations,
    cheap_deviations,
)
from rllib_calsheq.certificates.search.deviators import (
    Weights,
    action_transform,
    build_learner,
    get_weights,
)
from rllib_calsheq.certificates.search.policies import ModulePolicy, check_action_space
from rllib_calsheq.certificates.search.values import (
    Comparison,
    Policy,
    draw_episodes,
    supertype_shares,
)
from rllib_calsheq.core.configuration import merge, require
from rllib_calsheq.core.protocol import ArrayEnv
from rllib_calsheq.core.streams import Stream
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.version import __version__
from rllib_calsheq.learning.flattening import flatten_observations
from rllib_calsheq.learning.one_by_one import as_arrays
from rllib_calsheq.learning.ray_private.access import stored
from rllib_calsheq.results.checkpoints import module_state
from rllib_calsheq.results.evaluation import FrozenRun

#: Stands for a supertype's name where a random agent deviates.
WHOLE = "whole"


class FrozenGame:
    """A checkpoint's shared policy and supertypes, frozen, and episodes to compare policies on.

    Args:
        checkpoint: Folder of the checkpoint.
        config: What the certificate is asked for.

    Raises:
        ValueError: If the run's episodes cannot be played in arrays, or ``config`` does not fit.
    """

    def __init__(self, checkpoint: Path, config: CertificateConfig) -> None:
        self.run = FrozenRun(checkpoint)
        self.config = config
        own = self.run.config
        self.env_class = own.env
        if own.policy_of is not None:
            raise ValueError(
                f"the run of {checkpoint} trains the policies {own.policy_names} (policy_of), but "
                "one agent's deviation is looked for from one policy that all share: train "
                "without policy_of to certify"
            )
        if own.model_config.get("use_lstm"):
            raise ValueError(
                f"the policy of {checkpoint} has a memory (model_config.use_lstm), but "
                "certificates play policies without one: train without use_lstm to certify"
            )
        _check_connectors(own)
        standard = as_arrays(self.env_class, own.env_config)
        self.env_config = merge(own.env_config, config.env_config)
        self.env = as_arrays(self.env_class, self.env_config)
        check_action_space(self.env.action_space)
        _check_same_game(standard, self.env, self.run.targets.outcome_names)
        self.shares = supertype_shares(self.env)
        self.profiles = self._profiles()
        self.policy = self._policy()

    # --- what is frozen ---------------------------------------------------------------

    def _profiles(self) -> FloatArray:
        """The profile (1, d), or the last particles (B, d), in natural units."""
        calibration, space = self.run.calibration, self.env.supertype_space
        if self.config.supertypes == "particles":
            found = calibration.particle_profiles()
        else:
            found = calibration.calibrated_profile()[None]
        found = np.array(found, dtype=np.float64)
        for name, value in self.config.parameters.items():
            require(name in space.names, "parameter", name, f"{list(space.names)}")
            found[:, space.names.index(name)] = value
        return space.validate(found)

    def _policy(self) -> Policy:
        action, space = self.config.action, self.env.action_space
        if action is None:
            return self.module_policy(self.shared_weights)
        values = np.asarray(action, dtype=np.float64)
        if isinstance(space, gym.spaces.Discrete):
            values = values.astype(np.int64)
        shape = space.shape or ()
        values = values.reshape(shape) if values.size == math.prod(shape) else values
        fits = values.shape == shape and space.contains(values.astype(space.dtype))
        require(fits, "the action of all agents", list(action), f"elements of {space}")
        return ConstantPolicy(values.astype(space.dtype))

    @cached_property
    def shared_weights(self) -> Weights:
        """The shared policy's weights, its value function's included."""
        return self.weights_at(self.run.path)

    def weights_at(self, checkpoint: Path) -> Weights:
        """The shared policy's weights in a checkpoint of the same run."""
        learner = build_learner(self.run.config, self.env, None, 0)
        module = learner.module[SHARED_POLICY]
        module.set_state(module_state(checkpoint, SHARED_POLICY))
        return get_weights(module.unwrapped())

    def module_policy(self, weights: Weights, greedy: bool = False) -> ModulePolicy:
        """A policy of the shared policy's form."""
        learner = build_learner(self.run.config, self.env, weights, 0)
        module = learner.module[SHARED_POLICY].unwrapped()
        return ModulePolicy(module, action_transform(self.run.config, self.env), greedy)

    # --- what it is compared with ------------------------------------------------------

    def comparison(self, stream: Stream, episodes: int) -> Comparison:
        """Fresh episodes for one use of them."""
        drawn = draw_episodes(self.env, self.profiles, episodes, stream, self.config.seed)
        return Comparison(self.env, self.policy, drawn, self.config.discount)

    @cached_property
    def validation(self) -> Comparison:
        """The episodes that deviations are selected on."""
        return self.comparison(Stream.VALIDATION, self.config.validation)

    @cached_property
    def fresh(self) -> Comparison:
        """The episodes that the selected deviations are measured on."""
        return self.comparison(Stream.FRESH, self.config.fresh)

    @cached_property
    def cheap(self) -> list[NamedDeviation]:
        """Deviations that need no training."""
        supplied = {}
        if isinstance(self.env_class, SuppliesDeviations):
            supplied = dict(self.env_class.deviations(self.env_config))
        mode = self.policy.mode() if isinstance(self.policy, ModulePolicy) else self.policy
        return cheap_deviations(
            self.env, mode, supplied, has_noise=isinstance(self.policy, ModulePolicy)
        )

    @property
    def targets(self) -> list[int | None]:
        """Supertypes that deviators are trained for, None for a random agent (Definition 1)."""
        present = [int(k) for k in np.flatnonzero(self.shares)]
        return [None, *present] if len(present) > 1 else [None]

    def target_name(self, target: int | None) -> str:
        """Name of a supertype, or of the whole."""
        return WHOLE if target is None else self.env.supertype_space.supertypes[target]

    # --- what it all depends on --------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Everything that the jobs depend on, as JSON: configuration, weights, supertypes."""
        weights = hashlib.sha256()
        for name, value in sorted(self.shared_weights.items()):
            weights.update(name.encode() + value.tobytes())
        return {
            "version": __version__,
            "environment": f"{self.env_class.__module__}.{self.env_class.__qualname__}",
            "env_config": _plain(self.env_config),
            "weights": weights.hexdigest(),
            "profiles": hashlib.sha256(self.profiles.tobytes()).hexdigest(),
            # Each seed has jobs of its own.
            "settings": _plain({**asdict(self.config), "seeds": None}),
        }


def _plain(value: Any) -> Any:
    """A value as JSON would hold it."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _check_connectors(config: CALSHEQConfig) -> None:
    """Raises a ValueError if connectors of the user's stand between environment and policy."""
    for name in ("env_to_module_connector", "module_to_env_connector"):
        if stored(config, name) not in (None, flatten_observations):
            raise ValueError(
                f"the run has a {name} of its own, which certificates do not run: let the "
                "environment observe and act as the policy is to see it"
            )


def _check_same_game(own: ArrayEnv, other: ArrayEnv, outcomes: Iterable[str]) -> None:
    """Raises a ValueError unless the shared policy and the targets fit the other environment."""
    for what, mine, given in (
        ("observation space", own.observation_space, other.observation_space),
        ("action space", own.action_space, other.action_space),
        ("parameters", own.supertype_space.names, other.supertype_space.names),
        ("outcomes", [o.name for o in own.outcomes], [o.name for o in other.outcomes]),
    ):
        if mine != given:
            raise ValueError(
                f"with this env_config the environment's {what} would be {given}, but the run's "
                f"are {mine}: the shared policy cannot be used there. Change fields that leave "
                "them as they are, e.g. the number of agents"
            )
