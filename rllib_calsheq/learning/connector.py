"""The learner connector of the array path: from rollout blocks to PPO's train batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_calsheq.learning.advantages import value_targets
from rllib_calsheq.learning.all_learners import sum_over_learners
from rllib_calsheq.learning.ray_private.access import sampling_pass
from rllib_calsheq.learning.rollout import RolloutBlock

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
        one_of_several: Whether other learners have other parts of the same data.
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
        one_of_several: bool = False,
    ) -> None:
        super().__init__(input_observation_space, input_action_space)
        self.module_id = module_id
        self.gamma = gamma
        self.lambda_ = lambda_
        self.device = device
        self.one_of_several = one_of_several

    def __call__(
        self,
        *,
        rl_module: MultiRLModule,
        batch: dict[str, Any],
        episodes: list[RolloutBlock],
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Returns ``{module_id: columns}`` with one row an agent step.

        Advantages are standardised over the batch, as RLlib's own estimator does; of several
        learners, over all of them. One that got no episode gets a row that stands for none.
        """
        module = rl_module[self.module_id].unwrapped()
        columns: dict[str, list[torch.Tensor]] = {}
        for block in filter(len, episodes):
            for key, value in self._columns(module, block).items():
                columns.setdefault(key, []).append(value)
        merged = {k: torch.cat(v) if len(v) > 1 else v[0] for k, v in columns.items()}
        advantages = merged.get(Postprocessing.ADVANTAGES, torch.zeros(0, device=self.device))
        advantages = self._standardised(advantages)
        if not merged:
            return {self.module_id: self._stand_in(module)}
        return {self.module_id: merged | {Postprocessing.ADVANTAGES: advantages}}

    def _standardised(self, advantages: torch.Tensor) -> torch.Tensor:
        """Advantages of mean 0 and standard deviation 1, over all learners' rows."""
        if not self.one_of_several:
            mean, deviation = advantages.mean(), float(advantages.std(unbiased=False))
        else:
            exact = advantages.double()
            rows, total = sum_over_learners([len(exact), float(exact.sum())], self.device)
            centre = total / max(rows, 1)
            squares = float(torch.square(exact - centre).sum())
            (squares,) = sum_over_learners([squares], self.device)
            mean, deviation = torch.tensor(centre).to(advantages), (squares / max(rows, 1)) ** 0.5
        return (advantages - mean) / max(MIN_ADVANTAGE_STD, deviation)

    def _stand_in(self, module: Any) -> dict[str, torch.Tensor]:
        """One row of zeros: a learner's steps are the same in number whatever its rows.

        The learner weighs it with the rows that it stands for, which are none.
        """

        def zeros(space: Any) -> torch.Tensor:
            return torch.from_numpy(np.zeros((1, *space.shape), space.dtype)).to(self.device)

        observations = zeros(module.observation_space)
        with torch.no_grad():
            outputs = sampling_pass(module)({Columns.OBS: observations})
        nothing = torch.zeros(1, device=self.device)
        return {
            Columns.OBS: observations,
            Columns.ACTIONS: zeros(module.action_space),
            Columns.ACTION_DIST_INPUTS: outputs[Columns.ACTION_DIST_INPUTS],
            Columns.ACTION_LOGP: nothing,
            Postprocessing.ADVANTAGES: nothing,
            Postprocessing.VALUE_TARGETS: nothing,
        }

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
