"""What is measured without asking, and in Python: held to plain Python over the same units."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.diff.dataset import build_diff
from pipelines.diff.gating import decide_version
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.lake.lake import Lake
from pipelines.review.page import render_page
from pipelines.sqlfiles import read_sql
from tests.support.replayed_lake import EXPERIMENT, replayed_lake

MEASURES = """
import numpy as np

def refunded(side):
    return sum(call.arguments["amount"] for call in side.tool_calls if call.name == "refund")

def fragile(side):
    if side.text is None:
        return None
    if side.text == "boom":
        raise KeyError("Ann Smith")
    return {"odd": "seven", "huge": float("inf"), "yes": np.bool_(True)}.get(side.text, len(side.text))

async def waits(side):
    return 1

def calls_of(side):
    return len(side.tool_calls)

def more_calls(a, b):
    return b["call_count"] - a["call_count"]

def longer(a, b):
    import polars as pl
    assert a["unit_id"].is_sorted() and a["unit_id"].equals(b["unit_id"])
    size = lambda side: side["text"].str.len_chars().cast(int)
    odd = pl.when(b["text"] == "boom").then(float("nan")).when(b["text"] == "odd").then(None)
    return pl.select(odd.otherwise(size(b) - size(a))).to_series()

def fails(a, b):
    raise ValueError("Ann Smith")

def text(a, b):
    return b["text"]

def short(a, b):
    return b["call_count"].head(1)

def frame(a, b):
    return b

def wraps(a, b):
    return b["text"].str.len_chars() - a["text"].str.len_chars()
"""
TEXTS = [None, "boom", "odd", "huge", "yes", "I cannot do that.", "Done, gladly."]


def made_units(random: Random) -> list[dict[str, Any]]:
    def calls() -> list[tuple[str, str]]:
        made = [("refund", json.dumps({"amount": random.randrange(1, 50)})), ("look", "{"), ("look", '{"id": 1}')]
        return random.sample(made, random.randrange(3))

    return [
        {
            "stream": stream,
            "text_a": random.choice(TEXTS),
            "text_b": random.choice(TEXTS),
            "calls_a": calls(),
            "calls_b": calls(),
            "replayed": {"status": "failed", "reason": "refused", "text": None} if random.random() < 0.1 else {},
        }
        for stream in range(40)
        for _ in range(2)
    ]


def rows(lake: Lake, query: str) -> list[tuple[Any, ...]]:
    with lake.connect(query) as connection:
        return connection.sql(query).fetchall()


def test_what_every_version_measures(tmp_path: Path):
    """Calls with invalid arguments, texts that decline and money in arguments, against a loop; an answer that the endpoint
    declined counts as a refusal, and for nothing else."""
    units = made_units(Random(2))
    lake, plan = replayed_lake(tmp_path, units)
    result = build_diff(lake, plan)

    def measure(unit: dict[str, Any], side: str) -> tuple[float, float, float] | None:
        if side == "b" and unit["replayed"]:
            return None
        calls = unit[f"calls_{side}"]
        money = sum(json.loads(text)["amount"] for name, text in calls if name == "refund")
        return sum(text == "{" for _, text in calls), unit[f"text_{side}"] == TEXTS[5], money

    pairs = [(measure(unit, "a"), measure(unit, "b")) for unit in units]
    answered = [(a, b) for a, b in pairs if a is not None and b is not None]
    refused = [(float(a is not None and a[1]), 1.0 if b is None else float(b[1])) for a, b in pairs]
    lines = {
        name: numbers
        for name, *numbers in rows(
            lake, "SELECT metric, total_a, total_b, n, goal FROM ab_summary WHERE kind = 'metric'"
        )
    }
    for name, place, goal in (("invalid_calls", 0, "lower"), ("money", 2, None)):
        totals = [float(sum(pair[side][place] for pair in answered)) for side in (0, 1)]
        assert lines[name] == [*totals, len(answered), goal]
    assert lines["refusals"] == [*(sum(pair[side] for pair in refused) for side in (0, 1)), len(units), None]
    assert "Says" not in render_page(lake, result)  # codes are what a gate can name


def test_what_is_found_nowhere_is_not_told(tmp_path: Path):
    """Without money, refusals and invalid arguments the page is silent about them; a gate on money fails as undefined."""
    units = [{"stream": n, "text_a": "a", "text_b": "b", "calls_a": [], "calls_b": []} for n in range(3)]
    text = EXPERIMENT + 'gate: "money == 0; invalid_calls == 0"\n'
    lake, plan = replayed_lake(tmp_path, units, text)
    result = build_diff(lake, plan)
    page = render_page(lake, result)
    assert not [name for name in ("money", "refusals", "invalid_calls") if name in page]
    gate = decide_version(lake, plan.experiment.experiment, result.version_id, plan.experiment.gate).gate
    assert gate is not None
    assert [(clause.passed, clause.reason) for clause in gate.clauses] == [(False, "no_units"), (True, None)]


def test_a_function_measures_and_what_fails_is_a_row(tmp_path: Path):
    """A Python metric equals the same in SQL; what raises or is no number has no value, a reason in its row and a count on the
    page, and takes nothing else with it. What an exception says is kept nowhere."""
    (tmp_path / "measures.py").write_text(MEASURES, encoding="utf-8")
    text = (
        EXPERIMENT
        + """
metrics:
  refunded: {python: "measures:refunded", goal: lower, margin: 1}
  fragile: {python: "measures:fragile"}
  odd_in_sql: {sql: "CASE text WHEN 'huge' THEN 'inf'::DOUBLE WHEN 'boom' THEN 'nan'::DOUBLE ELSE length(text) END"}
  in_sql: {sql: "coalesce(list_sum(list_transform(tool_calls, LAMBDA c: (c.arguments ->> '$.amount')::DOUBLE)), 0)"}
"""
    )
    units = [unit | {"calls_a": [c for c in unit["calls_a"] if c[1] != "{"]} for unit in made_units(Random(4))]
    units = [unit | {"calls_b": [c for c in unit["calls_b"] if c[1] != "{"]} for unit in units]
    lake, plan = replayed_lake(tmp_path, units, text)
    result = build_diff(lake, plan)
    same = "SELECT count(*), count(*) FILTER (metrics_a['refunded'] = metrics_a['in_sql']) FROM ab_units"
    assert rows(lake, same) == [(len(units), len(units))]
    query = "SELECT text_a, metrics_a['fragile'], metric_errors_a['fragile'] FROM ab_units GROUP BY ALL"
    assert {text: found for text, *found in rows(lake, query)} == {
        None: [None, None],
        "boom": [None, "KeyError"],
        "odd": [None, "not_a_number"],
        "huge": [None, "not_finite"],
        "yes": [1.0, None],
        "I cannot do that.": [17.0, None],
        "Done, gladly.": [13.0, None],
    }
    query = "SELECT text_a, metrics_a['odd_in_sql'], metric_errors_a['odd_in_sql'] FROM ab_units GROUP BY ALL"
    assert {text: found for text, *found in rows(lake, query)} == {
        None: [None, None],
        **{text: [None, "not_finite"] for text in ("boom", "huge")},
        **{text: [float(len(text)), None] for text in ("odd", "yes", "I cannot do that.", "Done, gladly.")},
    }
    failed = {why: count for name, why, count in result.metric_errors if name == "fragile"}
    told = [unit[f"text_{side}"] for unit in units for side in "ab" if side == "a" or not unit["replayed"]]
    assert failed == {
        why: told.count(text) for text, why in (("boom", "KeyError"), ("odd", "not_a_number"), ("huge", "not_finite"))
    }
    page = render_page(lake, result)
    odd = told.count("boom") + told.count("huge")
    assert ("odd_in_sql", "not_finite", odd) in result.metric_errors
    assert re.search(
        rf"odd_in_sql has no value on {odd:,} sides: not_finite: it gives (inf|nan); .*\(first in .*, side A\)", page
    )
    assert f"fragile has no value on {failed['KeyError']:,} sides: KeyError" in page
    assert "Ann Smith" not in page + str(rows(lake, "SELECT * FROM ab_units"))


def test_the_code_of_a_metric_is_in_the_version(tmp_path: Path):
    """Other code is another version; what cannot be called is refused before anything runs."""
    path = tmp_path / "m1.py"
    path.write_text("def measure(side): return 1\n", encoding="utf-8")
    text = EXPERIMENT + 'metrics: {own: {python: "m1:measure"}}\n'
    units = [{"stream": 1, "text_a": "a", "text_b": "b", "calls_a": [], "calls_b": []}]
    lake, plan = replayed_lake(tmp_path, units, text)
    path.write_text("def measure(side): return 2\nasync def waits(side): return 1\n", encoding="utf-8")
    assert make_plan(lake, plan.experiment, tmp_path).version_id != plan.version_id
    for spec, told in (("m1:none", "has no function 'none'"), ("m2:x", "no Python module 'm2'")):
        wrong = parse_experiment(text.replace("m1:measure", spec), "test")
        with pytest.raises(BadInputError, match=told):
            make_plan(lake, wrong, tmp_path)
    (tmp_path / "m3.py").write_text("async def waits(side): return 1\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="is async"):
        make_plan(lake, parse_experiment(text.replace("m1:measure", "m3:waits"), "test"), tmp_path)
    with pytest.raises(BadInputError, match="give either sql or python"):
        parse_experiment(text.replace("python:", "sql: '1', python:"), "test")


KEYS = {"amount": True, "refund_amount": True, "fee": True, "paid_usd": True, "totalPrice": True, "gb_amount": False}
KEYS |= {"id": False, "amounts": False, "amount_of_items": False}
VALUES = st.one_of(
    st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6, allow_nan=False), st.booleans(), st.text('ab\\"{}', max_size=5)
)
TREES = st.recursive(
    VALUES | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(KEYS)), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def money_in() -> Iterator[Callable[[str], float | None]]:
    """The macro, on one connection for all examples."""
    with duckdb.connect() as connection:
        connection.execute(read_sql("diffs/money_in.sql"))

        def find(text: str) -> float | None:
            (found,) = connection.execute("SELECT money_in($text)", {"text": text}).fetchone() or (None,)
            return found

        yield find


def money(tree: Any) -> list[float]:
    """The numbers named as money, by walking the tree."""
    if isinstance(tree, list):
        return [value for item in tree for value in money(item)]
    if not isinstance(tree, dict):
        return []
    found = []
    for key, item in tree.items():
        if KEYS[key] and isinstance(item, int | float) and not isinstance(item, bool):
            found.append(float(item))
        found += money(item)
    return found


@settings(max_examples=150, deadline=None)
@given(tree=TREES)
def test_money_is_found_at_any_depth(money_in: Callable[[str], float | None], tree: Any):
    """Numbers under names of money are summed wherever they are, and nothing else is; text that only quotes JSON is no number."""
    for dumped in (json.dumps(tree), json.dumps(tree, separators=(",", ":"))):
        found = money_in(dumped)
        wanted = money(tree)
        assert found == pytest.approx(sum(wanted), rel=1e-9, abs=1e-6) if wanted else found is None


def test_a_function_of_both_sides_says_how_far_they_are_apart(tmp_path: Path):
    """What it gives is B's value beside A's 0, so that its line is that of the same measured side by side; null has no value,
    and what is no number, or raises, is a failure of the row."""
    (tmp_path / "measures.py").write_text(MEASURES, encoding="utf-8")
    text = (
        EXPERIMENT
        + """
metrics:
  calls_each: {python: "measures:calls_of", goal: lower, margin: 0.5}
  calls_both: {python: "measures:more_calls", goal: lower, margin: 0.5}
  longer: {python: "measures:longer"}
  fails: {python: "measures:fails"}
primary: calls_both
"""
    )
    units = made_units(Random(4))
    lake, plan = replayed_lake(tmp_path, units, text)
    result = build_diff(lake, plan)
    numbers = "n, excluded, g, estimate, low, high, verdict, goal, p_value"
    each, both = (
        rows(lake, f"SELECT {numbers} FROM ab_summary WHERE metric = '{name}' ORDER BY kind, segment")
        for name in ("calls_each", "calls_both")
    )
    assert each == both != []
    assert rows(lake, "SELECT DISTINCT metrics_a['calls_both'] FROM ab_units WHERE status = 'ok'") == [(0.0,)]
    found = rows(
        lake,
        "SELECT text_a, text_b, status, metrics_b['longer'], metrics_a['longer'], metric_errors_b['longer'], metric_errors_b['fails'] "
        "FROM ab_units",
    )
    assert len(found) == len(units)
    for text_a, text_b, status, value, other, why, fails in found:
        if status != "ok":
            assert (value, why, fails) == (None, None, None)
            continue
        expected = None if text_a is None or text_b in (None, "boom", "odd") else float(len(text_b) - len(text_a))
        assert (value, other) == (expected, None if expected is None else 0.0)
        assert why == ("not_finite" if text_b == "boom" else None)
        assert fails == "ValueError"
    page = render_page(lake, result)
    assert "ValueError" in page
    assert "Ann" not in page
    assert not [metric for metric, _, _ in result.flat_metrics if metric in ("calls_both", "longer")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text", r"gives a Series of String; give numbers, null where there is none"),
        ("short", r"gives 1 values for \d+ units; give one for each row, in order"),
        ("wraps", "gives a Series of UInt32, in which less than 0 is a huge number; cast to Int64 before subtracting"),
        ("frame", r"gives a DataFrame; a function of both sides gives a polars\.Series"),
    ],
)
def test_what_a_function_of_both_sides_must_give(tmp_path: Path, name: str, reason: str):
    """One number a unit, or null; anything else is the function's fault and not a unit's."""
    (tmp_path / "measures.py").write_text(MEASURES, encoding="utf-8")
    text = f'{EXPERIMENT}metrics: {{m: {{python: "measures:{name}"}}}}'
    with pytest.raises(BadInputError, match=f"^metric m: measures:{name} {reason}$"):
        build_diff(*replayed_lake(tmp_path, made_units(Random(4)), text))
