"""A slice of the fuzzed experiment files; `tools/fuzz_configurations.py` runs more."""

import pytest
import yaml
from fuzz_verdicts import BUG, RAN, REFUSED, judge, prepare
from fuzzed_experiments import EXPERIMENT_FILE, SECTIONS, Case, bases, make_case

SEEDS = range(40)


@pytest.fixture(scope="module", autouse=True)
def _ray(ray_cluster):
    prepare()


def unchanged(spec, *names):
    """A case of an experiment as it is, of which a refusal must have one of these words."""
    text = yaml.safe_dump({"experiment": spec}, sort_keys=False)
    return Case(0, {EXPERIMENT_FILE: text.encode()}, [], set(names))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_experiment_file_is_run_or_refused_with_the_key_that_is_wrong(seed):
    case = make_case(seed)
    verdict = judge(case)
    assert verdict.kind != BUG, f"{case.changes}: {verdict.message}"


@pytest.mark.parametrize("name", list(bases()))
def test_what_is_changed_is_a_file_that_runs(name):
    found = judge(unchanged(bases()[name]))
    assert found.kind == RAN, found.message


def test_a_seed_makes_the_same_file_again():
    assert [make_case(s) for s in SEEDS] == [make_case(s) for s in SEEDS]


def test_what_is_wrong_in_a_known_way_has_its_verdict():
    spec = bases()["subway"]
    spec["config"]["num_particles"] = -1
    assert judge(unchanged(spec, "num_particles")).kind == REFUSED
    found = judge(unchanged(spec, "gamma"))
    assert found.kind == BUG
    assert "names none of ['gamma']" in found.message


def test_the_slice_changes_every_section():
    changes = [change for seed in SEEDS for change in make_case(seed).changes]
    for section in SECTIONS[1:]:
        assert any(".".join(section) in change for change in changes), section
