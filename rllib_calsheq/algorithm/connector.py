"""The learner connector of the array path: from rollout blocks to PPO's train batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.advantages import value_targets
from rllib_calsheq.rollout import RolloutBlock

#: As in RLlib's own estimator: advantages are not divided by less than this.
MIN_ADVANTAGE_STD = 1e-4
#: Rows of one value pass.
ROWS_AT_ONCE = 1 << 14


class BlocksToBatch(ConnectorV2):
    """Value pass, GAE and flattening of rollout blocks; stands for RLlib's default pipeline.

    Args:
        module_id: Module that all agents share.
        gamma: Discount factor.
        lambda_: λ of GAE.
        device: Where the learner's module lives.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        module_id: str,
        gamma: float,
        lambda_: float,
        device: Any = None,
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self.module_id = module_id
        self.gamma = gamma
        self.lambda_ = lambda_
        self.device = device

    def __call__(
        self,
        *,
        rl_module: MultiRLModule,
        batch: dict[str, Any],
        episodes: list[RolloutBlock],
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Returns ``{module_id: columns}`` with one row an agent step.

        Advantages are standardised over the batch, as RLlib's own estimator does.
        """
        module = rl_module[self.module_id].unwrapped()
        columns: dict[str, list[torch.Tensor]] = {}
        for block in filter(len, episodes):
            for key, value in self._columns(module, block).items():
                columns.setdefault(key, []).append(value)
        merged = {k: torch.cat(v) if len(v) > 1 else v[0] for k, v in columns.items()}
        advantages = merged[Postprocessing.ADVANTAGES]
        deviation = float(advantages.std(unbiased=False))
        merged[Postprocessing.ADVANTAGES] = (advantages - advantages.mean()) / max(
            MIN_ADVANTAGE_STD, deviation
        )
        return {self.module_id: merged}

    def _columns(self, module: Any, block: RolloutBlock) -> dict[str, torch.Tensor]:
        rows = block.agent_steps()

        def flat(array: np.ndarray, axes: int = 3) -> torch.Tensor:
            # What comes out of Ray's object store is read-only, which torch does not take.
            rows_first = np.require(array.reshape(rows, *array.shape[axes:]), requirements="W")
            return torch.from_numpy(rows_first).to(self.device)

        observations = flat(block.observations)
        with torch.no_grad():
            # In parts: the hidden layers of many agents' steps would not fit into memory.
            parts = [
                module.compute_values({Columns.OBS: part}).cpu()
                for part in observations.split(ROWS_AT_ONCE)
            ]
        values = torch.cat(parts).numpy().reshape(block.rewards.shape)
        targets = value_targets(block.rewards, values, self.gamma, self.lambda_)
        return {
            Columns.OBS: observations,
            Columns.ACTIONS: flat(block.actions),
            Columns.ACTION_DIST_INPUTS: flat(block.action_dist_inputs),
            Columns.ACTION_LOGP: flat(block.action_logp),
            Postprocessing.ADVANTAGES: flat(targets - values),
            Postprocessing.VALUE_TARGETS: flat(targets),
        }
