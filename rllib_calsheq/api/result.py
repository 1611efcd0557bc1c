"""`Result`: a calibrated run as data frames, pictures and further questions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rllib_calsheq.api.findings import Certificate, Inference
from rllib_calsheq.api.progress import teller
from rllib_calsheq.core.configuration import require, unknown_key_message
from rllib_calsheq.core.defaults import EVALUATION_EPISODES
from rllib_calsheq.core.files import write_json
from rllib_calsheq.results.checkpoints import (
    EVALUATION_FILE,
    TRIAL_FILE,
    finished_stages,
    read_history,
)
from rllib_calsheq.running.quiet import quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rllib_calsheq.results.evaluation import FrozenRun

#: Columns of `Result.targets`, as an evaluation names them.
TARGET_COLUMNS = ("value", "stderr", "target", "scale", "tolerance", "miss", "met")


class Result:
    """A calibrated run; made by `calibrate` or `load`.

    Example:
        >>> from rllib_calsheq import load
        >>> result = load("my_city")
        >>> list(result.profile.index)
        ['suburbs.mean_distance', 'inside.mean_distance']
        >>> list(result.targets.columns)
        ['value', 'stderr', 'target', 'scale', 'tolerance', 'miss', 'met']
        >>> list(result.history.index)
        [1, 2, 3]
        >>> result.simulate({"inside.mean_distance": 1.0}, episodes=8).shape
        (8, 4)
        >>> axes = result.plot_targets()
        >>> axes.get_xlabel()
        'outcome − target, in scales (95 % interval)'

    Args:
        checkpoint: Folder of the checkpoint that it is read from.
        trusted: Whether it may run programs to be read, as one that this process has made.
    """

    def __init__(self, checkpoint: Path, trusted: bool = False) -> None:
        self.checkpoint = checkpoint
        self._trusted = trusted

    @property
    def path(self) -> Path:
        """The run's folder, which all commands read: ``calsheq evaluate``, ``infer``, ..."""
        return self.checkpoint.parent

    @property
    def stage(self) -> int:
        """Stages that were finished."""
        return finished_stages(self.checkpoint)

    @cached_property
    def _run(self) -> FrozenRun:
        with quiet():
            from rllib_calsheq.results.evaluation import FrozenRun

            return FrozenRun(self.checkpoint, self._trusted)

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """Everything that fresh episodes at the calibrated profile say.

        Keys as `rllib_calsheq.evaluate` has them; measured once, then read from
        ``evaluation.json``.
        """
        file = self.path / EVALUATION_FILE
        if file.is_file():
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if Path(found["checkpoint"]).name == self.checkpoint.name:
                return found
        with quiet():
            from rllib_calsheq.results.evaluation import evaluate

            found = evaluate(self.checkpoint, trusted=self._trusted)
        write_json(file, found)
        return dict(json.loads(file.read_text(encoding="utf-8")))

    # --- tables -----------------------------------------------------------------------

    @cached_property
    def profile(self) -> pd.Series:
        """The calibrated profile Λ̂, in natural units, by parameter."""
        calibration = self._run.calibration
        values = calibration.space.to_mapping(calibration.calibrated_profile())
        return pd.Series(values, name="profile").rename_axis("parameter")

    @cached_property
    def targets(self) -> pd.DataFrame:
        """What came of each target, on fresh episodes at the calibrated profile.

        Columns ``value`` (mean outcome), ``stderr``, ``target``, ``scale`` and ``tolerance`` (in
        scales), ``miss`` (in scales) and ``met``; the index is the outcome's name.
        """
        rows = self.evaluation["outcomes"]
        table = pd.DataFrame(rows, columns=["name", *TARGET_COLUMNS])
        numbers = [c for c in TARGET_COLUMNS if c != "met"]
        types = {**dict.fromkeys(numbers, float), "met": bool}
        return table.astype(types).rename(columns={"name": "outcome"}).set_index("outcome")

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each stage: the calibration's numbers.

        Columns such as ``reward_mean``, ``targets_met``, ``worst_target``, ``worst_miss``, and
        ``outcomes/NAME/mean``, ``returns/NAME/mean``, ``profile/NAME/mean`` with their ``std`` over
        particles.
        """
        from rllib_calsheq.results.reading import PREFIX

        found = self._rows.filter(regex=f"^{PREFIX}")
        return found.rename(columns=lambda name: name.removeprefix(PREFIX)).set_index("stage")

    @cached_property
    def _rows(self) -> pd.DataFrame:
        return read_history(self.path)

    # --- pictures ---------------------------------------------------------------------

    def plot_reward(self, ax: Axes | None = None) -> Axes:
        """Draws the calibrator's reward over the stages.

        Args:
            ax: Where to draw; a figure of its own when None.

        Returns:
            The axes.
        """
        from rllib_calsheq.results.run_axes import draw_reward

        axes = _axes(ax)
        draw_reward(axes, self._rows, self._run.config.target_file().ceiling)
        return axes

    def plot_targets(self, ax: Axes | None = None) -> Axes:
        """Draws how far each target is missed, in scales; arguments as `plot_reward`."""
        from rllib_calsheq.results.run_axes import draw_misses

        axes = _axes(ax)
        draw_misses(axes, self.targets)
        return axes

    def plot_outcome(self, name: str, ax: Axes | None = None) -> Axes:
        """Draws a targeted outcome over the stages, and its target.

        Args:
            name: The outcome.
            ax: Where to draw; a figure of its own when None.

        Returns:
            The axes.

        Raises:
            ValueError: If there is no such target.
        """
        from rllib_calsheq.results.run_axes import draw_outcome

        known = {target.outcome: target for target in self._run.targets.targets}
        if name not in known:
            raise ValueError(unknown_key_message("the run", name, list(known)))
        axes = _axes(ax)
        draw_outcome(axes, self._rows, name, known[name].value, known[name])
        axes.set(xlabel="stage", ylabel=name)
        return axes

    def plot_parameters(self, kind: str | None = None, ax: Axes | None = None) -> Axes:
        """Draws the parameters of one kind over the stages.

        Args:
            kind: The kind, e.g. ``supertype_1.cluster``, or a parameter's full name; the first
                kind when None.
            ax: Where to draw; a figure of its own when None.

        Returns:
            The axes.

        Raises:
            ValueError: If there is no such kind.
        """
        from rllib_calsheq.results.families import families
        from rllib_calsheq.results.run_axes import draw_parameters

        space = self._run.calibration.space
        kinds = families(space.names)
        members = {**{name: [name] for name in space.names}, **kinds}
        chosen = next(iter(kinds)) if kind is None else kind
        if chosen not in members:
            raise ValueError(unknown_key_message("the run", chosen, list(members)))
        axes = _axes(ax)
        hidden = self._run.config.target_file().profile or {}
        draw_parameters(axes, self._rows, members[chosen], hidden, space)
        axes.set(xlabel="stage", ylabel=chosen)
        return axes

    def plot_profile(self, ax: Axes | None = None) -> Axes:
        """Draws where each calibrated parameter stands between its bounds, as `plot_reward`."""
        from rllib_calsheq.results.run_axes import draw_profile

        axes = _axes(ax)
        draw_profile(axes, self.profile, self._run.calibration.space)
        return axes

    # --- further questions ------------------------------------------------------------

    def simulate(
        self,
        profile: Mapping[str, float] | pd.Series | None = None,
        episodes: int = EVALUATION_EPISODES,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Plays fresh episodes with the shared policy, which learns nothing.

        Args:
            profile: Parameters by name, natural units; those that are left out keep their
                calibrated values.
            episodes: Episodes.
            seed: Seed of the episodes; the run's own when None.

        Returns:
            A row for each episode and a column for each outcome, the supertypes' mean returns
            (``NAME.reward``) among them; NaN for what did not happen.

        Raises:
            ValueError: If a parameter is unknown or outside of its bounds.
        """
        fits = isinstance(episodes, int) and not isinstance(episodes, bool) and episodes >= 1
        require(fits, "episodes", episodes, "integers from 1")
        run, space = self._run, self._run.calibration.space
        changed = {} if profile is None else {str(k): v for k, v in profile.items()}
        chosen = space.from_mapping(changed, default=self.profile.to_numpy())
        with quiet():
            found = run.sample(chosen, episodes, run.seed if seed is None else seed)
        table = pd.DataFrame(found, columns=list(run.calibration.columns.names))
        return table.rename_axis("episode")

    def infer(self, workers: int = 1, progress: bool = True, **fields: Any) -> Inference:
        """Finds which profiles explain the targets; resumable, as ``calsheq infer``.

        Args:
            workers: Processes that share the simulations. More than 1 need a main module that can
                be imported: a script with ``if __name__ == "__main__"``.
            progress: Whether to print a line now and then.
            **fields: Fields of `InferenceConfig`.

        Raises:
            ValueError: If a field is not allowed, or the run has no targets.
        """
        from rllib_calsheq.inference.config import InferenceConfig

        config = InferenceConfig(**fields)
        with quiet():
            from rllib_calsheq.inference.infer import infer

            found = infer(self.checkpoint, config, None, workers, teller(progress), "Result.infer")
        return Inference(found)

    def certify(self, workers: int = 1, progress: bool = True, **fields: Any) -> Certificate:
        """Looks for what one agent could gain by deviating; resumable, as ``calsheq certify``.

        Args:
            workers: As in `infer`.
            progress: Whether to print a line for each job.
            **fields: Fields of `rllib_calsheq.certificates.config.CertificateConfig`.

        Raises:
            ValueError: If a field is not allowed.
        """
        from rllib_calsheq.certificates.config import CertificateConfig

        config = CertificateConfig(**fields)
        with quiet():
            from rllib_calsheq.certificates.certify import certify

            found = certify(self.checkpoint, config, None, workers, teller(progress))
        return Certificate(found)

    def report(self, file: str | Path | None = None) -> Path:
        """Writes the run's report, one HTML file that opens without a network.

        Args:
            file: Where to; ``report.html`` in the run's folder when None.

        Raises:
            ValueError: If ``file`` is a folder, or a file of the run is damaged.
        """
        from rllib_calsheq.reporting.writing import write_report

        _ = self.evaluation  # Made, if there is none yet.
        (written,) = write_report([self.path], file, command="Result.report")
        return written

    def save(self, folder: str | Path) -> Path:
        """Copies the run to another folder, from which `load` and all commands read it.

        Args:
            folder: One that does not exist yet, or is empty.

        Returns:
            The folder.

        Raises:
            ValueError: If there is something already.
        """
        place = Path(folder).expanduser().absolute()
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ValueError(f"there is something at {place} already: give a new folder")
        if not (self.path / TRIAL_FILE).is_file():
            raise ValueError(
                f"{self.checkpoint} is a checkpoint without a run's results beside it: copy its "
                "folder"
            )
        shutil.copytree(self.path, place, dirs_exist_ok=True)
        return place

    # --- in words ---------------------------------------------------------------------

    def __str__(self) -> str:
        verdict = self.evaluation["verdict"]
        came = "no targets" if verdict is None else verdict["summary"]
        return f"{came} after {self.stage} stages; results in {self.path}"

    def __repr__(self) -> str:
        return f"<Result of {self.stage} stages in {self.path}>"

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.targets.to_html()}"


def _axes(ax: Axes | None) -> Axes:
    """The axes, or those of a new figure that a notebook shows."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(layout="constrained")
    return axes
