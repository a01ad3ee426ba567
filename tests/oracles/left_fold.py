"""The folds in plain Python, one event at a time: what the one fold, however it is fed, is held to.

Written to be read, not to be fast; nothing is shared with the fold but the meaning of redactions. Every function takes
events as mappings with the columns of the dataset `events`, `payload` and `metadata` parsed, and gives rows with the
columns of the projection, `month` left out. JSON values that the SQL stores as text are text here too (compact JSON);
two texts of one value may differ in spelling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pipelines.canonical.calls import Canonicaliser
from pipelines.log.context import Context, request_sha256
from pipelines.log.redaction import Redaction, redact
from tests.oracles.left_fold_streams import UNNAMED, Event, StreamFold, SubjectFold
from tests.oracles.left_fold_values import (
    Row,
    arguments_of,
    call_state,
    is_erased,
    json_text,
    recorded_number,
    text_or_none,
    token_count,
)

_KNOWN = {
    "agent.handoff": 1,
    "agent.reasoning": 1,
    "agent.utterance": 2,
    "call.event": 1,
    "context.compacted": 1,
    "context.supplied": 1,
    "conversation.ended": 1,
    "conversation.started": 2,
    "model.decision": 3,
    "prompt.registered": 1,
    "redaction.applied": 1,
    "row.changed": 1,
    "score.recorded": 1,
    "tool.call": 2,
    "tool.result": 2,
    "tools.registered": 1,
    "user.utterance": 2,
}


_NAMED = (
    "model",
    "model_requested",
    "provider",
    "prompt_sha256",
    "tools_sha256",
    "request_sha256",
    "usage_basis",
    "finish_reason",
    "response_id",
    "retries",
    "history",
)
"""Columns of a decision that are members of its model call, as they are."""
_COUNTED = ("cached_input_tokens", "cache_write_tokens", "reasoning_tokens")


def fold_call(events: Iterable[Event]) -> dict[str, list[Any]]:
    """The fold that the article on agent event sourcing gives: transcript, tool calls and redactions, payloads as they are."""
    state: dict[str, list[Any]] = {"transcript": [], "tool_calls": [], "redactions": []}
    for event in events:
        payload = event["payload"]
        if event["event_type"] == "user.utterance.v1":
            state["transcript"].append({"role": "user", "text": payload["text"]})
        elif event["event_type"] == "agent.utterance.v1":
            state["transcript"].append({"role": "agent", "text": payload["text"]})
        elif event["event_type"] == "tool.call.v1":
            state["tool_calls"].append(payload)
        elif event["event_type"] == "redaction.applied.v1":
            state["redactions"].append(payload)
    return state


def fold_month(events: Iterable[Event], month: str) -> dict[str, list[Row]]:
    """The rows of every projection for one month, in the order of their keys.

    Args:
        events: The whole log, later months too (their redactions reach back), in any order.
        month: YYYY-MM.
    """
    log = sorted(events, key=lambda event: (event["aggregate_id"], event["stream_version"]))
    streams: dict[str, list[tuple[Event, Row | None]]] = {}
    subjects: dict[str, SubjectFold] = {}
    touched_streams, touched_subjects = set(), set()
    for event, seen, starts_turn in show_turns(event for event in show(log) if event[0]["month"] <= month):
        subject_id = event["metadata"].get("subject_id")
        streams.setdefault(event["aggregate_id"], []).append((event, seen))
        if subject_id is not None:
            subjects.setdefault(subject_id, SubjectFold(subject_id)).apply(event, seen, starts_turn=starts_turn)
        if event["month"] == month:
            touched_streams.add(event["aggregate_id"])
            touched_subjects.add(subject_id)
    rows: dict[str, list[Row]] = {
        name: [] for name in ("utterances", "tool_calls", "decisions", "conversation_months", "call_months")
    }
    for stream in sorted(touched_streams):
        fold = StreamFold()
        for event, seen in streams[stream]:
            fold.apply(event, seen)
        rows["utterances"] += [fold.utterance_row(u) for u in fold.utterances if u["month"] == month]
        rows["tool_calls"] += [fold.call_row(c) for c in fold.calls if c["month"] == month]
        rows["decisions"] += [row for row in decision_rows(fold, streams[stream]) if row.pop("month") == month]
        if fold.aggregate_type in ("conversation", "call"):
            rows[f"{fold.aggregate_type}_months"].append(fold.state())
    rows["customer_months"] = [subjects[subject].state() for subject in sorted(touched_subjects - {None})]
    return rows


def show(events: Iterable[Event]) -> Iterable[tuple[Event, Row | None]]:
    """Every event with what folds may see of it: `{"name": noun.verb, "payload": redacted and upcast}`, None if unknown."""
    for event, payload in redact_all(events):
        yield event, upcast(event["event_type"], payload)


def redact_all(events: Iterable[Event]) -> Iterable[tuple[Event, Mapping[str, Any]]]:
    """Every event with its payload, redactions of all the events applied."""
    events = list(events)
    redactions: dict[tuple[str, int], list[Redaction]] = {}
    for event in events:
        if event["event_type"] == "redaction.applied.v1" and not is_erased(event):
            target = (event["aggregate_id"], event["payload"]["target"]["stream_version"])
            redactions.setdefault(target, []).append(Redaction.from_payload(event["payload"]))
    for event in events:
        applied = redactions.get((event["aggregate_id"], event["stream_version"]))
        is_hidden = applied and not is_erased(event)
        yield event, redact(event["payload"], applied or ()).payload if is_hidden else event["payload"]


def show_turns(shown: Iterable[tuple[Event, Row | None]]) -> Iterable[tuple[Event, Row | None, bool]]:
    """The same events, sorted by stream, and whether a turn begins with each."""
    fold = StreamFold()
    for event, seen in shown:
        if event["aggregate_id"] != fold.aggregate_id:
            fold = StreamFold()
        turns = fold.turns
        fold.apply(event, seen)
        yield event, seen, fold.turns > turns


def upcast(event_type: str, payload: Mapping[str, Any]) -> Row | None:
    """The name and latest payload of an event, or None when its type or version is not known."""
    name, _, version = event_type.rpartition(".v")
    if name not in _KNOWN or not version.isdecimal() or not 1 <= int(version) <= _KNOWN[name]:
        return None
    if event_type == "model.decision.v1" and isinstance(payload.get("usage"), Mapping):
        names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
        usage = {names.get(counter, counter): value for counter, value in payload["usage"].items()}
        payload = {**payload, "usage": usage}
    return {"name": name, "payload": payload}


def decision_rows(fold: StreamFold, events: Iterable[tuple[Event, Row | None]]) -> list[Row]:
    """The rows of `decisions` for all months of one stream, with `month`; contexts are those that a replay rebuilds."""
    shown, recorded = Context(), Context()
    context_messages: dict[int, int | None] = {}
    before_event: dict[int, list[Row]] = {}
    is_whole = True
    for event, seen in events:
        context_messages[event["stream_version"]] = len(shown.messages) if is_whole else None
        before_event[event["stream_version"]] = deepcopy(recorded.messages)  # a compaction changes what came before
        as_recorded = upcast(event["event_type"], event["payload"])
        is_whole = is_whole and not is_erased(event)
        if is_whole and seen is not None and as_recorded is not None:
            shown.apply(seen["name"], seen["payload"], event["metadata"])
            recorded.apply(seen["name"], as_recorded["payload"], event["metadata"])
    models = {event["stream_version"]: upcast(event["event_type"], event["payload"]) for event, _ in events}
    canonical = Canonicaliser()
    rows = []
    for number, message in enumerate(fold.messages, start=1):
        before = context_messages[message["first"]]
        calls = [_decided(call) for call in message["calls"]]
        hashes = None
        if not message["is_erased"]:
            hashes = canonical.hash_list([(0, call["name"], call["recorded"]) for call in calls])
        model = message["model"] or {}
        sent = models.get(message["model_version"])
        rows.append(
            {
                "month": message["month"],
                "aggregate_id": fold.aggregate_id,
                "aggregate_type": fold.aggregate_type,
                "decision": number,
                "first_version": message["first"],
                "last_version": message["last"],
                "source": fold.envelope["source"],
                "message_id": None if message["message_id"] is UNNAMED else message["message_id"],
                "turn": message["turn"],
                "context_messages": before,
                "text": message["text"],
                "is_refusal": None if message["is_erased"] else message["is_refusal"],
                "tool_calls": calls,
                "call_count": len(calls),
                **{f"{level}_hash": getattr(hashes, level, None) for level in ("l0", "l1", "l2")},
                **{n: model.get(n) for n in _NAMED},
                **{n: token_count(model, n) for n in _COUNTED},
                "ttft_ms": recorded_number(model.get("ttft_ms")),
                "error": text_or_none(model.get("error")),
                "clock": message["clock"],
                "has_nested_calls": None
                if message["is_erased"]
                else any(call["payload"].get("has_nested_calls") is True for call in message["calls"]),
                "context_verified": None
                if before is None
                else _verify(sent["payload"] if sent else {}, before_event[message["first"]]),
                "input_tokens": token_count(model, "input_tokens"),
                "output_tokens": token_count(model, "output_tokens"),
                "latency_ms": recorded_number(model.get("latency_ms")),
                "cost_usd": recorded_number(model.get("cost_usd")),
                "is_erased": message["is_erased"],
                "is_context_erased": before is None,
                "created_at": message["at"],
            }
        )
    return rows


def _decided(call: Row) -> Row:
    """A tool call as decisions show it."""
    shown, payload = call_state(call), call["payload"]
    if is_erased(call["event"]):
        return dict.fromkeys(("call_id", "name", "arguments", "recorded", "is_invalid_json")) | {
            "stream_version": shown["stream_version"]
        }
    return {name: shown[name] for name in ("stream_version", "call_id", "name", "arguments")} | {
        "recorded": json_text(payload.get("arguments", {})),
        "is_invalid_json": arguments_of(payload)[1],
    }


def _verify(model: Mapping[str, Any], messages: list[dict[str, Any]]) -> bool | None:
    expected = model.get("request_sha256")
    if expected is None:
        return None
    requested = model.get("model_requested")
    name = model.get("model") if requested is None else requested
    head = {"model": name, "params": model.get("params"), "tools_sha256": model.get("tools_sha256")}
    return bool(request_sha256(messages, **head) == expected)
