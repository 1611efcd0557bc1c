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

from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.utils.checkpoints import Checkpointable

from rllib_calsheq.algorithm.config import CALSHEQConfig
from rllib_calsheq.callbacks.calibration import begin_stage
from rllib_calsheq.core.stages import Calibration
from rllib_calsheq.learning.ray_private.access import is_wanted
from rllib_calsheq.learning.threads import limited_threads

COMPONENT_CALIBRATION = "calibration"


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
    """Calibrates an environment's supertypes while its agents learn (algorithm 1)."""

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

    @limited_threads()
    def train(self) -> dict[str, Any]:
        """One stage: RLlib's training iteration, then the callback with the calibrator."""
        result: dict[str, Any] = super().train()
        return result

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

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Restores a checkpoint and pushes the supertypes again."""
        super().restore_from_path(path, *args, **kwargs)
        begin_stage(self)


CALSHEQConfig.algorithm = CALSHEQ
