"""Draws as ArviZ's InferenceData, for other tools to go on from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_calsheq.core.files import replacing

#: Chains that the draws, which are in random order, are dealt to.
CHAINS = 4


def write_netcdf(draws: Path, found: dict[str, Any], file: Path) -> None:
    """Writes the draws of an inference as netCDF.

    Args:
        draws: Its Parquet file.
        found: Its findings.
        file: Where to; its folder exists.

    Raises:
        ValueError: If ArviZ is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            import arviz
    except ImportError:
        raise ValueError(
            "netCDF needs ArviZ, which is not installed: pip install 'rllib-calsheq[infer]'"
        ) from None
    table = pd.read_parquet(draws)
    length = len(table) // CHAINS
    values = table.to_numpy()[: CHAINS * length].reshape(CHAINS, length, -1)
    targets = found["targets"]
    data = arviz.from_dict(
        posterior={"profile": values},
        observed_data={"target": np.array([t["target"] for t in targets])},
        coords={"parameter": list(table.columns), "outcome": [t["name"] for t in targets]},
        dims={"profile": ["parameter"], "target": ["outcome"]},
        attrs={key: str(found[key]) for key in ("command", "version", "seed", "targets_hash")},
    )
    with replacing(file) as unfinished:
        data.to_netcdf(str(unfinished))
