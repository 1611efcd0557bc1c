"""The RL calibrator: a stochastic policy of increments, trained by PPO (section 3).

State: the profile Λ of one particle and, with a critic of outcomes, what a classical optimiser
would do from there. Action: an increment δΛ, in addition to that step. Reward: r_cal of the
episode that follows, objective (5), one step and no discount. Everything of PPO - clipped
surrogate, KL penalty with its adaptive coefficient, optimizer - is RLlib's own learner; only a
step that goes too far is shortened here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

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

from rllib_calsheq.calibrators.ensemble_model import (
    MARGIN,
    from_logits,
    mirrored_draws,
    to_logits,
)
from rllib_calsheq.calibrators.ppo.classical_optimizer import ClassicalOptimizer
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.calibrators.ppo.dual_weights import DualWeights
from rllib_calsheq.calibrators.ppo.outcome_critic import OutcomeCritic
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.streams import Stream, stream_seed
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.learning.lean_learner import LeanPPOLearner
from rllib_calsheq.learning.ray_private.access import (
    free_log_std,
    sampling_pass,
    update_unreduced,
)

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
#: Change of a logit for a change of the profile by 1, in the middle of the cube: an action has one
#: size there, whichever of the two it moves.
LOGITS_PER_UNIT = 4.0
#: What the policy adds to a classical action is held to about so many standard deviations of its
#: noise, however steep the reward.
LARGEST_ADDITION = 0.25
#: Times that a step which went too far is halved, at most.
MAX_HALVINGS = 20


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
        self._classical: ClassicalOptimizer | None = None
        if self.config.classical:
            self._classical = ClassicalOptimizer(self.profiles[0], targets, self.config)
        if self.config.initial_spread:
            drawn = mirrored_draws(self.rng(stream=Stream.START), num_particles, self.dim)
            spread = self.config.initial_spread * drawn
            self.profiles = from_logits(to_logits(self.profiles, MARGIN) + spread)
        self._learner = self._build_learner()
        self._dual = DualWeights(targets, self.config.dual_rate)
        self._critic: OutcomeCritic | None = None
        if self.config.critic == "outcomes":
            memory = self.config.critic_memory_of(self.dim, num_particles)
            self._critic = OutcomeCritic(
                targets,
                self.dim,
                memory,
                self.config.critic_ridge,
                correct=self.config.critic_correction,
                softening_stages=self.config.softening_stages,
                heteroscedastic=self.config.critic_heteroscedastic,
            )
        #: The transitions of the stage asked for: columns of RLlib's batch, B rows each.
        self._pending: dict[str, npt.NDArray[np.float32]] = {}
        #: The classical part of the particles' next actions, (B, d), once it is known.
        self._steps: npt.NDArray[np.float32] | None = None

    def set_prior(self, prior: Prior) -> None:
        """Takes its means for Λ_0 as what the classical optimiser pulls to."""
        super().set_prior(prior)
        if self._classical is not None:
            self._classical.set_prior(prior)

    # --- the two halves of a stage ----------------------------------------------------

    def _propose(self) -> FloatArray:
        """Samples δΛ ~ π^Λ(·|Λ) for every particle and applies it."""
        steps = self._classical_actions() if self._steps is None else self._steps
        self._steps = None
        noise = self._noise(self.profiles.shape, self.rng(stream=Stream.PROPOSAL))
        self._pending = self._sample(self.profiles, steps, noise)
        return self._apply(self.profiles, steps + self._pending[Columns.ACTIONS])

    def _classical_actions(self) -> npt.NDArray[np.float32]:
        """What an untrained policy does in the mean: the classical optimiser's steps, (B, d)."""
        if self._classical is None:
            return np.zeros(self.profiles.shape, np.float32)
        unit = LOGITS_PER_UNIT * self.config.max_increment
        std = self._action_std
        return (self._classical.steps(self.profiles, unit * std) / unit).astype(np.float32)

    def _noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Standard normal noise (B, d) of the particles' actions.

        Beside a classical optimiser in mirrored pairs, as its first profiles are, so that the
        noise does not move the particles' centre.
        """
        noise = rng.standard_normal(shape)
        if self._classical is not None:
            pairs = len(noise) // 2
            noise[pairs : 2 * pairs] = -noise[:pairs]
        return noise.astype(np.float32)

    def _learn(
        self, particles: npt.NDArray[np.intp], rewards: FloatArray, outcomes: FloatArray
    ) -> dict[str, float]:
        """One PPO update, from the real transitions or from imagined ones."""
        if self._critic is not None:
            numbers = self._critic.update(self.profiles[particles], outcomes)
            if self._classical is not None:
                numbers |= self._classical.observe(self.profiles, particles, outcomes)
            self._dual.update(outcomes, self.stage)
            return numbers | self._update(self._imagine())
        valid = np.isfinite(rewards)
        if not valid.any():
            return {}
        rewards = rewards[valid].astype(np.float32)
        batch = {name: column[particles[valid]] for name, column in self._pending.items()}
        baseline = self._values(batch[Columns.OBS])
        batch[Postprocessing.ADVANTAGES] = _standardise(rewards - baseline)
        batch[Postprocessing.VALUE_TARGETS] = rewards
        return self._update(batch)

    def _imagine(self) -> dict[str, npt.NDArray[np.float32]]:
        """Increments from where the particles are now, judged by the critic.

        The baseline is the mean over the increments from the same profile, so that it sees
        the profile without having to be learned.
        """
        assert self._critic is not None
        cfg, rng = self.config, self.rng(stream=Stream.IMAGINATION)
        S = min(cfg.imagined_states, self.num_particles)
        A = cfg.imagined_increments // S
        chosen = rng.permutation(self.num_particles)[:S]
        profiles = np.repeat(self.profiles[chosen], A, axis=0)
        self._steps = self._classical_actions()
        steps = np.repeat(self._steps[chosen], A, axis=0)
        noise = rng.standard_normal(profiles.shape).astype(np.float32)
        batch = self._sample(profiles, steps, noise)
        moved = self._apply(profiles, steps + batch[Columns.ACTIONS])
        if cfg.fit == "means":
            reward = self._critic.mean_reward(moved, self._dual.weights)
        else:
            reward = self._critic.expected_reward(moved, cfg.imagined_noise, rng)
        reward -= cfg.spread_cost * np.square(moved - self.profiles.mean(axis=0)).sum(axis=1)
        reward = reward.reshape(S, A)
        cost = self._increment_cost(reward)
        reward -= cost * np.square(batch[Columns.ACTIONS]).sum(axis=1).reshape(S, A)
        baseline = reward.mean(axis=1, keepdims=True)
        batch[Postprocessing.ADVANTAGES] = _standardise((reward - baseline).ravel())
        batch[Postprocessing.VALUE_TARGETS] = np.repeat(baseline, A).astype(np.float32)
        return batch

    def _increment_cost(self, reward: FloatArray) -> float:
        """Reward charged for the square of what the policy adds to an action.

        Where the imagined rewards (S, A) rise steeply, the constant cost is nothing, and the policy
        would add the same again after it has put right what it saw: past the target, and back. So
        the cost is at least that at which, of a linear reward, the best addition is
        `LARGEST_ADDITION` standard deviations of the noise, as a mean over parameters.
        """
        if self._classical is None:
            return self.config.increment_cost
        std = self._action_std
        gain = float((reward - reward.mean(axis=1, keepdims=True)).std())
        bounded = gain / (2.0 * LARGEST_ADDITION * std**2 * np.sqrt(self.dim))
        return max(self.config.increment_cost, bounded)

    # --- policy and learner -----------------------------------------------------------

    def set_learning_rate(self, rate: float) -> None:
        """Sets β^cal_m on the optimizer."""
        self._learner.set_learning_rate(rate)

    def _build_learner(self) -> LeanPPOLearner:
        """RLlib's PPO learner of one-step episodes, its weights drawn from the seed alone."""
        cfg = self.config
        ppo = (
            PPOConfig()
            .learners(num_learners=0, num_gpus_per_learner=0, learner_class=LeanPPOLearner)
            .training(
                gamma=0.0,
                lr=cfg.learning_rate,
                num_epochs=cfg.num_epochs,
                # With imagined increments the baseline is their mean: no value net to train.
                use_critic=cfg.critic == "none",
                use_kl_loss=True,
                kl_coeff=cfg.kl_coeff,
                kl_target=cfg.kl_target_of(self.dim),
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
        box = gym.spaces.Box(-1.0, 1.0, (self.dim,), np.float32)
        seen = gym.spaces.Box(-1.0, 1.0, ((1 + cfg.classical) * self.dim,), np.float32)
        with torch.random.fork_rng(devices=[]):
            # The CPU generator only: torch.manual_seed would reseed accelerators, too.
            weights = stream_seed(Stream.CALIBRATOR_WEIGHTS, self.seed, self.stage)
            torch.default_generator.manual_seed(weights)
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
    def _action_std(self) -> float:
        """Standard deviation of what the policy adds to an action, as a mean over parameters."""
        return float(free_log_std(self._module).detach().exp().mean())

    @property
    def _module(self) -> Any:
        return self._learner.module[DEFAULT_MODULE_ID]

    def _sample(
        self,
        profiles: FloatArray,
        steps: npt.NDArray[np.float32],
        noise: npt.NDArray[np.float32],
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Actions from profiles, classical steps and noise (M, d), as columns of RLlib's batch."""
        observations = (2.0 * profiles - 1.0).astype(np.float32)
        if self._classical is not None:
            observations = np.concatenate([observations, np.clip(steps, -1.0, 1.0)], axis=1)
        with torch.no_grad():
            inputs = self._policy(observations)
            mean, log_std = inputs.chunk(2, dim=-1)
            actions = mean + log_std.exp() * torch.from_numpy(noise)
            distribution = self._module.get_exploration_action_dist_cls().from_logits(inputs)
            logp = distribution.logp(actions)
        return {
            Columns.OBS: observations,
            Columns.ACTIONS: actions.numpy(),
            Columns.ACTION_LOGP: logp.numpy(),
            Columns.ACTION_DIST_INPUTS: inputs.numpy(),
        }

    def _policy(self, observations: npt.NDArray[np.float32]) -> torch.Tensor:
        """Means and logarithms of the standard deviations of the actions, (M, 2 d)."""
        # Nothing in this module differs between training and evaluation.
        outputs = sampling_pass(self._module)({Columns.OBS: torch.from_numpy(observations)})
        return outputs[Columns.ACTION_DIST_INPUTS]

    def _apply(self, profiles: FloatArray, actions: npt.NDArray[np.float32]) -> FloatArray:
        """Λ + δΛ, with the increment bounded and the result projected to the box.

        Beside a classical optimiser, whose coordinates are logits, an action moves these: so
        particles are spread less, and more surely, where a parameter nears its bound.
        """
        largest = self.config.max_increment
        increments = largest * actions.astype(np.float64)
        if self._classical is not None:
            moved = from_logits(to_logits(profiles) + LOGITS_PER_UNIT * increments)
            increments = moved - profiles
        return np.clip(profiles + np.clip(increments, -largest, largest), 0.0, 1.0)

    def estimate(self) -> FloatArray | None:
        """Beside a classical optimiser, the mean of the particles' last centres, shape (d,)."""
        return None if self._classical is None else self._classical.estimate(self.stage)

    def _values(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Value baseline V(Λ), shape (M,)."""
        with torch.no_grad():
            values = self._module.compute_values({Columns.OBS: torch.from_numpy(observations)})
        return values.numpy()

    def _update(self, batch: dict[str, npt.NDArray[np.float32]]) -> dict[str, float]:
        """Gives a batch to RLlib's learner; returns the numbers to log."""
        size = len(batch[Columns.OBS])
        parameters = list(self._module.parameters())
        before = [parameter.detach().clone() for parameter in parameters]
        # Five numbers are read here; reducing all of RLlib's takes as long as an epoch.
        update_unreduced(
            self._learner,
            batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(batch)}, env_steps=size),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.stage},
            num_epochs=self.config.num_epochs,
        )
        metrics = self._learner.metrics
        logged = {n: _number(metrics.peek((DEFAULT_MODULE_ID, k))) for k, n in LOGGED.items()}
        # Where nothing reduces them, they would grow by some numbers in every stage.
        metrics.reset()
        log_std = free_log_std(self._module)
        with torch.no_grad():
            coefficient = self._learner.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID]
            coefficient.clamp_(min=min(KL_COEFF_MIN, self.config.kl_coeff))
            log_std.clamp_(max=float(np.log(self.config.largest_std(self.stage))))
            halvings = self._shorten(batch, parameters, before) if self.config.kl_limit else 0
            if self.config.least_std > 0:
                log_std.clamp_(min=float(np.log(self.config.least_std)))
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
        parameters: Sequence[torch.nn.Parameter],
        before: Sequence[torch.Tensor],
    ) -> int:
        """Halves the step from ``before`` until its KL divergence is within the limit.

        Returns:
            How often it was halved.
        """
        limit = self.config.kl_limit * self.config.kl_target_of(self.dim)
        steps = [now - then for now, then in zip(parameters, before, strict=True)]
        for halvings in range(MAX_HALVINGS):
            if self._divergence(batch) <= limit:
                return halvings
            for parameter, then, step in zip(parameters, before, steps, strict=True):
                parameter.copy_(then + step * 0.5 ** (halvings + 1))
        return MAX_HALVINGS

    def _divergence(self, batch: dict[str, npt.NDArray[np.float32]]) -> float:
        """Mean KL divergence, in nats, of the policy from the one that sampled the batch."""
        sampled = torch.from_numpy(batch[Columns.ACTION_DIST_INPUTS])
        inputs = self._policy(batch[Columns.OBS])
        distribution = self._module.get_exploration_action_dist_cls()
        kl = distribution.from_logits(sampled).kl(distribution.from_logits(inputs))
        return float(kl.mean())

    # --- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Particles, pending proposal, learner with optimizer and KL coefficient, critic."""
        learner = self._learner.get_state()
        # RLlib's running metrics: not needed to go on, and not plain data.
        learner.pop("metrics_logger", None)
        return super().state_dict() | {
            "pending": {name: column.copy() for name, column in self._pending.items()},
            "steps": None if self._steps is None else self._steps.copy(),
            # A copy: RLlib's arrays share memory with the live weights and moments.
            "learner": copy.deepcopy(learner),
            "critic": None if self._critic is None else self._critic.state_dict(),
            "dual": self._dual.state_dict(),
            "classical": None if self._classical is None else self._classical.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If it was saved with another kind of critic, or other sizes.
        """
        for name, mine in (("critic", self._critic), ("classical", self._classical)):
            if (state.get(name) is None) != (mine is None):
                raise ValueError(
                    f"the saved calibrator was made with another `critic`, or with another "
                    f"`kalman_gain`, than this one's {self.config.critic!r} and "
                    f"{self.config.kalman_gain:g} (its {name} differs): use the same fields"
                )
        super().load_state_dict(state)
        self._pending = {name: np.array(column) for name, column in state["pending"].items()}
        self._steps = None if state["steps"] is None else np.array(state["steps"])
        self._learner.set_state(copy.deepcopy(state["learner"]))
        if self._critic is not None:
            self._critic.load_state_dict(state["critic"])
            self._dual.load_state_dict(state["dual"])
        if self._classical is not None:
            self._classical.load_state_dict(state["classical"])


def _standardise(values: npt.NDArray) -> npt.NDArray[np.float32]:
    """Mean 0 and standard deviation 1, as PPO's advantages."""
    values = values - values.mean()
    return (values / max(float(values.std()), 1e-8)).astype(np.float32)


def _number(value: Any) -> float:
    """A logged value, which may be a tensor with a graph behind it."""
    return float(value.detach() if isinstance(value, torch.Tensor) else value)
