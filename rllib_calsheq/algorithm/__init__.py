"""CALSHEQ as an RLlib algorithm."""

from ray.tune.registry import register_trainable

from rllib_calsheq.algorithm.calsheq import CALSHEQ
from rllib_calsheq.algorithm.config import SHARED_POLICY, CALSHEQConfig

register_trainable("CALSHEQ", CALSHEQ)

__all__ = ["CALSHEQ", "SHARED_POLICY", "CALSHEQConfig"]
