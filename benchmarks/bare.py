"""The mark: CALSHEQ's loop in plain NumPy and PyTorch, with no framework.

The same market core, networks, PPO (clipped surrogate, adaptive KL penalty, GAE, Adam) and
paper-literal calibrator as the RLlib program; what a framework adds is what it lacks.
"""

import numpy as np
import torch
from torch import nn

from rllib_calsheq.envs import ArrayMarket, MarketConfig
from rllib_calsheq.learning.advantages import value_targets
from rllib_calsheq.learning.rollout import supertype_returns


def mlp(inputs, outputs, hidden=64):
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
        nn.Linear(hidden, outputs),
    )  # fmt: skip


class GaussianPPO:
    """A Gaussian policy, a value network, and PPO on them."""

    def __init__(self, observations, actions, *, epochs, minibatch, kl_target, std=1.0, lr=1e-3):
        self.policy, self.value = mlp(observations, actions), mlp(observations, 1)
        self.log_std = nn.Parameter(torch.full((actions,), float(np.log(std))))
        self.parameters = [*self.policy.parameters(), *self.value.parameters(), self.log_std]
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr)
        self.epochs, self.minibatch = epochs, minibatch
        self.kl_target, self.kl_coeff = kl_target, 0.2

    @torch.no_grad()
    def act(self, observations):
        mean = self.policy(observations)
        action = mean + self.log_std.exp() * torch.randn_like(mean)
        return mean, action

    def distribution(self, mean, log_std):
        return torch.distributions.Normal(mean, log_std.exp())

    def update(self, observations, means, actions, advantages, targets):
        """PPO on flat tensors; advantages are standardised here."""
        old_log_std = self.log_std.detach().clone()
        with torch.no_grad():
            logp_old = self.distribution(means, old_log_std).log_prob(actions).sum(-1)
        deviation = advantages.std(unbiased=False).clamp(min=1e-4)
        advantages = (advantages - advantages.mean()) / deviation
        size = min(self.minibatch or len(advantages), len(advantages))
        kl_value = 0.0
        for _ in range(self.epochs):
            order = torch.randperm(len(advantages))
            for first in range(0, len(order), size):
                rows = order[first : first + size]
                obs = observations[rows]
                new = self.distribution(self.policy(obs), self.log_std)
                old = self.distribution(means[rows], old_log_std)
                ratio = (new.log_prob(actions[rows]).sum(-1) - logp_old[rows]).exp()
                adv = advantages[rows]
                surrogate = torch.min(adv * ratio, adv * ratio.clamp(0.7, 1.3))
                value_loss = (self.value(obs).squeeze(-1) - targets[rows]) ** 2
                kl = torch.distributions.kl_divergence(old, new).sum(-1).mean()
                loss = (value_loss - surrogate).mean() + self.kl_coeff * kl
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
                kl_value = kl.detach()
        if kl_value > 2 * self.kl_target:
            self.kl_coeff *= 1.5
        elif kl_value < 0.5 * self.kl_target:
            self.kl_coeff *= 0.5


class BareLoop:
    """B particles, merchants and calibrator learning jointly (algorithm 1)."""

    def __init__(self, targets, *, num_merchants=5, particles=64, seed=0):
        torch.manual_seed(seed)
        self.env = ArrayMarket(MarketConfig(num_merchants=num_merchants))
        self.targets = targets
        self.particles, self.seed, self.stage = particles, seed, 0
        (size,) = self.env.observation_space.shape
        d = len(self.env.supertype_space)
        self.merchants = GaussianPPO(size, 2, epochs=4, minibatch=1024, kl_target=0.01)
        self.calibrator = GaussianPPO(d, d, epochs=10, minibatch=None, kl_target=0.2, std=0.6)
        space = self.env.supertype_space
        self.unit = np.tile(space.to_unit(space.start), (particles, 1))

    def sample(self, unit):
        """One episode a particle: (T, E, n, ...) arrays and outcomes (E, N + G)."""
        env = self.env
        seeds = [hash((self.seed, self.stage, b)) % 2**32 for b in range(len(unit))]
        obs = env.reset(env.supertype_space.from_unit(unit), seeds)
        E, n, size = obs.shape
        T = env.episode_length
        observations = np.empty((T, E, n, size), dtype=np.float32)
        rewards = np.empty((T, E, n), dtype=np.float32)
        means, actions = [], []
        for t in range(T):
            observations[t] = obs
            mean, action = self.merchants.act(torch.from_numpy(observations[t].reshape(-1, size)))
            means.append(mean)
            actions.append(action)
            obs, rewards[t] = env.step(action.numpy().reshape(E, n, -1))
        returns = supertype_returns(
            rewards.sum(axis=0), env.agent_supertypes, env.supertype_space.supertypes
        )
        outcomes = np.concatenate([env.episode_outcomes(), returns], axis=1)
        return observations, torch.cat(means), torch.cat(actions), rewards, outcomes

    def run_stage(self):
        """One stage: ask, sample, both updates; returns the mean reward of the particles."""
        self.stage += 1
        state = torch.from_numpy(self.unit.astype(np.float32) * 2 - 1)
        mean, increment = self.calibrator.act(state)
        self.unit = np.clip(self.unit + 0.1 * increment.numpy(), 0, 1)
        observations, means, actions, rewards, outcomes = self.sample(self.unit)
        flat = torch.from_numpy(observations.reshape(len(means), -1))
        with torch.no_grad():
            values = self.merchants.value(flat).numpy().reshape(rewards.shape)
        targets = value_targets(rewards, values, 0.95, 0.9)
        self.merchants.update(
            flat, means, actions,
            torch.from_numpy((targets - values).ravel()), torch.from_numpy(targets.ravel()),
        )  # fmt: skip
        r = torch.from_numpy(self.targets.reward(outcomes).astype(np.float32))
        with torch.no_grad():
            baseline = self.calibrator.value(state).squeeze(-1)
        self.calibrator.update(state, mean, increment, r - baseline, r)
        return float(r.mean())
