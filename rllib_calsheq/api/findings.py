"""What `Result.infer` and `Result.certify` found, as tables and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Findings:
    """What a further question to a run has found, in a JSON file of its folder.

    Attributes:
        findings: Everything that was found, as the file holds it.
    """

    findings: dict[str, Any]

    @property
    def path(self) -> Path:
        """The JSON file."""
        return Path(self.findings["folder"]) / self.findings["file"]


@dataclass(frozen=True)
class Inference(Findings):
    """Which profiles explain the targets of a run.

    Example:
        >>> from rllib_calsheq import load
        >>> result = load("my_city")
        >>> inference = result.infer(
        ...     waves=2, episodes=192, held_out=8, held_out_episodes=8, steps=100, relearned=0,
        ...     draws=200, progress=False,
        ... )
        >>> list(inference.parameters.columns[2:])
        ['low_50', 'high_50', 'low_90', 'high_90', 'knowledge']
        >>> inference.draws.shape
        (200, 2)
    """

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """What the targets say of each parameter that moves.

        Columns ``calibrated``, ``median``, ``low_50``, ``high_50``, ``low_90``, ``high_90`` in
        natural units, and ``knowledge``, a word; the index is the parameter's name.
        """
        rows = []
        for row in self.findings["parameters"]:
            cells = {"parameter": row["name"]}
            cells |= {key: row[key] for key in ("calibrated", "median")}
            for level, (low, high) in zip(
                self.findings["intervals"], row["intervals"], strict=True
            ):
                cells |= {f"low_{level:.0%}"[:-1]: low, f"high_{level:.0%}"[:-1]: high}
            rows.append({**cells, "knowledge": str(row["knowledge"])})
        return pd.DataFrame(rows).set_index("parameter")

    @cached_property
    def draws(self) -> pd.DataFrame:
        """Draws of the profiles: a row each, a column for each parameter, natural units."""
        from rllib_calsheq.inference.infer import load_draws

        return load_draws(Path(self.findings["folder"]) / self.findings["draws"])

    @property
    def in_words(self) -> list[str]:
        """The findings in sentences."""
        return list(self.findings["in_words"])

    def __str__(self) -> str:
        return "\n".join(self.in_words)

    def _repr_html_(self) -> str:
        return str(self.parameters.to_html())


@dataclass(frozen=True)
class Certificate(Findings):
    """How much one agent could gain by deviating from the shared policy (Definition 1).

    Example:
        >>> from rllib_calsheq import load
        >>> result = load("my_city")
        >>> certificate = result.certify(
        ...     seeds=1, budget=16, batch=8, measurements=1, validation=8, fresh=8, settling=0,
        ...     progress=False,
        ... )
        >>> certificate.interval[0] <= certificate.epsilon <= certificate.interval[1]
        True
        >>> list(certificate.gains.index)
        ['suburbs', 'inside']
    """

    @property
    def epsilon(self) -> float:
        """ε: the largest gain of one deviating agent that was found, in units of its return."""
        return float(self.findings["epsilon"])

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of ε."""
        return float(self.findings["epsilon_low"]), float(self.findings["epsilon_high"])

    @property
    def relative_epsilon(self) -> float | None:
        """ε as a fraction of the agents' value; None where that is 0."""
        return _float(self.findings["relative_epsilon"])

    @property
    def lag_gap(self) -> float | None:
        """What of the fit goes when the policy is trained on; None where it was not measured."""
        return _float(self.findings["lag_gap"])

    @property
    def statement(self) -> str:
        """The certificate in a sentence."""
        return str(self.findings["statement"])

    @cached_property
    def gains(self) -> pd.DataFrame:
        """``gain`` and its interval, ``low`` and ``high``, of an agent of each supertype."""
        rows = {
            name: {"gain": row["gain"], "low": row["epsilon_low"], "high": row["epsilon_high"]}
            for name, row in self.findings["per_supertype"].items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("supertype")

    def __str__(self) -> str:
        return self.statement

    def _repr_html_(self) -> str:
        return f"<p>{self.statement}</p>{self.gains.to_html()}"


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
