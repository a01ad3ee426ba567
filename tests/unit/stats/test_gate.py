"""The gate: its grammar, what passes, what fails for want of evidence, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError, RefoldError
from pipelines.stats.estimate import Estimate
from pipelines.stats.gate import CheckHolds, Comparison, Subject, Summary, VerdictIs, check_names, evaluate, parse_gate


def one(**fields):
    """An estimate with only what a gate looks at."""
    return Estimate("difference", "unit", n=100, g=50, g_changed=20, **fields)


SUMMARY = Summary(
    metrics={
        "refund_usd": one(theta=-0.5, low=-0.8, high=-0.2, verdict="improved", is_non_inferior=True),
        "same_calls": one(theta=0.93, low=0.90, high=0.95),
        "latency": one(theta=0.1, low=-1.0, high=1.2, verdict="inconclusive", is_non_inferior=False),
        "rare": one(theta=0.0, reason="few_changes"),
        "few": one(theta=0.0, low=-0.1, high=0.1, reason="few_changes"),
        "small": one(theta=-0.5, low=-0.8, high=-0.2, verdict="inconclusive", reason="small_sample"),
        "tail": one(theta=-0.5, low=-0.8, reason="skewed", margin=0.1, goal="lower"),
        "harm": one(theta=0.5, low=0.2, reason="skewed", verdict="regressed", margin=0.1, goal="lower"),
        "same": one(theta=0.0, low=-0.01, high=0.01, reason="no_change", verdict="equivalent", is_non_inferior=True),
    },
    segments={
        ("few", "vertical", "retail"): one(theta=0.0, low=-0.1, high=0.1, reason="few_changes"),
        ("small", "vertical", "retail"): one(theta=0.99, low=0.98, high=1.0, reason="small_sample"),
        ("refund_usd", "vertical", "health care"): one(theta=0.3, low=0.1, high=0.5, verdict="regressed"),
        ("refund_usd", "vertical", "retail"): one(theta=0.0, low=-0.1, high=0.1, verdict="equivalent"),
    },
    checks={"lookup_before_refund": True, "within_budget": False, "no_drift": None},
    segment_names=frozenset({"agent"}),
)

BOUNDS = [(op, number) for op in ("<=", "<", ">=", ">", "==", "!=") for number in ("-5", "0", "5")]
VERDICTS = [
    "equivalent",
    "improved",
    "is inconclusive",
    "not improved",
    "not equivalent",
    "non_inferior",
    "not non_inferior",
]


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("refund_usd improved", True),
        ("refund_usd is improved", True),
        ("refund_usd not improved", False),
        ("refund_usd non_inferior", True),
        ("refund_usd is non_inferior; same_calls >= 0.9", True),
        ("refund_usd non_inferior; same_calls >= 0.94", False),
        ("same_calls.low >= 0.90", True),
        ("same_calls.low>.9", False),
        ("same_calls.high < 9.6e-1", True),
        ("refund_usd < -0.25", True),
        ("same_calls == 0.93", True),
        ("same_calls != 0.93", False),
        ("same_calls <= +1", True),
        ("latency not inconclusive", False),
        ("latency non_inferior", False),
        ("latency not non_inferior", True),
        ('refund_usd@vertical="health care" is regressed', True),
        ("refund_usd@vertical=retail equivalent;", True),
        ("refund_usd.high@vertical=retail <= 0.1", True),
        ("lookup_before_refund", True),
        ("within_budget", False),
        ("few <= 0.01", True),  # a bare metric is its estimate, whatever stands behind it
        ("tail.low >= -1", True),  # the bound that is there
        ("harm regressed", True),
        ("same.high <= 0.01; same.low >= -0.01; same equivalent; same non_inferior", True),
    ],
)
def test_clauses(text, passed):
    """Every form of clause passes and fails as the summary says."""
    assert evaluate(parse_gate(text), SUMMARY).passed is passed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rare equivalent", "few_changes"),
        ("rare not improved", "few_changes"),
        ("rare not non_inferior", "few_changes"),
        ("rare.low >= -1", "few_changes"),
        ("rare.low != 5", "few_changes"),
        ("same_calls not improved", "undefined"),
        ("refund_usd@vertical=pharmacy >= -100", "no_units"),
        ("refund_usd@agent=a >= -100", "no_units"),
        ("no_drift", "undefined"),
        *((f"few.{part} {op} {number}", "few_changes") for part in ("low", "high") for op, number in BOUNDS),
        *(
            (f"small.{part}@vertical=retail {op} {number}", "small_sample")
            for part in ("low", "high")
            for op, number in BOUNDS
        ),
        *(
            (f"{name} {word}", reason)
            for name, reason in (("few", "few_changes"), ("small", "small_sample"))
            for word in VERDICTS
        ),
        ("few.high@vertical=retail <= 0.5", "few_changes"),
        ("small.low@vertical=retail >= 0.9", "small_sample"),
        ("small@vertical=retail not improved", "small_sample"),
        *((f"tail.high {op} {number}", "skewed") for op, number in BOUNDS if number == "5"),
        *((f"tail {word}", "skewed") for word in VERDICTS),
    ],
)
def test_undefined_fails(text, reason):
    """Missing evidence fails its clause whichever way the clause points, tells why, and refutes nothing."""
    (clause,) = evaluate(parse_gate(text), SUMMARY).clauses
    assert (clause.passed, clause.seen, clause.reason, clause.is_refuted) == (False, None, reason, False)


def test_a_bound_that_is_missing_refutes_nothing_and_the_other_one_can():
    """Of a skewed metric the bound that is given stands: it can refute, and what lies beyond the other cannot."""
    result = evaluate(parse_gate("harm non_inferior; harm.high <= 0.1; harm <= 0.1; tail >= 0; small >= 0"), SUMMARY)
    assert [(clause.passed, clause.is_refuted) for clause in result.clauses] == [
        (False, True),
        (False, True),
        (False, True),
        (False, False),
        (False, False),
    ]


def test_results_tell_what_was_seen():
    """Each clause comes back as written with the value compared, in order."""
    result = evaluate(parse_gate("same_calls.low >= 0.99 ;  refund_usd improved; within_budget"), SUMMARY)
    assert [(clause.text, clause.passed, clause.seen) for clause in result.clauses] == [
        ("same_calls.low >= 0.99", False, 0.90),
        ("refund_usd improved", True, "improved"),
        ("within_budget", False, False),
    ]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (
            "refund >= 1",
            "unknown metric 'refund'; allowed: few, harm, latency, rare, refund_usd, same, same_calls, small, tail",
        ),
        ("typo improved", "unknown metric 'typo'"),
        ("refund_usd@region=eu improved", "unknown segment 'region'; allowed: agent, vertical"),
        ("loookup", "unknown check 'loookup'; allowed: lookup_before_refund, no_drift, within_budget"),
        ("refund_usd", "compares a metric with nothing"),
    ],
)
def test_unknown_names_are_bad_input(text, allowed):
    """An unknown name is bad input (exit 2) and the message lists what is allowed."""
    with pytest.raises(BadInputError, match="gate clause") as caught:
        evaluate(parse_gate(text), SUMMARY)
    assert allowed in str(caught.value)
    assert caught.value.exit_code == 2


def test_names_are_checked_before_anything_runs():
    """Names can be checked without a summary, so that a typing error costs no replay."""
    gate = parse_gate("refund_usd@vertical=x improved; rule")
    check_names(gate, metrics={"refund_usd": None}, segments={"vertical"}, checks={"rule": None})
    with pytest.raises(BadInputError, match="unknown check 'rule'; allowed: none"):
        check_names(gate, metrics={"refund_usd": None}, segments={"vertical"}, checks={})


@pytest.mark.parametrize(
    "text",
    [
        *["", " ; ", "a >= ", "a >= x", "a >= nan", "a => 1", "a improved b", "a is better", "a.mean > 1", "a ≥ 1"],
        *["a@b improved", "a@b= improved", "1a improved", "a >= 1 and b < 2", "a.low improved", 'a@b="c improved'],
    ],
)
def test_unreadable_gates_are_refused(text):
    """What has none of the forms is refused with the forms."""
    with pytest.raises(BadInputError):
        parse_gate(text)


def test_not_regressed_is_refused():
    """`not regressed` would pass a run too small to see anything; the message gives the word to use."""
    with pytest.raises(BadInputError, match="write `refund_usd non_inferior`"):
        parse_gate("refund_usd not regressed")


def test_parsed_forms():
    """The parser keeps subject, bound, operator, number, word and negation apart."""
    gate = parse_gate("a.low@s=v>=-1e3; b not equivalent; c")
    assert gate.clauses == (
        Comparison("a.low@s=v>=-1e3", Subject("a", "s", "v"), "low", ">=", -1000.0),
        VerdictIs("b not equivalent", Subject("b"), "equivalent", negated=True),
        CheckHolds("c", "c"),
    )
    quoted = parse_gate('a@s="x; y=1" improved; b')
    assert quoted.clauses[0].subject == Subject("a", "s", "x; y=1")
    assert len(quoted.clauses) == 2


@given(st.text(alphabet="ab.@=;<>!\"' \n0123456789-eislownothigh", max_size=40))
def test_any_text_is_read_or_refused(text):
    """No text makes the parser fail in another way than with a message, and what it reads keeps its text."""
    try:
        gate = parse_gate(text)
    except RefoldError:
        return
    assert all(clause.text in text for clause in gate.clauses)
