"""What a user states of a calibration, and what can be read off it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from rllib_calsheq.algorithm.networks import network_fields
from rllib_calsheq.algorithm.problem import (
    SHARED_POLICY,
    CalibrationProblem,
    read_problem,
    resolve_env,
)
from rllib_calsheq.calibrators import DEFAULT_CALIBRATOR, find_entry
from rllib_calsheq.core.configuration import from_mapping, is_number, merge
from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.core.parameters import KnownParameters
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.core.timescales import LearningRate
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.learning.ray_private.access import stored


def map_to_shared_policy(agent_id: Any, episode: Any = None, **kwargs: Any) -> str:
    """RLlib's policy mapping: every agent uses the shared policy."""
    return SHARED_POLICY


#: Default schedules; a schedule that is given keeps the fields that it leaves out. Adam moves a
#: weight by about its rate in each gradient step, whatever the gradient: in a stage the calibrator
#: takes 5 steps and the shared policy some 75, so that the calibrator is the slower of the two.
LR_SHARED = {"initial": 1e-3, "exponent": 0.6, "offset": 200.0}
LR_CAL = {"initial": 3e-3, "exponent": 0.9, "offset": 200.0}


class StatedConfig(PPOConfig):
    """The fields of a `CALSHEQConfig`, their defaults and setters.

    What becomes of the fields of `PPOConfig` says `rllib_fields.FIELDS`; see docs/configuration.md.
    All names below are keys of a tuned example's ``config`` too.

    Attributes:
        targets: Path of a target file, or its content; see `rllib_calsheq.data.target_files`.
        calibrator: ``{name: ..., field: ...}``, by its name or the dotted path of its class; see
            `rllib_calsheq.calibrators`.
        parameters: What is known about the parameters: ``{fixed, bounds, ties, prior}``; see
            `rllib_calsheq.core.parameters`.
        policy_of: The policy that the agents of each supertype share, ``{supertype: policy}``,
            where there are several; None where all agents share one.
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
        on_bad_episode: What becomes of an episode with a reward, observation or outcome that is
            not finite: ``raise`` stops the run, ``drop`` leaves it out and counts it.
    """

    #: The class that it configures, which says so itself: it knows this module and not the reverse.
    algorithm: ClassVar[type | None] = None

    # RLlib's own fields, whose types it does not state.
    env: Any
    callbacks_class: Any

    def __init__(self, algo_class: Any = None) -> None:
        super().__init__(algo_class=algo_class or self.algorithm)
        self.targets: Any = None
        self.calibrator: Mapping[str, Any] = {"name": DEFAULT_CALIBRATOR}
        self.parameters: Mapping[str, Any] | None = None
        self.policy_of: Mapping[str, str] | None = None
        self.num_particles = 64
        self.lr_shared: Mapping[str, Any] = LR_SHARED
        self.lr_cal: Mapping[str, Any] = LR_CAL
        self.lr_ratio: float | None = None
        self.assumption_2: Literal["refuse", "warn"] = "refuse"
        self.profile_window = 50
        self.sampling: Literal["auto", "arrays", "episodes"] = "auto"
        self.on_bad_episode: Literal["raise", "drop"] = "raise"

        # Defaults of the shared policy that differ from PPO's; see docs.
        self.seed = 0
        self.gamma = 0.95
        self.lambda_ = 0.9
        self.num_epochs = 4
        self.minibatch_size = 1024
        self.vf_clip_param = float("inf")
        self.entropy_coeff = 0.0
        self.num_env_runners = 0
        network = {"fcnet_hiddens": [64, 64], "fcnet_activation": "tanh", "free_log_std": True}
        super().rl_module(model_config=network)
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
        parameters: Mapping[str, Any] | None = NotProvided,
        policy_of: Mapping[str, str] | None = NotProvided,
        num_particles: int = NotProvided,
        lr_shared: Mapping[str, Any] = NotProvided,
        lr_cal: Mapping[str, Any] = NotProvided,
        lr_ratio: float | None = NotProvided,
        assumption_2: Literal["refuse", "warn"] = NotProvided,
        profile_window: int = NotProvided,
        sampling: Literal["auto", "arrays", "episodes"] = NotProvided,
        on_bad_episode: Literal["raise", "drop"] = NotProvided,
    ) -> Self:
        """Sets the calibration's fields; see the attributes of the class."""
        for name, value in locals().items():
            if name not in ("self", "__class__") and value is not NotProvided:
                setattr(self, name, value)
        return self

    def environment(self, env: Any = NotProvided, **kwargs: Any) -> Self:
        """RLlib's environment settings; ``env`` is a class or a dotted path to one."""
        if isinstance(env, str):
            env = resolve_env(env)
        super().environment(env, **kwargs)
        return self

    def rl_module(self, *, model_config: Any = NotProvided, **kwargs: Any) -> Self:
        """RLlib's network settings.

        Args:
            model_config: A mapping changes single fields of the network, RLlib's
                `DefaultModelConfig` states them all.
            **kwargs: RLlib's other arguments.
        """
        if model_config is not NotProvided:
            fields, kept = network_fields(model_config), dict(stored(self, "model_config"))
            if fields.get("use_lstm"):
                # Our free_log_std is RLlib's head that takes no sequences, and RLlib wants to be
                # told its own default length of them.
                kept["free_log_std"] = False
                kept.setdefault("max_seq_len", DefaultModelConfig.max_seq_len)
            kwargs["model_config"] = {**kept, **fields}
        super().rl_module(**kwargs)
        return self

    # --- derived ----------------------------------------------------------------------

    def target_file(self) -> TargetFile:
        """The targets and what is known about them.

        Raises:
            ValueError: If they are missing or cannot be read.
        """
        if self.targets is None:
            if not find_entry(self.calibrator_name).needs_targets:
                return TargetFile(targets={})
            raise ValueError(
                "no targets given: set `targets` to a target file (make one with "
                "`calsheq targets`) or to a mapping of outcomes to values"
            )
        return TargetFile.load(self.targets)

    @property
    def policy_names(self) -> list[str]:
        """Names of the policies that learn."""
        return [SHARED_POLICY] if self.policy_of is None else sorted(set(self.policy_of.values()))

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
        if not found.targets and not find_entry(self.calibrator_name).needs_targets:
            return TargetSet((), problem.columns.names)
        return TargetSet.from_mapping(found.targets, problem.columns.all)

    def parameter_map(self) -> ParameterMap:
        """Which parameters the calibrator moves, of what is known about them.

        Raises:
            ValueError: If that is not allowed, or contradicts itself or the environment.
        """
        known = from_mapping(KnownParameters, self.parameters, "parameters")
        return known.map_of(self.problem().space, self._stated_start())

    def _stated_start(self) -> list[str]:
        """The parameters whose start is the user's, not the environment's or the target file's."""
        stated = self.env_config.get("supertypes")
        if not isinstance(stated, Mapping):
            return []
        suggested = self.target_file().env_config.get("supertypes") or {}
        return [name for name, start in stated.items() if suggested.get(name) != start]

    def learning_rates(self) -> tuple[LearningRate, LearningRate]:
        """Schedules (shared, cal), ``lr_ratio`` applied."""
        shared = _learning_rate("lr_shared", self.lr_shared, LR_SHARED)
        cal = _learning_rate("lr_cal", self.lr_cal, LR_CAL)
        if self.lr_ratio is not None:
            cal = LearningRate(shared.initial * self.lr_ratio, cal.exponent, cal.offset)
        return shared, cal


def _learning_rate(name: str, given: Any, default: Mapping[str, Any]) -> LearningRate:
    """The schedule that a mapping describes, with the default's fields where it has none.

    Raises:
        ValueError: If it is no mapping, or has a field that is not allowed.
    """
    if not isinstance(given, (Mapping, LearningRate)):
        rate = given if is_number(given) else default["initial"]
        raise ValueError(
            f"{name} must be a mapping of its fields, but {given!r} was given: write {name}: "
            f"{{initial: {rate}}} for a rate that begins there and falls by stage, with an "
            f"exponent of {default['exponent']:g} and an offset of {default['offset']:g} stages "
            "unless you state them, too"
        )
    fields = {**default, **given} if isinstance(given, Mapping) else given
    return from_mapping(LearningRate, fields, name)
