"""The RL calibrator: a stochastic policy of increments, trained by PPO (section 3).

State: the profile Λ of one particle. Action: an increment δΛ. Reward: r_cal of the episode
that follows, objective (5), one step and no discount. Everything of PPO - clipped surrogate,
KL penalty with its adaptive coefficient, optimizer - is RLlib's own learner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_calsheq.calibrators.base import Calibrator
from rllib_calsheq.calibrators.outcome_critic import OutcomeCritic
from rllib_calsheq.configuration import require
from rllib_calsheq.learner import TwoTimescalePPOLearner
from rllib_calsheq.supertypes import FloatArray
from rllib_calsheq.targets import TargetSet

#: Names of the random streams, so that no two uses share their numbers.
WEIGHTS, PROPOSAL, IMAGINATION = 0, 1, 2
#: What RLlib's learner reports of an update, and the name it is logged under here.
LOGGED = {
    "mean_kl_loss": "kl",
    "entropy": "entropy",
    "policy_loss": "policy_loss",
    "vf_loss": "value_loss",
    "total_loss": "loss",
}


@dataclass(frozen=True)
class PPOCalibratorConfig:
    """Fields of the PPO calibrator.

    Attributes:
        max_increment: Largest increment of a parameter in one stage, as a fraction of its
            range. An action of ±1 is an increment of this size.
        initial_std: Standard deviation of the policy's actions at the start.
        min_std: Smallest standard deviation; keeps the particles exploring, since the
            equilibrium moves while the agents learn. 0 for no limit.
        learning_rate: Adam's rate until `set_learning_rate` is called (β^cal).
        num_epochs: Passes over the full batch of a stage.
        kl_target: KL divergence of one update that the adaptive coefficient aims at, in
            nats over all d parameters; None for ``KL_TARGET_PER_PARAMETER`` times d.
        kl_coeff: Initial coefficient of the KL penalty.
        clip_param: Clipping range of PPO's probability ratio.
        entropy_coeff: Weight of the entropy bonus.
        hidden_sizes: Hidden layers of the policy (and of the value baseline), tanh.
        critic: What the advantages come from. ``none``: reward of the real episode minus a
            value baseline V(Λ), as in the paper. ``outcomes``: an `OutcomeCritic` predicts
            the outcomes that several imagined increments would have, and the known reward
            is applied to them.
        critic_memory: Stages after which the weight of a stage in the critic has fallen
            to 1/e.
        critic_ridge: Ridge penalty of the critic, in episodes.
        imagined_states: Profiles that increments are imagined from in each stage; no more
            than there are particles.
        imagined_increments: Increments imagined from each of them.
        imagined_noise: Residuals that the expected reward is averaged over.
    """

    max_increment: float = 0.1
    initial_std: float = 0.6
    min_std: float = 0.1
    learning_rate: float = 1e-3
    num_epochs: int = 10
    kl_target: float | None = None
    kl_coeff: float = 0.2
    clip_param: float = 0.2
    entropy_coeff: float = 0.0
    hidden_sizes: tuple[int, ...] = (64, 64)
    critic: Literal["none", "outcomes"] = "outcomes"
    critic_memory: float = 20.0
    critic_ridge: float = 1.0
    imagined_states: int = 64
    imagined_increments: int = 16
    imagined_noise: int = 32

    #: The divergence of d independent parameters adds up, so its target must grow with d:
    #: a fixed 0.01 held 23 parameters back for good.
    KL_TARGET_PER_PARAMETER = 0.01

    def __post_init__(self) -> None:
        for name in (
            "max_increment", "initial_std", "learning_rate", "clip_param", "critic_memory",
            "critic_ridge",
        ):  # fmt: skip
            value = getattr(self, name)
            require(value > 0, f"calibrator field {name}", value, "numbers > 0")
        for name in ("min_std", "kl_coeff", "entropy_coeff"):
            value = getattr(self, name)
            require(value >= 0, f"calibrator field {name}", value, "numbers >= 0")
        for name, least in (
            ("num_epochs", 1),
            ("imagined_states", 1),
            ("imagined_increments", 2),
            ("imagined_noise", 1),
        ):
            value = getattr(self, name)
            allowed = f"integers from {least}"
            require(isinstance(value, int) and value >= least, f"calibrator field {name}", value, allowed)
        require(self.max_increment <= 1, "calibrator field max_increment", self.max_increment, "(0, 1]")
        require(
            self.kl_target is None or self.kl_target > 0,
            "calibrator field kl_target",
            self.kl_target,
            "numbers > 0, or null",
        )
        require(
            self.critic in ("none", "outcomes"),
            "calibrator field critic",
            self.critic,
            "'none' or 'outcomes'",
        )
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))


class PPOCalibrator(Calibrator):
    """Algorithm 1's calibrator: Λ_m^b = Λ_{m-1}^b + δΛ^b with δΛ^b ~ π^Λ(·|Λ_{m-1}^b).

    Args:
        start: Initial profile Λ_0 in the unit cube, shape (d,).
        num_particles: B, one particle an episode slot.
        targets: The targets.
        seed: Seed of all its random numbers.
        config: Its fields.
    """

    def __init__(
        self,
        start: npt.ArrayLike,
        num_particles: int,
        targets: TargetSet,
        seed: int,
        config: PPOCalibratorConfig | None = None,
    ) -> None:
        super().__init__(start, num_particles, targets, seed)
        self.config = config or PPOCalibratorConfig()
        self._learner = self._build_learner()
        self._critic = (
            OutcomeCritic(targets, self.dim, self.config.critic_memory, self.config.critic_ridge)
            if self.config.critic == "outcomes"
            else None
        )
        #: The transitions of the stage asked for: columns of RLlib's batch, B rows each.
        self._pending: dict[str, npt.NDArray[np.float32]] = {}

    # --- the two halves of a stage ----------------------------------------------------

    def _propose(self) -> FloatArray:
        """Samples δΛ ~ π^Λ(·|Λ) for every particle and applies it."""
        self._pending = self._sample(self.profiles, self._rng(PROPOSAL))
        return self._apply(self.profiles, self._pending[Columns.ACTIONS])

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        """One PPO update, from the real transitions or from imagined ones."""
        numbers: dict[str, float] = {}
        if self._critic is None:
            batch = {name: column[particles] for name, column in self._pending.items()}
            baseline = self._values(batch[Columns.OBS])
            rewards = rewards.astype(np.float32)
            batch[Postprocessing.ADVANTAGES] = _standardise(rewards - baseline)
            batch[Postprocessing.VALUE_TARGETS] = rewards
        else:
            numbers |= self._critic.update(self.profiles[particles], outcomes)
            batch = self._imagine()
        numbers |= self._update(batch)
        return numbers

    def _imagine(self) -> dict[str, npt.NDArray[np.float32]]:
        """Increments from where the particles are now, judged by the critic.

        The baseline is the mean over the increments from the same profile, so that it sees
        the profile without having to be learned.
        """
        assert self._critic is not None
        cfg, rng = self.config, self._rng(IMAGINATION)
        S, I = min(cfg.imagined_states, self.num_particles), cfg.imagined_increments
        chosen = rng.permutation(self.num_particles)[:S]
        profiles = np.repeat(self.profiles[chosen], I, axis=0)
        batch = self._sample(profiles, rng)
        reward = self._critic.expected_reward(
            self._apply(profiles, batch[Columns.ACTIONS]), cfg.imagined_noise, rng
        ).reshape(S, I)
        baseline = reward.mean(axis=1, keepdims=True)
        batch[Postprocessing.ADVANTAGES] = _standardise((reward - baseline).ravel())
        batch[Postprocessing.VALUE_TARGETS] = np.repeat(baseline, I).astype(np.float32)
        return batch

    # --- policy and learner -----------------------------------------------------------

    def set_learning_rate(self, rate: float) -> None:
        """Sets β^cal_m on the optimizer."""
        self._learner.set_learning_rate(rate)

    def _build_learner(self) -> TwoTimescalePPOLearner:
        """RLlib's PPO learner of one-step episodes, its weights drawn from the seed alone."""
        cfg = self.config
        kl_target = cfg.kl_target or cfg.KL_TARGET_PER_PARAMETER * self.dim
        ppo = (
            PPOConfig()
            .learners(num_learners=0, num_gpus_per_learner=0)
            .training(
                learner_class=TwoTimescalePPOLearner,
                gamma=0.0,
                lr=cfg.learning_rate,
                num_epochs=cfg.num_epochs,
                # With imagined increments the baseline is their mean: no value net to train.
                use_critic=cfg.critic == "none",
                use_kl_loss=True,
                kl_coeff=cfg.kl_coeff,
                kl_target=kl_target,
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
                    vf_share_layers=False,
                )
            )
        )
        box = gym.spaces.Box(-1.0, 1.0, (self.dim,), np.float32)
        with torch.random.fork_rng(devices=[]):
            # The CPU generator only: torch.manual_seed would reseed accelerators, too.
            torch.default_generator.manual_seed(self._seed_of(WEIGHTS))
            learner = ppo.build_learner(spaces={DEFAULT_MODULE_ID: (box, box)})
        with torch.no_grad():
            learner.module[DEFAULT_MODULE_ID].pi.log_std.fill_(float(np.log(cfg.initial_std)))
        return learner

    @property
    def _module(self) -> Any:
        return self._learner.module[DEFAULT_MODULE_ID]

    def _sample(
        self, profiles: FloatArray, rng: np.random.Generator
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Actions from profiles (M, d), as columns of RLlib's batch, M rows each."""
        observations = (2.0 * profiles - 1.0).astype(np.float32)
        noise = torch.from_numpy(rng.standard_normal(profiles.shape).astype(np.float32))
        with torch.no_grad():
            inputs = self._module.forward_exploration(
                {Columns.OBS: torch.from_numpy(observations)}
            )[Columns.ACTION_DIST_INPUTS]
            mean, log_std = inputs.chunk(2, dim=-1)
            actions = mean + log_std.exp() * noise
            distribution = self._module.get_exploration_action_dist_cls().from_logits(inputs)
            logp = distribution.logp(actions)
        return {
            Columns.OBS: observations,
            Columns.ACTIONS: actions.numpy(),
            Columns.ACTION_LOGP: logp.numpy(),
            Columns.ACTION_DIST_INPUTS: inputs.numpy(),
        }

    def _apply(self, profiles: FloatArray, actions: npt.NDArray[np.float32]) -> FloatArray:
        """Λ + δΛ, with the increment bounded and the result projected to the box."""
        increments = self.config.max_increment * np.clip(actions.astype(np.float64), -1.0, 1.0)
        return np.clip(profiles + increments, 0.0, 1.0)

    def _values(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Value baseline V(Λ), shape (M,)."""
        with torch.no_grad():
            values = self._module.compute_values({Columns.OBS: torch.from_numpy(observations)})
        return values.numpy()

    def _update(self, batch: dict[str, npt.NDArray[np.float32]]) -> dict[str, float]:
        """Gives a batch to RLlib's learner; returns the numbers to log."""
        size = len(batch[Columns.OBS])
        results = self._learner.update(
            batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=size),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.stage},
            num_epochs=self.config.num_epochs,
        )[DEFAULT_MODULE_ID]
        log_std = self._module.pi.log_std
        with torch.no_grad():
            if self.config.min_std > 0:
                log_std.clamp_(min=float(np.log(self.config.min_std)))
            std = float(log_std.exp().mean())
        return {
            "learning_rate": self._learner.get_learning_rate(),
            "kl_coefficient": self._learner.get_kl_coefficients()[DEFAULT_MODULE_ID],
            "std": std,
            **{name: float(results[key].peek()) for key, name in LOGGED.items()},
        }

    # --- randomness and state ---------------------------------------------------------

    def _seed_of(self, stream: int) -> int:
        """An integer seed of (seed, stage, stream)."""
        sequence = np.random.SeedSequence([self.seed, self.stage, stream])
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.stage, stream])

    def state_dict(self) -> dict[str, Any]:
        """Particles, pending proposal, learner with optimizer and KL coefficient, critic."""
        learner = self._learner.get_state()
        # RLlib's running metrics: not needed to go on, and not plain data.
        learner.pop("metrics_logger", None)
        return super().state_dict() | {
            "pending": {name: column.copy() for name, column in self._pending.items()},
            "learner": learner,
            "critic": None if self._critic is None else self._critic.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If it was saved with another kind of critic, or other sizes.
        """
        if (state["critic"] is None) != (self._critic is None):
            raise ValueError(
                f"the saved calibrator has critic={'none' if state['critic'] is None else 'outcomes'}"
                f", this one critic={self.config.critic}: use the same setting"
            )
        super().load_state_dict(state)
        self._pending = {name: np.array(column) for name, column in state["pending"].items()}
        self._learner.set_state(state["learner"])
        if self._critic is not None:
            self._critic.load_state_dict(state["critic"])


def _standardise(values: npt.NDArray) -> npt.NDArray[np.float32]:
    """Mean 0 and standard deviation 1, as PPO's advantages."""
    values = values - values.mean()
    return (values / max(float(values.std()), 1e-8)).astype(np.float32)
