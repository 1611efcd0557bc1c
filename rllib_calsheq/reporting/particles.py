"""The particles of a run's last checkpoint: which profiles the calibrator tried at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rllib_calsheq.reporting.document import Choice, Figure
from rllib_calsheq.reporting.facts import RunFacts
from rllib_calsheq.reporting.figures import Trace, compact, dots, rows_layout
from rllib_calsheq.results.palette import MAIN, SECOND

#: Particles that can be chosen one by one, at most.
MOST_CHOSEN = 64
#: Runs whose particles are shown, at most.
MOST_RUNS = 4
#: Opacity of the dots of all particles.
FAINT = 0.35


def particles_figures(runs: Sequence[RunFacts]) -> list[Figure | None]:
    """A figure of the particles of each run; none where there are many runs."""
    if len(runs) > MOST_RUNS:
        return []
    return [_figure(run, len(runs) > 1) for run in runs]


def _figure(run: RunFacts, named: bool) -> Figure | None:
    """Every particle's parameters within their ranges; of a single run, each for itself, too."""
    if run.particles is None or not run.ranges:
        return None
    names = list(run.ranges)
    low, high = (
        np.array([getattr(r, end) for r in run.ranges.values()]) for end in ("low", "high")
    )
    places = (run.particles - low) / (high - low)
    data: list[Trace] = [_cloud(names, run, places)]
    chosen = 0 if named else MOST_CHOSEN
    for b, profile in enumerate(places[:chosen], start=1):
        texts = [
            f"{name}: {value:.4g}" for name, value in zip(names, run.particles[b - 1], strict=True)
        ]
        trace = dots(names, profile, f"particle {b}", SECOND, None, texts, symbol="diamond",
                     run=run.label)  # fmt: skip
        data.append(trace | {"mode": "lines+markers", "line": {"color": SECOND, "width": 1}})
    choices = [Choice("all particles", (0,))]
    choices += [Choice(f"particle {b}", (0, b)) for b in range(1, len(data))]
    stage = run.manifest["stage"] if run.manifest else run.stages
    return Figure(
        f"particles-{run.label}",
        f"The particles at stage {stage}" + (f": {run.label}" if named else ""),
        "Each dot is a particle's value of a parameter: 0 is its lower bound, 1 the upper one. "
        + ("" if named else "Choose a particle to see its whole profile."),
        tuple(data),
        rows_layout(names, "place within the range of the parameter", range=[-0.03, 1.03]),
        () if named else tuple(choices),
    )


def _cloud(names: list[str], run: RunFacts, places: np.ndarray) -> Trace:
    """All particles as one trace."""
    assert run.particles is not None
    count = len(places)
    trace = dots(
        np.tile(names, count).tolist(), places, "all particles", MAIN,
        None, [f"particle {b}" for b in range(1, count + 1) for _ in names], run=run.label, size=7,
    )  # fmt: skip
    trace["opacity"] = FAINT
    trace["x"] = compact(places)
    trace["hovertemplate"] = "%{text}<br>%{y}<extra></extra>"
    return trace
