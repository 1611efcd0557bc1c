"""Configuration of the PPO calibrator. Needs neither Torch nor RLlib."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from rllib_calsheq.core.configuration import (
    Count,
    Fraction,
    NonNegative,
    Positive,
    configuration,
    require,
)

#: The divergence of d independent parameters adds up, so its target must grow with d:
#: a fixed 0.01 held 23 parameters back for good.
KL_TARGET_PER_PARAMETER = 0.03
#: The critic remembers at least this many stages ...
MIN_MEMORY_STAGES = 20.0
#: ... and at least this many episodes for every parameter.
MIN_MEMORY_EPISODES_PER_PARAMETER = 30.0

#: Largest spread of the particles in logits, far beyond one with all of them at the bounds.
MAX_SPREAD = 100.0

#: Smallest standard deviation of an action, by critic (one of outcomes must tell parameters apart).
LEAST_STD = {"outcomes": 0.15, "none": 0.1}

#: Fields of algorithm 1 taken literally: advantages from the real episodes alone. It has
#: one noisy reward a particle instead of many imagined ones, hence the smaller steps.
PAPER_FIELDS: dict[str, Any] = {
    "critic": "none",
    "initial_spread": 0.0,
    "initial_std": 0.6,
    "learning_rate": 1e-3,
    "num_epochs": 10,
    "kl_limit": 0.0,
}


@configuration
class PPOCalibratorConfig:
    """Fields of the PPO calibrator.

    Attributes:
        max_increment: Largest increment of a parameter in one stage, as a fraction of its
            range. An action of ±1 is an increment of this size; beside a classical optimiser,
            whose coordinates are logits, in the middle of the range, and less towards its ends.
        initial_std: Standard deviation of the policy's actions at the start.
        initial_spread: Standard deviation of the particles around Λ_0 at the start, in logits of
            the unit cube (1.8 is about uniform around its middle). 0 for all at Λ_0, as
            algorithm 1 has it.
        min_std: Smallest standard deviation of an action; keeps the particles exploring,
            since the equilibrium moves while the agents learn. 0 for no limit; None for
            `LEAST_STD` of the critic (or for initial_std, if that is smaller).
        learning_rate: Adam's rate until `set_learning_rate` is called (β^cal).
        num_epochs: Passes over the full batch in the one update of a stage.
        kl_target: KL divergence of one update that the adaptive coefficient aims at, in
            nats over all d parameters; None for ``KL_TARGET_PER_PARAMETER`` times d.
        kl_limit: Largest KL divergence of one update, in KL targets: the step of an update that
            went further is shortened. The penalty alone does not prevent it, since Adam's steps do
            not shrink with the gradient while the policy's standard deviations do: now and then an
            update threw the particles off what they had found. 0 for no limit.
        kl_coeff: Initial coefficient of the KL penalty.
        clip_param: Clipping range of PPO's probability ratio.
        entropy_coeff: Weight of the entropy bonus.
        hidden_sizes: Hidden layers of the policy (and of the value baseline), tanh.
        critic: Where the advantages come from. ``none``: reward of the real episode minus a
            value baseline V(Λ), algorithm 1 taken literally (`PAPER_FIELDS` suit it).
            ``outcomes``: an `OutcomeCritic`, fitted to the real episodes, predicts the
            outcomes of many imagined increments, and the known reward is applied to them.

            The fields below concern ``outcomes`` only, and from ``prior_std`` to
            ``slope_ridge`` the classical optimiser.
        critic_memory: Stages after which the weight of a stage in the critic has fallen to
            1/e; None for ``MIN_MEMORY_STAGES``, or more when there are few particles.
        critic_ridge: Ridge penalty of the critic, in episodes.
        critic_heteroscedastic: Whether the noise of an outcome may depend on the profile; of
            ``fit: episodes`` alone.
        imagined_states: Profiles (of particles) that increments are imagined from in each
            stage, at most.
        imagined_increments: Increments imagined in each stage, over all these profiles; at
            least twice ``imagined_states``.
        imagined_noise: Residuals that the expected reward is averaged over.
        std_stages: The policy's standard deviations are at most ``initial_std`` times a factor that
            has fallen to 1/e after this many stages (and no less than ``min_std``), so that the
            particles come together and their mean outcomes are those of their mean. 0 for no limit.
        fit: Which reward is imagined: that of the ``means`` of the outcomes, which is 1 where the
            mean of every outcome is on its target, or the mean reward of single ``episodes``, the
            paper's objective (5), which a profile with quieter episodes may win without meeting
            the targets.
        kalman_gain: Part of the classical optimiser's step (`ClassicalOptimizer`) that an untrained
            policy takes in a stage; the policy sees it and learns what to add. 0 for none.
        prior_std: Standard deviation, in logits, of the classical step's prior around Λ_0, where
            the user states none: how far a parameter may go for a target's sake. What no target
            speaks of stays at Λ_0, or goes where the user expects it.
        min_spread: Standard deviation of the particles around their centre, in logits, that the
            classical optimiser keeps.
        shrink_stages: Stages in which that falls from ``initial_spread`` by 1/e, until
            ``min_spread``; a third of them once all targets are near.
        max_step: Largest classical step in one coordinate and stage, in spreads.
        slope_memory: Stages after which a stage's weight in the slopes has fallen to 1/e.
        level_memory: The same for the outcomes at the particles' centre.
        slope_ridge: Ridge penalty on the slopes, in episodes at one logit from the centre.
        increment_cost: Reward charged for the square of what the policy adds to an action. Without
            it, parameters that no target depends on drift at full speed with the critic's
            errors, and the profile does not come to rest.
        spread_cost: Reward charged for the squared distance (unit cube) of a new profile
            from the mean of all particles. The calibrated profile is that mean, and where
            different profiles fit equally well their mean need not: the particles should
            settle on one of them.
    """

    max_increment: Fraction = 0.1
    initial_std: Positive = 0.4
    initial_spread: Annotated[float, Field(ge=0, le=MAX_SPREAD)] = 1.5
    min_std: NonNegative | None = None
    learning_rate: Positive = 3e-3
    num_epochs: Count = 5
    kl_target: Positive | None = None
    kl_limit: NonNegative = 2.0
    kl_coeff: NonNegative = 0.2
    clip_param: Positive = 0.2
    entropy_coeff: NonNegative = 0.0
    # A list (from YAML) is as good as a tuple.
    hidden_sizes: Annotated[tuple[Count, ...], Field(strict=False)] = (64, 64)
    critic: Literal["none", "outcomes"] = "outcomes"
    critic_memory: Positive | None = None
    critic_ridge: Positive = 1.0
    critic_heteroscedastic: bool = True
    imagined_states: Count = 64
    imagined_increments: Count = 2048
    imagined_noise: Count = 16
    std_stages: NonNegative = 40.0
    fit: Literal["means", "episodes"] = "means"
    kalman_gain: Annotated[float, Field(ge=0, le=1)] = 1.0
    prior_std: Positive = 1.5
    min_spread: Annotated[float, Field(gt=0, le=MAX_SPREAD)] = 0.15
    shrink_stages: Positive = 20.0
    max_step: Positive = 0.7
    slope_memory: Positive = 3.0
    level_memory: Positive = 2.0
    slope_ridge: Positive = 2.0
    increment_cost: NonNegative = 0.3
    spread_cost: NonNegative = 0.01

    def __post_init__(self) -> None:
        require(
            len(self.hidden_sizes) > 0,
            "hidden_sizes",
            list(self.hidden_sizes),
            "a list of at least one integer from 1",
        )
        require(
            self.least_std <= self.initial_std,
            "min_std",
            self.min_std,
            f"numbers up to initial_std, {self.initial_std:g}",
        )
        require(
            self.imagined_increments >= 2 * self.imagined_states,
            "imagined_increments",
            self.imagined_increments,
            f"integers from twice imagined_states, {2 * self.imagined_states}",
        )

    @property
    def classical(self) -> bool:
        """Whether the policy sees, and adds to, a classical optimiser's step."""
        return self.critic == "outcomes" and self.kalman_gain > 0

    @property
    def uses_prior(self) -> bool:
        """Whether the calibrator pulls to a prior: its classical step does."""
        return self.classical

    @property
    def least_std(self) -> float:
        """Smallest standard deviation of an action."""
        if self.min_std is not None:
            return self.min_std
        return min(LEAST_STD.get(self.critic, 0.0), self.initial_std)

    def largest_std(self, stage: int) -> float:
        """Largest standard deviation of an action after a stage."""
        if self.critic == "none" or not self.std_stages:
            return float("inf")
        return max(self.least_std, self.initial_std * float(np.exp(-stage / self.std_stages)))

    def kl_target_of(self, dim: int) -> float:
        """KL target of d = ``dim`` parameters, in nats."""
        return KL_TARGET_PER_PARAMETER * dim if self.kl_target is None else self.kl_target

    def critic_memory_of(self, dim: int, num_particles: int) -> float:
        """Memory of the critic, in stages."""
        if self.critic_memory is not None:
            return self.critic_memory
        needed = MIN_MEMORY_EPISODES_PER_PARAMETER * dim / num_particles
        return max(MIN_MEMORY_STAGES, needed)
