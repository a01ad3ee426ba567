"""A small lake with two experiments, made without PostgreSQL: rows of the log, of a fold and of the diff, written as they are.

Its texts are hostile: tags, scripts, addresses of pictures, characters that reverse the direction of reading.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.duck import scratch
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import AB_SUMMARY, AB_TOOL_CALLS, AB_UNITS, DECISIONS, EVENTS
from pipelines.lake.lake import Lake

START = datetime(2026, 6, 1, 9, tzinfo=UTC)
SCRIPT = "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\">"
PICTURE = "http://127.0.0.1:9/picture.png"
EXPERIMENT = "refund-limit"
OTHER_EXPERIMENT = "other-runs"


def write_rows(
    lake: Lake, dataset: Dataset, partition: dict[str, str], rows: list[dict[str, Any]], **kept: Any
) -> None:
    """Commit rows to a partition; columns that a row does not name are null."""
    with scratch() as connection:
        table = pa.Table.from_pylist([{**partition, **row} for row in rows], schema=dataset.arrow_schema())
        connection.register("given", table)
        lake.write_partition(dataset, partition, connection, "SELECT * FROM given", input_hash="made", provenance=kept)


def event(stream: str, version: int, event_type: str, payload: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """One row of the log."""
    return {
        "aggregate_id": stream,
        "aggregate_type": "conversation",
        "stream_version": version,
        "event_type": event_type,
        "event_version": 1,
        "payload": json.dumps(payload),
        "metadata": json.dumps({"actor": "agent", **metadata}),
        "created_at": START + timedelta(seconds=version),
        "epoch": 1,
        "xid": 1,
        "position": version,
        "hash": b"\0" * 32,
    }


def conversation(stream: str, question: str) -> list[dict[str, Any]]:
    """A conversation of which a name is redacted after the decision at version 3."""
    started = {"agent": "desk", "variant": None, "task": None, "channel": "chat", "vertical": "retail"}
    messages = [{"role": "system", "content": "Be kind."}]
    return [
        event(stream, 1, "conversation.started.v1", {**started, "messages": messages}, message_id="m0"),
        event(stream, 2, "user.utterance.v1", {"text": f"Ada Byron: {question}"}, actor="user", message_id="m1"),
        event(stream, 3, "agent.utterance.v1", {"text": "One moment."}, message_id="m2"),
        event(stream, 4, "tool.call.v1", {"call_id": "c", "name": "refund", "arguments": {"usd": 80}}, message_id="m2"),
        event(stream, 5, "tool.result.v1", {"call_id": "c", "output": "paid", "error": None}, actor="service"),
        event(
            stream,
            6,
            "redaction.applied.v1",
            {
                "target": {"stream_version": 2},
                "span": {"path": "/text", "start": 0, "end": 9},
                "method": "mask",
                "reason": "asked",
            },
            actor="service",
        ),
    ]


def unit(number: int, **values: Any) -> dict[str, Any]:
    """One unit pair, unchanged unless `values` say otherwise."""
    return {
        "unit_id": f"s{number}/1",
        "unit": "decision",
        "aggregate_id": f"s{number}",
        "decision": 1,
        "cluster": f"s{number}",
        "status": "ok",
        "unit_class": "same_calls",
        "is_same_names": True,
        "is_same_calls": True,
        "is_same_final": True,
        "calls_a": 1,
        "calls_b": 1,
        "same": 1,
        **dict.fromkeys(("reordered", "args_changed", "name_changed", "name_args_changed", "added", "removed"), 0),
        "text_a": "One moment.",
        "text_b": "One moment.",
        "text_class": "identical",
        "sim_tok": 1.0,
        "sim_char": 1.0,
        "metrics_a": [("refund_usd", 80.0)],
        "metrics_b": [("refund_usd", 80.0)],
        "started_at": START + timedelta(minutes=number),
        "last_version": 6,
        **values,
    }


def call(number: int, pair: int, **values: Any) -> dict[str, Any]:
    """One aligned tool call of a unit pair, the same on both sides unless `values` say otherwise."""
    arguments = '{"usd": 80}'
    return {
        "unit_id": f"s{number}/1",
        "aggregate_id": f"s{number}",
        "pair": pair,
        "class": "same",
        "similarity": 1.0,
        "position_a": pair - 1,
        "position_b": pair - 1,
        "name_a": "refund",
        "name_b": "refund",
        "arguments_a": arguments,
        "arguments_b": arguments,
        "arg_ops": [],
        **values,
    }


CHANGED = [
    unit(
        1,
        unit_class="args_only",
        is_same_calls=False,
        same=0,
        args_changed=1,
        text_a=f"Hello {SCRIPT} {PICTURE}",
        text_b=f"Goodbye {SCRIPT} {PICTURE}",
        is_same_final=False,
        text_class="minor",
        sim_tok=0.95,
        metrics_b=[("refund_usd", 50.0)],
    ),
    unit(2, text_b=f"{PICTURE} www.example.org", is_same_final=False, text_class="moderate", sim_tok=0.5),
    unit(
        3,
        unit_class="set_changed",
        is_same_names=False,
        is_same_calls=False,
        calls_b=2,
        same=0,
        name_changed=1,
        added=1,
        metrics_b=[("refund_usd", 0.0)],
    ),
    unit(
        4,
        status="failed",
        reason="candidate_error",
        unit_class="error",
        is_same_names=None,
        is_same_calls=None,
        is_same_final=None,
        calls_b=None,
        **dict.fromkeys(("same", "reordered", "args_changed", "name_changed", "name_args_changed", "added", "removed")),
        text_b=None,
        text_class=None,
        sim_tok=None,
        metrics_b=[],
    ),
    unit(5, text_b=None, is_same_final=None, text_class=None, sim_tok=None),
]
UNCHANGED = [unit(number) for number in range(6, 9)]
CALLS = [
    call(
        1,
        1,
        **{"class": "args_changed"},
        arguments_b='{"usd": 50, "note": "<b>half</b>"}',
        similarity=0.5,
        arg_ops=[
            {"op": "arg_value", "path": "/usd", "old": "80", "new": "50"},
            {"op": "arg_added", "path": "/note", "old": "null", "new": '"<b>half</b>"'},
        ],
    ),
    call(2, 1),
    call(3, 1, **{"class": "name_changed"}, name_b="escalate"),
    call(3, 2, **{"class": "added"}, name_a=None, arguments_a=None, position_a=None, name_b=SCRIPT),
]
LINE = {
    **dict.fromkeys(("g_changed",), 5),
    "segment": "all",
    "segment_value": "all",
    "n": 8,
    "excluded": 0,
    "g": 8,
}
LINES = [
    {**LINE, "metric": "same_calls", "kind": "change", "estimand": "rate", "estimate": 0.625, "low": 0.3, "high": 0.86},
    {
        **LINE,
        "metric": "refund_usd",
        "kind": "metric",
        "estimand": "difference",
        "n": 7,
        "excluded": 1,
        "mean_a": 80.0,
        "mean_b": 64.25,
        "total_a": 560.0,
        "total_b": 450.0,
        "estimate": -15.71,
        "low": -40.0,
        "high": 8.5,
        "goal": "lower",
        "margin": 1.0,
        "verdict": "inconclusive",
        "g_needed": 120,
        "reason": "small_sample",
    },
    {
        **LINE,
        "metric": "same_calls",
        "kind": "change",
        "segment": "vertical",
        "segment_value": "<b>retail</b>",
        "estimand": "rate",
        "reason": "no_units",
    },
]


@dataclass(frozen=True, slots=True)
class Small:
    """The small lake.

    Attributes:
        home: The home that holds it.
        lake: The lake.
        version_ids: Versions of `EXPERIMENT`, newest first.
        unit_count: Pairs of each version.
    """

    home: Path
    lake: Lake
    version_ids: tuple[str, str] = ("v2", "v1")
    unit_count: int = field(default=len(CHANGED) + len(UNCHANGED))


def write_version(lake: Lake, version_id: str, units: list[dict[str, Any]], *, experiment: str = EXPERIMENT) -> None:
    """Write all datasets of one version, the summary last."""
    partition = {"experiment": experiment, "version_id": version_id}
    write_rows(lake, AB_UNITS, partition, units)
    write_rows(lake, AB_TOOL_CALLS, partition, CALLS)
    classes = {str(row["unit_class"]): 0 for row in units}
    for row in units:
        classes[row["unit_class"]] += 1
    kept = {
        "unit": units[0]["unit"],
        "pairs": len(units),
        "conversations": len(units),
        "failed": sum(row["status"] != "ok" for row in units),
        "same_names": sum(row["is_same_names"] is True for row in units),
        "same_calls": sum(row["is_same_calls"] is True for row in units),
        "same_final": sum(row["is_same_final"] is True for row in units),
        "outcomes": {"both": 0, "only_a": 0, "only_b": 0, "neither": 0},
        "classes": classes,
        "result_hash": f"result of {version_id}",
        "definition": {
            "baseline": {"recorded": {"source": "desk", "variant": None}},
            "candidate": {"python": "agents:second"},
            "window": ["2026-06-01T00:00:00+00:00", None],
            "where": "vertical = '<i>retail</i>'",
            "primary": "refund_usd",
        },
    }
    write_rows(lake, AB_SUMMARY, partition, LINES, **kept)


def write_small(home: Path) -> Small:
    """Write the small lake into a home."""
    lake = Lake(home / "lake")
    events = [row for number in range(1, 9) for row in conversation(f"s{number}", f"refund {SCRIPT} {PICTURE}")]
    write_rows(lake, EVENTS, {"month": "2026-06"}, events)
    places = [
        {"aggregate_id": f"s{number}", "decision": 1, "turn": 1, "first_version": 3, "last_version": 4}
        for number in range(1, 9)
    ]
    write_rows(lake, DECISIONS, {"month": "2026-06"}, places)
    runs = {"unit": "conversation", "decision": None, "unit_id": "s1", "recorded_aggregate_id": "s2"}
    write_version(lake, "w1", [{**CHANGED[0], **runs}], experiment=OTHER_EXPERIMENT)
    write_version(lake, "v1", UNCHANGED)
    write_version(lake, "v2", CHANGED + UNCHANGED)
    return Small(home, lake)
