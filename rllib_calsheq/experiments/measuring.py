"""How good a run's calibrated profile was, stage by stage, and how good it is at the end.

The mean reward of the particles says little about that: a calibrator that explores more spreads
its particles more. So all calibrators are measured alike, and as a user who stopped there would
find them: at each checkpoint, r(Λ̂) of the profile that the calibrator recommends at that stage
is measured on fresh episodes with the shared policy of that stage. These episodes are no part
of the run: no calibrator sees them, and they count neither as steps nor as seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_calsheq.core.files import write_json
from rllib_calsheq.results.checkpoints import (
    EVALUATION_FILE,
    RECOVERY_FILE,
    finished_stages,
    read_history,
    trial_checkpoints,
)


def measure_run(trial: Path, episodes: int, final_episodes: int) -> dict[str, Any]:
    """Measures a finished run at its checkpoints and at its end; done once, then read.

    Writes ``recovery.json`` (a list of ``stage``, ``seconds``, ``reward``, ``reward_stderr``,
    ``episodes``, one for each checkpoint) and ``evaluation.json`` into the run's folder.

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
        found = run.measure(run.calibration.calibrated_profile(), episodes, run.seed)
        recovery.append(
            {
                "stage": stage,
                "seconds": float(seconds.get(stage, float("nan"))),
                "reward": found.reward,
                "reward_stderr": found.reward_stderr,
                "episodes": episodes,
            }
        )
    evaluation = evaluate(by_stage[max(by_stage)], episodes=final_episodes)
    write_json(trial / RECOVERY_FILE, recovery)
    write_json(trial / EVALUATION_FILE, evaluation)
    return evaluation
