"""The gradient of RLlib's PPO loss with respect to what the networks put out, in closed form.

For diagonal Gaussian policies. With a ratio r = π(a)/π_old(a), an advantage A and M rows, the
loss is the mean over rows of

    −min(A r, A clip(r, 1−ε, 1+ε)) + c_v min((v − R)², v_clip) − c_H H(π) + β KL(π_old ‖ π).

RLlib builds it from torch distributions and differentiates it automatically, some fifty small
operations that take as long as a network of this size does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian
from ray.rllib.evaluation.postprocessing import Postprocessing

LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class PPOTerms:
    """Coefficients of the loss.

    Attributes:
        clip: ε, clipping range of the ratio.
        kl_coefficient: β.
        entropy_coefficient: c_H.
        value_coefficient: c_v.
        value_clip: v_clip.
    """

    clip: float
    kl_coefficient: float
    entropy_coefficient: float
    value_coefficient: float
    value_clip: float


def has_closed_form(module: Any) -> bool:
    """Whether a module's loss is the one above: RLlib's own module, a Gaussian, no memory."""
    return (
        isinstance(module, DefaultPPOTorchRLModule)
        and module.get_train_action_dist_cls() is TorchDiagGaussian
        and module.get_exploration_action_dist_cls() is TorchDiagGaussian
        and not module.is_stateful()
    )


def ppo_gradient(
    terms: PPOTerms,
    rows: Mapping[str, torch.Tensor],
    logits: torch.Tensor,
    values: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """Gradients of the loss with respect to logits (M, 2k) and, if given, values (M,).

    Args:
        terms: Coefficients of the loss.
        rows: RLlib's columns, M rows: actions (M, k), their log-probability (M,), the logits
            (M, 2k) they were drawn from, advantages (M,) and value targets (M,).
        logits: Means and log standard deviations (M, 2k) of the policy now.
        values: Value predictions (M,) now.
    """
    M = len(logits)
    mean, log_std = logits.chunk(2, dim=-1)
    old_mean, old_log_std = rows[Columns.ACTION_DIST_INPUTS].chunk(2, dim=-1)
    actions, advantages = rows[Columns.ACTIONS], rows[Postprocessing.ADVANTAGES]
    precision = torch.exp(-log_std)
    z = (actions - mean) * precision
    z_squared = z.square()
    log_prob = (z_squared * -0.5 - log_std - LOG_SQRT_2_PI).sum(dim=-1)
    gain = advantages * torch.exp(log_prob - rows[Columns.ACTION_LOGP])
    # The clipped branch of the minimum has no gradient. Written so that a NaN stays one.
    clipped = gain > advantages + terms.clip * advantages.abs()
    by_log_prob = gain.masked_fill(clipped, 0.0)[:, None] * (-1.0 / M)
    by_mean = by_log_prob * z * precision
    by_log_std = by_log_prob * (z_squared - 1.0)

    if terms.kl_coefficient:
        weight = terms.kl_coefficient / M
        shift = (mean - old_mean) * precision
        by_mean += weight * shift * precision
        spread = torch.exp(old_log_std) * precision
        by_log_std += weight * (1.0 - spread.square() - shift.square())
    if terms.entropy_coefficient:
        by_log_std -= terms.entropy_coefficient / M
    by_logits = torch.cat([by_mean, by_log_std], dim=-1)
    if values is None:
        return (by_logits,)
    error = values - rows[Postprocessing.VALUE_TARGETS]
    by_values = error.masked_fill(error.square() > terms.value_clip, 0.0)
    return by_logits, by_values * (2.0 * terms.value_coefficient / M)
