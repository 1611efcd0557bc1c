"""How good a run's calibrated profile was, stage by stage, and how good it is at the end.

The mean reward of the particles says little about that: a calibrator that explores more spreads
its particles more. So all calibrators are measured alike, and as a user who stopped there would
find them: at each checkpoint, fresh episodes at the profile Λ̂ that the calibrator recommends at
that stage, with the shared policy of that stage, say which targets are met, and r(Λ̂). These
episodes are no part of the run: no calibrator sees them, and they count neither as steps nor as
seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib_calsheq.core.files import write_json
from rllib_calsheq.core.targets import TargetSet
from rllib_calsheq.core.verdict import judge
from rllib_calsheq.results.checkpoints import (
    EVALUATION_FILE,
    RECOVERY_FILE,
    finished_stages,
    read_history,
    trial_checkpoints,
)

if TYPE_CHECKING:
    from rllib_calsheq.results.evaluation import Measurement

#: What the judge says of a fit in one row: keys of `Verdict.to_mapping`.
JUDGED = ("targets_met", "num_targets", "worst_miss", "rms_miss")


def measure_run(trial: Path, episodes: int, final_episodes: int) -> dict[str, Any]:
    """Measures a finished run at its checkpoints and at its end; done once, then read.

    Writes into the run's folder ``evaluation.json`` and ``recovery.json``, a list with a row for
    each checkpoint: ``stage``, ``seconds``; the judge's ``targets_met``, ``num_targets``,
    ``worst_miss`` and ``rms_miss`` (null if an outcome never happened; all four are left out where
    there is no target); ``reward``, ``reward_stderr``, ``episodes``; ``profile``, Λ̂ by parameter.

    Args:
        trial: The run's folder.
        episodes: Fresh episodes at each checkpoint.
        final_episodes: Fresh episodes at the end.

    Returns:
        The evaluation; see `rllib_calsheq.results.evaluation.evaluate`.
    """
    from rllib_calsheq.results.evaluation import FrozenRun, evaluate

    history = read_history(trial)
    seconds = dict(zip(history["training_iteration"], history["time_total_s"], strict=True))
    # A run that went on from an earlier checkpoint may have saved a stage twice.
    by_stage = {finished_stages(path): path for path in trial_checkpoints(trial)}
    recovery = []
    for stage, checkpoint in sorted(by_stage.items()):
        run = FrozenRun(checkpoint)
        profile = run.calibration.calibrated_profile()
        found = run.measure(profile, episodes, run.seed)
        recovery.append(
            {
                "stage": stage,
                "seconds": float(seconds.get(stage, float("nan"))),
                **judged(run.targets, found),
                "reward": found.reward,
                "reward_stderr": found.reward_stderr,
                "episodes": episodes,
                "profile": run.calibration.space.to_mapping(profile),
            }
        )
    evaluation = evaluate(by_stage[max(by_stage)], episodes=final_episodes)
    write_json(trial / RECOVERY_FILE, recovery)
    write_json(trial / EVALUATION_FILE, evaluation)
    return evaluation


def judged(targets: TargetSet, found: Measurement) -> dict[str, Any]:
    """`JUDGED` of a measurement; {} where there is no target to be met."""
    if not len(targets):
        return {}
    verdict = judge(targets, found.outcomes, found.stderr).to_mapping()
    return {name: verdict[name] for name in JUDGED}


def verdict_of(evaluation: dict[str, Any]) -> str:
    """What came of an evaluation, in a line: the judge first, then the reward."""
    verdict, fraction = evaluation["verdict"], evaluation["recovered_fraction"]
    parts = []
    if verdict is not None:
        parts = [
            f"{verdict['targets_met']} of {verdict['num_targets']} targets met",
            f"worst miss {verdict['worst_miss']:.2f}",
        ]
    parts.append(f"reward {evaluation['reward']:.3f}")
    if fraction is not None:
        parts.append(f"recovered fraction {fraction:.3f}")
    return ", ".join(parts)
