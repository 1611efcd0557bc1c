"""What the Bayesian calibrators need of BoTorch: fit a Gaussian process, search a box."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from botorch.acquisition import AcquisitionFunction
from botorch.exceptions.errors import ModelFittingError
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood

from rllib_calsheq.calibrators.bayesian.config import BayesianConfig
from rllib_calsheq.core.supertypes import FloatArray

#: The stage of a trial is an input of the model, on a scale on which the first stages, in
#: which the agents learn most, are further apart: log2(1 + stage / this).
AGE_SCALE = 20.0
#: Smallest variance of an observation, as a part of the variance between trials, and at all.
MIN_NOISE, MIN_VARIANCE = 1e-4, 1e-10
#: Iterations of the fit and of the search for the next profile, at most.
FIT_ITERATIONS, SEARCH_ITERATIONS = 60, 40
#: Half of the raw samples are drawn around the best profiles; standard deviation of the
#: largest steps, as a part of the box's sides. The smallest are a tenth of it.
STEP = 0.1


def with_age(profiles: FloatArray, stages: FloatArray | float) -> torch.Tensor:
    """Inputs (n, d + 1) of the model: profiles (n, d), unit cube, and their stages (n,)."""
    age = np.broadcast_to(np.log2(1.0 + np.asarray(stages) / AGE_SCALE), len(profiles))
    return torch.from_numpy(np.concatenate([profiles, age[:, None]], axis=1))


def fit_model(inputs: torch.Tensor, means: FloatArray, variances: FloatArray) -> SingleTaskGP:
    """Independent Gaussian processes of several values, with BoTorch's priors for many inputs.

    Args:
        inputs: Shape (n, d + 1).
        means: Observed values, shape (n, V), finite.
        variances: Their squared standard errors, shape (n, V).
    """
    noise = np.maximum(variances, MIN_NOISE * means.var(axis=0) + MIN_VARIANCE)

    def untrained() -> SingleTaskGP:
        # Matérn 5/2: with outcomes of the market it predicted better than RBF, BoTorch's default.
        batch = [] if means.shape[1] == 1 else [means.shape[1]]
        kernel = get_covar_module_with_dim_scaled_prior(
            inputs.shape[1], torch.Size(batch), use_rbf_kernel=False
        )
        values = torch.from_numpy(means), torch.from_numpy(noise)
        return SingleTaskGP(inputs, *values, covar_module=kernel)

    model = untrained()
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    try:
        fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": FIT_ITERATIONS}})
    except ModelFittingError:
        # The modes of the priors, which the fit starts at, are a usable model.
        model = untrained()
        model.eval()
    return model


def maximise(
    acquisition: AcquisitionFunction,
    low: FloatArray,
    high: FloatArray,
    best: FloatArray,
    stage: int,
    config: BayesianConfig,
    rng: np.random.Generator,
) -> FloatArray:
    """The profile (d,) of the largest acquisition in a box.

    BoTorch's own starts around the best points ignore a box smaller than the cube; these do
    not.

    Args:
        acquisition: Acquisition function of inputs (b, 1, d + 1).
        low: Lower corner of the box, shape (d,).
        high: Upper corner, shape (d,).
        best: Profiles that half of the raw samples are drawn around, shape (k, d).
        stage: The stage that the profile is for.
        config: Numbers of raw samples and of restarts.
        rng: Generator of the raw samples.
    """
    dim, samples = len(low), config.raw_samples
    around = samples // 2
    sobol = torch.quasirandom.SobolEngine(dim, scramble=True, seed=int(rng.integers(2**31)))
    spread = low + (high - low) * sobol.draw(samples - around, dtype=torch.float64).numpy()
    steps = STEP * 10.0 ** -rng.random((around, 1)) * rng.standard_normal((around, dim))
    near = best[rng.integers(len(best), size=around)] + (high - low) * steps
    raw = with_age(np.clip(np.concatenate([spread, near]), low, high), float(stage))
    with torch.no_grad():
        values = acquisition(raw[:, None])
    starts = raw[torch.argsort(values, descending=True, stable=True)[: config.num_restarts]]
    age = float(raw[0, -1])
    bounds = torch.from_numpy(np.stack([np.append(low, age), np.append(high, age)]))
    found, _ = optimize_acqf(
        acquisition,
        bounds,
        q=1,
        num_restarts=len(starts),
        batch_initial_conditions=starts[:, None],
        fixed_features={dim: age},
        options={"maxiter": SEARCH_ITERATIONS},
        retry_on_optimization_warning=False,
    )
    return np.clip(found[0, :dim].numpy(), low, high)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator starts at ``seed`` within, and is as before afterwards.

    BoTorch's warnings about single fits and searches, which it recovers from, are left out.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(seed)
        yield
