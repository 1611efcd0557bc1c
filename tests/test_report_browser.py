"""The report in a real browser: a headless Chromium, as Debian's package `chromium` installs it."""

import re
import time

import pytest

from rllib_calsheq.reporting.writing import write_report

from chromium import Page, find_chromium
from run_folders import add_certificate, add_inference, add_particles, make_run

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium here")

READY = "document.documentElement.dataset.ready === 'yes'"
TAB = 9


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Where the report of two runs is."""
    folder = tmp_path_factory.mktemp("runs")
    trial = make_run(folder / "first")
    add_inference(trial)
    add_certificate(trial)
    add_particles(trial, [[0.5, 0.25, 0.75]] * 3)
    make_run(folder / "second", seed=1, off=0.4)
    (file,) = write_report([folder / "first", folder / "second"], folder / "report.html")
    return file


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    with Page(tmp_path_factory.mktemp("profile")) as page:
        page.open(report.as_uri())
        page.until(READY)
        yield page


def test_it_opens_without_a_request_and_draws_every_figure_without_an_error(page, report):
    names = page.run("[...document.querySelectorAll('[data-figure]')].map(f => f.dataset.figure)")
    assert len(names) >= 10
    for name in names:
        page.run(f"document.getElementById('figure-{name}').scrollIntoView()")
        page.until(f"document.querySelector('#figure-{name} .main-svg') !== null")
    assert page.requests == [report.as_uri()]
    assert page.errors == []
    assert page.run("document.getElementById('no-figures').hidden")


def test_a_tooltip_appears_over_a_point(page):
    page.resize(1280, 900)
    page.run(
        "document.getElementById('figure-misses')"
        ".scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    page.until("document.querySelector('#figure-misses .point') !== null")
    said, end = "", time.monotonic() + 20
    # Figures above that are only just drawn may move it.
    while "share: " not in said and time.monotonic() < end:
        box = page.run(
            "(() => { const r = document.querySelector('#figure-misses .point')"
            ".getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        page.point_at(*box)
        time.sleep(0.2)
        said = page.run("document.querySelector('#figure-misses .hoverlayer').textContent")
    assert "share: 0.3, target 0.3 (+0.00 scales), met" in said
    page.point_at(1, 1)


def test_choices_and_runs_change_what_is_shown(page):
    shown = "document.querySelector('#figure-outcomes .plot').data.map(t => t.meta)"
    page.run("document.getElementById('figure-outcomes').scrollIntoView()")
    page.until("document.querySelector('#figure-outcomes .plot').data !== undefined")
    assert {"first", "second"} <= set(page.run(shown))
    page.run("document.querySelector('[data-run=\"second\"]').click()")
    page.until(f"!{shown}.includes('second')")
    assert "first" in page.run(shown)
    page.run("document.querySelector('[data-run=\"second\"]').click()")
    page.until(f"{shown}.includes('second')")
    title = "document.querySelector('#figure-outcomes .ytitle').textContent"
    assert page.run(title) == "outcome less target, in scales"
    page.run(
        "(() => { const s = document.querySelector('[data-choices=\"outcomes\"]'); s.value = '1';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    page.until(f"{title} === 'share'")


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(report, tmp_path, width):
    with Page(tmp_path, width, 800) as page:
        page.open(report.as_uri())
        page.until(READY)
        page.run("document.getElementById('figure-misses').scrollIntoView()")
        page.until("document.querySelector('#figure-misses .main-svg') !== null")
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.querySelector('#figure-misses .main-svg').clientWidth") <= width
        assert page.errors == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page, report):
    # Opened anew: wherever the page was clicked before, the keyboard would begin there.
    page.open(report.as_uri())
    page.until(READY)
    reached = []
    for _ in range(60):
        page.press("Tab", TAB)
        reached.append(
            page.run(
                "[document.activeElement.tagName, document.activeElement.className,"
                " getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    assert reached[0][1] == "skip"
    assert {"A", "INPUT", "SELECT", "SUMMARY", "DIV"} <= {tag for tag, _, _ in reached}
    assert all(outline != "none" for tag, _, outline in reached if tag not in ("BODY", "HTML"))


def test_words_stand_out_from_their_ground(page):
    """Contrast of at least 4.5 (WCAG 2.1, AA) of all text that is not in a figure."""
    found = page.run(CONTRASTS)
    assert len(found) > 5
    low = {key: value for key, value in found.items() if value < 4.5}
    assert not low


#: Contrast of each pair of colours of text and ground, with a word of it.
CONTRASTS = """(() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const found = {};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement, word = texts.currentNode.textContent.trim();
    if (!word || parent.closest(".plot, script, [hidden], noscript, .skip, option")) continue;
    let ground = parent, colour;
    do {
      colour = parse(getComputedStyle(ground).backgroundColor);
      ground = ground.parentElement;
    } while (ground && colour[3] === 0);
    const two = [light(parse(getComputedStyle(parent).color)), light(colour)].sort((a, b) => b - a);
    const key = `${parent.tagName}.${parent.className} ${word.slice(0, 20)}`;
    found[key] = (two[0] + 0.05) / (two[1] + 0.05);
  }
  return found;
})()"""


def test_printing_gives_pages(page):
    pdf = page.printed()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4


def test_without_what_it_needs_the_page_says_that_the_tables_have_all_numbers(report, tmp_path):
    old = tmp_path / "old.html"
    text = report.read_text(encoding="utf-8")
    needed = '<script type="application/json" id="figures">'
    old.write_text(
        text.replace(needed, f"<script>delete window.DecompressionStream</script>{needed}")
    )
    with Page(tmp_path / "profile") as page:
        page.open(old.as_uri())
        page.until("!document.getElementById('no-figures').hidden")
        assert page.errors == []
