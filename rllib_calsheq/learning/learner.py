"""RLlib's PPO learner with what the two-timescale scheme needs and RLlib leaves out.

Both the merchants' shared policy and the calibrator's policy are trained by it. It is
RLlib's `PPOTorchLearner` except that

* the adaptive KL coefficients are part of its state (RLlib forgets them on a restore);
* its minibatches are shuffled from a named random stream, not from NumPy's global one;
* learning rates are set from outside, by stage (Assumption 2), and stay as they were set
  (RLlib would write its own schedule, driven by environment steps, over them).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from ray.rllib.core.learner.learner import Learner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from rllib_calsheq.core.streams import Stream
from rllib_calsheq.learning.ray_private.hooks import RayPPOLearner
from rllib_calsheq.learning.seeding import numpy_stream
from rllib_calsheq.learning.threads import limited_threads

KL_COEFFICIENTS = "kl_coefficients"


class NotFiniteError(RuntimeError):
    """A policy's weights are not finite, and nothing that it does means anything."""


class DeadLearnerError(RuntimeError):
    """A learner's process is gone, and the policy's weights with it."""


class TwoTimescalePPOLearner(RayPPOLearner):
    """PPO with KL coefficients in its state and learning rates set by stage."""

    #: Name of the random stream that the next update shuffles its minibatches with; without one
    #: RLlib shuffles from NumPy's global generator.
    _stream: tuple[Stream, *tuple[int, ...]] | None = None

    def build(self) -> None:
        """Builds modules and optimizers, and takes RLlib's own schedules off them."""
        super().build()
        self.drop_rate_schedules()

    def set_learning_rate(self, rate: float) -> None:
        """Sets the learning rate of every optimizer."""
        for optimizer in self.optimizers:
            self.set_rate(optimizer, rate)

    def set_stream(self, stream: Stream, *keys: int) -> None:
        """Names the random stream of the next update, so that a resumed run shuffles alike."""
        self._stream = (stream, *keys)

    @limited_threads()
    def update(self, *args: Any, **kwargs: Any) -> Any:
        """RLlib's update, with its minibatches shuffled from the named stream.

        Episodes without a step are left out; where all are, nothing is learned.

        Raises:
            NotFiniteError: If a weight is not finite afterwards.
        """
        data = kwargs.get("training_data")
        # Several learners must take the same steps, and know what stands for no episode.
        if data is not None and data.episodes is not None and self.config.num_learners < 2:
            data.episodes = [episode for episode in data.episodes if len(episode)]
            if not data.episodes:
                return self.metrics.reduce()
        with numpy_stream(*self._stream) if self._stream else nullcontext():
            results = super().update(*args, **kwargs)
        self.require_finite_weights()
        return results

    def require_finite_weights(self) -> None:
        """Checks the weights.

        Raises:
            NotFiniteError: If one is not finite.
        """
        for module_id, module in self.module.items():
            total = sum(parameter.detach().sum() for parameter in module.parameters())
            if not torch.isfinite(torch.as_tensor(total)):
                raise NotFiniteError(
                    f"the weights of policy {module_id!r} are not finite after an update: lower "
                    "its learning rate (lr_shared.initial for the shared policy, lr_cal.initial "
                    "for the calibrator's), or set grad_clip. The last checkpoint is from before"
                )

    def get_learning_rate(self) -> float:
        """The learning rate as the optimizer holds it."""
        (rate,) = {self.get_rate(optimizer) for optimizer in self.optimizers}
        return rate

    def get_kl_coefficients(self) -> dict[str, float]:
        """Current KL coefficient of every module."""
        return {mid: float(self.curr_kl_coeffs_per_module[mid]) for mid in list(self.module.keys())}

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's learner state plus the KL coefficients."""
        state = super().get_state(*args, **kwargs)
        state[KL_COEFFICIENTS] = self.get_kl_coefficients()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a state from `get_state`, older weights included.

        Learners and env runners ignore weights with a sequence number that is not above their
        own, so that going back to a checkpoint would silently do nothing: 0 forces the update
        here, and a number above all that were sent makes the env runners take it.
        """
        state = dict(state)
        coefficients = state.pop(KL_COEFFICIENTS, {})
        newest = max(self.weights_number, int(state.get(WEIGHTS_SEQ_NO, 0)))
        Learner.set_state(self, state | {WEIGHTS_SEQ_NO: 0})
        self.weights_number = newest + 1
        for mid, value in coefficients.items():
            with torch.no_grad():
                self.curr_kl_coeffs_per_module[mid].fill_(value)
