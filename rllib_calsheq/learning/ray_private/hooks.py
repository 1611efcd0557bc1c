"""RLlib's learner and env runner, whose private hooks are methods with names of ours."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

#: What RLlib registers every runner's environment as.
RAY_ENV_NAME = "rllib-multi-agent-env-v0"
#: What its answer to every exception of an environment that it tries out has in it.
LECTURE = "gymnasium-style API"


class RayPPOLearner(PPOTorchLearner):
    """RLlib's PPO learner, with what it keeps to itself."""

    curr_kl_coeffs_per_module: Any
    entropy_coeff_schedulers_per_module: Any
    metrics: Any
    config: Any

    def drop_rate_schedules(self) -> None:
        """Learning rates stay as they are set."""
        self._optimizer_lr_schedules.clear()

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimizers."""
        return list(self._named_optimizers.values())

    def set_rate(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """Sets the learning rate of an optimizer."""
        self._set_optimizer_lr(optimizer, rate)

    def get_rate(self, optimizer: torch.optim.Optimizer) -> float:
        """The learning rate that an optimizer holds."""
        return float(self._get_optimizer_lr(optimizer))

    @property
    def weights_number(self) -> int:
        """Sequence number of the weights; older ones are not taken from a state."""
        return int(self._weights_seq_no)

    @weights_number.setter
    def weights_number(self, number: int) -> None:
        self._weights_seq_no = number

    @property
    def trained_parameters(self) -> dict[Any, torch.nn.Parameter]:
        """The parameters that are trained, by RLlib's name of each."""
        found: dict[Any, torch.nn.Parameter] = self._params
        return found

    def adapt_kl_coefficient(self, module_id: str, divergence: float) -> None:
        """RLlib's rule: the coefficient grows after an update of a large divergence."""
        config = self.config.get_config_for_module(module_id)
        self._update_module_kl_coeff(module_id=module_id, config=config, kl_loss=divergence)

    def make_batch(self, training_data: Any) -> Any:
        """The train batch that the learner connector makes of episodes."""
        return self._make_batch_if_necessary(training_data=training_data)


class OwnUpdateLoop(RayPPOLearner):
    """A PPO learner whose minibatches and gradient steps are its subclass's."""

    @abstractmethod
    def minibatches(
        self, training_data: Any, epochs: int, size: int | None, total: int
    ) -> Iterator[Any]:
        """Minibatches of an update, each with ``policy_batches``; ``total`` of them if not 0."""

    @abstractmethod
    def gradient_step(self, policy_batches: dict[str, Any]) -> tuple[Any, Any, Any]:
        """One step; the forward pass's columns, the losses and metrics, each by module."""

    @abstractmethod
    def end_minibatch(self, minibatch: Any) -> None:
        """Called after each step."""

    @abstractmethod
    def divergence_of_all(self, divergence: float) -> float:
        """Mean KL divergence of all learners, from this one's."""

    def _create_iterator_if_necessary(
        self,
        *,
        training_data: Any,
        num_total_minibatches: int = 0,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        return self.minibatches(training_data, num_epochs, minibatch_size, num_total_minibatches)

    def _update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        return self.gradient_step(batch)

    def _update_module_kl_coeff(self, *, module_id: str, config: Any, kl_loss: float) -> None:
        kl_loss = self.divergence_of_all(kl_loss)
        super()._update_module_kl_coeff(module_id=module_id, config=config, kl_loss=kl_loss)

    def _set_slicing_by_batch_id(self, batch: Any, *, value: bool) -> Any:
        return batch

    def _log_metrics(self, batch: Any) -> None:
        """Nothing: RLlib's Prometheus counters see whole updates through the results."""

    def _log_steps_trained_metrics(self, batch: Any) -> None:
        self.end_minibatch(batch)


class RayEnvRunner(MultiAgentEnvRunner):
    """RLlib's env runner, with what it keeps to itself."""

    module: MultiRLModule | None

    def make_env(self) -> None:
        """Makes the environments as RLlib does, also in a process that has a runner already."""
        # Gymnasium warns of a name that is registered twice; RLlib needs it for this call alone.
        gym.registry.pop(RAY_ENV_NAME, None)
        try:
            super().make_env()
        except ValueError as error:
            # RLlib's own check tells how to upgrade Gymnasium, whatever the environment raised.
            if LECTURE in str(error) and isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
            raise

    @property
    def weights_number(self) -> int:
        """Sequence number of the weights."""
        return int(self._weights_seq_no)

    @property
    def module_device(self) -> Any:
        """Where the module lives."""
        return self._device

    def call_callbacks(self, which: str, **kwargs: Any) -> None:
        """Calls the user's callbacks of a name, classes and functions alike."""
        make_callback(
            which,
            callbacks_objects=self._callbacks,
            callbacks_functions=getattr(self.config, f"callbacks_{which}"),
            kwargs={"env_runner": self, "metrics_logger": self.metrics, **kwargs},
        )

    def sample_episodes(self, number: int, explore: bool) -> list[Any]:
        """What RLlib's ``sample()`` comes down to, without its ``on_sample_end``."""
        return list(self._sample(num_episodes=number, explore=explore))

    def reset_slots(self, seed: Any, options: Any) -> Any:
        """Resets the environments of all slots, with a seed for each; for subclasses."""
        return super()._try_env_reset(seed=seed, options=options)

    def episode_callback(self, which: str, slot: int, episodes: list[Any]) -> None:
        """Calls the user's callbacks about a slot's episode; for subclasses."""
        super()._make_on_episode_callback(which, slot, episodes)

    def _try_env_reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self.reset_slots(seed, options)

    def _make_on_episode_callback(self, which: str, idx: int, episodes: list[Any]) -> None:
        self.episode_callback(which, idx, episodes)
