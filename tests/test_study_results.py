"""What a study writes: tables, the summary and figures."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rllib_calsheq.cli import calsheq
from rllib_calsheq.core.files import write_json
from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.data.target_files import TargetFile
from rllib_calsheq.experiments import tables
from rllib_calsheq.experiments.drawing import describe, looks_of
from rllib_calsheq.experiments.figures import (
    all_parameters_figure,
    draw_all,
    judge_figure,
    outcomes_figure,
    rewards_figure,
)
from rllib_calsheq.experiments.final_figures import FINAL_COLUMNS, RECOVERY_COLUMNS
from rllib_calsheq.experiments.measuring import JUDGED
from rllib_calsheq.experiments.study import Run
from rllib_calsheq.experiments.study_tables import StudyTables
from rllib_calsheq.experiments.summary import interval, summary

# --- tables ---------------------------------------------------------------------------------

SPACE = SupertypeSpace((Parameter("a", "s", 0.0, 2.0), Parameter("b", "s", 0.0, 1.0)))


def history(profile, rewards, returns):
    return pd.DataFrame(
        {
            "training_iteration": range(1, len(rewards) + 1),
            "time_total_s": np.arange(1, len(rewards) + 1) * 2.0,
            "calibration/reward_mean": rewards,
            "calibration/reward_pooled": np.array(rewards) + 0.1,
            "calibration/outcomes/s.reward/mean": returns,
            "calibration/outcomes/s.share/mean": 0.5,
            "calibration/largest_move": [0.05] + [0.02] * (len(rewards) - 1),
            "calibration/profile/s.a/std": 0.6,
            "calibration/profile/s.b/std": 0.4,
        }
    ), pd.DataFrame(profile, columns=["s.a", "s.b"])


def test_smoothness_is_the_length_of_each_step_in_the_unit_cube():
    # From the start (1, 0.5) to (1.6, 0.9), unit (0.3, 0.4); then nowhere; then by 0.1 in b.
    frame, profile = history([(1.6, 0.9), (1.6, 0.9), (1.6, 0.8)], [0.1] * 3, [1.0] * 3)
    table = tables.stage_table(frame, profile, SPACE)
    assert table["smoothness"].to_numpy() == pytest.approx([0.5, 0.0, 0.1])
    assert set(table) >= {"s.share", "s.reward", "lr_shared", "lr_cal", "reward_pooled"}
    assert table["lr_cal"].isna().all()
    # Standard deviations of 0.6 of a range of 2, and of 0.4.
    assert table["spread"].to_numpy() == pytest.approx([0.5] * 3)


def test_final_figures_by_hand():
    count = 20
    rewards = [0.2] * 18 + [0.6, 0.8]
    # The fall at stage 3 comes before a quarter of the stages; that at stage 9 counts.
    returns = [5.0] * 2 + [-9.0] + [5.0] * 5 + [-3.0] + [5.0] * 11
    frame, profile = history([(1.0, 0.5)] * count, rewards, returns)
    stages = tables.stage_table(frame, profile, SPACE)
    recovery = pd.DataFrame(
        {
            "stage": [10, 20], "seconds": [20.0, 40.0], "recovered_fraction": [0.5, 0.9],
            "targets_met": [0, 1], "num_targets": 1,
        }
    )  # fmt: skip
    known = TargetFile(targets={"s.share": 0.4}, ceiling=0.8, profile={"s.a": 1.6, "s.b": 0.5})
    evaluation = {
        "recovered_fraction": 0.95, "reward": 0.78, "ceiling": 0.8, "reward_start": 0.2,
        "reward_stderr": 0.01, "profile": {"s.a": 1.6, "s.b": 0.9},
        "verdict": {"targets_met": 1, "num_targets": 1, "worst_miss": 0.2, "rms_miss": 0.1},
        "at_bounds": {},
    }  # fmt: skip
    found = tables.final_figures(stages, recovery, evaluation, known, SPACE)
    assert found["particle_reward"] == pytest.approx(0.7)
    assert found["pooled_reward"] == pytest.approx(0.8)
    assert found["seconds"] == 40.0
    assert (found["stages_to_90"], found["seconds_to_90"]) == (20, 40.0)
    # Trapezoids: 10 · 0.25 + 10 · 0.7 over 20 stages.
    assert found["area_recovered"] == pytest.approx((2.5 + 7.0) / 20)
    assert found["area_reward"] == pytest.approx(np.mean(rewards))
    assert found["lowest_reward"] == -3.0
    assert [found[name] for name in JUDGED] == [1, 1, 0.2, 0.1]
    assert found["stages_to_met"] == 20
    assert found["largest_move"] == 0.05
    # Root mean squares of (0, 0.4) and of (0.3, 0).
    assert found["distance"] == pytest.approx(0.4 / math.sqrt(2))
    assert found["distance_start"] == pytest.approx(0.3 / math.sqrt(2))
    assert found["relative_distance"] == pytest.approx(4 / 3)
    assert (found["at_bounds"], found["at_bounds_hidden"]) == (0, 0)
    recovery["recovered_fraction"] = 0.89
    evaluation["at_bounds"], known.profile["s.a"], known.profile["s.b"] = {"s.b": 1.0}, 2.0, 0.0
    found = tables.final_figures(stages, recovery, evaluation, known, SPACE)
    assert math.isnan(found["stages_to_90"])
    assert (found["at_bounds"], found["at_bounds_hidden"]) == (1, 2)


@pytest.fixture
def run_tables(tmp_path, monkeypatch):
    """The tables of a run with a history of two stages, of what was measured of it."""

    def make(recovery, evaluation=None, known=None):
        frame, profile = history([(1.0, 0.5)] * 2, [0.5] * 2, [1.0] * 2)
        for name in SPACE.names:
            frame[f"calibration/profile/{name}/mean"] = profile[name]
        evaluation = {
            "recovered_fraction": 1.02, "reward": 0.5, "ceiling": 0.8, "reward_start": 0.2,
            "reward_stderr": 0.01, "profile": {"s.a": 1.0, "s.b": 0.5}, **(evaluation or {}),
        }  # fmt: skip
        rows = [
            {"stage": k + 1, "seconds": 2.0, "reward": 0.5, **r} for k, r in enumerate(recovery)
        ]
        write_json(tmp_path / "evaluation.json", evaluation)
        write_json(tmp_path / "recovery.json", rows)
        monkeypatch.setattr(tables, "read_history", lambda trial: frame)
        known = known or TargetFile(targets={"s.share": 0.4}, ceiling=0.8)
        found = tables.run_tables(Run(1, "ppo", 0), tmp_path, known, SPACE)
        return tuple(
            found[name].drop(columns=tables.RATE_KEY) for name in (tables.FINAL, tables.RECOVERY)
        )

    return make


def judged_as(met, worst, rms):
    return {"targets_met": met, "num_targets": 2, "worst_miss": worst, "rms_miss": rms}


def test_a_run_that_misses_a_target_says_so_however_much_it_recovered(run_tables):
    missed = judged_as(1, 0.86, 0.6)
    final, recovery = run_tables([judged_as(2, 0.2, 0.1), missed], {"verdict": missed})
    assert list(final)[: len(FINAL_COLUMNS)] == FINAL_COLUMNS
    assert list(recovery)[: len(RECOVERY_COLUMNS)] == RECOVERY_COLUMNS
    assert final[list(JUDGED)].to_numpy().tolist() == [[1, 2, 0.86, 0.6]]
    assert recovery["targets_met"].tolist() == [2, 1]
    assert final["stages_to_met"].tolist() == [1]
    final, _ = run_tables([missed, missed], {"verdict": missed})
    assert final["stages_to_met"].isna().all()
    text = summary(final, 2, 1)
    assert "| ppo | 0 of 1 | 0 of 1 |" in text
    assert "| ppo | never (0 of 1) | never (0 of 1) |" in text
    assert "| ppo | 1.0 | 0.86 | 0.60 | never (0 of 1) |" in text
    assert "targets met (of 2)" in text


def test_an_outcome_that_never_happened_is_infinitely_far_from_its_target(run_tables):
    never = judged_as(1, math.inf, math.inf)
    final, recovery = run_tables([never, judged_as(2, 0.1, 0.1)], {"verdict": never})
    assert final["worst_miss"].tolist() == [math.inf]
    assert recovery["worst_miss"].tolist() == [math.inf, 0.1]
    both = pd.concat([final, final.assign(calibrator="eki", worst_miss=0.1)])
    assert "| ppo | inf | inf |" in summary(both, 2, 1)


def test_the_distance_of_each_measured_profile_is_known_where_the_hidden_one_is(run_tables):
    known = TargetFile(targets={"s.share": 0.4}, ceiling=0.8, profile={"s.a": 1.6, "s.b": 0.5})
    profiles = [{"profile": {"s.a": a, "s.b": 0.5}} for a in (1.0, 1.6)]
    _, recovery = run_tables(profiles, known=known)
    assert recovery["distance"].to_numpy() == pytest.approx([0.3 / math.sqrt(2), 0.0])
    _, recovery = run_tables(profiles)
    assert recovery["distance"].isna().all()


def test_a_run_that_nobody_judged_has_empty_columns_and_is_not_called_missed(run_tables):
    """As one that was measured by a version that had no judge."""
    final, recovery = run_tables([{}, {}])
    assert final[list(JUDGED)].isna().all(axis=None)
    assert recovery[list(JUDGED)].isna().all(axis=None)
    text = summary(final, 2, 1)
    assert "never" not in text.partition("Mean ± half")[0]
    assert "| ppo | – | – |" in text


def test_where_nothing_is_to_be_gained_no_fraction_is_recovered(run_tables):
    """As in an evaluation, which says null; a fraction of nothing would be infinite."""
    _, recovery = run_tables([{}], {"recovered_fraction": None, "reward_start": 0.8})
    assert recovery["recovered_fraction"].isna().all()


def test_the_interval_is_students():
    values = pd.Series([0.8, 0.9, 1.0, np.nan])
    mean, half = interval(values)
    assert mean == pytest.approx(0.9)
    # t(0.975, 2) = 4.303; standard error 0.1 / √3.
    assert half == pytest.approx(4.303 * 0.1 / math.sqrt(3), rel=1e-3)
    assert stats.t.ppf(0.975, 2) == pytest.approx(4.303, abs=1e-3)
    assert interval(pd.Series([0.5]))[0] == 0.5
    assert math.isnan(interval(pd.Series([0.5]))[1])


def final_rows(**more):
    rows = []
    for calibrator, fraction in (("random", 0.3), ("ppo", 0.9)):
        for seed in range(3):
            rows.append(
                {
                    "setting": 2, "calibrator": calibrator, "seed": seed,
                    "targets_met": 9 if calibrator == "ppo" and seed else 8, "num_targets": 9,
                    "worst_miss": 0.2, "rms_miss": 0.1, "relative_distance": 0.75,
                    "stages_to_met": 60.0 if calibrator == "ppo" and seed else np.nan,
                    "at_bounds": 3, "at_bounds_hidden": 4, "largest_move": 0.1,
                    "recovered_fraction": fraction + seed * 0.01, "reward": 0.7, "ceiling": 0.8,
                    "smoothness": 3.0, "seconds": 60.0, "stages": 200, "reward_start": 0.2,
                    "reward_stderr": 0.01, "particle_reward": 0.6, "pooled_reward": 0.65,
                    "area_recovered": 0.5, "area_reward": 0.5, "lowest_reward": -1.0,
                    "distance": 0.3, "distance_start": 0.4, "spread": 0.2, **more,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_the_overview_marks_differences_that_are_none_of_chance():
    final = final_rows()
    final.loc[final["calibrator"] == "random", "area_recovered"] += np.array([-0.1, 0.0, 0.1])
    text = summary(final, 200, 20)
    # Two equal standard errors of 0.01 / √3, 4 degrees of freedom: t = 2.776.
    half = 2.776 * 0.01 * math.sqrt(2 / 3)
    assert f"| ppo − random | +0.600 ± {half:.3f} * |  |" in text
    # One side does not scatter: 2 degrees of freedom, t = 4.303.
    half = 4.303 * 0.1 / math.sqrt(3)
    assert f"| ppo − random | +0.000 ± {half:.3f} |  |" in text
    single = summary(final[final["seed"] == 0], 200, 20)
    assert "| ppo − random | +0.600 |  |" in single


def test_the_judge_comes_first_in_the_overview():
    text = summary(final_rows(), 200, 20)
    heads = [line.split("|")[1].strip() for line in text.splitlines() if line.endswith(" |")]
    firsts = [head for head, rule in pairwise(heads) if rule == "---"]
    assert firsts == [
        "all targets met", "worst miss", "stages to all met", "distance / Λ_0's",
        "recovered fraction", "area", "calibrator",
    ]  # fmt: skip
    assert "| ppo | 2 of 3 | 2 of 3 |" in text
    assert "| random | 0 of 3 | 0 of 3 |" in text
    assert "| ppo | 60 (2 of 3) | 60 (2 of 3) |" in text


def test_the_summary_has_a_row_for_each_calibrator():
    text = summary(final_rows(), 200, 20)
    assert "All runs have 200 stages" in text
    text = text[text.index("## Setting 2") :]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines] == ["calibrator", "---", "ppo", "random"]
    assert len({line.count("|") for line in lines}) == 1
    assert "| targets met (of 9) | worst miss |" in lines[0]
    assert "| at bounds (hidden: 4) |" in lines[0]
    assert "| 8.7 ± 1.4 | 0.20 ± 0.00 |" in lines[2]
    assert "0.910 ± 0.025" in lines[2]
    assert "60 (2 of 3)" in lines[2]
    assert "never (0 of 3)" in lines[3]


# --- figures --------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    """CSV files of a small study, and of one of learning rates."""
    rows = []
    for calibrator in ("ppo", "bo:stages_per_trial=5"):
        for seed in range(2):
            for stage in range(1, 6):
                rows.append(
                    {
                        "setting": 2, "calibrator": calibrator, "seed": seed, "stage": stage,
                        "reward_mean": 0.1 * stage + 0.02 * seed, "supertype_1.reward": 5.0,
                        "supertype_2.reward": -stage, "supertype_1.quantity_p10": 10.0 - stage,
                        "supertype_1.connection_1": 0.5 + seed, "recovered_fraction": 0.2 * stage,
                        "supertype_1.connection_2": 0.2, "supertype_1.tolerance": 0.9 * seed,
                        "worst_miss": math.inf if stage == 2 and seed else 0.4 / stage + 0.2 * seed,
                        "lr_ratio": np.nan, "schedule": "decaying",
                    }
                )  # fmt: skip
    plain = pd.DataFrame(rows)
    swept = [
        plain[plain["calibrator"] == "ppo"].assign(lr_ratio=ratio, schedule=schedule)
        for ratio in (1.0, 0.1)
        for schedule in ("decaying", "constant")
    ]
    frame = pd.concat([plain, *swept])
    for name in (tables.STAGES, tables.PARAMETERS, tables.RECOVERY, tables.FINAL):
        frame.to_csv(tmp_path / name, index=False)
    goals = [
        (2, "target", "supertype_1.quantity_p10", 8.0, 5.0, 0.2),
        (2, "parameter", "supertype_1.connection_1", 0.9, np.nan, np.nan, 0.0, 1.0),
        (2, "parameter", "supertype_1.connection_2", 0.3, np.nan, np.nan, 0.0, 1.0),
        (2, "parameter", "supertype_1.tolerance", np.nan, np.nan, np.nan, 0.0, 1.0),
        (2, "reward", "ceiling", 0.85),
    ]
    columns = ["setting", "kind", "name", "value", "scale", "tolerance", "low", "high"]
    pd.DataFrame(goals, columns=columns).to_csv(tmp_path / tables.GOALS, index=False)
    return tmp_path


def test_every_figure_is_drawn_from_the_csv_files_alone(written, capsys):
    names = {path.stem for path in draw_all(written)}
    assert names == {
        "figure_1", "figure_2", "figure_3", "judge", "recovery", "targets_setting_2",
        "parameters_setting_2", "lr_ratios_setting_2",
    }  # fmt: skip
    for path in written.glob("*.png"):
        path.unlink()
    assert calsheq.main(["experiment", "--redraw", "-o", str(written)]) == 0
    assert capsys.readouterr().out.count("drew ") == len(names)
    assert all(path.stat().st_size > 5000 for path in written.glob("*.png"))


def dashed(axes):
    return [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]


def test_lines_are_means_over_seeds_and_goals_are_dashed(written):
    loaded = StudyTables.load(written)
    assert loaded.settings == [2]
    assert len(loaded.stages) == 20
    top = rewards_figure(loaded).get_axes()[0]
    assert dashed(top) == [0.85]
    means = [line.get_ydata() for line in top.get_lines() if line.get_linestyle() == "-"]
    assert len(means) == 2
    for mean in means:
        assert mean == pytest.approx(0.1 * np.arange(1, 6) + 0.01)
    (panel,) = outcomes_figure(loaded, [(2, "supertype_1.quantity_p10")]).get_axes()
    assert dashed(panel) == [8.0]
    # Met within a fifth of a scale of 5.
    (met,) = panel.patches
    assert (met.get_y(), met.get_height()) == pytest.approx((7.0, 2.0))
    assert "10 % percentile" in panel.get_title()


def test_the_judges_picture_shows_a_miss_above_the_tolerance(written):
    figure = judge_figure(StudyTables.load(written))
    (panel,) = figure.get_axes()
    assert "median over 2 seeds" in figure.get_suptitle()
    assert panel.get_title() == "setting 2: 1 target"
    assert panel.get_yscale() == "log"
    assert dashed(panel) == [0.2]
    medians = [line.get_ydata() for line in panel.get_lines() if line.get_linestyle() == "-"]
    low, high = panel.get_ylim()
    for median in medians:
        # An outcome never happened at stage 2 with one of the seeds; its miss is on the axis.
        assert median[[0, 2]] == pytest.approx([0.5, 0.4 / 3 + 0.1])
        assert low < median[1] < high
    tops = [band.get_paths()[0].vertices[:, 1].max() for band in panel.collections]
    assert all(0.6 < top < high for top in tops)
    assert len(medians) == len(tops) == 2


def test_parameters_of_one_kind_share_a_panel_for_each_calibrator(written):
    figure = all_parameters_figure(StudyTables.load(written), 2)
    panels = [axes for axes in figure.get_axes() if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == [
        "CALSHEQ (ppo)\nsupertype 1: connection",
        "bo:stages_per_trial=5\nsupertype 1: connection",
        "supertype 1: tolerance",
    ]
    assert [len(dashed(axes)) for axes in panels] == [2, 2, 0]
    # One standard deviation over seeds reaches beyond the bounds; the band does not.
    for axes in panels:
        for band in axes.collections:
            heights = band.get_paths()[0].vertices[:, 1]
            assert heights.min() >= 0.0
            assert heights.max() <= 1.0
        assert axes.get_ylim() == pytest.approx((-0.03, 1.03))


def test_tables_of_a_version_without_a_judge_are_drawn_without_its_picture(written):
    for name, lacks in (
        (tables.RECOVERY, ["worst_miss"]),
        (tables.GOALS, ["tolerance", "low", "high"]),
    ):
        frame = pd.read_csv(written / name)
        frame.drop(columns=lacks).to_csv(written / name, index=False)
    names = {path.stem for path in draw_all(written)}
    assert "judge" not in names
    assert {"recovery", "targets_setting_2", "parameters_setting_2"} <= names


def test_a_calibrator_has_one_look_in_all_figures_and_no_two_share_theirs():
    alone, together = looks_of(["ppo"]), looks_of(["fixed", "zzz", "ppo", "bo"])
    assert together["ppo"] == alone["ppo"]
    assert len(set(together.values())) == 4
    assert list(together) == ["ppo", "bo", "fixed", "zzz"]
    many = [f"ppo:max_increment={k}" for k in range(15)]
    assert len(set(looks_of(many).values())) == 15


def test_names_are_said_in_words():
    assert describe("supertype_2.connection_10") == "supertype 2: connection to cluster 10"
    assert describe("supertype_1.share") == "supertype 1: market share"
    assert describe("suburbs.rate") == "suburbs: rate"
