"""The folds in plain Python, one event at a time: what the SQL folds are held to, and what `refold state` shows.

Written to be read, not to be fast; nothing is shared with the SQL but the meaning of redactions. Every function takes
events as mappings with the columns of the dataset `events`, `payload` and `metadata` parsed, and gives rows with the
columns of the projection, `month` left out. JSON values that the SQL stores as text are text here too (compact JSON);
two texts of one value may differ in spelling.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pipelines.diff.canonical import Canonicaliser
from pipelines.folds.redaction import Redaction, redact
from pipelines.replay.context import Context, request_sha256

Event = Mapping[str, Any]
Row = dict[str, Any]

_KNOWN = {
    "agent.utterance": 1,
    "context.supplied": 1,
    "conversation.ended": 1,
    "conversation.started": 1,
    "model.decision": 2,
    "prompt.registered": 1,
    "redaction.applied": 1,
    "row.changed": 1,
    "tool.call": 1,
    "tool.result": 1,
    "tools.registered": 1,
    "user.utterance": 1,
}
_PICO = Decimal("0.000000000001")
_NEVER = object()


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
    for event, seen in show(log):
        if event["month"] > month:
            continue
        subject_id = event["metadata"].get("subject_id")
        streams.setdefault(event["aggregate_id"], []).append((event, seen))
        if subject_id is not None:
            subjects.setdefault(subject_id, SubjectFold(subject_id)).apply(event, seen)
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
    events = list(events)
    redactions: dict[tuple[str, int], list[Redaction]] = {}
    for event in events:
        if event["event_type"] == "redaction.applied.v1":
            target = (event["aggregate_id"], event["payload"]["target"]["stream_version"])
            redactions.setdefault(target, []).append(Redaction.from_payload(event["payload"]))
    for event in events:
        applied = redactions.get((event["aggregate_id"], event["stream_version"]))
        payload = redact(event["payload"], applied).payload if applied else event["payload"]
        yield event, upcast(event["event_type"], payload)


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


class StreamFold:
    """Everything folded by stream. Feed the events in order with `apply`."""

    def __init__(self) -> None:
        self.aggregate_id: str | None = None
        self.aggregate_type: str | None = None
        self.first: Event | None = None
        self.last: Event | None = None
        self.envelope: Row = dict.fromkeys(("source", "source_id", "source_ordinal", "subject_id"))
        self.started: Mapping[str, Any] = {}
        self.ended: Row | None = None
        self.event_count = 0
        self.skipped_events = 0
        self.user_messages = 0
        self.turns = 0
        self.tool_results = 0
        self.utterances: list[Row] = []
        self.calls: list[Row] = []
        self.redactions: list[Row] = []
        self.model_calls: list[Mapping[str, Any]] = []
        self.messages: list[Row] = []
        """Agent messages, each one decision."""
        self._open: Row | None = None
        self._last_utterance: object = _NEVER
        self._last_user: object = _NEVER
        self._after_user = False
        self._waiting: dict[str, tuple[object, deque[Row]]] = {}

    def apply(self, event: Event, seen: Row | None) -> None:
        """Fold one event; `seen` as `show` gives it."""
        self.first = self.first or event
        self.last = event
        self.aggregate_id, self.aggregate_type = event["aggregate_id"], event["aggregate_type"]
        self.event_count += 1
        for name, value in self.envelope.items():
            if value is None:
                self.envelope[name] = event["metadata"].get(name)
        if seen is None:
            self.skipped_events += 1
            return
        handler = _HANDLERS.get(seen["name"])
        if handler is not None:
            handler(self, event, seen["payload"])

    def _start(self, _event: Event, payload: Mapping[str, Any]) -> None:
        self.started = payload

    def _end(self, event: Event, payload: Mapping[str, Any]) -> None:
        self.ended = {"outcome": payload.get("outcome"), "at": event["created_at"]}

    def _supplied(self, _event: Event, _payload: Mapping[str, Any]) -> None:
        self._input()

    def _input(self) -> None:
        """Something other than the agent's output: the open agent message is complete."""
        self._open = None
        self._after_user = False

    def _user(self, event: Event, *, is_call: bool) -> None:
        """Count user messages: outputs of the user that share a message id, or calls that follow without one."""
        message_id = event["metadata"].get("message_id")
        same_id = self._last_user is not _NEVER and self._last_user == message_id
        continues = same_id and (message_id is not None or (is_call and self._after_user))
        self.user_messages += not continues
        self._input()
        self._last_user = message_id
        self._after_user = True

    def _user_utterance(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._user(event, is_call=False)
        message_id = event["metadata"].get("message_id")
        if payload.get("text") and (message_id is None or message_id != self._last_utterance):
            self.turns += 1
        self._last_utterance = message_id
        self._utterance(event, payload, "user")

    def _utterance(self, event: Event, payload: Mapping[str, Any], role: str) -> None:
        said = {"event": event, "month": event["month"], "turn": self.turns, "role": role, "text": payload.get("text")}
        self.utterances.append(said)

    def _message(self, event: Event) -> Row:
        """The agent message, or the run of model calls before one, that this event is part of."""
        message_id = event["metadata"].get("message_id")
        if self._open is None or self._open["message_id"] != message_id:
            first = event["stream_version"]
            self._open = {"message_id": message_id, "first": first, "is_said": False, "text": None, "calls": []}
            self._open |= {"turn": self.turns, "model": None, "model_version": None}
        self._open |= {"last": event["stream_version"], "at": event["created_at"], "month": event["month"]}
        return self._open

    def _say(self, event: Event) -> Row:
        message = self._message(event)
        if not message["is_said"]:
            message["is_said"] = True
            self.messages.append(message)
        self._after_user = False
        return message

    def _agent_utterance(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._say(event)["text"] = payload.get("text")
        self._utterance(event, payload, "agent")

    def _model(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._message(event).update(model=payload, model_version=event["stream_version"])
        self.model_calls.append(payload)

    def _call(self, event: Event, payload: Mapping[str, Any]) -> None:
        call: Row = {"event": event, "payload": payload, "month": event["month"], "turn": self.turns, "result": None}
        asked_in: object
        if event["metadata"].get("actor") == "user":
            call["actor"] = "user"
            self._user(event, is_call=True)
            asked_in = ("user", event["metadata"].get("message_id"))
        else:
            call["actor"] = "agent"
            message = self._say(event)
            message["calls"].append(call)
            asked_in = ("agent", len(self.messages))
        self.calls.append(call)
        key = payload.get("call_id") or ""
        if key not in self._waiting or self._waiting[key][0] != asked_in:
            self._waiting[key] = (asked_in, deque())
        self._waiting[key][1].append(call)

    def _result(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._input()
        self.tool_results += 1
        _, calls = self._waiting.get(payload.get("call_id") or "", (None, deque[Row]()))
        if calls:
            calls.popleft().update(result=event, answer=payload, month=event["month"])

    def _redaction(self, event: Event, payload: Mapping[str, Any]) -> None:
        target, span = payload.get("target"), payload.get("span")
        path = payload.get("path")
        self.redactions.append(
            {
                "stream_version": event["stream_version"],
                "target_version": target.get("stream_version") if isinstance(target, Mapping) else None,
                "path": span.get("path") if path is None and isinstance(span, Mapping) else path,
                "method": payload.get("method"),
                "reason": payload.get("reason"),
            }
        )

    def utterance_row(self, said: Row) -> Row:
        """One row of `utterances`."""
        return self._place(said["event"]) | {
            "message_id": said["event"]["metadata"].get("message_id"),
            "turn": said["turn"],
            "role": said["role"],
            "text": said["text"],
            "created_at": said["event"]["created_at"],
        }

    def call_row(self, call: Row) -> Row:
        """One row of `tool_calls`."""
        return (
            self._place(call["event"])
            | {"message_id": call["event"]["metadata"].get("message_id"), "turn": call["turn"]}
            | _call_state(call)
            | {
                "created_at": call["event"]["created_at"],
                "answered_at": call["result"]["created_at"] if call["result"] else None,
            }
        )

    def _place(self, event: Event) -> Row:
        return {name: event[name] for name in ("aggregate_id", "aggregate_type", "stream_version", "position")} | {
            "source": self.envelope["source"]
        }

    def state(self) -> Row:
        """The row of `conversation_months` or `call_months` after the events so far (at least one)."""
        assert self.first is not None
        assert self.last is not None
        agent_texts = [said["text"] for said in self.utterances if said["role"] == "agent" and _is_said(said["text"])]
        calls = [_call_state(call) for call in self.calls]
        duration = self.last["created_at"] - self.first["created_at"]
        return {
            "aggregate_id": self.aggregate_id,
            **self.envelope,
            **{name: self.started.get(name) for name in ("agent", "variant", "task", "channel", "vertical")},
            "status": "ended" if self.ended else "open",
            "outcome": _text_or_none(self.ended["outcome"]) if self.ended else None,
            "started_at": self.first["created_at"],
            "ended_at": self.ended["at"] if self.ended else None,
            "last_at": self.last["created_at"],
            "duration_seconds": duration.total_seconds(),
            "last_version": self.last["stream_version"],
            "last_position": self.last["position"],
            "event_count": self.event_count,
            "user_messages": self.user_messages,
            "turns": self.turns,
            "agent_messages": len(self.messages),
            "agent_text_messages": sum(_is_said(message["text"]) for message in self.messages),
            "tool_call_count": len(calls),
            "tool_result_count": self.tool_results,
            "unanswered_tool_calls": sum(call["result_version"] is None for call in calls),
            "failed_tool_calls": sum(call["error"] not in (None, "false") for call in calls),
            "redaction_count": len(self.redactions),
            **_spent(self.model_calls),
            "final_text": agent_texts[-1] if agent_texts else None,
            "transcript": [
                {
                    "stream_version": said["event"]["stream_version"],
                    "role": said["role"],
                    "text": said["text"],
                    "created_at": said["event"]["created_at"],
                }
                for said in self.utterances
                if said["text"] is not None
            ],
            "tool_calls": calls,
            "redactions": self.redactions,
            "skipped_events": self.skipped_events,
        }


_HANDLERS: dict[str, Callable[[StreamFold, Event, Mapping[str, Any]], None]] = {
    "conversation.started": StreamFold._start,  # noqa: SLF001 -- the class's own dispatch table
    "conversation.ended": StreamFold._end,  # noqa: SLF001
    "context.supplied": StreamFold._supplied,  # noqa: SLF001
    "user.utterance": StreamFold._user_utterance,  # noqa: SLF001
    "agent.utterance": StreamFold._agent_utterance,  # noqa: SLF001
    "model.decision": StreamFold._model,  # noqa: SLF001
    "tool.call": StreamFold._call,  # noqa: SLF001
    "tool.result": StreamFold._result,  # noqa: SLF001
    "redaction.applied": StreamFold._redaction,  # noqa: SLF001
}


def decision_rows(fold: StreamFold, events: Iterable[tuple[Event, Row | None]]) -> list[Row]:
    """The rows of `decisions` for all months of one stream, with `month`; contexts are those that a replay rebuilds."""
    shown, recorded = Context(), Context()
    context_messages: dict[int, int] = {}
    for event, seen in events:
        context_messages[event["stream_version"]] = len(shown.messages)
        as_recorded = upcast(event["event_type"], event["payload"])
        if seen is not None and as_recorded is not None:
            shown.apply(seen["name"], seen["payload"], event["metadata"])
            recorded.apply(seen["name"], as_recorded["payload"], event["metadata"])
    models = {event["stream_version"]: upcast(event["event_type"], event["payload"]) for event, _ in events}
    canonical = Canonicaliser()
    rows = []
    for number, message in enumerate(fold.messages, start=1):
        before = context_messages[message["first"]]
        calls = [_call_state(call) for call in message["calls"]]
        hashes = canonical.hash_list([(0, call["name"], call["arguments"]) for call in calls])
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
                "message_id": message["message_id"],
                "turn": message["turn"],
                "context_messages": before,
                "text": message["text"],
                "tool_calls": [
                    {name: call[name] for name in ("stream_version", "call_id", "name", "arguments")} for call in calls
                ],
                "call_count": len(calls),
                "l0_hash": hashes.l0,
                "l1_hash": hashes.l1,
                "l2_hash": hashes.l2,
                **{n: model.get(n) for n in ("model", "prompt_sha256", "tools_sha256", "request_sha256")},
                "context_verified": _verify(sent["payload"] if sent else {}, recorded.messages[:before]),
                "input_tokens": _tokens(model, "input_tokens"),
                "output_tokens": _tokens(model, "output_tokens"),
                "latency_ms": _number(model.get("latency_ms")),
                "cost_usd": _number(model.get("cost_usd")),
                "finish_reason": model.get("finish_reason"),
                "created_at": message["at"],
            }
        )
    return rows


class SubjectFold:
    """Everything folded by person."""

    def __init__(self, subject_id: str) -> None:
        self.subject_id = subject_id
        self.events: list[Event] = []
        self.messages: set[tuple[str, object]] = set()
        self.model_calls: list[Mapping[str, Any]] = []
        self.tool_calls = 0
        self.changes: list[tuple[Event, Mapping[str, Any]]] = []

    def apply(self, event: Event, seen: Row | None) -> None:
        """Fold one event about the person."""
        self.events.append(event)
        name, payload = (seen["name"], seen["payload"]) if seen else (None, {})
        if name == "user.utterance" and payload.get("text"):
            message_id = event["metadata"].get("message_id")
            key = ("id", message_id) if message_id is not None else ("version", event["stream_version"])
            self.messages.add((event["aggregate_id"], key))
        elif name == "model.decision":
            self.model_calls.append(payload)
        elif name == "tool.call":
            self.tool_calls += 1
        elif name == "row.changed":
            self.changes.append((event, payload))

    def state(self) -> Row:
        """The row of `customer_months` after the events so far (at least one)."""
        newest: dict[tuple[str, str], Mapping[str, Any] | None] = {}
        inserted = set()
        for _, payload in sorted(self.changes, key=lambda c: (c[0]["created_at"], c[0]["position"])):
            key = (payload["table"], _text(payload.get("key")))
            newest[key] = payload.get("after")
            if payload.get("before") is None and payload.get("after") is not None:
                inserted.add(key)
        paid = [
            row
            for (table, _), row in newest.items()
            if table == "refunds" and isinstance(row, Mapping) and row.get("status") == "paid"
        ]
        times = [event["created_at"] for event in self.events]
        streams = {(event["aggregate_type"], event["aggregate_id"]) for event in self.events}
        return {
            "subject_id": self.subject_id,
            "first_at": min(times),
            "last_at": max(times),
            "event_count": len(self.events),
            "conversations": sum(kind == "conversation" for kind, _ in streams),
            "calls": sum(kind == "call" for kind, _ in streams),
            "user_messages": len(self.messages),
            "tool_call_count": self.tool_calls,
            "refunds_asked": sum(table == "refunds" for table, _ in inserted),
            "refunds_paid": len(paid),
            "refunds_paid_usd": _dollars([row.get("amount_usd") for row in paid]) or 0.0,
            **_spent(self.model_calls),
            "rows": [
                {"table": table, "key": key, "row": _text(row)}
                for (table, key), row in sorted(newest.items())
                if row is not None
            ],
        }


def _call_state(call: Row) -> Row:
    payload, result, answer = call["payload"], call["result"], call.get("answer", {})
    return {
        "stream_version": call["event"]["stream_version"],
        "actor": call["actor"],
        "call_id": payload.get("call_id"),
        "name": payload.get("name"),
        "arguments": _text(payload.get("arguments")),
        "result_version": result["stream_version"] if result else None,
        "output": _text(answer.get("output")) if result else None,
        "error": _text_or_none(answer.get("error")) if result else None,
    }


def _verify(model: Mapping[str, Any], messages: list[dict[str, Any]]) -> bool | None:
    expected = model.get("request_sha256")
    if expected is None:
        return None
    head = {"model": model.get("model"), "params": model.get("params"), "tools_sha256": model.get("tools_sha256")}
    return bool(request_sha256(messages, **head) == expected)


def _spent(model_calls: list[Mapping[str, Any]]) -> Row:
    tokens = {
        name: [count for count in (_tokens(call, name) for call in model_calls) if count is not None]
        for name in ("input_tokens", "output_tokens")
    }
    sums: Row = {name: sum(counts) if counts else None for name, counts in tokens.items()}
    return sums | {"cost_usd": _dollars([call.get("cost_usd") for call in model_calls])}


def _tokens(model: Mapping[str, Any], name: str) -> int | None:
    usage = model.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) else None


def _dollars(amounts: list[Any]) -> float | None:
    recorded = [
        Decimal(str(amount)).quantize(_PICO, ROUND_HALF_UP) for amount in amounts if isinstance(amount, (int, float))
    ]
    return float(sum(recorded)) if recorded else None


def _is_said(text: str | None) -> bool:
    return text is not None and text.strip() != ""


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
