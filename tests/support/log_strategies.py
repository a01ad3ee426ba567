"""Hypothesis strategies for logs: events of a few interleaved streams, as odd as real recordings and odder.

A log is a list of events: mappings with the columns of the dataset `events`, `payload` and `metadata` as Python values.
Message ids, call ids and actors come from small pools, so that they collide, go missing and contradict each other;
months pass in the middle of messages; redactions hit anything, long before and after it matters.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from pipelines.log.context import Context, request_sha256

FIRST = datetime(2026, 1, 30, 23, 59, 59, 999_999, tzinfo=UTC)
MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04")

PAUSES = (0, 0, 0.000001, 1, 86_400, 86_400, 86_400 * 9, 86_400 * 20)
"""Seconds between the events of a stream: together or months apart."""

_ABSENT = object()
_EVENLY_DRAWN = 2**24
"""Hypothesis draws numbers below that evenly; of larger ranges it prefers small numbers."""


def _numbered(pools: Mapping[str, Sequence[Any]]) -> tuple[int, Callable[[int], dict[str, Any]]]:
    """How many mappings take a value of each pool, and the mapping of a number below that; an `_ABSENT` one is left out."""
    sizes = [(name, pool, len(pool)) for name, pool in pools.items()]

    def mapping(number: int) -> dict[str, Any]:
        found = {}
        for name, pool, size in sizes:
            number, place = divmod(number, size)
            if (value := pool[place]) is not _ABSENT:
                found[name] = value
        return found

    return math.prod(size for _, _, size in sizes), mapping


def _sometimes(pool: Sequence[Any]) -> list[Any]:
    """The pool of a field that is there every other time."""
    return [*[_ABSENT] * len(pool), *pool]


def _every(pools: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All mappings that take a value of each pool: a pool itself."""
    number, mapping = _numbered(pools)
    return [mapping(each) for each in range(number)]


def _mappings(pools: Mapping[str, Sequence[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings that take a value of each pool, all drawn as one number: to draw each field took longer than to fold the event."""
    number, mapping = _numbered(pools)
    assert number <= _EVENLY_DRAWN, number
    return st.integers(0, number - 1).map(mapping)


def _field(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return values.map(lambda value: {name: value})


def _together(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings with the fields of all the parts."""
    return st.tuples(*parts).map(lambda drawn: {name: value for part in drawn for name, value in part.items()})


json_values = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -7, 2**70, 0.5, 3.0632e-05, "", "x", 'é\\"', "null", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "y", "a/b", "~", "$.q"]), inner, max_size=2)
    ),
    max_leaves=4,
)
_PLACES = """
/text /text /content /content/0/text /content/9 /arguments /arguments/x /arguments/a~1b /output /output/0 /error
/call_id /name /nothing/here /usage /usage/prompt_tokens /cost_usd /model /messages /messages/0 /messages/0/content
/after /after/status /after/amount_usd /key /table /outcome /agent /reason /path /target text
"""
_PATHS = ["", *_PLACES.split()]
_SPANS: dict[str, Sequence[Any]] = {"path": _PATHS, "start": range(7), "end": range(10)}
paths = st.sampled_from(_PATHS)
spans = _mappings(_SPANS)

_CALL_IDS = [None, "", "a", "a", "b"]
_TEXTS = ["", " ", "\u202f\t", "hello", 'Zoë 😀 says "no"\n', "null", "a‑b c", "\x1f", "\u200b"]
_TEXTS_OR_NONE = [*[None] * len(_TEXTS), *_TEXTS]
_COUNTS = [None, 0, 7, 1200]
_FLAGS = [None, True, False]
_PARTS = [
    *_every({"type": ["text", "input_text", "image_url", "", None, 7], "text": _TEXTS}),
    *_TEXTS,
    *[{"text": "of no type"}, None, True, []],
]
_LISTS = [[], *([part] for part in _PARTS), *([one, two] for one in _PARTS for two in _PARTS)]
_CONTENTS = [*[None] * len(_LISTS), *_TEXTS * (len(_LISTS) // len(_TEXTS)), *_LISTS]
"""Nothing, texts and lists of parts, each a third."""
_MODEL: dict[str, Sequence[Any]] = {
    "model": [None, "gpt-x", "gpt-y"],
    "params": [None, {}, {"temperature": 0, "a": 1}],
    "tools_sha256": [None, "0" * 64],
    "request_sha256": [None, "f" * 64, "true"],
    "prompt_sha256": [None, "1" * 64],
    "latency_ms": [None, 0, 812.5],
    "cost_usd": [None, 0, 0.1, 0.2, 0.0000306],
    "finish_reason": [None, "stop"],
}
_arguments = st.one_of(
    json_values,
    json_values.map(json.dumps),
    json_values.map(lambda value: json.dumps(json.dumps(value, indent=1))),
    st.sampled_from(
        ["", " ", "{", "{}x", "[1,]", '{"x": 1,}', "NaN", '{"x": nan}', '{"a": "nan,]"}', '{"x": "\\ud800"}', "01"]
    ),
)
_TIMES = _sometimes([None, 0, 40, 1200])
_SPOKEN = _every({"start_ms": _TIMES, "end_ms": _TIMES, "interrupted": _sometimes(_FLAGS)})
_SPEECH = [*[None] * len(_SPOKEN), *_SPOKEN]
_CHANGED = _every({"status": ["asked", "paid"], "amount_usd": [None, 0, 12.5, 0.1]})
_ROWS = [*[None] * len(_CHANGED), *_CHANGED]


def _usages(**pools: Sequence[Any]) -> list[Any]:
    """What decisions say of tokens, or nothing."""
    usages = _every({name: _sometimes(pool) for name, pool in pools.items()})
    return [*[None] * len(usages), *usages]


def _decisions(**pools: Sequence[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _together(_mappings(_MODEL), _mappings(pools))


_messages = st.lists(_mappings({"role": ["user", "tool"], "content": _CONTENTS}), max_size=2)
PAYLOADS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "conversation.started.v1": _together(
        _field("messages", st.lists(_mappings({"role": ["system"], "content": _CONTENTS}), max_size=2)),
        _mappings(dict.fromkeys(("agent", "variant", "task", "channel", "vertical"), _sometimes([None, "one", "two"]))),
    ),
    "conversation.ended.v1": _field("outcome", json_values),
    "context.supplied.v1": _together(
        _mappings({"kind": ["document"], "role": _sometimes([None, "system", "user"])}), _field("content", json_values)
    ),
    "user.utterance.v1": _mappings({"text": _TEXTS, "content": _sometimes(_CONTENTS)}),
    "agent.utterance.v1": _mappings({"text": _TEXTS_OR_NONE, "content": _sometimes(_CONTENTS)}),
    "tool.call.v1": _together(
        _mappings({"call_id": _CALL_IDS, "name": ["refund", "find"]}), _field("arguments", _arguments)
    ),
    "tool.result.v1": _together(
        _mappings({"call_id": _CALL_IDS, "error": [None, False, "", "no", {}]}), _field("output", json_values)
    ),
    "model.decision.v1": _decisions(
        usage=_usages(prompt_tokens=_COUNTS, completion_tokens=_COUNTS, **{"x/y": [None, 7, "x", [], {"y": "x"}]})
    ),
    "model.decision.v3": _together(
        _decisions(
            usage=_usages(input_tokens=_COUNTS, cache_write_tokens=_COUNTS, reasoning_tokens=_COUNTS),
            model_requested=_sometimes([None, "gpt"]),
            history=_sometimes([None, "exact", "compacted"]),
            content_missing=_sometimes(_FLAGS),
            retries=_sometimes([None, 2]),
        ),
        st.just({}) | _field("error", json_values),
    ),
    "agent.reasoning.v1": _mappings({"text": _TEXTS_OR_NONE, "summary": _sometimes([["short"]])}),
    "context.compacted.v1": _together(
        _mappings({"kind": ["summary", "clear"], "from_message": range(4), "to_message": range(7)}),
        _field("replacement", _messages),
    ),
    "user.utterance.v2": _together(
        _mappings({"text": _TEXTS, "content": _sometimes(_CONTENTS)}), _mappings({"speech": _SPEECH})
    ),
    "agent.utterance.v2": _mappings({"text": _TEXTS_OR_NONE, "speech": _SPEECH}),
    "tool.call.v2": _together(
        _mappings(
            {
                "call_id": _CALL_IDS,
                "name": ["run"],
                "has_nested_calls": _sometimes(_FLAGS),
                "executor": _sometimes(["provider"]),
            }
        ),
        _field("arguments", _arguments),
    ),
    "tool.result.v2": _together(
        _mappings({"call_id": _CALL_IDS, "error": [None], "truncated": _sometimes([None, True])}),
        _field("output", json_values),
    ),
    "conversation.started.v2": _mappings(
        {
            "messages": [[{"role": "system", "content": "be kind"}]],
            "parent": _sometimes([None, {}, {"conversation_id": "p", "call_id": None}]),
            "tags": _sometimes([None, [], ["a"]]),
            "metadata": _sometimes([None, {"x": 1}]),
            "fidelity": _sometimes([None, ["session_ambiguous", "is_truncated"]]),
        }
    ),
    "score.recorded.v1": _together(_mappings({"name": ["s"]}), _field("value", json_values)),
    "agent.handoff.v1": _mappings({"from": [None], "to": ["b"]}),
    "call.event.v1": _mappings({"kind": ["dtmf"]}),
    "model.decision.v2": _decisions(usage=_usages(input_tokens=_COUNTS, output_tokens=_COUNTS)),
    "row.changed.v1": _mappings(
        {"table": ["refunds", "orders"], "key": [1, "1", {"id": 1}], "before": _ROWS, "after": _ROWS}
    ),
    "prompt.registered.v1": _mappings({"name": ["p"], "text": _TEXTS, "sha256": ["2" * 64]}),
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


_steps = _mappings(
    {
        "kind": ["call", "call", "call", "result", "result", "result", "result", "say"],
        "call_id": ["a", "a", "a", "a", "", None],
        "message_id": [None, None, None, "m1"],
        "actor": ["user", "user", "user", "agent"],
        "error": [None, None, False, "no"],
    }
)


@st.composite
def whole_exchanges(draw: st.DrawFn, *, min_streams: int = 8, max_streams: int = 16) -> list[dict[str, Any]]:
    """A log of January in which calls and results with next to no ids follow each other in every way."""
    streams = draw(st.lists(st.lists(_steps, min_size=2, max_size=10), min_size=min_streams, max_size=max_streams))
    log = []
    for number, steps in enumerate(streams):
        drawn = []
        for place, step in enumerate(steps):
            payload: dict[str, Any] = {"call_id": step["call_id"]}
            if step["kind"] == "call":
                event_type, payload = "tool.call.v1", {**payload, "name": "find", "arguments": {"n": place}}
            elif step["kind"] == "result":
                event_type, payload = "tool.result.v1", {**payload, "output": place, "error": step["error"]}
            else:
                event_type, payload = f"{step['actor']}.utterance.v1", {"text": "so"}
            metadata = {name: step[name] for name in ("message_id", "actor")}
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


_TARGETS = [{"stream_version": version} for version in range(1, 17)]
_redactions = _mappings({"target": _TARGETS, "path": _PATHS, "method": ["mask"], "reason": ["asked"]}) | _mappings(
    {"target": _TARGETS, "span": _every(_SPANS), "method": ["mask"], "reason": ["asked"]}
)
_metadata = _mappings(
    {
        "message_id": [None, None, "m1", "m2", ""],
        "actor": _sometimes([None, "agent", "user", "user"]),
        "subject_id": _sometimes([None, "ann", "bob"]),
        "source": _sometimes([None, "s1", "s2"]),
        "source_id": _sometimes([None, "c1"]),
        "source_ordinal": _sometimes([None, 3, 2**40]),
    }
)


@st.composite
def _events(draw: st.DrawFn, kinds: Sequence[str], pauses: Sequence[float]) -> dict[str, Any]:
    kind = draw(st.sampled_from(kinds))
    if kind == "unknown":
        kind = draw(st.sampled_from(UNKNOWN))
        payload = {"text": "never read", "call_id": "a"}
    else:
        payload = draw(_redactions if kind == "redaction.applied.v1" else PAYLOADS[kind])
    return {
        "event_type": kind,
        "payload": payload,
        "metadata": draw(_metadata),
        "seconds": draw(st.sampled_from(pauses)),
    }


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
