"""`CALSHEQConfig`: PPO for the shared policy, plus what the calibration needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium as gym
from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from rllib_calsheq.algorithm.env_runners import ArrayEnvRunner, EpisodeEnvRunner
from rllib_calsheq.algorithm.field_checks import (
    check_derived,
    check_kept,
    check_rllib_fields,
    checked_keys,
)
from rllib_calsheq.algorithm.networks import check_model_config, network_fields
from rllib_calsheq.algorithm.problem import (
    SHARED_POLICY,
    CalibrationProblem,
    read_problem,
    resolve_env,
)
from rllib_calsheq.algorithm.rllib_fields import FIELDS
from rllib_calsheq.algorithm.validation import (
    array_obstacles,
    check_array_path,
    check_episode_path,
    check_fields,
    check_gpus,
    check_memory,
    say_once,
)
from rllib_calsheq.calibrators import make_calibrator
from rllib_calsheq.core.configuration import from_mapping, merge
from rllib_calsheq.core.stages import Calibration
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.core.timescales import LearningRate, check_assumption_2
from rllib_calsheq.data.target_files import TargetFile, inline_targets
from rllib_calsheq.learning.connector import BlocksToBatch
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.learner import TwoTimescalePPOLearner
from rllib_calsheq.learning.threads import num_threads

#: Environment slots of a runner on the episode path, where episodes have one length.
MAX_EPISODE_SLOTS = 16


def map_to_shared_policy(agent_id: Any, episode: Any = None, **kwargs: Any) -> str:
    """RLlib's policy mapping: every agent uses the shared policy."""
    return SHARED_POLICY


#: Default schedules; a schedule that is given keeps the fields that it leaves out. Adam moves a
#: weight by about its rate in each gradient step, whatever the gradient: in a stage the calibrator
#: takes 5 steps and the shared policy some 75, so that the calibrator is the slower of the two.
LR_SHARED = {"initial": 1e-3, "exponent": 0.6, "offset": 200.0}
LR_CAL = {"initial": 3e-3, "exponent": 0.9, "offset": 200.0}
DEFAULT_CALIBRATOR = "ppo"


class CALSHEQConfig(PPOConfig):
    """Configuration of a calibration.

    What becomes of the fields of `PPOConfig` says `rllib_fields.FIELDS`; see docs/configuration.md.
    All names below are keys of a tuned example's ``config`` too.

    Attributes:
        targets: Path of a target file, or its content; see `rllib_calsheq.data.target_files`.
        calibrator: ``{name: ..., field: ...}``; see `rllib_calsheq.calibrators`.
        num_particles: B, episodes in a stage; each has its own supertype profile.
        lr_shared: Learning rate schedule of the shared policy: ``{initial, exponent, offset}``.
        lr_cal: Learning rate schedule of the calibrator.
        lr_ratio: If given, the calibrator's initial rate is this times the shared policy's.
        assumption_2: Whether schedules that break Assumption 2 are refused (``refuse``) or
            warned about (``warn``).
        profile_window: Stages over which the calibrated profile Λ̂ averages.
        sampling: ``arrays`` steps all episodes at once (the environment needs the array
            form); ``episodes`` is RLlib's own path; ``auto`` takes arrays where it can, and
            says what is in the way where it cannot.
    """

    # RLlib's own fields, whose types it does not state.
    env: Any
    callbacks_class: Any

    def __init__(self, algo_class: Any = None) -> None:
        if algo_class is None:
            from rllib_calsheq.algorithm.calsheq import CALSHEQ as algo_class  # noqa: N811
        super().__init__(algo_class=algo_class)
        self.targets: Any = None
        self.calibrator: Mapping[str, Any] = {"name": DEFAULT_CALIBRATOR}
        self.num_particles = 64
        self.lr_shared: Mapping[str, Any] = LR_SHARED
        self.lr_cal: Mapping[str, Any] = LR_CAL
        self.lr_ratio: float | None = None
        self.assumption_2: Literal["refuse", "warn"] = "refuse"
        self.profile_window = 50
        self.sampling: Literal["auto", "arrays", "episodes"] = "auto"

        # Defaults of the shared policy that differ from PPO's; see docs.
        self.seed = 0
        self.gamma = 0.95
        self.lambda_ = 0.9
        self.num_epochs = 4
        self.minibatch_size = 1024
        self.vf_clip_param = float("inf")
        self.entropy_coeff = 0.0
        self.num_env_runners = 0
        self._rl_module_spec = None
        self._model_config = {
            "fcnet_hiddens": [64, 64],
            "fcnet_activation": "tanh",
            "free_log_std": True,
        }
        self.batch_mode = "complete_episodes"
        self.multi_agent(policies={SHARED_POLICY}, policy_mapping_fn=map_to_shared_policy)
        self._problem: CalibrationProblem | None = None
        #: Values of the derived fields, as the last `validate` set them.
        self._derived: dict[str, Any] = {}

    # --- setters ----------------------------------------------------------------------

    def calibration(
        self,
        *,
        targets: Any = NotProvided,
        calibrator: Mapping[str, Any] = NotProvided,
        num_particles: int = NotProvided,
        lr_shared: Mapping[str, Any] = NotProvided,
        lr_cal: Mapping[str, Any] = NotProvided,
        lr_ratio: float | None = NotProvided,
        assumption_2: Literal["refuse", "warn"] = NotProvided,
        profile_window: int = NotProvided,
        sampling: Literal["auto", "arrays", "episodes"] = NotProvided,
    ) -> CALSHEQConfig:
        """Sets the calibration's fields; see the attributes of the class."""
        for name, value in locals().items():
            if name not in ("self", "__class__") and value is not NotProvided:
                setattr(self, name, value)
        return self

    def environment(self, env: Any = NotProvided, **kwargs: Any) -> CALSHEQConfig:
        """RLlib's environment settings; ``env`` is a class or a dotted path to one."""
        if isinstance(env, str):
            env = resolve_env(env)
        super().environment(env, **kwargs)
        return self

    def rl_module(self, *, model_config: Any = NotProvided, **kwargs: Any) -> CALSHEQConfig:
        """RLlib's network settings.

        Args:
            model_config: A mapping changes single fields of the network, RLlib's
                `DefaultModelConfig` states them all.
            **kwargs: RLlib's other arguments.
        """
        if model_config is not NotProvided:
            fields, kept = network_fields(model_config), dict(self._model_config)
            if fields.get("use_lstm"):
                # Our free_log_std is RLlib's head that takes no sequences, and RLlib wants to be
                # told its own default length of them.
                kept["free_log_std"] = False
                kept.setdefault("max_seq_len", DefaultModelConfig.max_seq_len)
            self._model_config = {**kept, **fields}
        super().rl_module(**kwargs)
        return self

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

    # --- derived ----------------------------------------------------------------------

    def target_file(self) -> TargetFile:
        """The targets and what is known about them.

        Raises:
            ValueError: If they are missing or cannot be read.
        """
        if self.targets is None:
            if self.calibrator_name == "fixed":
                return TargetFile(targets={})
            raise ValueError(
                "no targets given: set `targets` to a target file (make one with "
                "`calsheq targets`) or to a mapping of outcomes to values"
            )
        return TargetFile.load(self.targets)

    @property
    def calibrator_name(self) -> str:
        """Name of the calibrator."""
        return str(self.calibrator.get("name", DEFAULT_CALIBRATOR))

    @property
    def calibrator_fields(self) -> dict[str, Any]:
        """The calibrator's own fields."""
        return {key: value for key, value in self.calibrator.items() if key != "name"}

    def effective_env_config(self) -> dict[str, Any]:
        """The environment's configuration: the target file's, with the user's own merged in."""
        return merge(self.target_file().env_config, self.env_config)

    def problem(self) -> CalibrationProblem:
        """The calibration problem, read off one instance of the environment."""
        if self._problem is None:
            if self.env is None:
                raise ValueError("no env given: set `env`, e.g. to rllib_calsheq.envs.MarketEnv")
            self._problem = read_problem(self.env, self.env_config)
        return self._problem

    def target_set(self) -> TargetSet:
        """The targets, checked against the outcomes of the environment."""
        problem, found = self.problem(), self.target_file()
        if not found.targets and self.calibrator_name == "fixed":
            return TargetSet((), problem.columns.names)
        return TargetSet.from_mapping(found.targets, problem.columns.all)

    def learning_rates(self) -> tuple[LearningRate, LearningRate]:
        """Schedules (shared, cal), ``lr_ratio`` applied."""
        shared = _learning_rate("lr_shared", self.lr_shared, LR_SHARED)
        cal = _learning_rate("lr_cal", self.lr_cal, LR_CAL)
        if self.lr_ratio is not None:
            cal = LearningRate(shared.initial * self.lr_ratio, cal.exponent, cal.offset)
        return shared, cal

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
        problem = self.problem()
        shared, cal = self.learning_rates()
        targets = self.target_set()
        calibrator = make_calibrator(
            self.calibrator_name,
            start=problem.space.to_unit(problem.space.start),
            num_particles=self.num_particles,
            targets=targets,
            seed=int(self.seed or 0),
            **self.calibrator_fields,
        )
        return Calibration(
            space=problem.space,
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
            if self._rl_module_spec is None:
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
        check_memory(self, problem)
        self.target_set()
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
        self._derive(problem)
        super().validate()

    def check_kept(self, given: Mapping[str, Any]) -> None:
        """Checks that validation kept what was given.

        Args:
            given: Field values as they were passed to `update_from_dict`.

        Raises:
            ValueError: If a field was replaced by what CALSHEQ sets itself.
        """
        check_kept(self, given)

    def _derive(self, problem: CalibrationProblem) -> None:
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
        }
        if not self.in_evaluation:
            check_derived(self, CALSHEQConfig(), self._derived, derived)
        for name, value in derived.items():
            setattr(self, FIELDS[name].stored_as or name, value)
        self._derived = derived
        if not isinstance(problem.action_space, gym.spaces.Box):
            self._model_config = {**self._model_config, "free_log_std": False}
        from rllib_calsheq.callbacks import CalibrationCallback

        callbacks = self.callbacks_class
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        if CalibrationCallback not in callbacks:
            callbacks.append(CalibrationCallback)
        self.callbacks_class = callbacks


def _learning_rate(name: str, given: Any, default: Mapping[str, Any]) -> LearningRate:
    """The schedule that a mapping describes, with the default's fields where it has none."""
    fields = {**default, **given} if isinstance(given, Mapping) else given
    return from_mapping(LearningRate, fields, name)
