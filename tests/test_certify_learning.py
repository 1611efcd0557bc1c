"""Certificates that must come out right: logit Bertrand competition, whose equilibrium is known.

With n merchants, no risk aversion, everyone connected to everyone and no way to leave, a merchant
that quotes the half-spread δ against δ0 of the others sells a share s(δ) = 1 / (1 + (n − 1)
exp((δ − δ0)/τ)) and earns s(δ)·δ; quotes at equilibrium are τ·n/(n − 1) = 0.25 for n = 5, τ = 0.2.
"""

from dataclasses import replace

import numpy as np
import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.certificates.certify import certify
from rllib_calsheq.certificates.config import CertificateConfig
from rllib_calsheq.envs import MarketConfig, MarketEnv

MERCHANTS, TEMPERATURE = 5, 0.2
EARLY, FINAL = 4, 300
CONFIG = CertificateConfig(
    seeds=1, budget=1536, batch=64, measurements=3, validation=256, fresh=512, settling=0
)


def env_config():
    fields = {
        "num_merchants": MERCHANTS, "episode_length": 15, "customers_per_cluster": 20,
        "choice_temperature": TEMPERATURE, "risk_aversion": 0.0, "outside_option": False,
        "reward_scale": 25.0,
    }  # fmt: skip
    names = MarketConfig(**fields).supertype_space.names
    supertypes = {name: 0.0 if name.endswith("variance") else 1.0 for name in names}
    return {**fields, "supertypes": supertypes}


def relative_gain(others):
    """Best relative gain of one merchant when all others quote the half-spread ``others``."""
    own = np.linspace(0.01, 0.99, 9_801)
    share = 1.0 / (1.0 + (MERCHANTS - 1) * np.exp((own - others) / TEMPERATURE))
    return (share * own).max() / (others / MERCHANTS) - 1.0


def action(half_spread):
    return (2.0 * half_spread - 1.0,) * 2


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bertrand")
    config = CALSHEQConfig().environment(MarketEnv, env_config=env_config())
    # So many that the noise of the learning itself is not what could be gained.
    config.calibration(calibrator={"name": "fixed"}, num_particles=64, lr_shared={"initial": 3e-3})
    algorithm = config.training(minibatch_size=512).build_algo()
    found = {}
    for stage in range(1, FINAL + 1):
        algorithm.train()
        if stage in (EARLY, FINAL):
            found[stage] = algorithm.save_to_path(folder / f"checkpoint_{stage:06d}")
    algorithm.stop()
    return found


def test_the_analytic_gain_vanishes_at_the_known_equilibrium_only():
    assert relative_gain(0.25) == pytest.approx(0.0, abs=1e-6)
    assert relative_gain(0.6) == pytest.approx(0.36, abs=0.01)


@pytest.mark.learning
def test_nobody_gains_by_leaving_the_learned_equilibrium(checkpoints, tmp_path):
    final = certify(checkpoints[FINAL], CONFIG, tmp_path / "final")
    assert final["relative_epsilon"] <= 0.01
    # An early policy is further from it, beyond both intervals.
    early = certify(checkpoints[EARLY], CONFIG, tmp_path / "early")
    assert early["epsilon_low"] / early["value"] > final["epsilon_high"] / final["value"]
    assert early["relative_epsilon"] > 0.05


@pytest.mark.learning
def test_a_profitable_deviation_is_found_and_its_gain_is_the_analytic_one(checkpoints, tmp_path):
    forced = certify(checkpoints[FINAL], replace(CONFIG, action=action(0.6)), tmp_path)
    assert forced["relative_epsilon"] == pytest.approx(relative_gain(0.6), rel=0.1)
    assert forced["kinds"]["scratch"]["relative_epsilon"] > 0.1


@pytest.mark.learning
def test_constant_quotes_at_the_known_equilibrium_pass(checkpoints, tmp_path):
    config = replace(CONFIG, action=action(0.25))
    assert certify(checkpoints[FINAL], config, tmp_path)["relative_epsilon"] <= 0.01
