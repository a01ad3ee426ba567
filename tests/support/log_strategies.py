"""Hypothesis strategies for logs: events of a few interleaved streams, as odd as real recordings and odder.

A log is a list of events: mappings with the columns of the dataset `events`, `payload` and `metadata` as Python values.
Message ids, call ids and actors come from small pools, so that they collide, go missing and contradict each other;
months pass in the middle of messages; redactions hit anything, long before and after it matters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from pipelines.log.context import Context, request_sha256

FIRST = datetime(2026, 1, 30, 23, 59, 59, 999_999, tzinfo=UTC)
MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04")

PAUSES = (0, 0, 0.000001, 1, 86_400, 86_400, 86_400 * 9, 86_400 * 20)
"""Seconds between the events of a stream: together or months apart."""

message_ids = st.sampled_from([None, None, "m1", "m2", ""])
call_ids = st.sampled_from([None, "", "a", "a", "b"])
texts = st.sampled_from(["", " ", "\u202f\t", "hello", 'Zoë 😀 says "no"\n', "null", "a‑b c", "\x1f", "\u200b"])
json_values = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -7, 2**70, 0.5, 3.0632e-05, "", "x", 'é\\"', "null", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "y", "a/b", "~", "$.q"]), inner, max_size=2)
    ),
    max_leaves=4,
)
_PATHS = """
/text /text /content /content/0/text /content/9 /arguments /arguments/x /arguments/a~1b /output /output/0 /error
/call_id /name /nothing/here /usage /usage/prompt_tokens /cost_usd /model /messages /messages/0 /messages/0/content
/after /after/status /after/amount_usd /key /table /outcome /agent /reason /path /target text
"""
paths = st.sampled_from(["", *_PATHS.split()])
spans = st.fixed_dictionaries(
    {"path": paths, "start": st.integers(min_value=0, max_value=6), "end": st.integers(min_value=0, max_value=9)}
)
counts = st.sampled_from([None, 0, 7, 1200])
_part = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "input_text", "image_url", "", None, 7]), "text": texts}
)
contents = (
    st.none()
    | texts
    | st.lists(_part | texts | st.just({"text": "of no type"}) | st.sampled_from([None, True, []]), max_size=2)
)


def _payload(required: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional or {})


_model = {
    "model": st.sampled_from([None, "gpt-x", "gpt-y"]),
    "params": st.sampled_from([None, {}, {"temperature": 0, "a": 1}]),
    "tools_sha256": st.sampled_from([None, "0" * 64]),
    "request_sha256": st.sampled_from([None, "f" * 64, "true"]),
    "prompt_sha256": st.sampled_from([None, "1" * 64]),
    "latency_ms": st.sampled_from([None, 0, 812.5]),
    "cost_usd": st.sampled_from([None, 0, 0.1, 0.2, 0.0000306]),
    "finish_reason": st.sampled_from([None, "stop"]),
}
_arguments = st.one_of(
    json_values,
    json_values.map(json.dumps),
    json_values.map(lambda value: json.dumps(json.dumps(value, indent=1))),
    st.sampled_from(
        ["", " ", "{", "{}x", "[1,]", '{"x": 1,}', "NaN", '{"x": nan}', '{"a": "nan,]"}', '{"x": "\\ud800"}', "01"]
    ),
)
_times = st.sampled_from([None, 0, 40, 1200])
_speech = st.fixed_dictionaries(
    {}, optional={"start_ms": _times, "end_ms": _times, "interrupted": st.sampled_from([None, True, False])}
)
_rows = st.none() | st.fixed_dictionaries(
    {"status": st.sampled_from(["asked", "paid"]), "amount_usd": st.sampled_from([None, 0, 12.5, 0.1])}
)
PAYLOADS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "conversation.started.v1": _payload(
        {"messages": st.lists(st.fixed_dictionaries({"role": st.just("system"), "content": contents}), max_size=2)},
        {name: st.sampled_from([None, "one", "two"]) for name in ("agent", "variant", "task", "channel", "vertical")},
    ),
    "conversation.ended.v1": _payload({"outcome": json_values}),
    "context.supplied.v1": _payload(
        {"kind": st.just("document"), "content": json_values}, {"role": st.sampled_from([None, "system", "user"])}
    ),
    "user.utterance.v1": _payload({"text": texts}, {"content": contents}),
    "agent.utterance.v1": _payload({"text": st.none() | texts}, {"content": contents}),
    "tool.call.v1": _payload(
        {"call_id": call_ids, "name": st.sampled_from(["refund", "find"]), "arguments": _arguments}
    ),
    "tool.result.v1": _payload(
        {"call_id": call_ids, "output": json_values, "error": st.sampled_from([None, False, "", "no", {}])}
    ),
    "model.decision.v1": _payload(
        _model,
        {"usage": st.none() | _payload({}, {"prompt_tokens": counts, "completion_tokens": counts, "x/y": json_values})},
    ),
    "model.decision.v3": _payload(
        _model,
        {
            "usage": st.none()
            | _payload({}, dict.fromkeys(("input_tokens", "cache_write_tokens", "reasoning_tokens"), counts)),
            "model_requested": st.sampled_from([None, "gpt"]),
            "history": st.sampled_from([None, "exact", "compacted"]),
            "content_missing": st.sampled_from([None, True, False]),
            "error": json_values,
            "retries": st.sampled_from([None, 2]),
        },
    ),
    "agent.reasoning.v1": _payload({"text": st.none() | texts}, {"summary": st.just(["short"])}),
    "context.compacted.v1": _payload(
        {
            "kind": st.sampled_from(["summary", "clear"]),
            "from_message": st.integers(0, 3),
            "to_message": st.integers(0, 6),
            "replacement": st.lists(
                st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": contents}), max_size=2
            ),
        }
    ),
    "user.utterance.v2": _payload({"text": texts, "speech": st.none() | _speech}, {"content": contents}),
    "agent.utterance.v2": _payload({"text": st.none() | texts, "speech": st.none() | _speech}),
    "tool.call.v2": _payload(
        {"call_id": call_ids, "name": st.just("run"), "arguments": _arguments},
        {"has_nested_calls": st.sampled_from([None, True, False]), "executor": st.just("provider")},
    ),
    "tool.result.v2": _payload(
        {"call_id": call_ids, "output": json_values, "error": st.none(), "truncated": st.sampled_from([None, True])}
    ),
    "conversation.started.v2": _payload(
        {"messages": st.just([{"role": "system", "content": "be kind"}])},
        {
            "parent": st.sampled_from([None, {}, {"conversation_id": "p", "call_id": None}]),
            "tags": st.sampled_from([None, [], ["a"]]),
            "metadata": st.sampled_from([None, {"x": 1}]),
            "fidelity": st.sampled_from([None, ["session_ambiguous", "is_truncated"]]),
        },
    ),
    "score.recorded.v1": _payload({"name": st.just("s"), "value": json_values}),
    "agent.handoff.v1": _payload({"from": st.none(), "to": st.just("b")}),
    "call.event.v1": _payload({"kind": st.just("dtmf")}),
    "model.decision.v2": _payload(
        _model, {"usage": st.none() | _payload({}, {"input_tokens": counts, "output_tokens": counts})}
    ),
    "row.changed.v1": _payload(
        {
            "table": st.sampled_from(["refunds", "orders"]),
            "key": st.sampled_from([1, "1", {"id": 1}]),
            "before": _rows,
            "after": _rows,
        }
    ),
    "prompt.registered.v1": _payload({"name": st.just("p"), "text": texts, "sha256": st.just("2" * 64)}),
}
"""Payloads of every shipped type but redactions, which need a target."""

UNKNOWN = ("weather.changed.v1", "tool.call.v3", "model.decision.v4", "user.utterance.v10", "note")
KINDS = (
    *PAYLOADS,
    *["user.utterance.v1", "agent.utterance.v1", "tool.call.v1", "tool.result.v1", "model.decision.v2"] * 3,
    *["redaction.applied.v1"] * 2,
    "unknown",
)


def logs(**wanted: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A log as `whole_logs` makes it, of which some events may be erased."""
    return partly_erased(whole_logs(**wanted))


def exchanges(**wanted: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A log as `whole_exchanges` makes it, of which some events may be erased."""
    return partly_erased(whole_exchanges(**wanted))


@st.composite
def whole_logs(
    draw: st.DrawFn,
    *,
    min_streams: int = 0,
    max_streams: int = 6,
    max_events: int = 14,
    kinds: Sequence[str] = KINDS,
    pauses: Sequence[float] = PAUSES,
) -> list[dict[str, Any]]:
    """A whole log of events of the given kinds, seconds apart, in the order of position; empty ones too."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["conversation", "conversation", "call", "customer"]),
                st.lists(_events(kinds, pauses), min_size=1, max_size=max_events),
            ),
            min_size=min_streams,
            max_size=max_streams,
        )
    )
    # positions either follow time over all streams or run stream by stream, as after an import
    is_imported = draw(st.booleans())
    log = [event for number, (kind, events) in enumerate(drawn) for event in _stream(number, kind, events)]
    if not is_imported:
        log.sort(key=lambda event: event["created_at"])
    for place, event in enumerate(log):
        event["position"] = 10 + 3 * place
    return log


@st.composite
def months_of(draw: st.DrawFn, log: st.SearchStrategy[list[dict[str, Any]]]) -> tuple[list[dict[str, Any]], str]:
    """A log and a month in which something happens, if anything does."""
    drawn = draw(log)
    return drawn, draw(st.sampled_from(sorted({event["month"] for event in drawn}) or MONTHS))


@st.composite
def partly_erased(draw: st.DrawFn, log: st.SearchStrategy[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A log of which some events are erased, here and there or all of a stream; or none."""
    drawn = draw(log)
    gone = draw(st.sets(st.integers(min_value=0, max_value=max(len(drawn) - 1, 0)), max_size=8))
    streams = (
        draw(st.sets(st.sampled_from(sorted({event["aggregate_id"] for event in drawn})), max_size=2)) if drawn else ()
    )
    return [
        erased(event) if place in gone or event["aggregate_id"] in streams else event
        for place, event in enumerate(drawn)
    ]


def erased(event: dict[str, Any]) -> dict[str, Any]:
    """An event without its content: place, type, time and link stay."""
    return {**event, "payload": {}, "metadata": {}, "salt": b"", "digest": hashlib.sha256(event["hash"]).digest()}


_step = st.tuples(
    st.sampled_from(["call", "call", "call", "result", "result", "result", "result", "say"]),
    st.sampled_from(["a", "a", "a", "a", "", None]),
    st.sampled_from([None, None, None, "m1"]),
    st.sampled_from(["user", "user", "user", "agent"]),
    st.sampled_from([None, None, False, "no"]),
)


@st.composite
def whole_exchanges(draw: st.DrawFn, *, min_streams: int = 8, max_streams: int = 16) -> list[dict[str, Any]]:
    """A log of January in which calls and results with next to no ids follow each other in every way."""
    streams = draw(st.lists(st.lists(_step, min_size=2, max_size=10), min_size=min_streams, max_size=max_streams))
    log = []
    for number, steps in enumerate(streams):
        drawn = []
        for place, (kind, call_id, message_id, actor, error) in enumerate(steps):
            payload: dict[str, Any]
            if kind == "call":
                event_type, payload = "tool.call.v1", {"call_id": call_id, "name": "find", "arguments": {"n": place}}
            elif kind == "result":
                event_type, payload = "tool.result.v1", {"call_id": call_id, "output": place, "error": error}
            else:
                event_type, payload = f"{actor}.utterance.v1", {"text": "so"}
            metadata = {"message_id": message_id, "actor": actor}
            drawn.append({"event_type": event_type, "payload": payload, "metadata": metadata, "seconds": 0})
        log += _stream(number, "conversation", drawn)
    return [{**event, "position": place} for place, event in enumerate(log, start=1)]


_RECORDED = ("conversation.started.v1", "context.supplied.v1", "conversation.ended.v1", "redaction.applied.v1")
_SAID = ("user.utterance.v1", "agent.utterance.v1", "tool.call.v1", "tool.result.v1")


def recordings(streams: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A log of so many conversations of one moment, as odd as real ones: who begins, what answers what and when, anything goes."""
    kinds = [*_RECORDED, *_SAID * 4, "model.decision.v2", "model.decision.v2"]
    return whole_logs(min_streams=streams, max_streams=streams, kinds=kinds, pauses=[0])


def one_stream(events: list[dict[str, Any]], kind: str = "conversation") -> list[dict[str, Any]]:
    """The log of one stream; events have `event_type, payload, metadata, seconds` (since the one before)."""
    return [{**event, "position": place} for place, event in enumerate(_stream(1, kind, events), start=1)]


@st.composite
def _events(draw: st.DrawFn, kinds: Sequence[str], pauses: Sequence[float]) -> dict[str, Any]:
    kind = draw(st.sampled_from(kinds))
    if kind == "redaction.applied.v1":
        payload: dict[str, Any] = {"target": {"stream_version": draw(st.integers(min_value=1, max_value=16))}}
        payload |= draw(st.fixed_dictionaries({"path": paths}) | st.fixed_dictionaries({"span": spans}))
        payload |= {"method": "mask", "reason": "asked"}
    elif kind == "unknown":
        kind = draw(st.sampled_from(UNKNOWN))
        payload = {"text": "never read", "call_id": "a"}
    else:
        payload = draw(PAYLOADS[kind])
    metadata = draw(
        st.fixed_dictionaries(
            {"message_id": message_ids},
            optional={
                "actor": st.sampled_from([None, "agent", "user", "user"]),
                "subject_id": st.sampled_from([None, "ann", "bob"]),
                "source": st.sampled_from([None, "s1", "s2"]),
                "source_id": st.sampled_from([None, "c1"]),
                "source_ordinal": st.sampled_from([None, 3, 2**40]),
            },
        )
    )
    seconds = draw(st.sampled_from(pauses))
    return {"event_type": kind, "payload": payload, "metadata": metadata, "seconds": seconds}


def _stream(number: int, kind: str, drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Complete the events of one stream; `"request_sha256": "true"` becomes the hash of the request at that place."""
    events, at, previous = [], FIRST, bytes(32)
    context = Context()
    for version, event in enumerate(drawn, start=1):
        at = min(at + timedelta(seconds=event["seconds"]), datetime(2026, 4, 30, tzinfo=UTC))
        payload = dict(event["payload"])
        if payload.get("request_sha256") == "true":
            head = {name: payload[name] for name in ("model", "params", "tools_sha256")}
            payload["request_sha256"] = request_sha256(context.messages, **head)
        if event["event_type"] not in UNKNOWN:
            context.apply(event["event_type"], payload, event["metadata"])
        previous = hashlib.sha256(previous + json.dumps([payload, event["metadata"]]).encode()).digest()
        name, _, suffix = event["event_type"].rpartition(".v")
        events.append(
            {
                "month": f"{at:%Y-%m}",
                "aggregate_id": str(UUID(int=(number * 7919 + 13) % 97)),
                "aggregate_type": kind,
                "stream_version": version,
                "event_type": event["event_type"],
                "event_version": int(suffix) if name else 1,
                "payload": payload,
                "metadata": event["metadata"],
                "created_at": at,
                "epoch": 1,
                "xid": version,
                "hash": previous,
            }
        )
    return events
