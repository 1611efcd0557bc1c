"""A backtest, whole: what it leaves, that it repeats nothing, and that it goes on."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rllib_calsheq.algorithm import CALSHEQConfig
from rllib_calsheq.backtest import fixed_quotes, markets
from rllib_calsheq.backtest.backtest import backtest
from rllib_calsheq.backtest.observations import (
    PREDICTED,
    Observations,
    learn,
    split_rows,
)
from rllib_calsheq.backtest.pictures import draw_backtest
from rllib_calsheq.backtest.predictions import (
    Predictor,
)
from rllib_calsheq.cli.backtest import show_backtest
from rllib_calsheq.inference.config import InferenceConfig
from rllib_calsheq.results.evaluation import FrozenRun

from transaction_tables import BY_WEEK, READING, SMALL, make_table

QUICK = InferenceConfig(
    waves=2, episodes=64, held_out=4, held_out_episodes=4, steps=20, relearned=0
)
RUN = replace(BY_WEEK, folds=1, stages=2, episodes=8, draws=100)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backtest")
    found = backtest(make_table(), READING, RUN, QUICK, SMALL, folder, command="asked")
    return folder, found


class TestRun:
    def test_it_leaves_its_findings(self, done):
        folder, found = done
        stored = json.loads((folder / "backtest.json").read_text())
        assert stored["scores"] == found["scores"]
        assert stored["folds"][0]["test"] == ["4", "5", "6", "7"]
        assert stored["command"] == "asked"
        rows = pd.read_csv(folder / "predictions.csv")
        assert len(rows) == 4 * len(PREDICTED) * len(Predictor)
        assert set(rows["predictor"]) == set(Predictor)
        assert np.isfinite(rows["crps"]).all()
        assert draw_backtest(found, rows, folder).stat().st_size > 10_000

    def test_what_it_shows_names_every_predictor_and_says_who_is_better(self, done, capsys):
        _, found = done
        show_backtest(found)
        shown = " ".join(capsys.readouterr().out.split())
        assert all(str(predictor) in shown for predictor in Predictor)
        for line in found["in_words"]:
            assert line in shown

    def test_in_the_rival_market_everyone_quotes_the_same(self, done, tmp_path):
        folder, found = done
        (checkpoint,) = (folder / found["folds"][0]["folder"] / "calibration").iterdir()
        rival = fixed_quotes.FixedQuotes(checkpoint, QUICK, tmp_path, 0.4)
        run = rival.run.calibration
        played = rival.play(np.tile(run.space.start, (3, 1)), 0)
        names = list(run.columns.names)
        for supertype in ("supertype_1", "supertype_2"):
            assert played[:, names.index(f"{supertype}.half_spread")] == pytest.approx(0.4)
        means, verdict = rival.calibrate(3, 8, lambda line: None)
        assert (means == rival.calibrate(3, 8, lambda line: None)[0]).all()
        assert len(verdict.targets) == 10

    def test_again_it_repeats_nothing_and_says_the_same(self, done, monkeypatch):
        folder, found = done

        def refuse(*args, **fields):
            raise AssertionError("it was done before")

        monkeypatch.setattr(CALSHEQConfig, "build_algo", refuse)
        monkeypatch.setattr(FrozenRun, "sample_each", refuse)
        monkeypatch.setattr(fixed_quotes.FixedQuotes, "play", refuse)
        lines = []
        again = backtest(
            make_table(), READING, RUN, QUICK, SMALL, folder, progress=lines.append, command="asked"
        )
        assert again | {"seconds": 0} == found | {"seconds": 0}
        assert lines == [
            "fold 1/1: the calibration was stored (2 stages)",
            "fold 1/1: learning-calibrated was stored",
            "fold 1/1: learning-inferred was stored",
            "fold 1/1: fixed-calibrated was stored",
            "fold 1/1: fixed-inferred was stored",
        ]

    def test_a_calibration_that_was_killed_goes_on_and_ends_the_same(self, tmp_path, monkeypatch):
        seen = Observations.of(make_table(), READING, BY_WEEK)
        monkeypatch.setattr(markets, "SAVE_EVERY", 1)
        monkeypatch.setattr(markets, "PROGRESS_EVERY", 1)
        content = learn(seen, split_rows(seen, RUN)[0], RUN).content

        def killed(line):
            if "stage 2/" in line:
                raise KeyboardInterrupt

        def calibrated(place, progress):
            config = markets.configure(SMALL, content, RUN)
            path = markets.calibrate(config, place, 3, progress)
            return FrozenRun(path).calibration.calibrated_profile()

        with pytest.raises(KeyboardInterrupt):
            calibrated(tmp_path / "killed", killed)
        lines = []
        resumed = calibrated(tmp_path / "killed", lines.append)
        assert [line.split(",")[0] for line in lines] == [
            "calibration: stage 2/3",
            "calibration: stage 3/3",
        ]
        assert (resumed == calibrated(tmp_path / "whole", lines.append)).all()
        assert len(list((tmp_path / "killed").iterdir())) == 1
