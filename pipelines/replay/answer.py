"""Ask a Python candidate for every decision of a plan, stream by stream, and give the replies as rows.

Nothing is executed but the candidate's function itself. A decision that it cannot answer is a row with a reason and
stays in every denominator.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import duckdb

from pipelines.canonical.calls import Canonicaliser
from pipelines.folds.context import Context, message_bytes, request_head
from pipelines.folds.steps import create_readable_events
from pipelines.replay.candidate import PythonCandidate
from pipelines.replay.decision import Decision, Reply, ToolCall

_BATCH = 20_000
_EVENTS = """
CREATE OR REPLACE TEMP TABLE replay_events AS
SELECT
    events.aggregate_id, events.event_type, events.payload, events.metadata,
    units.unit_id, decisions.decision, decisions.turn, decisions.model, decisions.tools_sha256, decisions.created_at,
    plan_streams.source, plan_streams.agent, plan_streams.vertical, plan_streams.channel, plan_streams.task
FROM upcast_events AS events
JOIN plan_streams ON plan_streams.aggregate_id = events.aggregate_id
LEFT JOIN decisions ON decisions.aggregate_id = events.aggregate_id AND decisions.first_version = events.stream_version
LEFT JOIN units_a AS units ON units.aggregate_id = decisions.aggregate_id AND units.decision = decisions.decision
ORDER BY events.aggregate_id, events.stream_version
"""
_SEGMENTS = ("source", "agent", "vertical", "channel", "task")


def answer_decisions(
    connection: duckdb.DuckDBPyConnection,
    candidate: PythonCandidate,
    on_failure: Callable[[str, str], None],
) -> Iterator[dict[str, Any]]:
    """Replay every unit of `units_a`, in stream order.

    Args:
        connection: Has `plan_streams` and `units_a`.
        candidate: Who answers.
        on_failure: Told the unit and what went wrong, for people; rows hold a reason code only.

    Yields:
        One row per unit, with the columns of the dataset `replays` that describe a reply.
    """
    create_readable_events(connection)
    tools = _registered_tools(connection)
    canonicaliser = Canonicaliser()
    for _, stream in groupby(_rows(connection), key=itemgetter("aggregate_id")):
        context = Context()
        request = _Request()
        for row in stream:
            if row["unit_id"] is not None:
                decision = _decision(row, context, tools)
                yield _replay(row, decision, request, candidate, canonicaliser, on_failure)
            context.apply(row["event_type"], json.loads(row["payload"]), json.loads(row["metadata"]))


class _Request:
    """Hash of a growing request: the messages seen before are hashed once."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(request_head(None, None, None) + b"\n")
        self._hashed = 0

    def sha256(self, messages: Any) -> str:
        for message in messages[self._hashed :]:
            self._digest.update(message_bytes(message) + b"\n")
        self._hashed = len(messages)
        return self._digest.hexdigest()


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    """The events of the plan's streams in order, page by page: the caller writes on the same connection meanwhile."""
    connection.execute(_EVENTS)
    total = connection.sql("SELECT count(*) FROM replay_events").fetchall()[0][0]
    for start in range(0, total, _BATCH):
        query = "SELECT * FROM replay_events WHERE rowid >= $start AND rowid < $stop ORDER BY rowid"
        page = connection.sql(query, params={"start": start, "stop": start + _BATCH}).to_arrow_table()
        yield from page.to_pylist()


def _registered_tools(connection: duckdb.DuckDBPyConnection) -> Mapping[str, tuple[Any, ...]]:
    """Tool schemas by their hash."""
    rows = connection.sql(
        "SELECT payload FROM upcast_events WHERE event_name = 'tools.registered' ORDER BY position"
    ).fetchall()
    registered = (json.loads(payload) for (payload,) in rows)
    return {payload["sha256"]: tuple(payload["tools"]) for payload in registered}


def _decision(row: Mapping[str, Any], context: Context, tools: Mapping[str, tuple[Any, ...]]) -> Decision:
    metadata = {name: row[name] for name in (*_SEGMENTS, "model", "created_at")}
    return Decision(
        aggregate_id=row["aggregate_id"],
        decision=row["decision"],
        turn=row["turn"],
        messages=tuple(context.messages),
        tools=tools.get(row["tools_sha256"] or "", ()),
        metadata=metadata,
    )


def _replay(
    row: Mapping[str, Any],
    decision: Decision,
    request: _Request,
    candidate: PythonCandidate,
    canonicaliser: Canonicaliser,
    on_failure: Callable[[str, str], None],
) -> dict[str, Any]:
    base = {"unit_id": row["unit_id"], "aggregate_id": decision.aggregate_id, "decision": decision.decision}
    if not decision.messages:
        return {**base, "status": "failed", "reason": "no_context"}
    base["request_sha256"] = request.sha256(decision.messages)
    try:
        reply = candidate.answer(decision)
        calls = _calls(reply)
    except Exception as error:  # noqa: BLE001 -- whatever the user's code raises is that unit's failure, kept as a row
        on_failure(row["unit_id"], f"{type(error).__name__}: {error}")
        return {**base, "status": "failed", "reason": "candidate_error"}
    hashes = canonicaliser.hash_list([(call["block"], call["name"], call["arguments"]) for call in calls])
    return {
        **base,
        "status": "ok",
        "text": reply.text,
        "tool_calls": calls,
        "call_count": len(calls),
        "l0_hash": hashes.l0,
        "l1_hash": hashes.l1,
        "l2_hash": hashes.l2,
        "input_tokens": reply.input_tokens,
        "output_tokens": reply.output_tokens,
        "latency_ms": reply.latency_ms,
        "cost_usd": reply.cost_usd,
    }


def _calls(reply: Reply) -> list[dict[str, Any]]:
    """The reply's tool calls as rows; arguments are JSON text, a raw string is a JSON string.

    Raises:
        TypeError: What the candidate returned is not a `Reply` of text and tool calls.
        ValueError: Text or arguments cannot be stored: a lone surrogate, NaN, an infinity.
    """
    if not isinstance(reply, Reply):
        raise TypeError(f"the candidate returned {type(reply).__name__}, not a Reply")
    if not (reply.text is None or isinstance(reply.text, str)):
        raise TypeError(f"Reply.text is {type(reply.text).__name__}, not a string")
    (reply.text or "").encode()
    calls = []
    for call in reply.tool_calls:
        if not isinstance(call, ToolCall) or not isinstance(call.name, str):
            raise TypeError(f"a tool call of the reply is {call!r}, not a ToolCall with a name")
        arguments = json.dumps(call.arguments, ensure_ascii=False, allow_nan=False)
        (call.name + arguments).encode()
        calls.append({"block": 0, "name": call.name, "arguments": arguments})
    return calls
