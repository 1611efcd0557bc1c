"""Calibration of shared equilibria (CALSHEQ) as an RLlib plugin.

The public names are below. Each is loaded when it is first asked for, so that importing the
package loads neither Ray nor Torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from rllib_calsheq.core.checkout import find_beside
from rllib_calsheq.core.lazy import lazy_names
from rllib_calsheq.core.version import __version__

if TYPE_CHECKING:
    from rllib_calsheq.algorithm.calsheq import CALSHEQ
    from rllib_calsheq.algorithm.config import CALSHEQConfig
    from rllib_calsheq.api.calibrate import calibrate, load
    from rllib_calsheq.api.findings import Certificate, Inference
    from rllib_calsheq.api.result import Result
    from rllib_calsheq.certificates.certify import certify
    from rllib_calsheq.certificates.config import CertificateConfig
    from rllib_calsheq.conformance.plain import check_environment
    from rllib_calsheq.core.calibrator import Calibrator
    from rllib_calsheq.core.protocol import ArrayEnv, CalibratableEnv
    from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
    from rllib_calsheq.core.targets import Outcome, Target, TargetSet
    from rllib_calsheq.data.target_files import TargetFile
    from rllib_calsheq.envs.adapters import PlayedEpisode, from_multi_agent_env, from_pettingzoo
    from rllib_calsheq.envs.market.env import MarketEnv
    from rllib_calsheq.envs.one_episode import OneEpisodeEnv
    from rllib_calsheq.inference.config import InferenceConfig
    from rllib_calsheq.inference.infer import infer
    from rllib_calsheq.results.evaluation import evaluate


find_beside(__name__, Path(__file__).resolve().parent, ("envs", "callbacks"))

__all__ = [
    "CALSHEQ",
    "ArrayEnv",
    "CALSHEQConfig",
    "CalibratableEnv",
    "Calibrator",
    "Certificate",
    "CertificateConfig",
    "Inference",
    "InferenceConfig",
    "MarketEnv",
    "OneEpisodeEnv",
    "Outcome",
    "Parameter",
    "PlayedEpisode",
    "Result",
    "SupertypeSpace",
    "Target",
    "TargetFile",
    "TargetSet",
    "__version__",
    "calibrate",
    "certify",
    "check_environment",
    "evaluate",
    "from_multi_agent_env",
    "from_pettingzoo",
    "infer",
    "load",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CALSHEQ": "algorithm.calsheq",
        "ArrayEnv": "core.protocol",
        "CALSHEQConfig": "algorithm.config",
        "CalibratableEnv": "core.protocol",
        "Calibrator": "core.calibrator",
        "Certificate": "api.findings",
        "CertificateConfig": "certificates.config",
        "Inference": "api.findings",
        "InferenceConfig": "inference.config",
        "MarketEnv": "envs.market.env",
        "OneEpisodeEnv": "envs.one_episode",
        "Outcome": "core.targets",
        "Parameter": "core.supertypes",
        "PlayedEpisode": "envs.adapters",
        "Result": "api.result",
        "SupertypeSpace": "core.supertypes",
        "Target": "core.targets",
        "TargetFile": "data.target_files",
        "TargetSet": "core.targets",
        "calibrate": "api.calibrate",
        "certify": "certificates.certify",
        "check_environment": "conformance.plain",
        "evaluate": "results.evaluation",
        "from_multi_agent_env": "envs.adapters",
        "from_pettingzoo": "envs.adapters",
        "infer": "inference.infer",
        "load": "api.calibrate",
    },
)
