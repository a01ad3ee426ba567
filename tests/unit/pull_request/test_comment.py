"""What a comment and a JUnit file say of versions, read back by readers that are not ours."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from xml.etree import ElementTree as ET

import cmarkgfm
import junitparser
import pytest

from pipelines.diff.gating import Decision
from pipelines.diff.versions import Version
from pipelines.errors import BadInputError
from pipelines.pull_request.comment import LIMIT, marker, render_comment
from pipelines.pull_request.files import Files
from pipelines.pull_request.junit import render_junit
from pipelines.pull_request.told import Told
from pipelines.review.changes import Change, ChangedCall
from pipelines.review.headline import Headline, SummaryLine
from pipelines.stats.answer import Evidence, decide
from pipelines.stats.estimate import Estimate
from pipelines.stats.gate import Summary, evaluate, parse_gate

HOSTILE = (
    "</script><img src=x onerror=alert(1)> @octocat [x](http://evil.test) `a` ``` | \x1b[31m \u202e\ufffe\ud800 ]]>&"
)
HOSTILE_GATE = '"<b>@octocat `#1` ]]>&\u202e\x07"'


def line(metric, kind, *, estimate=None, goal=None, verdict=None, reason=None, bounds=(None, None), means=(1.0, 2.0)):
    return SummaryLine(
        metric,
        kind,
        "all",
        "all",
        400,
        0,
        100,
        *means,
        100.0,
        200.0,
        estimate,
        *bounds,
        None,
        goal,
        None,
        verdict,
        None,
        reason,
    )


METRIC = Estimate("difference", "unit", n=400, g=100, g_changed=90, theta=-0.5, low=-0.9, high=-0.1, verdict="improved")
RULE = Estimate("rate", "unit", n=400, g=100, g_changed=90, theta=0.75, theta_a=1.0, low=0.6, high=0.8)


def told(*, changes=(), gate="refund_usd < 0; same_calls >= 0.9", window=(None, None), side_b="the model x"):
    shares = {"same_calls": Estimate("rate", "unit", n=400, g=100, g_changed=90, theta=0.8, low=0.7, high=0.85)}
    found = {"refund_usd": METRIC, "cost": Estimate("difference", "unit", n=0, g=0, g_changed=0, reason="no_units")}
    rules = {"looked_up": RULE}
    summary = Summary(
        metrics=found | shares, segments={}, checks={"looked_up": False}, segment_names=frozenset({"vertical"})
    )
    result = evaluate(parse_gate(gate), summary)
    evidence = Evidence(metrics=found, declared=frozenset(found), primary="refund_usd", rules=rules, gate=result, g=100)
    decision = Decision(decide(evidence), result, "conversation")
    headline = Headline(
        version=Version(
            "refunds", "0123456789abcdef", "ff" * 32, "decision", 400, 320, 300, datetime(2026, 5, 1, 9, tzinfo=UTC)
        ),
        side_a="what was recorded",
        side_b=side_b,
        window=window,
        where=None,
        primary="refund_usd",
        conversations=100,
        calls=0,
        failed=4,
        not_asked=0,
        not_asked_erased=0,
        flat_metrics=(),
        classes={},
        outcomes={},
        shares=(line("same_calls", "change", estimate=0.8, bounds=(0.7, 0.85)),),
        differences=(
            line("refund_usd", "metric", estimate=-0.5, goal="lower", verdict="improved", bounds=(-0.9, -0.1)),
            line("cost", "metric", goal="lower", reason="no_units", means=(None, None)),
        ),
        segments=(),
        rules=(line("looked_up", "rule", estimate=0.75, bounds=(0.6, 0.8), means=(1.0, 0.75)),),
        decision=decision,
    )
    return Told(headline, decision, tuple(changes), "calls", 312)


def change(text=HOSTILE, name=HOSTILE, unit_id=HOSTILE):
    calls = (ChangedCall(name, f"{name}2", (f"/{text}",)), ChangedCall(None, name, ()))
    return Change(
        unit_id, "s", 1, "set_changed", "ok", None, None, None, None, 2, 1, 2, "rewrite", 0.1, text, text, {}, {}, calls
    )


def read(text):
    return cmarkgfm.github_flavored_markdown_to_html(text, options=0)


def words(html):
    return unescape(re.sub(r"<[^>]*>", " ", html)).replace("\u2060", "")


def test_a_comment_says_the_answer_the_numbers_and_where_the_report_is():
    """Answer and reasons, the gate, metrics and rules with their intervals, the sides, one link."""
    text = render_comment([told(changes=[change("hi", "refund", "u/1")])], link="https://ci.test/r?a=1#artifacts")
    assert text.startswith(marker("refunds") + "\n")
    html = read(text)
    assert "❌ Do not ship: refunds" in re.sub("<[^>]*>", "", html)
    cells = [
        [words(cell).strip() for cell in re.findall("<td.*?>(.*?)</td>", row)]
        for row in re.findall("<tr>(.*?)</tr>", html, re.DOTALL)
    ]
    assert ["Refund (USD) decides", "1", "2", "−0.5", "−0.9 to −0.1", "better"] in [
        [re.sub(" +", " ", c) for c in row] for row in cells
    ]
    assert ["Cost", "–", "–", "–", "–", "no values to compare"] in cells
    assert ["looked_up", "100.0%", "75.0%", "60.0% to 80.0%", "400"] in cells
    assert ["Same tool calls and arguments", "80.0%", "70.0% to 85.0%", "400"] in cells
    said = re.sub(r"\s+", " ", words(html))
    assert "gate failed : same_calls >= 0.9 (seen: 0.8)" in said
    assert "gate passed: refund_usd < 0 (seen: -0.5)" in said
    assert "B breaks the rule looked_up" in said
    assert "400 decision pairs in 100 conversations, 4 without an answer of B" in said
    assert "Largest changes , by changed tool calls: 1 of 312 changed pairs" in said
    assert "- calls: refund + calls: refund2, refund arguments that differ: /hi - says: hi + says: hi" in said
    assert re.findall("<a [^>]*>", html) == ['<a href="https://ci.test/r?a=1#artifacts">']


def test_texts_are_left_out_on_demand():
    """Then nothing that was said is quoted, nor the names of arguments."""
    text = render_comment([told(changes=[change("a secret", "refund", "u/1")])], with_texts=False)
    assert "a secret" not in text
    assert "+ calls: refund2, refund" in text
    assert "`refold report refunds`" in text


def test_hostile_texts_are_inert():
    """No element, link, mention or line of their own, wherever they stand."""
    gate = f"same_calls@vertical={HOSTILE_GATE} >= 0.5"
    plain = read(render_comment([told(changes=[change("hi", "refund", "u")] * 3)]))
    html = read(render_comment([told(changes=[change()] * 3, gate=gate, side_b=HOSTILE)]))
    kinds = [set(re.findall(r"<(/?\w+)", each)) for each in (plain, html)]
    assert kinds[1] <= kinds[0]
    outside = re.sub(r"<(code|pre)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert "octocat" not in outside
    assert not re.search("[\x00-\x08\x0e-\x1f\u202a-\u202e]", html)
    assert html.count("octocat") >= 10


def test_a_comment_fits_whatever_the_texts_are():
    """It keeps what weighs most, says that it left something out, and is still whole Markdown."""
    changes = [change("\U0001f600" * 4_000, "x" * 9_000, f"{place}{'`' * 8_000}") for place in range(12)]
    windows = [
        told(
            changes=changes,
            gate="; ".join(["same_calls >= 0.9"] * 200),
            window=(datetime(2026, 1, day, tzinfo=UTC), None),
        )
        for day in range(1, 29)
    ]
    text = render_comment(windows, link="https://ci.test/r")
    assert len(text.encode("utf-16-le")) // 2 <= LIMIT
    assert len(text) > LIMIT // 2
    assert "of this comment did not fit into it" in text
    assert text.count("#### ❌") == 28
    assert "[Report](https://ci.test/r)" in text
    assert text.count("```diff") == len(re.findall("<pre><code", read(text)))
    assert len(render_comment(windows, limit=2_000)) <= 2_000


def test_junit_holds_a_case_for_each_clause_rule_and_metric():
    """Read by junitparser: what failed, what was skipped, with the numbers."""
    suites = junitparser.JUnitXml.fromstring(render_junit([told()]))
    (suite,) = suites
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == ("refunds", 5, 2, 0, 1)
    results = {
        (case.classname, case.name): [(type(each).__name__, each.message) for each in case.result] for case in suite
    }
    assert results == {
        ("refunds.gate", "refund_usd < 0"): [],
        ("refunds.gate", "same_calls >= 0.9"): [("Failure", "seen: 0.8; the interval leaves no doubt")],
        ("refunds.rule", "looked_up"): [("Failure", "holds in 75.0% of 400 pairs [60.0% to 80.0%] (A: 100.0%)")],
        ("refunds.metric", "refund_usd"): [],
        ("refunds.metric", "cost"): [("Skipped", "– [–] (no values to compare); A: –, B: –, 400 pairs, 100 clusters")],
    }
    assert {each.name: each.value for each in suite.properties()}["answer"] == "do_not_ship"


SHAPE = {
    "testsuites": (set(), ["testsuite"]),
    "testsuite": (
        {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": (set(), ["property"]),
    "property": ({"name", "value"}, []),
    "testcase": ({"name", "classname", "time"}, ["skipped", "failure", "system-out"]),
    "failure": ({"message", "type"}, []),
    "skipped": ({"message"}, []),
    "system-out": (set(), []),
    "system-err": (set(), []),
}
"""Attributes and children, in their order, of each element of the schema that Jenkins publishes, as far as they are used."""


def test_junit_is_well_formed_whatever_the_names_are():
    """Shape and order are those of the schema; what XML cannot hold is written as its code."""
    gate = f"cost < 1; same_calls@vertical={HOSTILE_GATE} >= 0.5"
    content = render_junit([told(gate=gate, side_b=HOSTILE), told(gate=gate)])
    root = ET.fromstring(content)
    for element in root.iter():
        attributes, children = SHAPE[element.tag]
        assert set(element.attrib) == attributes
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places)
    assert [suite.get("id") for suite in root] == ["0", "1"]
    names = [case.get("name") for case in root[0].iter("testcase")]
    assert names[1] == 'same_calls@vertical="<b>@octocat `#1` ]]>&\\u202e\\x07" >= 0.5'
    assert all(suite.tests == 5 for suite in junitparser.JUnitXml.fromstring(content))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"comment": "/nowhere/c.md"}, "--github-comment /nowhere/c.md"),
        ({"junit": "/nowhere/j.xml"}, "--junit /nowhere/j.xml"),
        ({"comment": "c.md", "link": "javascript:alert(1)"}, "--report-url"),
        ({"comment": "c.md", "link": "https://x.test/)](http://evil.test"}, "--report-url"),
        ({"link": "https://x.test/r"}, "--github-comment"),
        ({"junit": "j.xml", "with_texts": False}, "--github-comment"),
    ],
)
def test_files_are_checked_before_anybody_is_asked(tmp_path, files, words):
    """Where they go, and the link."""
    for name in ("comment", "junit"):
        if name in files:
            files[name] = tmp_path / files[name]
    with pytest.raises(BadInputError, match=re.escape(words)):
        Files(**files).require()
    assert not Files()
