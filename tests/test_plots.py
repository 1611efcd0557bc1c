"""Pictures of a run: parameters of one kind share an axis, and bands stay inside of the bounds."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rllib_calsheq.core.supertypes import Parameter, SupertypeSpace
from rllib_calsheq.results.families import ParameterLine, draw_family, families
from rllib_calsheq.results.plots import _parameter_figure, draw_trial

MARKET = {"env": "rllib_calsheq.envs.MarketEnv", "env_config": {"num_merchants": 3}}


def test_a_kind_is_the_supertype_and_the_name_without_its_number():
    names = ["s_1.rate_10", "s_1.rate_2", "s_2.rate_1", "s_1.tolerance", "s_1.mean_of_2_cars"]
    assert families(names) == {
        "s_1.rate": ["s_1.rate_2", "s_1.rate_10"],
        "s_2.rate": ["s_2.rate_1"],
        "s_1.tolerance": ["s_1.tolerance"],
        "s_1.mean_of_2_cars": ["s_1.mean_of_2_cars"],
    }


def family(count):
    stages = pd.Index([1, 2, 3])
    return {
        f"s.rate_{k}": ParameterLine(
            pd.Series([0.1 * k, 0.2, 0.95], stages), pd.Series([0.3] * 3, stages), (0.0, 1.0), goal
        )
        for k, goal in zip(range(count), np.linspace(0.2, 0.8, count), strict=True)
    }


@pytest.mark.parametrize("count", [1, 3, 25])
def test_a_goal_has_the_colour_of_its_line_and_the_band_stays_inside_of_the_bounds(count):
    axes = Figure().subplots()
    draw_family(axes, family(count))
    solid = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    dashed = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert len(solid) == len(dashed) == count
    assert len({line.get_color() for line in solid}) == count
    if count > 1:
        assert [line.get_color() for line in solid] == [line.get_color() for line in dashed]
        assert 3 <= len(axes.get_legend().get_texts()) <= 10
    for band in axes.collections:
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() >= 0.0
        assert heights.max() == 1.0
    assert axes.get_ylim() == pytest.approx((-0.03, 1.03))


def history(names):
    rows = {"calibration/stage": [1, 2]}
    for name in names:
        rows[f"calibration/profile/{name}/mean"] = [0.5, 0.9]
        rows[f"calibration/profile/{name}/std"] = [0.1, 0.3]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("names", "panels"),
    [
        (["s.only"], 1),
        ([f"s.kind{chr(97 + k)}" for k in range(22)], 22),
        ([*(f"s.rate_{k}" for k in range(1, 11)), "s.tolerance"], 2),
    ],
)
def test_there_is_one_panel_for_each_kind_whatever_the_environment(names, panels):
    space = SupertypeSpace(tuple(Parameter(name.partition(".")[2], "s") for name in names))
    for known in (None, space):
        figure = _parameter_figure(history(names), {}, known)
        assert sum(axes.get_visible() for axes in figure.get_axes()) == panels
        assert "exploration and not certainty" in figure.get_suptitle()
        assert sum(len(axes.get_lines()) for axes in figure.get_axes()) == len(names)
        bands = [band for axes in figure.get_axes() for band in axes.collections]
        tops = [band.get_paths()[0].vertices[:, 1].max() for band in bands]
        assert tops == pytest.approx([1.2 if known is None else 1.0] * len(names))


@pytest.mark.parametrize("config", [MARKET, {"env": "nowhere.Env"}, None])
def test_a_run_is_drawn_with_its_bounds_or_where_its_environment_is_missing_without(
    tmp_path, config
):
    numbers = {"mean": 0.9, "std": 0.3}
    names = ("supertype_1.connection_1", "supertype_2.tolerance_variance")
    rows = [
        {
            "training_iteration": stage,
            "calibration": {
                "stage": stage, "reward_mean": 0.5, "reward_std": 0.1, "reward_pooled": 0.6,
                "profile": dict.fromkeys(names, numbers),
                "outcomes": {"supertype_1.share": numbers},
            },
        }
        for stage in (1, 2)
    ]  # fmt: skip
    (tmp_path / "result.json").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    if config is not None:
        config = {**config, "targets": {"supertype_1.share": 0.4}}
        (tmp_path / "params.json").write_text(json.dumps(config), encoding="utf-8")
    drawn = {path.stem for path in draw_trial(tmp_path)}
    assert drawn == {"parameters", *({"reward", "outcomes"} if config else ())}
