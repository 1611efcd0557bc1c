"""CALSHEQ's outer loop (algorithm 1), without Ray: ask, hand out profiles, tell, keep score.

`Calibration` is everything of a run that is not the merchants' policy: the calibrator, its
particles and who samples them, the learning rates by stage, and the calibrated profile.
The RLlib callback drives it; the algorithm checkpoints its `state_dict`.

Stages are numbered m = 1, 2, ...: stage m is the one that is being played, and m − 1 stages are
finished meanwhile. Learning rates are functions of the number of finished stages, so that stage 1
has the initial ones; results and checkpoints are named by it, too. A checkpoint of m − 1 finished
stages holds the profiles of stage m, from which a run goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from rllib_calsheq.core.absences import ABSENCES, absence_text
from rllib_calsheq.core.calibrator import Calibrator
from rllib_calsheq.core.outcomes import OutcomeColumns, return_name
from rllib_calsheq.core.parameter_map import ParameterMap
from rllib_calsheq.core.particles import (
    ParticleAssignment,
    StageReport,
    SupertypeTable,
    merge_reports,
)
from rllib_calsheq.core.supertypes import FloatArray
from rllib_calsheq.core.targets import TargetSet, pool
from rllib_calsheq.core.timescales import LearningRate
from rllib_calsheq.core.verdict import judge
from rllib_calsheq.core.version import __version__

logger = logging.getLogger(__name__)

#: Key of the calibration's numbers in a training result.
CALIBRATION_RESULTS = "calibration"
#: Form of `Calibration.state_dict`; version 0.1.0 wrote none into it.
STATE_FORMAT = 2
#: Stages in a row in which all targets are met, until a run that is to stop then is done.
STAGES_UNTIL_DONE = 10
#: Stages in a row without any outcome after which the run stops.
MAX_EMPTY_STAGES = 3
#: The calibrated profile averages over at most this part of the stages so far, so that early in a
#: run it does not hold the start.
LARGEST_WINDOW = 0.25


class NoOutcomesError(RuntimeError):
    """There was nothing to learn from for several stages."""


class Calibration:
    """The state of one calibration and its step from stage to stage.

    Args:
        parameters: Which of the d parameters the calibrator moves, and what the others are.
        columns: What the outcome vectors hold.
        targets: The targets; its reward is r_cal.
        calibrator: The calibrator that moves the B particles.
        lr_shared: Learning rate schedule of the shared policy.
        lr_cal: Learning rate schedule of the calibrator.
        num_workers: Remote env runners; 0 when the driver samples by itself.
        profile_window: Stages over which the calibrated profile Λ̂ averages, at most; nor are they
            more than the last quarter.
    """

    def __init__(
        self,
        *,
        parameters: ParameterMap,
        columns: OutcomeColumns,
        targets: TargetSet,
        calibrator: Calibrator,
        lr_shared: LearningRate,
        lr_cal: LearningRate,
        num_workers: int,
        profile_window: int = 50,
    ) -> None:
        self.parameters = parameters
        #: The environment's space, its start Λ_0.
        self.space = parameters.space
        self.columns = columns
        self.targets = targets
        self.calibrator = calibrator
        self.lr_shared = lr_shared
        self.lr_cal = lr_cal
        self.assignment = ParticleAssignment(calibrator.num_particles, num_workers)
        self._recent: deque[FloatArray] = deque(maxlen=profile_window)
        self._empty_stages = 0
        #: Stages in a row in which no target's outcome happened.
        self._unseen_stages = 0
        #: Largest |ΔΛ| of any parameter of any particle in this stage's proposal, unit cube.
        self._largest_move = float("nan")
        self._stages_all_met = 0
        #: That of the table of this stage, which reports must carry.
        self._version: int | None = None

    # --- a stage ----------------------------------------------------------------------

    @property
    def stage(self) -> int:
        """The stage m that is being sampled, or was last; 0 before the first."""
        return self.calibrator.stage

    @property
    def finished_stages(self) -> int:
        """Stages that were played and learned from: m − 1 while stage m is being sampled."""
        return self.calibrator.finished_stages

    def begin_stage(self) -> SupertypeTable:
        """Asks the calibrator for the stage's profiles; the same again if they are unanswered."""
        asked, before = self.stage, self.calibrator.profiles.copy()
        unit = self.calibrator.ask()
        if self.stage > asked:
            self._largest_move = float(np.abs(unit - before).max())
        table = SupertypeTable(
            stage=self.stage,
            profiles=self.parameters.expand(unit),
            workers=self.assignment.workers(),
            seed=self.calibrator.seed,
        )
        self._version = table.version
        return table

    def end_stage(
        self,
        reports: Iterable[StageReport],
        failures: Mapping[int, str] = MappingProxyType({}),
        limit: float | None = None,
    ) -> dict[str, Any]:
        """Tells the calibrator what came of the stage and returns the numbers to log.

        Particles without a report are masked: they teach nothing and keep their profile.

        Args:
            reports: What the env runners reported.
            failures: ``{worker: why}`` of those that cannot have answered; any other one that did
                not is slow.
            limit: Seconds that they were waited for; None when without end.

        Raises:
            NoOutcomesError: After `MAX_EMPTY_STAGES` stages in a row without a report, or
                without an outcome of any target.
            BadEnvironmentError: If a report says that the environment is at fault.
        """
        given = list(reports)
        # A runner that missed the last broadcast, or answered too late, has played other profiles.
        reports = [r for r in given if r.fault or r.answers(self.stage, self._version)]
        stale = len(given) - len(reports)
        missing = self.assignment.record(r.worker for r in reports)
        # What was reported of another stage is counted instead.
        absent = absence_text(
            {w: k for w, k in missing.items() if w not in {r.worker for r in given}},
            failures,
            limit,
            self.assignment.lost(),
        )
        if absent:
            logger.warning("stage %d: %s", self.stage, absent)
        particles, outcomes = merge_reports(
            reports, self.stage, self.calibrator.num_particles, self.columns
        )
        dropped = [why for r in reports for why in r.dropped]
        if dropped:
            logger.warning("%d episodes dropped, of which the first: %s", len(dropped), dropped[0])
        self._require_outcomes(outcomes, dropped, absent)
        unit = self.calibrator.profiles.copy()
        finished = self.finished_stages
        self.calibrator.set_learning_rate(self.lr_cal.at(finished))
        rewards = self.targets.reward(outcomes)
        learned = self.calibrator.tell(particles, rewards, outcomes, self.stage)
        counts: dict[str, Any] = {"dropped_episodes": len(dropped), "stale_reports": stale}
        counts |= {ABSENCES: absent} if absent else {}
        if not len(particles):
            return {"stage": self.stage, "num_particles": 0, **counts}
        self._recent.append(unit.mean(axis=0))
        metrics = self._metrics(unit, rewards, outcomes, learned)
        return metrics | counts | {"lr_shared_scheduled": self.lr_shared.at(finished)}

    def _require_outcomes(self, outcomes: FloatArray, dropped: Sequence[str], absent: str) -> None:
        """Stops a run that has nothing to learn from, `MAX_EMPTY_STAGES` stages in a row."""
        self._empty_stages = 0 if len(outcomes) else self._empty_stages + 1
        wanted = outcomes[:, self.targets.index]
        nothing = bool(wanted.size) and bool(np.isnan(wanted).all())
        self._unseen_stages = self._unseen_stages + 1 if nothing else 0
        if self._empty_stages >= MAX_EMPTY_STAGES:
            cause = (
                f"all episodes were dropped, the last one for: {dropped[-1]}. Mend the environment"
                if dropped
                else f"{absent or 'all reports were of other stages'}. Once the cause is gone, go "
                "on from the last checkpoint (--resume)"
            )
            raise NoOutcomesError(
                f"no env runner has reported an outcome for {self._empty_stages} stages in a row "
                f"(stage {self.stage}): {cause}"
            )
        if self._unseen_stages >= MAX_EMPTY_STAGES:
            names = [target.outcome for target in self.targets.targets]
            raise NoOutcomesError(
                f"none of the targets' outcomes happened in any episode for {self._unseen_stages} "
                f"stages in a row (stage {self.stage}): {names} are NaN for all {len(outcomes)} "
                "particles, so that every profile scores 0. Look at what the environment's "
                "episode_outcomes() gives, or start where they do happen (env_config.supertypes)"
            )

    def _metrics(
        self,
        unit: FloatArray,
        rewards: FloatArray,
        outcomes: FloatArray,
        learned: Mapping[str, float],
    ) -> dict[str, Any]:
        pooled = pool(outcomes)
        profiles = self.parameters.expand(unit)
        means, deviations = profiles.mean(axis=0).tolist(), profiles.std(axis=0).tolist()
        spread = _nanstd(outcomes)
        numbers = {
            name: {"mean": float(pooled[i]), "std": float(spread[i])}
            for i, name in enumerate(self.columns.names)
        }
        misses = self.targets.signed_misses(pooled)
        metrics: dict[str, Any] = {
            "stage": self.stage,
            "num_particles": len(rewards),
            "reward_mean": float(rewards.mean()),
            "reward_std": float(rewards.std()),
            "reward_pooled": float(self.targets.reward(pooled)),
            # All that can be a target, and of these the returns, by supertype.
            "outcomes": numbers,
            "returns": {s: numbers[return_name(s)] for s in self.columns.supertypes},
            "profile": {
                name: {"mean": mean, "std": deviation}
                for name, mean, deviation in zip(self.space.names, means, deviations, strict=True)
            },
            "largest_move": self._largest_move,
            "calibrator": dict(learned),
        }
        if len(self.targets):
            worst = int(np.argmax(self.targets.losses(misses)))
            metrics["worst_target"] = self.targets.targets[worst].outcome
            metrics["worst_miss"] = float(abs(misses[worst]))
            errors = spread / np.sqrt(len(rewards))
            verdict = judge(self.targets, pooled, errors)
            self._stages_all_met = self._stages_all_met + 1 if verdict.all_met else 0
            metrics["num_targets"] = len(self.targets)
            metrics["targets_met"] = verdict.targets_met
            metrics["targets"] = {
                t.target.outcome: {"value": t.target.value, "miss": t.miss, "met": t.met}
                for t in verdict.targets
            }
            metrics["stages_all_met"] = self._stages_all_met
        return metrics

    # --- what was found ---------------------------------------------------------------

    def calibrated_profile(self) -> FloatArray:
        """Λ̂ in natural units, shape (d,).

        The calibrator's own estimate or, where it has none, the mean over particles and the
        last stages: `profile_window`, or a quarter of all if that is less.
        """
        unit = self.calibrator.estimate()
        if unit is None and self._recent:
            window = max(1, int(self.stage * LARGEST_WINDOW))
            unit = np.mean(list(self._recent)[-window:], axis=0)
        if unit is None:
            unit = self.calibrator.profiles.mean(axis=0)
        return self.parameters.expand(unit)

    def particle_profiles(self) -> FloatArray:
        """Λ^b of every particle in natural units, shape (B, d)."""
        return self.parameters.expand(self.calibrator.profiles)

    # --- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on from here, the pending proposal included."""
        return {
            "format": STATE_FORMAT,
            "parameters": list(self.space.names),
            "outcomes": list(self.columns.names),
            "stated": dict(self.parameters.stated),
            "calibrator": self.calibrator.state_dict(),
            "recent": [p.copy() for p in self._recent],
            "empty_stages": self._empty_stages,
            "unseen_stages": self._unseen_stages,
            "largest_move": self._largest_move,
            "stages_all_met": self._stages_all_met,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave.

        Raises:
            ValueError: If the state is of another version, or belongs to other parameters,
                outcomes or particles, or to parameters of which the user stated something else.
        """
        require_format(state)
        for what, mine in (
            ("parameters", self.space.names),
            ("outcomes", self.columns.names),
        ):
            _require_same(what, state[what], mine)
        require_stated(state.get("stated", {}), self.parameters.stated)
        self.calibrator.load_state_dict(state["calibrator"])
        self._recent.clear()
        self._recent.extend(np.array(p) for p in state["recent"])
        self._empty_stages = int(state["empty_stages"])
        # Earlier checkpoints of this form do not say these.
        self._unseen_stages = int(state.get("unseen_stages", 0))
        self._largest_move = float(state.get("largest_move", "nan"))
        self._stages_all_met = int(state.get("stages_all_met", 0))


def require_format(state: Any) -> None:
    """Checks that a calibration's state was written by a version whose states this one reads.

    Raises:
        ValueError: If it was not; the message says what to do.
    """
    found = state.get("format", 1) if isinstance(state, Mapping) else None
    if found == STATE_FORMAT:
        return
    writer = "version 0.1.0" if found == 1 else f"another version (format {found})"
    package = "rllib-calsheq==0.1.0" if found == 1 else "that version of rllib-calsheq"
    raise ValueError(
        f"this checkpoint was written by {writer} of rllib-calsheq, and {__version__} cannot read "
        f"it: evaluate it or go on with it where {package} is installed, or start the run again "
        "under another name"
    )


def _require_same(what: str, saved: Sequence[str], mine: Sequence[str]) -> None:
    if list(saved) != list(mine):
        difference = sorted(set(saved) ^ set(mine))
        raise ValueError(
            f"the checkpoint's {what} are not those of this run; they differ in {difference}. "
            "Restore it with the environment and configuration that it was made with"
        )


def require_stated(saved: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Checks that a state's coordinates mean what those of this run do.

    Args:
        saved: What the user stated of the parameters then, `ParameterMap.stated`.
        mine: What the user states now.

    Raises:
        ValueError: If something differs; the message says what.
    """
    for section in dict.fromkeys([*saved, *mine]):
        then, now = saved.get(section), mine.get(section)
        if then != now:
            raise ValueError(
                f"the checkpoint was made with other `parameters`: {section} was "
                f"{then or 'not set'} then and is {now or 'not set'} now. Go on with those that it "
                "was made with, or start the run again under another name"
            )


def _nanstd(values: npt.NDArray[np.floating]) -> FloatArray:
    """Standard deviation over rows (E, N) -> (N,), leaving out NaN; NaN where all are."""
    mean = pool(values)
    return np.sqrt(pool((values - mean) ** 2))
