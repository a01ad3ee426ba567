"""A comparison as JUnit writes tests, for any CI: a suite a version, a case for each clause of the gate, each rule, each metric.

A clause that does not pass is a failure. A rule or metric is one when it speaks against shipping, and is skipped when nothing is
shown either way; what a clause of the gate names is judged by the gate, and passes here. Elements stand in the order that Jenkins
reads, with all attributes that a reader may demand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Literal
from xml.etree import ElementTree as ET

from pipelines.console import printable
from pipelines.pull_request.told import Told
from pipelines.review.answer import headline, seen_in_words, tell
from pipelines.review.headline import SummaryLine
from pipelines.review.numbers import interval, number, percent
from pipelines.review.words import REASONS, VERDICTS, in_words
from pipelines.stats.answer import Effect

_FORBIDDEN = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""What XML has no place for, beside the control characters, which are written as their codes."""
_OUTCOMES: dict[Effect, Literal["failure", "skipped"]] = {"against": "failure", "open": "skipped"}


@dataclass(frozen=True, slots=True)
class _Case:
    """One test case; `outcome` is None where it passed."""

    kind: str
    name: str
    told: str
    outcome: Literal["failure", "skipped"] | None


def render_junit(told: Sequence[Told]) -> bytes:
    """The versions of an experiment, one a window, as an XML document in UTF-8."""
    root = ET.Element("testsuites")
    for place, each in enumerate(told):
        root.append(_suite(place, each))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(place: int, told: Told) -> ET.Element:
    version = told.headline.version
    cases = [*_clauses(told), *_rules(told), *_metrics(told)]
    counts = {what: sum(case.outcome == what for case in cases) for what in ("failure", "skipped")}
    suite = _element(
        "testsuite",
        name=version.experiment,
        package="refold",
        id=str(place),
        timestamp=f"{version.committed_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
        hostname="localhost",
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors="0",
        skipped=str(counts["skipped"]),
        time="0",
    )
    properties = _element("properties")
    answer = told.decision.answer.word
    for name, value in (("answer", answer), ("version_id", version.version_id), ("result_hash", version.result_hash)):
        properties.append(_element("property", name=name, value=value))
    suite.append(properties)
    for case in cases:
        suite.append(_test_case(version.experiment, case))
    for tag, text in (("system-out", "\n".join([headline(told.decision), *tell(told.decision)])), ("system-err", "")):
        element = _element(tag)
        element.text = _text(text)
        suite.append(element)
    return suite


def _test_case(experiment: str, case: _Case) -> ET.Element:
    element = _element("testcase", name=case.name, classname=f"{experiment}.{case.kind}", time="0")
    if case.outcome == "failure":
        failure = _element("failure", message=case.told, type=case.kind)
        failure.text = _text(f"{case.name}: {case.told}")
        element.append(failure)
    elif case.outcome == "skipped":
        element.append(_element("skipped", message=case.told))
    else:
        said = _element("system-out")
        said.text = _text(case.told)
        element.append(said)
    return element


def _clauses(told: Told) -> Iterator[_Case]:
    gate = told.decision.gate
    for clause in gate.clauses if gate is not None else ():
        doubt = (
            "" if clause.passed else "; the interval leaves no doubt" if clause.is_refuted else "; not shown to hold"
        )
        yield _Case("gate", clause.text, f"seen: {seen_in_words(clause)}{doubt}", None if clause.passed else "failure")


def _outcome(told: Told, name: str) -> Literal["failure", "skipped"] | None:
    found = [finding.effect for finding in told.decision.answer.findings if finding.subject == name]
    return _OUTCOMES.get(found[0]) if found else None


def _rules(told: Told) -> Iterator[_Case]:
    for line in told.headline.rules:
        bounds = interval(line.low, line.high, is_share=True)
        said = f"holds in {percent(line.mean_b)} of {line.n:,} pairs [{bounds}] (A: {percent(line.mean_a)})"
        yield _Case("rule", line.metric, said, _outcome(told, line.metric))


def _metrics(told: Told) -> Iterator[_Case]:
    for line in told.headline.differences:
        outcome = _outcome(told, line.metric) or ("skipped" if line.estimate is None else None)
        said = f"{number(line.estimate, is_signed=True)} [{interval(line.low, line.high)}]{_judged(line)}"
        said += f"; A: {number(line.mean_a)}, B: {number(line.mean_b)}, {line.n:,} pairs, {line.g:,} clusters"
        yield _Case("metric", line.metric, said, outcome)


def _judged(line: SummaryLine) -> str:
    verdict = f", {in_words(VERDICTS, line.verdict)}" if line.verdict and line.goal else ""
    reason = f" ({in_words(REASONS, line.reason)})" if line.reason and line.reason != "no_goal" else ""
    return verdict + reason


def _element(tag: str, **attributes: str) -> ET.Element:
    return ET.Element(tag, {name: _text(value) for name, value in attributes.items()})


def _text(value: str) -> str:
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", printable(value))
