"""A study's CSV files, read back for its figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from rllib_calsheq.experiments.drawing import Look, looks_of
from rllib_calsheq.experiments.tables import FINAL, GOALS, PARAMETERS, RECOVERY, STAGES
from rllib_calsheq.results.families import UNBOUNDED, Bounds


@dataclass(frozen=True)
class StudyTables:
    """A study's CSV files.

    Attributes:
        stages: `stages.csv`, of the runs at the configuration's own learning rates.
        parameters: `parameters.csv` of them.
        recovery: `recovery.csv` of them.
        goals: `goals.csv`.
        rates: `final.csv` of the runs that compare learning rates; may be empty.
        rate_stages: `stages.csv` of these.
    """

    stages: pd.DataFrame
    parameters: pd.DataFrame
    recovery: pd.DataFrame
    goals: pd.DataFrame
    rates: pd.DataFrame
    rate_stages: pd.DataFrame

    @classmethod
    def load(cls, folder: Path) -> StudyTables:
        """Reads the files.

        Raises:
            ValueError: If one is missing.
        """
        frames = {}
        for name in (STAGES, PARAMETERS, RECOVERY, FINAL, GOALS):
            file = folder / name
            if not file.is_file():
                raise ValueError(
                    f"there is no {name} in {folder}: give the folder that `calsheq experiment` "
                    "wrote its tables to"
                )
            frames[name] = pd.read_csv(file)
        plain, rates = {}, {}
        for name in (STAGES, PARAMETERS, RECOVERY, FINAL):
            frame = frames[name]
            swept = frame["lr_ratio"].notna() if "lr_ratio" in frame else frame["seed"] < 0
            plain[name], rates[name] = frame[~swept], frame[swept]
        return cls(
            stages=plain[STAGES],
            parameters=plain[PARAMETERS],
            recovery=plain[RECOVERY],
            goals=frames[GOALS],
            rates=rates[FINAL],
            rate_stages=rates[STAGES],
        )

    @property
    def settings(self) -> list[int]:
        """Settings with runs at the configuration's own rates."""
        return sorted(int(s) for s in self.stages["setting"].unique())

    @cached_property
    def looks(self) -> dict[str, Look]:
        """A look for each calibrator of the study."""
        return looks_of(self.stages["calibrator"])

    def goal(self, setting: int, kind: str, name: str, column: str = "value") -> float | None:
        """The value of a goal, or another column of `goals.csv`; None where there is none."""
        goals = self.goals
        found = goals[(goals["setting"] == setting) & (goals["kind"] == kind)]
        # Tables of an earlier version lack some of the columns.
        values = found.loc[found["name"] == name].reindex(columns=[column])[column].dropna()
        return float(values.iloc[0]) if len(values) else None

    def within(self, setting: int, target: str) -> float | None:
        """How far from a target it is met, in the outcome's unit; None where that is not known."""
        scale, tolerance = (
            self.goal(setting, "target", target, name) for name in ("scale", "tolerance")
        )
        return None if scale is None or tolerance is None else scale * tolerance

    def bounds(self, setting: int, parameter: str) -> Bounds:
        """Bounds of a parameter; infinite where they are not known."""
        found = [self.goal(setting, "parameter", parameter, end) for end in ("low", "high")]
        low, high = (
            end if value is None else value for end, value in zip(UNBOUNDED, found, strict=True)
        )
        return low, high

    def tolerances(self, setting: int) -> list[float]:
        """The different tolerances of a setting's targets, in scales."""
        targets = self.names(setting, "target")
        found = {self.goal(setting, "target", name, "tolerance") for name in targets}
        return sorted(tolerance for tolerance in found if tolerance is not None)

    @property
    def is_judged(self) -> bool:
        """Whether the judge saw any of the measured stages."""
        return "worst_miss" in self.recovery and bool(self.recovery["worst_miss"].notna().any())

    def names(self, setting: int, kind: str) -> list[str]:
        """Names of a setting's goals of a kind."""
        found = self.goals[(self.goals["setting"] == setting) & (self.goals["kind"] == kind)]
        return [str(name) for name in found["name"]]
