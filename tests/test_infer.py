"""Inferences of trained runs: jobs, resuming, both paths, the commands."""

import json

import numpy as np
import pandas as pd
import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.cli import calsheq
from rllib_calsheq.envs import SubwayEnv
from rllib_calsheq.inference.asking import question_of
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.inference.coverage import judge_draws, narrowed, summarise
from rllib_calsheq.inference.coverage_jobs import measure_coverage
from rllib_calsheq.inference.infer import infer
from rllib_calsheq.inference.profile import draw_profile, profile_parameter
from rllib_calsheq.results.evaluation import FrozenRun

TARGETS = {"suburbs.subway_rate": 0.5, "inside.subway_rate": 0.3}
SMALL = InferenceConfig(
    waves=2, episodes=192, held_out=8, held_out_episodes=8, steps=100, relearned=2, settling=2,
    settled_episodes=16, draws=200,
)  # fmt: skip
PARAMETERS = ["suburbs.mean_distance", "inside.mean_distance"]


def trained(folder, targets=TARGETS, stages=20, **calibration):
    config = CALSHEQConfig().environment(
        SubwayEnv, env_config={"num_suburbs": 3, "num_inside": 2, "episode_length": 5}
    )
    config.training(minibatch_size=64)
    config.calibration(targets=targets, num_particles=32, **calibration)
    algorithm = config.build_algo()
    for _ in range(stages):
        algorithm.train()
    algorithm.save_to_path(folder)
    algorithm.stop()
    return folder


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("city") / "checkpoint_000000")


@pytest.fixture(scope="module")
def found(city, tmp_path_factory):
    lines = []
    folder = tmp_path_factory.mktemp("found")
    return infer(city, SMALL, folder, progress=lines.append, command="asked"), lines


class TestInfer:
    def test_it_says_what_is_known_of_every_parameter(self, found):
        result, _ = found
        assert [row["name"] for row in result["parameters"]] == PARAMETERS
        for row in result["parameters"]:
            (low, high), (least, most) = row["intervals"]
            assert 0.0 <= least <= low <= row["median"] <= high <= most <= 3.0
            assert row["true"] is None
        assert len(result["directions"]) == 2
        assert result["command"] == "asked"
        assert 0.0 < result["prior_share"] < 1.0

    def test_each_target_has_its_errors_apart(self, found):
        for row in found[0]["targets"]:
            assert row["observation_error"] == 1.0
            assert not row["observation_known"]
            assert 0.0 < row["simulation_error"] < 1.0
            assert row["lag_error"] > 0.0

    def test_outcomes_that_are_no_targets_are_predicted(self, found):
        by_name = {row["name"]: row for row in found[0]["predictions"]}
        assert by_name["suburbs.subway_rate"]["target"] == 0.5
        assert by_name["inside.reward"]["target"] is None
        low, high = by_name["inside.reward"]["intervals"][1]
        assert low < by_name["inside.reward"]["median"] < high < 0.0

    def test_draws_are_a_table_in_natural_units(self, found):
        result, _ = found
        table = pd.read_parquet(f"{result['folder']}/{result['draws']}")
        assert list(table.columns) == PARAMETERS
        assert len(table) == SMALL.draws
        assert table.to_numpy().min() >= 0.0
        middle = np.array([row["median"] for row in result["parameters"]])
        assert table.median().to_numpy() == pytest.approx(middle, abs=0.3)

    def test_again_it_simulates_nothing_and_says_the_same(self, city, found):
        result, lines = found
        assert sum("stored" in line for line in lines) == 0
        again_lines = []
        again = infer(city, SMALL, result["folder"], progress=again_lines.append, command="asked")
        simulated = [line for line in again_lines if "simulated" in line]
        assert len(simulated) == 2 * SMALL.waves + SMALL.relearned
        assert all("was stored" in line for line in simulated)
        times = {"seconds": 0}
        assert again | times == result | times

    def test_elsewhere_it_finds_the_same_with_two_processes(self, city, found, tmp_path):
        again = infer(city, SMALL, tmp_path, workers=2)
        assert again["parameters"] == found[0]["parameters"]

    def test_another_seed_gives_other_draws(self, city, found, tmp_path):
        other = infer(city, InferenceConfig(**{**vars(SMALL), "seed": 1}), tmp_path)
        assert other["parameters"] != found[0]["parameters"]
        assert other["file"] != found[0]["file"]

    def test_a_run_without_targets_has_nothing_to_infer(self, tmp_path):
        path = trained(tmp_path / "run", None, 1, calibrator={"name": "fixed"})
        with pytest.raises(ValueError, match="trained without targets"):
            infer(path, SMALL, tmp_path)

    def test_episodes_of_an_environment_without_arrays_do_as_well(self, tmp_path):
        path = trained(tmp_path / "run", stages=1, sampling="episodes")
        config = InferenceConfig(**{**vars(SMALL), "relearned": 0, "episodes": 64, "held_out": 4})
        result = infer(path, config, tmp_path)
        assert result["lag"] is None
        assert any("not trained on over the set" in line for line in result["in_words"])


class TestProfile:
    def test_the_targets_allow_values_round_the_best_and_no_others(self, city, tmp_path):
        # A target that is known well, so that not every value will do.
        values = {"suburbs.subway_rate": 0.5, "inside.subway_rate": 0.3}
        config = InferenceConfig(**{**vars(SMALL), "episodes": 512, "steps": 200})
        run = trained(
            tmp_path / "run",
            {"targets": values, "standard_errors": dict.fromkeys(values, 0.01)},
        )
        result = profile_parameter(run, PARAMETERS[0], config, 9, tmp_path / "found")
        squares = [point["square"] for point in result["points"]]
        best = result["points"][int(np.argmin(squares))]
        low, high = result["allowed"]
        assert low <= best["value"] <= high
        assert 0.0 < high - low < 2.0
        assert max(squares) > min(squares) + 10
        for point in result["points"]:
            assert point["parameters"][PARAMETERS[0]] == pytest.approx(point["value"])
        assert best["worst_miss"] < max(point["worst_miss"] for point in result["points"]) - 1
        picture = draw_profile(result, tmp_path / "picture.png")
        assert picture.stat().st_size > 1000

    def test_of_a_parameter_that_does_not_exist_it_is_refused(self, city, tmp_path):
        with pytest.raises(ValueError, match=r"--parameter is 'suburbs\.rent'"):
            profile_parameter(city, "suburbs.rent", SMALL, folder=tmp_path)


class TestQuestion:
    def test_a_target_file_knows_how_well_its_targets_are_known(self, tmp_path):
        targets = {"targets": TARGETS, "standard_errors": {"inside.subway_rate": 0.02}}
        run = FrozenRun(trained(tmp_path / "run", targets, 1))
        question = question_of(run)
        assert question.stated.tolist() == [False, True]
        assert question.observation == pytest.approx([1.0, 0.2])


class TestCommands:
    def test_infer_writes_numbers_draws_and_pictures(self, city, tmp_path, capsys):
        words = ["infer", str(city), "-o", str(tmp_path), "--json", "--relearned", "0"]
        words += ["--waves", "2", "--episodes", "64", "--held-out", "4", "--steps", "40"]
        netcdf = tmp_path / "draws.nc"
        assert calsheq.main([*words, "--netcdf", str(netcdf)]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["command"].startswith("calsheq infer")
        stem = tmp_path / result["file"].removesuffix(".json")
        for ending in (".json", ".parquet", "_intervals.png", "_predictions.png", "_pairs.png"):
            assert stem.with_name(stem.name + ending).stat().st_size > 1000
        import arviz

        data = arviz.from_netcdf(netcdf)
        assert list(data.posterior.parameter.values) == PARAMETERS

    def test_infer_refuses_numbers_that_make_no_sense(self, city, capsys):
        assert calsheq.main(["infer", str(city), "--waves", "1"]) == 2
        assert "waves" in capsys.readouterr().err

    def test_check_targets_names_the_one_that_no_profile_meets(self, tmp_path, capsys):
        file = tmp_path / "experiment.yaml"
        file.write_text(
            """
city:
  run: CALSHEQ
  env: rllib_calsheq.envs.SubwayEnv
  stop: {training_iteration: 5}
  config:
    env_config: {num_suburbs: 3, num_inside: 2, episode_length: 5}
    targets: {suburbs.subway_rate: 0.5, inside.reward: {value: -500, scale: 10}}
    minibatch_size: 64
    num_particles: 32
"""
        )
        words = ["check-targets", str(file), "-o", str(tmp_path / "reach"), "--stages", "3"]
        words += ["--waves", "2", "--episodes", "256"]
        assert calsheq.main(words) == 0
        said = capsys.readouterr().out
        assert "stage 3/3" in said
        result = json.loads((tmp_path / "reach" / "reach.json").read_text())
        assert [row["reach"] for row in result["targets"]] == ["inside", "outside"]
        assert "no profile meets inside.reward together" in said
        # The policy and the simulations are there already.
        assert calsheq.main(words) == 0
        assert "stage 3/3" not in capsys.readouterr().out


class TestCoverage:
    rng = np.random.default_rng(0)

    def trials(self, count, factor=1.0):
        """Hidden normal numbers, and draws from their posterior after a noisy look."""
        made = []
        for _ in range(count):
            hidden = self.rng.standard_normal(2)
            look = hidden + self.rng.standard_normal(2)
            draws = look / 2 + np.sqrt(0.5) * self.rng.standard_normal((2000, 2))
            prior = self.rng.standard_normal((2000, 2))
            spoilt = narrowed(draws, factor)
            made.append(judge_draws(spoilt, hidden, prior, self.rng, np.array([True])))
        return made

    def test_right_intervals_hold_what_they_should(self):
        result = summarise(self.trials(300), ["a", "b"])
        assert result["holds"]
        assert result["least_rank_p_value"] > 0.01
        assert result["joint_p_value"] > 0.01
        assert result["widths"]["a"] == pytest.approx(np.sqrt(0.5), abs=0.05)
        assert result["directions"] == pytest.approx([np.sqrt(0.5)] * 2, abs=0.05)
        assert result["predicted"] == 1.0

    @pytest.mark.parametrize("factor", [0.5, 2.0])
    def test_intervals_of_half_or_twice_the_width_are_found_out(self, factor):
        result = summarise(self.trials(300, factor), ["a", "b"])
        assert not result["holds"]
        assert result["least_rank_p_value"] < 0.01
        # What would put them right is said.
        for row in result["intervals"]:
            assert row["factor"] == pytest.approx(1.0 / factor, rel=0.15)

    def test_a_shift_of_all_draws_shows_in_the_ranks_and_jointly(self):
        made = []
        for _ in range(300):
            hidden = self.rng.standard_normal(2)
            draws = hidden + 0.7 + self.rng.standard_normal((500, 2))
            prior = self.rng.standard_normal((500, 2))
            made.append(judge_draws(draws + self.rng.standard_normal(2), hidden, prior, self.rng))
        assert summarise(made, ["a", "b"])["least_rank_p_value"] < 0.01

    @pytest.mark.learning
    def test_of_the_city_and_spoilt_on_purpose(self, city, tmp_path):
        config = InferenceConfig(
            waves=3, episodes=512, held_out=24, held_out_episodes=16, steps=200, relearned=0
        )
        result = measure_coverage(city, 24, config, 32, tmp_path, workers=2)
        wide = result["intervals"][1]
        assert wide["holds"], wide
        assert result["predicted"] > 0.75
        spoilt = measure_coverage(city, 24, config, 32, tmp_path, spoil=0.4)
        assert not spoilt["intervals"][0]["holds"] or not spoilt["intervals"][1]["holds"]
        assert spoilt["intervals"][1]["coverage"] < wide["coverage"]
