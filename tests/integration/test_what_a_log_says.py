"""What a log says in another spelling or shape means the same, from the import to the answer of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.review.headline import find_version, load_headline
from pipelines.review.headline_html import render_headline
from pipelines.review.page import render_page
from pipelines.review.report import load_report
from pipelines.review.report_html import render_report
from pipelines.store import Store
from tests.support.history import query
from tests.support.shop import add, run

TASKS = 6
TOOL = {"type": "function", "function": {"name": "refund", "parameters": {"type": "object"}}}
METRICS = """
metrics:
  refund_usd:
    sql: "list_sum([(c.arguments ->> '$.amount_usd')::DOUBLE FOR c IN tool_calls IF c.name = 'refund'])"
    goal: lower
  missed: {sql: "list_sum([(c.arguments ->> '$.usd')::DOUBLE FOR c IN tool_calls])", goal: lower}
  measured_usd: {python: "my_agent:refunded", goal: lower}
expect:
  - {name: in_usd, sql: "len([1 FOR c IN tool_calls IF c.arguments ->> '$.currency' <> 'USD']) = 0"}
  - {name: is_json, sql: "len([1 FOR c IN tool_calls IF c.is_invalid_json]) = 0"}
"""
EXPERIMENT = (
    'experiment: spelled\nbaseline: {recorded: {source: shop}}\ncandidate: {python: "my_agent:same"}\n' + METRICS
)
AGENT = """
from pipelines.experiment.decision import Reply, ToolCall


def same(decision):
    number = int(decision.messages[1]["content"].split()[-1])
    if decision.messages[-1]["role"] == "user":
        calls = [ToolCall("refund", {"currency": "USD", "amount_usd": 10.5 * number}), ToolCall("clock", {})]
        return Reply(None, calls)
    return Reply("Paid.")


def refunded(side):
    return sum(call.arguments["amount_usd"] for call in side.tool_calls if call.name == "refund")
"""


def as_text(value: Any) -> str:
    """As the wire carries it, spelled in a way of its own."""
    return json.dumps(value, indent=1)


def conversation(number: int, arguments: Any, none: Any) -> dict[str, Any]:
    function = {"name": "clock"} if none is None else {"name": "clock", "arguments": none}
    calls = [
        {"id": "a", "type": "function", "function": {"name": "refund", "arguments": arguments}},
        {"id": "b", "type": "function", "function": function},
    ]
    return {
        "source": "shop",
        "conversation_id": str(number),
        "started_at": f"2026-05-0{number + 1}T09:00:00Z",
        "tools": [TOOL],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You pay back."}]},
            {"role": "user", "content": f"Refund {number}"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "a", "content": "ok"},
            {"role": "tool", "tool_call_id": "b", "content": "noon"},
            {"role": "assistant", "content": "Paid."},
        ],
    }


@pytest.fixture
def lake(store: Store, settings, tmp_path: Path) -> Lake:
    """Refunds whose arguments are objects or strings in turn, and a call whose arguments are given in four ways as none."""
    lake = Lake.from_settings(settings)
    nothing = [None, "", {}, "{ }"]
    lines = []
    for number in range(TASKS):
        arguments = {"amount_usd": 10.5 * number, "currency": "USD"}
        lines.append(conversation(number, as_text(arguments) if number % 2 else arguments, nothing[number % 4]))
    add(store, lake, tmp_path, lines)
    (tmp_path / "my_agent.py").write_text(AGENT, encoding="utf-8")
    return lake


def test_the_same_calls_measure_the_same(lake, tmp_path):
    """A candidate that makes the same calls changes no metric and no rule, however the log spells its arguments."""
    result = run(lake, EXPERIMENT, tmp_path)
    assert (result.pairs, result.same_calls, result.failed) == (2 * TASKS, 2 * TASKS, 0)
    wanted = 10.5 * sum(range(TASKS))
    totals = query(lake, "SELECT metric, total_a, total_b FROM ab_summary WHERE segment = 'all' ORDER BY metric")
    found = {name: (a, b) for name, a, b in totals}
    assert found["refund_usd"] == found["measured_usd"] == (wanted, wanted)
    assert found["in_usd"] == found["is_json"] == (2 * TASKS, 2 * TASKS)
    assert query(lake, "SELECT sum(invalid_calls_a), sum(money_a) = sum(money_b) FROM ab_units") == [(0, True)]
    assert result.flat_metrics == [("missed", "a", None), ("missed", "b", None)]
    assert "missed is never anything but null on A" in render_page(lake, result)
    shown = render_headline(load_headline(lake, find_version(lake, "spelled")))
    assert "missed is never anything but null on B" in shown
    assert "missed is never anything but null on A" in render_report(load_report(lake, find_version(lake, "spelled")))
    levels = query(
        lake,
        "SELECT name_a, equal_level, arguments_a = arguments_b, count(*) FROM ab_tool_calls GROUP BY ALL ORDER BY ALL",
    )
    assert levels == [("clock", "L0", True, 3), ("clock", "L1", True, 3), ("refund", "L1", True, TASKS)]


def test_every_table_shows_one_value(lake):
    """Tool calls, states and decisions show one JSON text; the recorded one is in the events."""
    texts = {
        json.dumps({"amount_usd": usd, "currency": "USD"}, separators=(",", ":"))
        for usd in (0, 10.5, 21, 31.5, 42, 52.5)
    }
    calls = query(lake, "SELECT arguments, is_invalid_json FROM tool_calls WHERE name = 'refund'")
    assert {text for text, _ in calls} == texts
    assert {text for (text,) in query(lake, "SELECT DISTINCT arguments FROM tool_calls WHERE name = 'clock'")} == {"{}"}
    for source in ("conversations", "decisions"):
        found = query(
            lake,
            "SELECT DISTINCT (call.arguments ->> '$.amount_usd')::DOUBLE, call.arguments ->> '$.currency' FROM "
            f"(SELECT unnest(tool_calls) AS call FROM {source}) WHERE call.name = 'refund' ORDER BY ALL",
        )
        assert found == [(10.5 * number, "USD") for number in range(TASKS)]
    recorded = query(lake, "SELECT json_type(payload, '$.arguments') FROM events WHERE payload ->> '$.name' = 'refund'")
    assert sorted(recorded) == [("OBJECT",)] * 3 + [("VARCHAR",)] * 3
    kept = query(lake, "SELECT count(call.recorded) FROM (SELECT unnest(tool_calls) AS call FROM decisions)")
    assert kept[0][0] >= 3


def test_tools_on_the_line_are_registered_once(lake, store, tmp_path):
    """Every decision names the list; it is one stream, imported again or beside other conversations."""
    assert query(lake, "SELECT count(*), count(DISTINCT tools_sha256) FROM decisions") == [(2 * TASKS, 1)]
    more = tmp_path / "again.jsonl"
    more.write_text(json.dumps({**conversation(1, {}, {}), "conversation_id": "other"}) + "\n", encoding="utf-8")
    assert import_chat(store, [more]).events == 10 - 1
    registered = store.conn.execute("SELECT count(*) FROM refold.events WHERE event_type = 'tools.registered.v1'")
    assert registered.fetchone() == (1,)


def test_refusals_and_pictures_count(store, settings, tmp_path):
    """A refusal in its field is the recorded text and counts for the recording, whatever its words; a picture is a turn."""
    lake = Lake.from_settings(settings)
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    lines = [
        {
            "source": "shop",
            "conversation_id": str(number),
            "messages": [
                {"role": "user", "content": picture},
                {"role": "assistant", "content": None, "refusal": "Not here."},
                {"role": "user", "content": picture},
                {
                    "role": "assistant",
                    "content": [{"type": "reasoning", "text": "I can't."}, {"type": "text", "text": "An oak."}],
                },
            ],
        }
        for number in range(3)
    ]
    add(store, lake, tmp_path, lines)
    assert query(lake, "SELECT turn, text, is_refusal, count(*) FROM decisions GROUP BY ALL ORDER BY ALL") == [
        (1, "Not here.", True, 3),
        (2, "An oak.", False, 3),
    ]
    run(lake, "experiment: e\ncandidate: {echo: true}\nmode: turn\n", tmp_path)
    assert query(lake, "SELECT is_refusal_a, is_refusal_b, count(*) FROM ab_units GROUP BY ALL ORDER BY ALL") == [
        (False, False, 3),
        (True, True, 3),
    ]
