"""A version's report: one file that stands alone, shows what the lake says at the right places, and hostile text as text."""

from __future__ import annotations

import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.review.files import report_path, write_report
from pipelines.review.flows import NO_ANSWER, NO_CALL, OTHER, SHOWN, TEXT, Flows, load_flows, view_flows
from pipelines.review.forest import Axis, Row, axis_around, draw_forest
from pipelines.review.headline import find_version
from pipelines.review.markup import fill_part
from pipelines.review.report import Answer, load_report
from pipelines.review.report_html import draw_headline, keep_report, render_report
from tests.support.axe import violations
from tests.support.browser import find_chromium, open_browser
from tests.support.small_lake import EXPERIMENT, OTHER_EXPERIMENT, SCRIPT, Small

ANSWER = Answer("do_not_ship", f"Do not ship {SCRIPT}", (f"because {SCRIPT}",), (("refund_usd < 1", SCRIPT, False),))


class Outline(HTMLParser):
    """Elements, attributes and words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words += data


def page(small: Small, experiment: str = EXPERIMENT) -> str:
    """The report of the newest version."""
    report = load_report(small.lake, find_version(small.lake, experiment))
    return render_report(replace(report, answer=ANSWER))


@pytest.mark.parametrize("experiment", [EXPERIMENT, OTHER_EXPERIMENT])
def test_hostile_text_stays_text(small: Small, experiment: str):
    """Nothing in the file runs, loads or links, whatever was recorded; what was recorded can be read in it."""
    outline = Outline(page(small, experiment))
    assert not outline.tags & {
        "script",
        "img",
        "a",
        "iframe",
        "link",
        "object",
        "form",
        "input",
        "image",
        "use",
        "foreignobject",
    }
    assert not {name for name in outline.attributes if name.startswith("on")} | outline.attributes & {
        "href",
        "src",
        "xlink:href",
    }
    assert SCRIPT in outline.words
    assert "Do not ship" in outline.words


def test_says_what_the_lake_says(small: Small):
    """Pairs, failures, what was left out and the biggest change first, in words."""
    report = load_report(small.lake, find_version(small.lake, EXPERIMENT))
    assert [left.code for left in report.left_out if left.status == "failed"] == ["candidate_error"]
    assert report.order == "refund_usd"
    largest = [
        abs(pair.b.metrics["refund_usd"] - pair.a.metrics["refund_usd"]) for pair in report.changes if pair.b.metrics
    ]
    assert largest == sorted(largest, reverse=True)
    words = Outline(render_report(report)).words
    assert "the candidate raised an error" in words
    assert "As a JSON Patch (RFC 6902)" in words
    assert '{"op": "replace", "path": "/usd", "value": 50}' in words
    assert report.answer is not None
    assert report.answer.title in words
    assert words.count(report.answer.reasons[0]) == 1


def test_in_a_browser(small: Small, tmp_path: Path):
    """No request, no complaint, no script; every mark is where its number is on the axis, in a wide and in a narrow window."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium on PATH")
    file = tmp_path / "report.html"
    write_report(page(small), file)
    with open_browser(chromium, tmp_path / "profile") as browser:
        browser.open(file.as_uri())
        browser.wait("document.readyState === 'complete' && document.querySelectorAll('.rf-forest-track').length > 0")
        for width, is_dark in ((1100, False), (390, True)):
            browser.resize(width, 900, is_dark=is_dark)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            _marks_are_right(browser.evaluate(_MARKS))
        assert browser.evaluate("document.title") == f"{EXPERIMENT}: A against B"
        assert browser.requested == [file.as_uri()]
        assert (browser.failures, browser.complaints) == ([], [])
        browser.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        for width, is_dark in ((390, True), (1100, False)):
            browser.resize(width, 900, is_dark=is_dark)
            assert violations(browser) == []


_MARKS = """
Array.from(document.querySelectorAll('.rf-forest')).map(forest => ({
  ticks: Array.from(forest.querySelectorAll('.rf-tick')).map(tick => {
    const box = tick.getBoundingClientRect();
    return [parseFloat(tick.textContent.replace('\u2212', '-')), (box.left + box.right) / 2];
  }),
  rows: Array.from(forest.querySelectorAll('.rf-forest-track')).map(track => {
    const interval = track.querySelector('.rf-interval'), dot = track.querySelector('.rf-dot, .rf-diamond');
    const box = interval ? interval.getBoundingClientRect() : null, point = dot ? dot.getBoundingClientRect() : null;
    return {
      low: parseFloat(track.dataset.low), high: parseFloat(track.dataset.high), point: parseFloat(track.dataset.point),
      left: box && box.left, right: box && box.right, middle: point && (point.left + point.right) / 2,
    };
  }),
}))
"""


def _marks_are_right(forests: list[dict]) -> None:
    """The axis is what its ticks say; ends and middles of intervals are where it says that they are."""
    shares, metrics = forests[:2]
    assert (shares["rows"][0]["low"], shares["rows"][0]["high"]) == (30, 86)
    assert metrics["rows"][0]["point"] == pytest.approx(-15.71 / 80 * 100, abs=1e-3)
    seen = 0
    for forest in forests:
        (first, x0), *_, (last, x1) = forest["ticks"]
        for row in forest["rows"]:
            for value, place in ((row["low"], row["left"]), (row["high"], row["right"]), (row["point"], row["middle"])):
                if place is not None:
                    assert place == pytest.approx(x0 + (value - first) / (last - first) * (x1 - x0), abs=1.5)
                    seen += 1
    assert seen >= 6


def test_file_is_its_owners_and_all_or_nothing(small: Small, tmp_path: Path):
    """Recorded text is in it: only the owner reads it. A place that cannot be written is told, and nothing stays there."""
    version = find_version(small.lake, EXPERIMENT)
    path, _ = keep_report(small.lake, tmp_path, version)
    assert path == report_path(tmp_path, EXPERIMENT, version.version_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be written"):
        write_report("x", tmp_path / "file" / "report.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInputError, match="cannot be written"):
        write_report("x", tmp_path / "folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder", "reports"]


def test_flows_count_every_pair_once(small: Small):
    """What A did and what B did instead, decision by decision; the tools of a conversation, call by call."""
    version = find_version(small.lake, EXPERIMENT)
    flows = load_flows(small.lake, version)
    assert flows.total == version.pairs
    assert flows.counts[TEXT, NO_ANSWER, False] == 1
    assert sum(flows.side(0).values()) == sum(flows.side(1).values()) == version.pairs
    by_call = load_flows(small.lake, find_version(small.lake, OTHER_EXPERIMENT))
    assert by_call.unit == "tool calls"
    assert NO_CALL in by_call.side(0)
    assert NO_CALL not in by_call.side(1)


def test_actions_beyond_the_shown_are_one_and_keep_what_changed():
    """Ribbons are as wide as their counts; a change between two unnamed actions is not called the same."""
    counts = {
        ("refund", "escalate", False): 30,
        ("refund", "refund", True): 60,
        (TEXT, TEXT, True): 100,
        (OTHER, OTHER, False): 5,
    }
    flows = Flows(counts, "decisions")
    assert (flows.total, flows.same) == (195, 160)
    assert list(flows.side(0)) == [TEXT, "refund", OTHER]
    drawn = fill_part("flows.html", "flows", view_flows(flows))
    assert drawn.count("<path") == len(counts)
    assert drawn.count("rf-ribbon-changed") == 2
    assert view_flows(Flows({}, "decisions")) is None
    assert SHOWN == 7


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (-1.08, 1.08, [-1, -0.5, 0, 0.5, 1]), (-216, 216, [-200, -100, 0, 100, 200])],
)
def test_ticks_are_round_and_few(low: float, high: float, ticks: list[float]):
    """Steps of 1, 2, 2.5 or 5 times a power of ten, all inside of the axis."""
    assert Axis(low, high).ticks == pytest.approx(ticks)


def test_forest_as_text():
    """In a terminal: ends of an interval, its estimate, the line of no difference, and arrows beyond the axis."""
    rows = [Row("cost", -50, -100, 0), Row("calls", 10, -400, 400), Row("unknown", None, None, None, told="–")]
    first, second, third, ends = draw_forest(rows, Axis(-100, 100, 0, " %"))
    assert first == f"  {'cost':<31}├{'─' * 9}●{'─' * 9}┤"
    assert second == f"  {'calls':<31}◂{'─' * 21}●{'─' * 17}▸"
    assert third == f"  {'unknown':<31}{' ' * 20}│{' ' * 20}  –"
    assert ends.split() == ["−100", "%", "100", "%"]
    around = axis_around(rows, limit=200)
    assert (around.low, around.high, around.place(0)) == (-200, 200, 0.5)
    assert axis_around([]).high > 0


def test_headline_plot_holds_no_recorded_text(small: Small):
    """The plot that Dagster keeps has names of metrics and numbers, nothing that anybody said."""
    drawn = draw_headline(load_report(small.lake, find_version(small.lake, EXPERIMENT)).headline)
    assert "Refund (USD), decides" in drawn
    assert "<" not in drawn
