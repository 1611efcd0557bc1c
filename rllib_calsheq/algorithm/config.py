"""`CALSHEQConfig`: PPO for the shared policy, plus what the calibration needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.connectors.learner import LearnerConnectorPipeline

from rllib_calsheq.algorithm.env_runners import ArrayEnvRunner, EpisodeEnvRunner
from rllib_calsheq.algorithm.field_checks import (
    check_derived,
    check_kept,
    check_rllib_fields,
    checked_keys,
)
from rllib_calsheq.algorithm.networks import check_model_config
from rllib_calsheq.algorithm.policies import policies_of_agents, policy_fields
from rllib_calsheq.algorithm.problem import (
    SHARED_POLICY,
    CalibrationProblem,
    resolve_env,
)
from rllib_calsheq.algorithm.stated_config import StatedConfig
from rllib_calsheq.algorithm.validation import (
    array_obstacles,
    check_array_path,
    check_episode_path,
    check_fields,
    check_gpus,
    check_memory,
    check_prior,
    say_once,
)
from rllib_calsheq.calibrators import make_calibrator
from rllib_calsheq.callbacks.calibration import CalibrationCallback
from rllib_calsheq.core.stages import Calibration
from rllib_calsheq.core.timescales import check_assumption_2
from rllib_calsheq.data.target_files import inline_targets
from rllib_calsheq.learning.connector import BlocksToBatch
from rllib_calsheq.learning.flattening import flatten_observations
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.learner import TwoTimescalePPOLearner
from rllib_calsheq.learning.ray_private.access import store, stored
from rllib_calsheq.learning.threads import num_threads

#: Environment slots of a runner on the episode path, where episodes have one length.
MAX_EPISODE_SLOTS = 16


class CALSHEQConfig(StatedConfig):
    """Configuration of a calibration: its fields, their checks, and what is built of them.

    The fields are those of `StatedConfig`; see docs/configuration.md.

    Example:
        >>> from rllib_calsheq import CALSHEQConfig
        >>> from rllib_calsheq.envs import SubwayEnv
        >>> config = CALSHEQConfig().environment(SubwayEnv)
        >>> config = config.calibration(targets={"inside.subway_rate": 0.6}, num_particles=8)
        >>> config.validate()
        >>> config.problem().space.names
        ('suburbs.mean_distance', 'inside.mean_distance')
    """

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> CALSHEQConfig:
        """RLlib's update, which takes any key, with unknown keys and bad values refused.

        Raises:
            ValueError: If a key is no field of this configuration, or its value would have no
                effect or is not allowed.
        """
        given = dict(config_dict)
        model_config = given.pop("model_config", None)
        if model_config is not None:
            self.rl_module(model_config=model_config)
        super().update_from_dict(checked_keys(self, given))
        return self

    @property
    def uses_arrays(self) -> bool:
        """Whether episodes are sampled as arrays."""
        if self.sampling == "auto":
            return not array_obstacles(self, CALSHEQConfig())
        return self.sampling == "arrays"

    @property
    def total_train_batch_size(self) -> int:
        """1: one round of all env runners is a stage, however many of them answered.

        PPO samples again and again until it has this many steps; here a runner that died is
        made up for by masking its particles, not by sampling the others' twice.
        """
        return 1

    def build_calibration(self) -> Calibration:
        """The calibration of this configuration, at stage 0."""
        problem, parameters = self.problem(), self.parameter_map()
        shared, cal = self.learning_rates()
        targets = self.target_set()
        calibrator = make_calibrator(
            self.calibrator_name,
            start=parameters.free.to_unit(parameters.free.start),
            num_particles=self.num_particles,
            targets=targets,
            seed=int(self.seed or 0),
            prior=parameters.prior,
            **self.calibrator_fields,
        )
        return Calibration(
            parameters=parameters,
            columns=problem.columns,
            targets=targets,
            calibrator=calibrator,
            lr_shared=shared,
            lr_cal=cal,
            num_workers=self.num_env_runners,
            profile_window=self.profile_window,
        )

    def build_learner_connector(
        self, input_observation_space: Any, input_action_space: Any, device: Any = None
    ) -> Any:
        """RLlib's pipeline, or on the array path the one connector that stands for it."""
        if not self.uses_arrays:
            return super().build_learner_connector(
                input_observation_space, input_action_space, device
            )
        connector = BlocksToBatch(
            input_observation_space,
            input_action_space,
            module_id=SHARED_POLICY,
            gamma=self.gamma,
            lambda_=self.lambda_,
            device=device,
            one_of_several=bool(self.num_learners and self.num_learners > 1),
        )
        return LearnerConnectorPipeline(
            connectors=[connector],
            input_observation_space=input_observation_space,
            input_action_space=input_action_space,
        )

    # --- validation -------------------------------------------------------------------

    def validate(self) -> None:
        """Checks the configuration and sets what follows from it, before any actor starts.

        Raises:
            ValueError: If something cannot work; the message says what to do.
        """
        # RLlib's evaluation configuration is a copy of this one that it changes itself.
        if not self.in_evaluation:
            check_rllib_fields(self, CALSHEQConfig())
            if stored(self, "rl_module_spec") is None:
                check_model_config(self.model_config)
            check_gpus(self)
        check_fields(self)
        num_threads()
        check_assumption_2(*self.learning_rates(), on_break=self.assumption_2)
        self.env = resolve_env(self.env) if self.env is not None else None
        if self.targets is not None:
            # A checkpoint holds this configuration: it owns its targets, wherever the file goes.
            self.targets = inline_targets(self.targets)
        self.env_config = self.effective_env_config()
        self._problem = None
        problem = self.problem()
        policies = policies_of_agents(self, problem)
        self._flatten(problem)
        check_memory(self, problem)
        self.target_set()
        check_prior(self, self.parameter_map())
        obstacles = array_obstacles(self, CALSHEQConfig())
        if self.uses_arrays:
            check_array_path(self, obstacles)
        else:
            check_episode_path(self)
        if not self.uses_arrays and problem.has_array_form and self.sampling == "auto":
            say_once(
                f"sampling: RLlib's own path, several times slower, since {obstacles[0]}; "
                "`sampling: episodes` says that this is meant"
            )
        self._derive(problem, policies)
        super().validate()

    def check_kept(self, given: Mapping[str, Any]) -> None:
        """Checks that validation kept what was given.

        Args:
            given: Field values as they were passed to `update_from_dict`.

        Raises:
            ValueError: If a field was replaced by what CALSHEQ sets itself.
        """
        check_kept(self, given)

    def _flatten(self, problem: CalibrationProblem) -> None:
        """Has observations that are no Box flattened, unless the user has seen to them."""
        own = stored(self, "env_to_module_connector"), stored(self, "rl_module_spec")
        if own[0] in (None, flatten_observations):
            needed = not problem.sees_vectors and own[1] is None
            store(self, "env_to_module_connector", flatten_observations if needed else None)

    def _derive(self, problem: CalibrationProblem, policies: Mapping[Any, str]) -> None:
        """Sets RLlib's own fields to what this configuration means."""
        arrays = self.uses_arrays
        per_runner = -(-self.num_particles // max(self.num_env_runners, 1))
        # The array runner holds one plain environment, for its spaces. Episodes of different
        # length cannot share a runner's slots: the short ones would be sampled more often.
        fixed_length = problem.episode_length is not None
        slots = min(per_runner, MAX_EPISODE_SLOTS) if fixed_length else 1
        # The batch size is only compared with the minibatch size: agent steps of a stage.
        steps = (problem.episode_length or 1) * problem.num_agents * self.num_particles
        derived = {
            "env_runner_cls": ArrayEnvRunner if arrays else EpisodeEnvRunner,
            "learner_class": LeanPPOLearner if arrays else TwoTimescalePPOLearner,
            "add_default_connectors_to_learner_pipeline": not arrays,
            "num_envs_per_env_runner": 1 if arrays else slots,
            "lr": self.learning_rates()[0].initial,
            "train_batch_size_per_learner": max(steps, self.minibatch_size or 1),
            **policy_fields(self, policies),
        }
        if not self.in_evaluation:
            check_derived(self, CALSHEQConfig(), self._derived, derived)
        for name, value in derived.items():
            store(self, name, value)
        self._derived = derived
        if not problem.acts_in_vectors:
            self.rl_module(model_config={"free_log_std": False})
        callbacks = self.callbacks_class
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        if CalibrationCallback not in callbacks:
            callbacks.append(CalibrationCallback)
        self.callbacks_class = callbacks
