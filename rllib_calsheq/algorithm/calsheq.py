"""The CALSHEQ algorithm: PPO on the shared policy, and a calibration beside it.

Algorithm 1 of the paper, line by line; a stage m is one call of `CALSHEQ.train`:

====  ==================================================  =========================================
line  what happens                                         where
====  ==================================================  =========================================
1, 2  stage m, for each episode b = 1..B                   `CALSHEQ.train`; the B particles of
                                                           `core.stages.Calibration`
3     δΛ^b ~ π^Λ(·|Λ_{m-1}^b), Λ_m^b = Λ_{m-1}^b + δΛ^b    `callbacks.calibration.begin_stage`:
                                                           `Calibrator.ask`, then broadcast
4     one episode with Λ_m^b and the shared policy         `env_runners.ArrayEnvRunner.sample`
5     the shared policy learns, at rate β_m^shared         RLlib's `PPO.training_step`, with
                                                           `learning.lean_learner`
6     the calibrator learns, at rate β_m^cal               `callbacks.calibration.end_stage`:
                                                           `Calibrator.tell`
====  ==================================================  =========================================

This class adds what a callback cannot: checkpoint and restore of the whole calibration.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.utils.checkpoints import Checkpointable
from ray.tune.result import TIME_THIS_ITER_S

from rllib_calsheq.algorithm.actor_failures import RunnerFailures, require_learners
from rllib_calsheq.algorithm.config import CALSHEQConfig
from rllib_calsheq.algorithm.identity import calibrator_fields, identity_of, made_by
from rllib_calsheq.callbacks.calibration import begin_stage
from rllib_calsheq.core.comparing import differences, plain
from rllib_calsheq.core.manifest import require_same_run, require_whole, write_manifest
from rllib_calsheq.core.stages import Calibration
from rllib_calsheq.learning.ray_private.access import build_anew, is_wanted, stop_within
from rllib_calsheq.learning.threads import limited_threads

logger = logging.getLogger(__name__)

COMPONENT_CALIBRATION = "calibration"
#: Seconds that an env runner has to end by itself, at the end of a run.
STOP_S = 5.0


class CalibrationComponent(Checkpointable):
    """A `Calibration` as a component of RLlib's checkpoints."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def get_state(self, components: Any = None, **kwargs: Any) -> dict[str, Any]:
        """The whole calibration."""
        return self.calibration.state_dict()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the whole calibration."""
        self.calibration.load_state_dict(state)

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """None: the component is only ever restored into an algorithm that built it."""
        return (), {}


class CALSHEQ(PPO):
    """Calibrates an environment's supertypes while its agents learn (algorithm 1).

    Example:
        >>> from rllib_calsheq import CALSHEQ, CALSHEQConfig
        >>> from rllib_calsheq.envs import SubwayEnv
        >>> config = CALSHEQConfig().environment(SubwayEnv)
        >>> config = config.calibration(targets={"inside.subway_rate": 0.6}, num_particles=8)
        >>> algorithm = CALSHEQ(config=config)
        >>> algorithm.train()["calibration"]["stage"]
        1
        >>> algorithm.calibration.calibrated_profile().shape
        (2,)
        >>> algorithm.stop()
    """

    calibration: Calibration

    @classmethod
    def get_default_config(cls) -> CALSHEQConfig:
        """The default configuration."""
        return CALSHEQConfig()

    def setup(self, config: CALSHEQConfig) -> None:
        """Builds the calibration, then RLlib's workers; the callback starts stage 1."""
        self.calibration = config.build_calibration()
        self._component = CalibrationComponent(self.calibration)
        super().setup(config)
        self.failures = RunnerFailures(self.env_runner_group)

    @limited_threads()
    def train(self) -> dict[str, Any]:
        """One stage: RLlib's training iteration, then the callback with the calibrator.

        Raises:
            DeadLearnerError: If a learner's process is gone.
        """
        try:
            result: dict[str, Any] = super().train()
        except Exception as error:
            require_learners(self.learner_group, self.calibration.stage, error)
            raise
        return result

    def step(self) -> dict[str, Any]:
        """RLlib's iteration, timed by a clock that nobody sets; Tune would take the wall's."""
        start = time.monotonic()
        result: dict[str, Any] = super().step()
        return result | {TIME_THIS_ITER_S: time.monotonic() - start}

    def cleanup(self) -> None:
        """Ends all actors; RLlib would wait for an env runner without end."""
        if getattr(self, "env_runner_group", None) is not None:
            stop_within(self.env_runner_group, STOP_S)
        super().cleanup()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Becomes the run of Tune's next trial, as if started afresh: a process need not start."""
        build_anew(self, new_config)
        return True

    def __repr__(self) -> str:
        return "CALSHEQ"

    # --- checkpoints --------------------------------------------------------------------

    def get_checkpointable_components(self) -> list[tuple[str, Checkpointable]]:
        """RLlib's components and the calibration."""
        return [*super().get_checkpointable_components(), (COMPONENT_CALIBRATION, self._component)]

    def get_state(self, components: Any = None, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state and the calibration's."""
        state: dict[str, Any] = super().get_state(components, **kwargs)
        if is_wanted(self, COMPONENT_CALIBRATION, components, kwargs.get("not_components")):
            state[COMPONENT_CALIBRATION] = self._component.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores RLlib's state and the calibration's, and pushes the supertypes again."""
        super().set_state(state)
        if COMPONENT_CALIBRATION in state:
            self._component.set_state(state[COMPONENT_CALIBRATION])
            begin_stage(self)

    def save_to_path(
        self, path: Any = None, *, state: Any = None, filesystem: Any = None, **kwargs: Any
    ) -> str:
        """Saves all of the run to a folder and returns it; its manifest is written last.

        Args:
            path: The folder; a new temporary one when None. In a folder that is not on this
                machine (a URI, a `filesystem`) there is no manifest.
            state: A state to save instead of the present one; such a folder has no manifest.
            filesystem: PyArrow's file system of the folder.
            **kwargs: As RLlib takes them.
        """
        saved: str = super().save_to_path(path, state=state, filesystem=filesystem, **kwargs)
        if state is None and _is_local(path, filesystem):
            write_manifest(
                Path(saved),
                made_by=made_by(),
                stage=self.calibration.finished_stages,
                run=self._identity(),
                settings=calibrator_fields(self.config),
            )
        return saved

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Restores a checkpoint and pushes the supertypes again.

        Args:
            path: The checkpoint's folder.
            *args: As RLlib takes them.
            **kwargs: As RLlib takes them: a single `component`, a `filesystem`.

        Raises:
            NotWholeError: If a file of the checkpoint is missing or not what was written.
            ValueError: If it is a checkpoint of another run; the message says what differs. Neither
                is looked at in a folder that is not on this machine, or for a single component.
        """
        other: list[str] = []
        if kwargs.get("component") is None and _is_local(path, kwargs.get("filesystem")):
            other = self._require_own(Path(path))
        try:
            super().restore_from_path(path, *args, **kwargs)
        except Exception as error:
            if not other:
                raise
            raise ValueError(
                f"{path} cannot be gone on with: {type(error).__name__}: {error}. Fields of the "
                f"calibrator differ: {'; '.join(other)}"
            ) from error
        begin_stage(self)

    def _identity(self) -> dict[str, Any]:
        modules = {name: self.get_module(name) for name in self.config.policy_names}
        return identity_of(self.config, self.calibration, modules)

    def _require_own(self, folder: Path) -> list[str]:
        """Checks a checkpoint against this run; returns fields of the calibrator that differ."""
        manifest = require_whole(folder)
        require_same_run(folder, manifest, self._identity())
        versions = differences(manifest["made_by"], made_by())
        fields = differences(manifest["settings"], plain(calibrator_fields(self.config)))
        if versions or fields:
            logger.warning("%s: made with other %s", folder, "; ".join([*versions, *fields]))
        return fields


def _is_local(path: Any, filesystem: Any) -> bool:
    return filesystem is None and "://" not in str(path)


CALSHEQConfig.algorithm = CALSHEQ
