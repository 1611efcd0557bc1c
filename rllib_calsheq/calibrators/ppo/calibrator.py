"""The RL calibrator: a stochastic policy of increments, trained by PPO (section 3).

State: the profile Λ of one particle and, with a critic of outcomes, what a classical optimiser
would do from there. Action: an increment δΛ, in addition to that step. Reward: r_cal of the
episode that follows, objective (5), one step and no discount. The policy, its optimizer and the
adaptive coefficient of PPO's KL penalty are those of RLlib's own learner; of imagined increments
its loss is written out (`increment_learner`), and a step that goes too far is shortened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.calibrators.ensemble_model import (
    MARGIN,
    from_logits,
    mirrored_draws,
    to_logits,
)
from rllib_calsheq.calibrators.ppo.classical_optimizer import ClassicalOptimizer
from rllib_calsheq.calibrators.ppo.config import PPOCalibratorConfig
from rllib_calsheq.calibrators.ppo.outcome_critic import OutcomeCritic
from rllib_calsheq.calibrators.ppo.policy import IncrementPolicy
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.memory import network_bytes, perceptron_size, require_memory
from rllib_calsheq.core.parameter_map import Prior
from rllib_calsheq.core.streams import Stream, stream_seed
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet

#: Change of a logit for a change of the profile by 1, in the middle of the cube: an action has one
#: size there, whichever of the two it moves.
LOGITS_PER_UNIT = 4.0
#: What the policy adds to a classical action is held to about so many standard deviations of its
#: noise, however steep the reward.
LARGEST_ADDITION = 0.25


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
        self._check_memory()
        self._classical: ClassicalOptimizer | None = None
        if self.config.classical:
            self._classical = ClassicalOptimizer(self.profiles[0], targets, self.config)
        if self.config.initial_spread:
            drawn = mirrored_draws(self.rng(stream=Stream.START), num_particles, self.dim)
            spread = self.config.initial_spread * drawn
            self.profiles = from_logits(to_logits(self.profiles, MARGIN) + spread)
        self._policy = IncrementPolicy(
            self.dim,
            (1 + self.config.classical) * self.dim,
            self.config,
            stream_seed(Stream.CALIBRATOR_WEIGHTS, seed, self.stage),
        )
        self._critic: OutcomeCritic | None = None
        if self.config.critic == "outcomes":
            memory = self.config.critic_memory_of(self.dim, num_particles)
            self._critic = OutcomeCritic(
                targets,
                self.dim,
                memory,
                self.config.critic_ridge,
                # The reward of mean outcomes knows no noise.
                heteroscedastic=self.config.critic_heteroscedastic
                and self.config.fit == "episodes",
            )
        #: The transitions of the stage asked for: columns of RLlib's batch, B rows each.
        self._pending: dict[str, npt.NDArray[np.float32]] = {}
        #: The classical part of the particles' next actions, (B, d), once it is known.
        self._steps: npt.NDArray[np.float32] | None = None

    def _check_memory(self) -> None:
        """Checks that the policy, and the increments that it learns from, fit into memory.

        Raises:
            ValueError: If they do not.
        """
        cfg = self.config
        weights, units = perceptron_size([2 * self.dim, *cfg.hidden_sizes, 2 * self.dim])
        # The critic's features, of second order, and its residuals.
        features = self.dim * (self.dim + 3) / 2
        residuals = float(cfg.imagined_noise) * len(self.targets)
        require_memory(
            network_bytes(weights + residuals, units + features, cfg.imagined_increments),
            f"calibrator 'ppo' with hidden_sizes = {list(cfg.hidden_sizes)}, imagined_increments = "
            f"{cfg.imagined_increments} and imagined_noise = {cfg.imagined_noise}",
            "one of these",
        )

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
        std = self._policy.std
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
            return numbers | self._policy.update(self._imagine(), self.stage)
        valid = np.isfinite(rewards)
        if not valid.any():
            return {}
        rewards = rewards[valid].astype(np.float32)
        batch = {name: column[particles[valid]] for name, column in self._pending.items()}
        baseline = self._policy.values(batch[Columns.OBS])
        batch[Postprocessing.ADVANTAGES] = _standardise(rewards - baseline)
        batch[Postprocessing.VALUE_TARGETS] = rewards
        return self._policy.update(batch, self.stage)

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
        # Single precision is enough here, and half the time.
        profiles = self.profiles[chosen].astype(np.float32)
        self._steps = self._classical_actions()
        steps = self._steps[chosen]
        noise = rng.standard_normal((S, A, self.dim), np.float32)
        batch = self._sample(profiles, steps, noise)
        added = batch[Columns.ACTIONS]
        moved = self._apply(profiles[:, None], steps[:, None] + added).reshape(S * A, self.dim)
        if cfg.fit == "means":
            reward = self._critic.mean_reward(moved)
        else:
            reward = self._critic.expected_reward(moved, cfg.imagined_noise, rng)
        moved -= self.profiles.mean(axis=0).astype(np.float32)
        reward -= cfg.spread_cost * np.einsum("ij,ij->i", moved, moved)
        reward = reward.reshape(S, A)
        cost = self._increment_cost(reward)
        reward -= cost * np.einsum("saj,saj->sa", added, added)
        reward -= reward.mean(axis=1, keepdims=True)
        batch[Postprocessing.ADVANTAGES] = _standardise(reward)
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
        std = self._policy.std
        gain = float((reward - reward.mean(axis=1, keepdims=True)).std())
        bounded = gain / (2.0 * LARGEST_ADDITION * std**2 * np.sqrt(self.dim))
        return max(self.config.increment_cost, bounded)

    # --- actions ----------------------------------------------------------------------

    def set_learning_rate(self, rate: float) -> None:
        """Sets β^cal_m on the optimizer."""
        self._policy.set_learning_rate(rate)

    def _sample(
        self,
        profiles: FloatArray,
        steps: npt.NDArray[np.float32],
        noise: npt.NDArray[np.float32],
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Actions from profiles and classical steps (M, d), as columns of RLlib's batch.

        Args:
            profiles: Profiles, unit cube, (M, d).
            steps: The classical actions there, (M, d).
            noise: Standard normal noise (M, d), or (M, A, d) for A actions from each profile.
        """
        seen = (2.0 * profiles - 1.0).astype(np.float32)
        if self._classical is not None:
            seen = np.concatenate([seen, np.clip(steps, -1.0, 1.0)], axis=1)
        return self._policy.sample(seen, noise)

    def _apply(self, profiles: FloatArray, actions: npt.NDArray[np.float32]) -> FloatArray:
        """Λ + δΛ, with the increment bounded and the result projected to the box.

        Beside a classical optimiser, whose coordinates are logits, an action moves these: so
        particles are spread less, and more surely, where a parameter nears its bound. The precision
        is the profiles'.
        """
        largest = self.config.max_increment
        increments = largest * actions.astype(profiles.dtype)
        if self._classical is not None:
            moved = from_logits(to_logits(profiles) + LOGITS_PER_UNIT * increments)
            increments = moved - profiles
        return np.clip(profiles + np.clip(increments, -largest, largest), 0.0, 1.0)

    def estimate(self) -> FloatArray | None:
        """Beside a classical optimiser, the mean of the particles' last centres, shape (d,)."""
        return None if self._classical is None else self._classical.estimate(self.stage)

    # --- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Particles, pending proposal, learner with optimizer and KL coefficient, critic."""
        return super().state_dict() | {
            "pending": {name: column.copy() for name, column in self._pending.items()},
            "steps": None if self._steps is None else self._steps.copy(),
            "learner": self._policy.state_dict(),
            "critic": None if self._critic is None else self._critic.state_dict(),
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
        self._policy.load_state_dict(state["learner"])
        if self._critic is not None:
            self._critic.load_state_dict(state["critic"])
        if self._classical is not None:
            self._classical.load_state_dict(state["classical"])


def _standardise(values: npt.NDArray) -> npt.NDArray[np.float32]:
    """Mean 0 and standard deviation 1, as PPO's advantages."""
    values = values - values.mean()
    return (values / max(float(values.std()), 1e-8)).astype(np.float32)
