"""The calibrator's policy: a Gaussian of increments, and RLlib's PPO learner that trains it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.calibrators.ppo.increment_learner import IncrementLearner
from rllib_calsheq.calibrators.ppo.mean_network import MeanNetwork
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.ppo_gradient import LOG_SQRT_2_PI
from rllib_calsheq.learning.ray_private.access import free_log_std, log_std_of, update_unreduced

#: The adaptive KL coefficient halves for as long as updates stay small, and would need as
#: many stages to come back once they do not: it is kept above this.
KL_COEFF_MIN = 0.05
#: What RLlib's learner reports of an update, and the name it is logged under here.
LOGGED = {
    "mean_kl_loss": "kl",
    "entropy": "entropy",
    "policy_loss": "policy_loss",
    "vf_loss": "value_loss",
    "total_loss": "loss",
}
#: Times that a step which went too far is halved, at most.
MAX_HALVINGS = 20


class IncrementPolicy:
    """Independent Gaussians of d actions with free standard deviations, trained by PPO.

    Args:
        dim: d.
        observed: p, length of an observation.
        config: The calibrator's fields.
        seed: Seed of the first weights.
    """

    def __init__(self, dim: int, observed: int, config: PPOCalibratorConfig, seed: int) -> None:
        self._dim = dim
        self._config = config
        self._observed = observed
        self._seed = seed
        #: The state that the learner is to begin with; None for its first one.
        self._restored: dict[str, Any] | None = None

    @cached_property
    def _learner(self) -> LeanPPOLearner:
        """RLlib's learner, built when it is first needed.

        Checking a configuration and evaluating a run make a calibrator that never learns, and
        Torch's optimizers load modules for more than a second.
        """
        learner = self._build_learner(self._observed, self._seed)
        if self._restored is not None:
            learner.set_state(self._restored)
            self._restored = None
        return learner

    def set_learning_rate(self, rate: float) -> None:
        """Sets the optimizer's rate."""
        self._learner.set_learning_rate(rate)

    def _build_learner(self, observed: int, seed: int) -> LeanPPOLearner:
        """RLlib's PPO learner of one-step episodes, its weights drawn from the seed alone."""
        cfg = self._config
        # Imagined increments come in many from each state.
        learner_class = LeanPPOLearner if cfg.critic == "none" else IncrementLearner
        ppo = (
            PPOConfig()
            .learners(num_learners=0, num_gpus_per_learner=0, learner_class=learner_class)
            .training(
                gamma=0.0,
                lr=cfg.learning_rate,
                num_epochs=cfg.num_epochs,
                # With imagined increments the baseline is their mean: no value net to train.
                use_critic=cfg.critic == "none",
                use_kl_loss=True,
                kl_coeff=cfg.kl_coeff,
                kl_target=cfg.kl_target_of(self._dim),
                clip_param=cfg.clip_param,
                entropy_coeff=cfg.entropy_coeff,
                vf_loss_coeff=0.5,
                vf_clip_param=np.inf,
            )
            .rl_module(
                model_config=DefaultModelConfig(
                    fcnet_hiddens=list(cfg.hidden_sizes),
                    fcnet_activation="tanh",
                    free_log_std=True,
                    # Where no value is learned, this saves the value net's own layers.
                    vf_share_layers=cfg.critic != "none",
                )
            )
        )
        box = gym.spaces.Box(-1.0, 1.0, (self._dim,), np.float32)
        seen = gym.spaces.Box(-1.0, 1.0, (observed,), np.float32)
        with torch.random.fork_rng(devices=[]):
            # The CPU generator only: torch.manual_seed would reseed accelerators, too.
            torch.default_generator.manual_seed(seed)
            learner = ppo.build_learner(spaces={DEFAULT_MODULE_ID: (seen, box)})
        module = learner.module[DEFAULT_MODULE_ID]
        with torch.no_grad():
            free_log_std(module).fill_(float(np.log(cfg.initial_std)))
            if cfg.classical:
                # Untrained, it adds nothing but noise to the classical step.
                for parameter in module.pi.net.parameters():
                    parameter.zero_()
        return learner

    @property
    def std(self) -> float:
        """Standard deviation of what the policy adds to an action, as a mean over parameters."""
        return float(free_log_std(self._module).detach().exp().mean())

    @property
    def _module(self) -> Any:
        return self._learner.module[DEFAULT_MODULE_ID]

    @cached_property
    def _parameters(self) -> list[torch.nn.Parameter]:
        return list(self._module.parameters())

    @cached_property
    def _network(self) -> MeanNetwork:
        return MeanNetwork.of(self._module.unwrapped())

    def sample(
        self, observations: npt.NDArray[np.float32], noise: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Actions of observations (M, p) with standard normal noise (M, d), or A each, (M, A, d).

        Returns:
            Columns of RLlib's batch: observations, actions, their log-probabilities, inputs of the
            distribution.
        """
        inputs = self._inputs(observations)
        mean, log_std = np.split(inputs, 2, axis=-1)
        if noise.ndim > mean.ndim:
            mean, log_std = mean[:, None], log_std[:, None]
        constant = (log_std + np.float32(LOG_SQRT_2_PI)).sum(axis=-1)
        return {
            Columns.OBS: observations,
            Columns.ACTIONS: mean + np.exp(log_std) * noise,
            Columns.ACTION_LOGP: np.float32(-0.5) * np.square(noise).sum(axis=-1) - constant,
            Columns.ACTION_DIST_INPUTS: inputs,
        }

    def _inputs(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Means and logarithms of the standard deviations of the actions, (M, 2 d)."""
        mean = self._network.means(observations)
        log_std, limit = log_std_of(self._module)
        spread = np.clip(log_std.detach().numpy(), -limit, limit)
        return np.concatenate([mean, np.broadcast_to(spread, mean.shape)], axis=1)

    def values(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Value baseline V(Λ), shape (M,)."""
        with torch.no_grad():
            values = self._module.compute_values({Columns.OBS: torch.from_numpy(observations)})
        return values.numpy()

    def update(self, batch: dict[str, npt.NDArray[np.float32]], stage: int) -> dict[str, float]:
        """Gives a stage's batch to RLlib's learner; returns the numbers to log."""
        before = [parameter.detach().clone() for parameter in self._parameters]
        learner, epochs = self._learner, self._config.num_epochs
        if isinstance(learner, IncrementLearner):
            logged = learner.descend(batch, epochs)
        else:
            logged = _plain_update(learner, batch, epochs, stage)
        log_std = free_log_std(self._module)
        with torch.no_grad():
            coefficient = self._learner.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID]
            coefficient.clamp_(min=min(KL_COEFF_MIN, self._config.kl_coeff))
            log_std.clamp_(max=float(np.log(self._config.largest_std(stage))))
            halvings = self._shorten(batch, before) if self._config.kl_limit else 0
            if self._config.least_std > 0:
                log_std.clamp_(min=float(np.log(self._config.least_std)))
            std = float(log_std.exp().mean())
        return {
            "learning_rate": self._learner.get_learning_rate(),
            "kl_coefficient": self._learner.get_kl_coefficients()[DEFAULT_MODULE_ID],
            "std": std,
            "step_halvings": float(halvings),
            **logged,
        }

    def _shorten(
        self,
        batch: dict[str, npt.NDArray[np.float32]],
        before: Sequence[torch.Tensor],
    ) -> int:
        """Halves the step from ``before`` until its KL divergence is within the limit.

        Returns:
            How often it was halved.
        """
        limit = self._config.kl_limit * self._config.kl_target_of(self._dim)
        steps = [now - then for now, then in zip(self._parameters, before, strict=True)]
        for halvings in range(MAX_HALVINGS):
            if self._divergence(batch) <= limit:
                return halvings
            for parameter, then, step in zip(self._parameters, before, steps, strict=True):
                parameter.copy_(then + step * 0.5 ** (halvings + 1))
        return MAX_HALVINGS

    def _divergence(self, batch: dict[str, npt.NDArray[np.float32]]) -> float:
        """Mean KL divergence, in nats, of the policy from the one that sampled the batch."""
        old_mean, old_log_std = np.split(batch[Columns.ACTION_DIST_INPUTS], 2, axis=1)
        mean, log_std = np.split(self._inputs(batch[Columns.OBS]), 2, axis=1)
        ratio = np.exp(old_log_std - log_std)
        shift = (old_mean - mean) * np.exp(-log_std)
        kl = 0.5 * (np.square(ratio) + np.square(shift) - 1.0) - np.log(ratio)
        return float(kl.sum(axis=1).mean())

    # --- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The learner's state: weights, optimizer, KL coefficient."""
        state = self._learner.get_state()
        # RLlib's running metrics: not needed to go on, and not plain data.
        state.pop("metrics_logger", None)
        # A copy: RLlib's arrays share memory with the live weights and moments.
        return copy.deepcopy(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        restored = copy.deepcopy(dict(state))
        if "_learner" in vars(self):
            self._learner.set_state(restored)
        else:
            self._restored = restored


def _plain_update(
    learner: LeanPPOLearner, batch: dict[str, npt.NDArray[np.float32]], epochs: int, stage: int
) -> dict[str, float]:
    """RLlib's own update with a stage's batch; returns the numbers to log."""
    # Five numbers are read here; reducing all of RLlib's takes as long as an epoch.
    update_unreduced(
        learner,
        batch=MultiAgentBatch(
            {DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=len(batch[Columns.OBS])
        ),
        timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: stage},
        num_epochs=epochs,
    )
    metrics = learner.metrics
    logged = {n: _number(metrics.peek((DEFAULT_MODULE_ID, k))) for k, n in LOGGED.items()}
    # Where nothing reduces them, they would grow by some numbers in every stage.
    metrics.reset()
    return logged


def _number(value: Any) -> float:
    """A logged value, which may be a tensor with a graph behind it."""
    return float(value.detach() if isinstance(value, torch.Tensor) else value)
