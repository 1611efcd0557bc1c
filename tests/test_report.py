"""The report: what it says of a run and of several, and that it needs no network."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest

from rllib_calsheq.core.targets import Outcome, TargetSet
from rllib_calsheq.reporting.document import Table, duration
from rllib_calsheq.reporting.facts import gather
from rllib_calsheq.reporting.figures import MOST_POINTS, compact, thinned
from rllib_calsheq.reporting.rendering import to_html, to_markdown
from rllib_calsheq.reporting.sections import document_of
from rllib_calsheq.reporting.words import came_out, how_sure, in_short, limits
from rllib_calsheq.results.provenance import machine_in_words, read_starts, record_start

from run_folders import add_certificate, add_particles, change_start, full_run, make_run, write

HEADINGS = [
    "In short", "Performance", "Targets", "How it came about", "Calibrated profile", "Equilibrium",
    "Purpose", "Data", "Assumptions", "Limits", "Monitoring", "Configuration", "Provenance",
]  # fmt: skip
#: Elements that HTML never closes.
VOID = {"meta", "link", "input", "br", "wbr", "hr", "img"}


class Page(HTMLParser):
    """A page as its elements: whether they are closed in order, and what they load and link."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.loads, self.headings = [], [], [], [], []
        self.columns, self.text = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.loads += [given[k] for k in ("src", "srcset", "action", "data") if k in given]
        self.loads += [given["href"]] if tag == "link" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings.append(data)
        if not set(self.open) & {"script", "style"}:
            self.text.append(data)


@pytest.fixture
def full(tmp_path):
    return full_run(tmp_path / "full")


def document(*runs):
    return document_of(gather(runs))


def tables(found):
    return [
        block
        for section in found.sections
        for part in (section, *section.sections)
        for block in part.blocks
        if isinstance(block, Table)
    ]


def table(found, caption):
    (only,) = [t for t in tables(found) if t.caption.startswith(caption)]
    return [[cell.text for cell in row] for row in only.rows]


def test_a_page_is_whole_loads_nothing_and_is_small(full):
    text = to_html(document(full))
    page = Page(text)
    assert page.headings == [
        *HEADINGS[:5], "Predictive bands", "Equilibrium", "The simulation there", *HEADINGS[6:]
    ]  # fmt: skip
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert page.loads == ["data:,"]
    assert "default-src 'none'" in text
    assert len(text.encode()) < 3e6


def test_every_figure_is_one_that_plotly_knows_and_is_drawn_somewhere(full, tmp_path):
    make_run(tmp_path / "other", seed=1)
    for found in (document(full), document(full, tmp_path / "other")):
        figures = found.figures()
        assert len({f.name for f in figures}) == len(figures) >= 6
        places = re.findall(r'<figure [^>]*data-figure="([^"]+)"', to_html(found))
        assert len(places) == len(figures)
        for figure in figures:
            go.Figure(data=list(figure.data), layout=figure.layout)
            for choice in figure.choices:
                go.Figure(data=[figure.data[k] for k in choice.traces])
            shown = {k for choice in figure.choices for k in choice.traces}
            assert not figure.choices or shown == set(range(len(figure.data)))
            json.dumps([figure.data, figure.layout], allow_nan=False)


def test_the_summary_says_what_was_asked_what_came_out_and_how_sure_one_is(full, tmp_path):
    (run,) = gather([full])
    asked, came, sure = in_short(run)
    assert "3 parameters of 2 supertypes" in asked
    assert "30 stages of 8 episodes" in asked
    assert "every target is met" in came
    assert "the targets pin down 1 and leave 1 free" in sure
    assert "can gain 1.00 % of what it gets (95 % interval 0.50 % to 1.50 %)" in sure
    (missed,) = gather([make_run(tmp_path / "missed", off=0.4)])
    assert "0 of 2 targets are met on 512 fresh episodes" in came_out(missed)
    assert "missed: `share`, `s_2.volume`" in came_out(missed)
    assert "neither" in how_sure(missed)
    assert document(missed.trial).good is False
    (alone,) = gather([make_run(tmp_path / "alone", evaluated=False)])
    assert "was not evaluated" in came_out(alone)
    assert document(alone.trial).good is None


def test_an_evaluation_of_an_earlier_stage_is_called_that(tmp_path):
    trial = make_run(tmp_path / "r")
    found = json.loads((trial / "evaluation.json").read_text())
    write(trial / "evaluation.json", found | {"stage": 20})
    (run,) = gather([trial])
    assert "at the calibrated profile of stage 20" in came_out(run)


def without_targets(trial):
    """Takes the targets out of a made run."""
    manifest = json.loads((trial / "checkpoint_000000" / "manifest.json").read_text())
    manifest["run"]["targets"] = {}
    write(trial / "checkpoint_000000" / "manifest.json", manifest)
    found = json.loads((trial / "evaluation.json").read_text())
    write(trial / "evaluation.json", found | {"verdict": None, "outcomes": []})
    return trial


def test_a_run_without_targets_has_nothing_that_could_be_missed(tmp_path):
    trial = without_targets(make_run(tmp_path / "r", targets=None))
    (run,) = gather([trial])
    assert in_short(run)[1] == "Came out: a policy; nothing was judged."
    assert not any("At a bound" in line for line in limits([run]))
    made = document(trial)
    assert made.good is None
    assert {"fit", "outcomes", "misses"}.isdisjoint(figure.name for figure in made.figures())
    Page(to_html(made))
    # Beside one that has targets, too, in either order.
    other = make_run(tmp_path / "other")
    for runs in ((trial, other), (other, trial)):
        assert {"fit", "outcomes", "misses"} < {f.name for f in document(*runs).figures()}


def test_limits_name_what_is_wrong_with_a_run_and_only_that(full, tmp_path):
    said = " ".join(limits(gather([full])))
    assert "At a bound: `s_2.cost`" in said
    assert "say nothing of `s_1.rate_2`" in said
    assert "training on changes the fit by -0.030" in said
    assert "misses its target" not in said
    assert "not identified" not in said
    runs = gather([make_run(tmp_path / "a", off=0.4), make_run(tmp_path / "b", seed=1)])
    several = limits(runs)
    assert "a: `share` misses its target: it is off by 0.40 scales." in several
    assert not any(line.startswith("b: `share`") for line in several)
    assert not any("One seed" in line for line in several)
    assert any("not identified" in line for line in several)


def test_the_verdict_of_each_target_stands_in_a_table_with_its_numbers(tmp_path):
    rows = table(document(make_run(tmp_path / "r", off=0.4)), "Every target")
    assert rows[0] == ["`share`", "0.32", "0.0005", "0.3", "0.40", "0.25", "missed"]


def test_what_the_environment_breaks_down_is_drawn_and_tabled(tmp_path):
    made = document(make_run(tmp_path / "r"))
    (figure,) = [f for f in made.figures() if f.title == "Share by size"]
    assert [(t["name"], t["y"]) for t in figure.data] == [
        ("s_1", [0.5, 0.25]),
        ("s_2", [0.1, None]),
    ]
    assert figure.data[0]["error_y"]["array"] == pytest.approx([0.0196, 0.0196])
    assert table(made, "Share by size") == [["s_1", "0.5", "0.25"], ["s_2", "0.1", "–"]]
    every = table(made, "Every outcome")
    assert every[1] == ["`volume` what it is", "1.5 ± 0.1", "1.5 ± 0.1", "–"]
    assert every[0] == ["`share` what it is", "–", "–", "1.5 ± 0.1"]


def test_several_runs_stand_side_by_side_and_what_differs_is_marked(tmp_path):
    make_run(tmp_path / "a", seed=0, lr_shared={"initial": 0.001})
    make_run(tmp_path / "b", seed=1, off=0.4, lr_shared={"initial": 0.01})
    found = document(tmp_path / "a", tmp_path / "b")
    assert found.runs == ("a", "b")
    assert "a. Asked" in found.summary[0]
    assert table(found, "Fields that differ") == [
        ["`seed`", "0", "1"], ["`lr_shared.initial`", "0.001", "0.01"],
    ]  # fmt: skip
    assert ["`env`", "my_module.MyEnv", "my_module.MyEnv"] in table(found, "Fields that all runs")
    verdicts = table(found, "Every target")
    assert verdicts[0][2:] == ["0.3 ± 0.0005, met (0.00)", "0.32 ± 0.0005, missed (0.40)"]
    page = to_html(found)
    assert page.count('data-run="') == 2
    assert 'class="differs' in page


def test_trials_of_one_run_are_called_by_their_own_names(tmp_path):
    first = make_run(tmp_path / "sweep")
    first.rename(tmp_path / "sweep" / "trial_00001_seed=1")
    make_run(tmp_path / "sweep")
    assert [r.label for r in gather([tmp_path / "sweep"])] == ["trial_00000", "trial_00001_seed=1"]
    make_run(tmp_path / "other")
    labels = [r.label for r in gather([tmp_path / "sweep", tmp_path / "other", tmp_path / "other"])]
    assert labels == ["sweep/trial_00000", "sweep/trial_00001_seed=1", "other/trial_00000"]


def test_what_a_user_named_cannot_break_the_page(tmp_path):
    evil = "</script><script>alert(1)</script>"
    trial = make_run(tmp_path / "r", env_config={"name": evil, "<b>": "`code`"})
    found = evaluation = json.loads((trial / "evaluation.json").read_text())
    found["outcomes"][0]["name"] = evil
    write(trial / "evaluation.json", evaluation)
    text = to_html(document(trial))
    Page(text)
    assert evil not in text
    assert "<b>" not in text


def test_numbers_that_are_none_are_dashes(tmp_path):
    trial = make_run(tmp_path / "r")
    found = json.loads((trial / "evaluation.json").read_text())
    found["outcomes"][0] |= {"value": None, "stderr": None, "miss": None, "met": False}
    found["verdict"]["worst_miss"] = None
    write(trial / "evaluation.json", found)
    made = document(trial)
    assert table(made, "Every target")[0][1:3] == ["–", "–"]
    assert "`share` misses its target: it did not happen." in limits(gather([trial]))
    Page(to_html(made))


def test_a_run_of_few_files_has_a_report_all_the_same(tmp_path):
    trial = make_run(tmp_path / "r", evaluated=False)
    (trial / "checkpoint_000000" / "manifest.json").unlink()
    (trial / "params.json").unlink()
    lines = (trial / "result.json").read_text().splitlines()
    (trial / "result.json").write_text("\n".join(lines[:1]) + '\n{"training_it')
    Page(to_html(document(trial)))


def test_what_was_judged_is_reported_without_checkpoint_and_environment(tmp_path):
    trial = make_run(tmp_path / "r", off=2.0)
    (trial / "checkpoint_000000" / "manifest.json").unlink()
    page = to_markdown(document(trial), tmp_path)
    assert "so that 2 outcomes (`share`, `s_2.volume`) meet their targets" in page
    assert "0 of 2 targets are met on 512 fresh episodes" in page
    assert len(table(document(trial), "Every target")) == 2


def test_markdown_has_the_same_headings_and_tables_and_links_to_pictures(full):
    (full / "trial_00000" / "reward.png").write_bytes(b"")
    text = to_markdown(document(full), full)
    assert re.findall(r"^##+ (.+)$", text, re.M) == Page(to_html(document(full))).headings
    assert "(trial_00000/reward.png)" in text
    assert "parameters.png" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
        assert len(set(cells)) == 1
    assert text.count("\n|---") == len(tables(document(full)))


def test_provenance_tells_who_made_it_and_names_no_host(full):
    record_start(full, "rllib train -f my.yaml --resume")
    rows = dict(row for row in table(document(full), "Provenance"))
    assert rows["command"].endswith(
        "--set 'config.seed=0'`; then `rllib train -f my.yaml --resume`"
    )
    assert "cores" in rows["machine of the driver"]
    assert rows["time in stages"] == "60 s"
    assert rows["versions"] == "rllib-calsheq 0.1"
    text = to_html(document(full)) + to_markdown(document(full), full)
    assert "secret-host" not in text
    assert "192.0.2.77" not in text
    assert str(full.parent) not in text


def test_notes_of_starts_that_cannot_be_read_are_none(tmp_path):
    assert read_starts(tmp_path) == []
    (tmp_path / "provenance.json").write_text("{")
    assert read_starts(tmp_path) == []
    record_start(tmp_path, "again")
    assert [start["command"] for start in read_starts(tmp_path)] == ["again"]
    assert machine_in_words({"system": "Linux", "cores": 2}) == "Linux, 2 cores"


def test_the_targets_have_the_name_that_an_inference_gives_them(tmp_path):
    (run,) = gather([make_run(tmp_path / "r")])
    outcomes = [Outcome("share", 9.0), Outcome("s_2.volume", 9.0)]
    known = TargetSet.from_mapping(run.params["targets"]["targets"], outcomes)
    assert run.targets_hash == known.fingerprint()
    assert run.targets == known.targets


def test_only_certificates_of_the_checkpoint_as_it_is_count(tmp_path):
    trial = make_run(tmp_path / "r")
    add_certificate(trial)
    place = trial / "certificate"
    (place / "checkpoint_000000").rename(place / "checkpoint_000000_num_merchants=50")
    (run,) = gather([trial])
    assert run.certificate is None


def test_each_particle_of_the_last_checkpoint_can_be_chosen(tmp_path):
    trial = make_run(tmp_path / "r")
    add_particles(trial, np.array([[0.0, 0.5, 1.0], [0.25, 0.25, 0.25]]))
    (run,) = gather([trial])
    # All ranges are 0 to 2.
    assert run.particles.tolist() == [[0.0, 1.0, 2.0], [0.5, 0.5, 0.5]]
    (figure,) = [f for f in document(trial).figures() if f.name == "particles-r"]
    assert [c.label for c in figure.choices] == ["all particles", "particle 1", "particle 2"]
    cloud, chosen = (figure.data[k] for k in figure.choices[1].traces)
    assert chosen["x"] == [0.0, 0.5, 1.0]
    assert cloud["x"] == [0.0, 0.5, 1.0, 0.25, 0.25, 0.25]


def test_particles_are_whole_profiles_where_some_parameters_are_known(tmp_path):
    known = {"fixed": {"s_1.rate_1": 0.7}, "bounds": {"s_2.cost": [1.0, 2.0]}}
    trial = make_run(tmp_path / "r", parameters=known)
    change_start(trial, "s_1.rate_1", 0.7)
    add_particles(trial, np.array([[0.5, 0.5]]))
    (run,) = gather([trial])
    assert run.particles.tolist() == [[0.7, 1.0, 1.5]]
    add_particles(trial, np.array([[0.5, 0.5]]), format=-1)
    (run,) = gather([trial])
    assert run.particles is None


def test_thinned_rows_keep_the_ends_and_numbers_keep_five_digits(tmp_path):
    (run,) = gather([make_run(tmp_path / "r", stages=1000)])
    few = thinned(run.history, 1)
    assert len(few) == MOST_POINTS
    assert few["training_iteration"].iloc[[0, -1]].tolist() == [1, 1000]
    assert len(thinned(run.history, 500)) == 40
    assert compact([1 / 3, np.nan, np.inf, 123456.0]) == [0.33333, None, None, 123460.0]


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "–"), (59.6, "60 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
