"""Calibrators as a user would write them, found by their dotted paths."""

from typing import ClassVar

import numpy as np

from rllib_calsheq import Calibrator
from rllib_calsheq.core.configuration import Fraction, configuration


@configuration
class WalkConfig:
    step: Fraction = 0.1


class Walk(Calibrator):
    """Particles walk at random; each goes back where its reward was best."""

    config_class = WalkConfig
    label = "random walk"
    colour = "#123456"

    def __init__(self, start, num_particles, targets, seed, config):
        super().__init__(start, num_particles, targets, seed)
        self.config = config
        self._best = np.zeros(num_particles)
        self._kept = self.profiles.copy()

    def _propose(self):
        return self._kept + self.config.step * self.rng().standard_normal(self._kept.shape)

    def _learn(self, particles, rewards, outcomes):
        better = particles[rewards > self._best[particles]]
        self._best[particles] = np.fmax(rewards, self._best[particles])
        self._kept[better] = self.profiles[better]
        return {"best": float(self._best.mean())}

    def state_dict(self):
        return super().state_dict() | {"best": self._best.copy(), "kept": self._kept.copy()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._best, self._kept = np.array(state["best"]), np.array(state["kept"])


class Plain(Calibrator):
    """It has no fields, and no label or colour of its own."""

    def _propose(self):
        return self.rng().random(self.profiles.shape)

    def _learn(self, particles, rewards, outcomes):
        return {}


@configuration
class RateConfig:
    learning_rate: Fraction = 0.1


class OwnRate(Plain):
    """It has a rate that no schedule sets."""

    config_class: ClassVar[type | None] = RateConfig

    def __init__(self, start, num_particles, targets, seed, config):
        super().__init__(start, num_particles, targets, seed)


@configuration
class DrawnConfig:
    """It says that its calibrator pulls to a prior."""

    uses_prior: ClassVar[bool] = True


class Drawn(Plain):
    """It goes where the user expects the parameters."""

    config_class: ClassVar[type | None] = DrawnConfig

    def __init__(self, start, num_particles, targets, seed, config):
        super().__init__(start, num_particles, targets, seed)

    def _propose(self):
        return np.tile(self.prior.mean, (self.num_particles, 1))


class Unfinished(Calibrator):
    def _propose(self):
        return self.profiles


class Discoloured(Plain):
    colour: ClassVar[str | None] = "blueish"


class Fieldless(Plain):
    config_class: ClassVar[type | None] = dict


class NoCalibrator:
    pass
