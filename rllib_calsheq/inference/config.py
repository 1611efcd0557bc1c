"""What an inference is asked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rllib_calsheq.core.configuration import (
    Count,
    NonNegative,
    NonNegativeInt,
    configuration,
)
from rllib_calsheq.core.defaults import CONFIDENCE


@configuration
class InferenceConfig:
    """The fields of an inference.

    Example:
        >>> from rllib_calsheq import InferenceConfig
        >>> InferenceConfig(waves=3, discrepancy=0.1).episodes
        4096

    Attributes:
        waves: Rounds of simulation, each at profiles that those before have not ruled out; at
            least 2, the first being drawn from the prior.
        episodes: Episodes of a wave, one at each of so many profiles.
        held_out: Profiles that the emulator is judged at.
        held_out_episodes: Episodes at each of them.
        steps: Steps of each walker that samples the set.
        relearned: Profiles of the set at which the shared policy is trained on, to learn how far
            what the frozen policy shows is from equilibrium; 0 for none.
        settling: Stages that it is trained on there.
        settled_episodes: Episodes that are compared there, before and after.
        discrepancy: Standard deviation, in scales of the targets, of what the model leaves out.
        confidence: Joint confidence at which a profile belongs to the second eligibility set.
        draws: Draws of the posterior that are kept.
        seed: Seed of everything.
    """

    waves: Annotated[int, Field(ge=2)] = 5
    episodes: Count = 4096
    held_out: Annotated[int, Field(ge=2)] = 96
    held_out_episodes: Annotated[int, Field(ge=2)] = 32
    steps: Annotated[int, Field(ge=10)] = 1500
    relearned: NonNegativeInt = 20
    settling: Count = 20
    settled_episodes: Annotated[int, Field(ge=2)] = 256
    discrepancy: NonNegative = 0.0
    confidence: Annotated[float, Field(gt=0, lt=1)] = CONFIDENCE
    draws: Count = 4000
    seed: NonNegativeInt = 0
