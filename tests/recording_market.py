"""The market with its trades written down, for tests that look at single trades."""

import numpy as np

from rllib_calsheq.envs import ArrayMarket


class RecordingMarket(ArrayMarket):
    """Keeps (episode, merchant, quantity) of every trade since the last reset."""

    def reset(self, profiles, seeds):
        self.recorded = []
        return super().reset(profiles, seeds)

    def _record(self, episode, merchant, rank):
        self.recorded.append((episode, merchant, self._distinct[rank]))
        super()._record(episode, merchant, rank)

    def trades(self):
        """Episode, merchant and quantity of every trade, three flat arrays."""
        return tuple(np.concatenate(part) for part in zip(*self.recorded, strict=True))
