"""The left folds themselves, one event at a time: the state of one stream, and of one person.

Feed the events in order with `apply`; what an event may show is given by `left_fold.show`. Rows have the columns of the
projections, `month` left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.canonical.content import is_input
from tests.oracles.left_fold_values import (
    Row,
    arguments_of,
    call_state,
    dollars,
    is_erased,
    is_said,
    json_text,
    spent,
    text_or_none,
    token_count,
)

Event = Mapping[str, Any]
NEVER = object()
UNNAMED = object()
"""The message of erased events, while no other event says which it is."""
_ERASED_CALLS = "\0erased"
"""Instead of the id of a call: erased calls and results find each other and nobody else."""


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
        self.erased_events = 0
        self.user_messages = 0
        self.turns = 0
        self.tool_results = 0
        self.interruptions = 0
        self.talk: dict[str, list[int]] = {"user": [], "agent": []}
        self.compactions = 0
        self.truncations = 0
        self.thoughts = 0
        self.utterances: list[Row] = []
        self.calls: list[Row] = []
        self.redactions: list[Row] = []
        self.model_calls: list[Mapping[str, Any]] = []
        self.messages: list[Row] = []
        """Agent messages, each one decision."""
        self._open: Row | None = None
        self._last_utterance: object = NEVER
        self._last_user: object = NEVER
        self._after_user = False
        self._waiting: dict[str, tuple[object, deque[Row]]] = {}

    def apply(self, event: Event, seen: Row | None) -> None:
        """Fold one event; `seen` as `show` gives it."""
        self.first = self.first or event
        self.last = event
        self.aggregate_id, self.aggregate_type = event["aggregate_id"], event["aggregate_type"]
        self.event_count += 1
        self.erased_events += is_erased(event)
        for name, value in self.envelope.items():
            if value is None:
                self.envelope[name] = event["metadata"].get(name)
        if seen is None:
            self.skipped_events += not is_erased(event)
            return
        handler = _HANDLERS.get(seen["name"])
        if handler is not None:
            handler(self, event, seen["payload"])

    def _start(self, _event: Event, payload: Mapping[str, Any]) -> None:
        self.started = payload

    def _end(self, event: Event, payload: Mapping[str, Any]) -> None:
        self.ended = {"outcome": payload.get("outcome"), "at": event["created_at"]}
        self.ended["reason"] = payload.get("reason")

    def _supplied(self, _event: Event, _payload: Mapping[str, Any]) -> None:
        self._input()

    def _input(self) -> None:
        """Something other than the agent's output: the open agent message is complete."""
        self._open = None
        self._after_user = False

    def _user(self, event: Event, *, is_call: bool) -> None:
        """Count user messages: outputs of the user that share a message id, or calls that follow without one."""
        message_id = event["metadata"].get("message_id")
        same_id = self._last_user is not NEVER and self._last_user == message_id
        continues = same_id and (message_id is not None or (is_call and self._after_user))
        self.user_messages += not continues
        self._input()
        self._last_user = message_id
        self._after_user = True

    def _user_utterance(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._user(event, is_call=False)
        message_id = event["metadata"].get("message_id")
        says_something = is_erased(event) or is_input(payload.get("text"), payload.get("content"))
        if says_something and (message_id is None or message_id != self._last_utterance):
            self.turns += 1
        self._last_utterance = message_id
        self._utterance(event, payload, "user")

    def _utterance(self, event: Event, payload: Mapping[str, Any], role: str) -> None:
        speech = payload.get("speech")
        if isinstance(speech, Mapping):
            self.interruptions += speech.get("interrupted") is True
            if None not in (times := (speech.get("start_ms"), speech.get("end_ms"))):
                self.talk[role].append(max(times[1] - times[0], 0))
        said = {"event": event, "month": event["month"], "turn": self.turns, "role": role, "text": payload.get("text")}
        self.utterances.append(said)

    def _message(self, event: Event, *, comes_first: bool, is_output: bool) -> Row:
        """The agent message, or the run of model calls before one, that this event is part of.

        Where only types tell, one that comes first in a message begins one after an output.
        """
        message_id = UNNAMED if is_erased(event) else event["metadata"].get("message_id")
        if self._open is None or self._begins(self._open, message_id, comes_first=comes_first):
            first = event["stream_version"]
            self._open = {"message_id": message_id, "first": first, "is_said": False, "text": None, "calls": []}
            self._open |= {"is_refusal": False, "is_erased": False}
            self._open |= {"turn": self.turns, "model": None, "model_version": None, "has_clock": False}
        elif message_id is not UNNAMED:
            self._open["message_id"] = message_id
        self._open["is_erased"] |= is_erased(event)
        self._open["is_answered"] = is_output
        if not self._open["has_clock"]:
            self._open["clock"] = event["metadata"].get("time_source")
        self._open |= {"last": event["stream_version"], "at": event["created_at"], "month": event["month"]}
        return self._open

    @staticmethod
    def _begins(message: Row, message_id: object, *, comes_first: bool) -> bool:
        """Whether an event does not go on with the message that is open."""
        if UNNAMED in (message_id, message["message_id"]):
            return comes_first and bool(message["is_answered"])
        return bool(message["message_id"] != message_id)

    def _say(self, event: Event, *, comes_first: bool) -> Row:
        message = self._message(event, comes_first=comes_first, is_output=True)
        if not message["is_said"]:
            message["is_said"] = True
            self.messages.append(message)
        self._after_user = False
        return message

    def _agent_utterance(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._say(event, comes_first=True).update(
            text=payload.get("text"), is_refusal=payload.get("is_refusal") is True
        )
        self._utterance(event, payload, "agent")

    def _model(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._message(event, comes_first=True, is_output=False).update(
            model=payload, model_version=event["stream_version"]
        )
        self.model_calls.append(payload)
        self.compactions += payload.get("history") == "compacted"
        self._open["clock"] = event["metadata"].get("time_source")
        self._open["has_clock"] = True

    def _reasoning(self, event: Event, _payload: Mapping[str, Any]) -> None:
        self._say(event, comes_first=True)["is_answered"] = False
        self.thoughts += not is_erased(event)

    def _compacted(self, event: Event, _payload: Mapping[str, Any]) -> None:
        self._input()
        self.compactions += 1

    def _call(self, event: Event, payload: Mapping[str, Any]) -> None:
        call: Row = {"event": event, "payload": payload, "month": event["month"], "turn": self.turns, "result": None}
        asked_in: object
        if event["metadata"].get("actor") == "user":
            call["actor"] = "user"
            self._user(event, is_call=True)
            asked_in = ("user", event["metadata"].get("message_id"))
        else:
            call["actor"] = "agent"
            message = self._say(event, comes_first=False)
            message["calls"].append(call)
            asked_in = ("agent", len(self.messages))
        self.calls.append(call)
        key = _ERASED_CALLS if is_erased(event) else payload.get("call_id") or ""
        if key not in self._waiting or self._waiting[key][0] != asked_in:
            self._waiting[key] = (asked_in, deque())
        self._waiting[key][1].append(call)

    def _result(self, event: Event, payload: Mapping[str, Any]) -> None:
        self._input()
        self.tool_results += 1
        self.truncations += payload.get("truncated") is True
        key = _ERASED_CALLS if is_erased(event) else payload.get("call_id") or ""
        _, calls = self._waiting.get(key, (None, deque[Row]()))
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

    def _fidelity(self) -> Row:
        """What the record lacks: as its start says, or as its events tell."""
        said = self.started.get("fidelity") or []
        thought = sum(token_count(call, "reasoning_tokens") or 0 for call in self.model_calls)
        told = {
            "content_missing": any(call.get("content_missing") is True for call in self.model_calls),
            "history_compacted": self.compactions > 0,
            "reasoning_lost": thought > 0 and not self.thoughts,
            "is_truncated": self.truncations > 0,
            "session_ambiguous": False,
        }
        return {name: found or name in said for name, found in told.items()}

    def utterance_row(self, said: Row) -> Row:
        """One row of `utterances`."""
        return self._place(said["event"]) | {
            "message_id": said["event"]["metadata"].get("message_id"),
            "turn": said["turn"],
            "role": said["role"],
            "text": said["text"],
            "is_erased": is_erased(said["event"]),
            "created_at": said["event"]["created_at"],
        }

    def call_row(self, call: Row) -> Row:
        """One row of `tool_calls`."""
        return (
            self._place(call["event"])
            | {"message_id": call["event"]["metadata"].get("message_id"), "turn": call["turn"]}
            | call_state(call)
            | {
                "is_invalid_json": None if is_erased(call["event"]) else arguments_of(call["payload"])[1],
                "is_erased": is_erased(call["event"]) or (call["result"] is not None and is_erased(call["result"])),
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
        agent_texts = [said["text"] for said in self.utterances if said["role"] == "agent" and is_said(said["text"])]
        calls = [call_state(call) for call in self.calls]
        duration = self.last["created_at"] - self.first["created_at"]
        parent = self.started["parent"] if isinstance(self.started.get("parent"), Mapping) else {}
        return {
            "aggregate_id": self.aggregate_id,
            **self.envelope,
            **{name: self.started.get(name) for name in ("agent", "variant", "task", "channel", "vertical")},
            "status": "ended" if self.ended else "open",
            "outcome": text_or_none(self.ended["outcome"]) if self.ended else None,
            "ended_reason": self.ended["reason"] if self.ended else None,
            "parent_id": parent.get("conversation_id"),
            "parent_call_id": parent.get("call_id"),
            **{name: text_or_none(self.started.get(name)) for name in ("tags", "metadata")},
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
            "agent_text_messages": sum(is_said(message["text"]) for message in self.messages),
            "tool_call_count": len(calls),
            "tool_result_count": self.tool_results,
            "unanswered_tool_calls": sum(call["result_version"] is None for call in calls),
            "failed_tool_calls": sum(call["error"] not in (None, "false") for call in calls),
            "redaction_count": len(self.redactions),
            **spent(self.model_calls),
            "interruptions": self.interruptions,
            "user_talk_ms": sum(self.talk["user"]) if self.talk["user"] else None,
            "agent_talk_ms": sum(self.talk["agent"]) if self.talk["agent"] else None,
            **self._fidelity(),
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
            "erased_events": self.erased_events,
        }


_HANDLERS: dict[str, Callable[[StreamFold, Event, Mapping[str, Any]], None]] = {
    "conversation.started": StreamFold._start,
    "conversation.ended": StreamFold._end,
    "context.supplied": StreamFold._supplied,
    "user.utterance": StreamFold._user_utterance,
    "agent.utterance": StreamFold._agent_utterance,
    "model.decision": StreamFold._model,
    "agent.reasoning": StreamFold._reasoning,
    "context.compacted": StreamFold._compacted,
    "tool.call": StreamFold._call,
    "tool.result": StreamFold._result,
    "redaction.applied": StreamFold._redaction,
}


class SubjectFold:
    """Everything folded by person."""

    def __init__(self, subject_id: str) -> None:
        self.subject_id = subject_id
        self.events: list[Event] = []
        self.user_messages = 0
        self.model_calls: list[Mapping[str, Any]] = []
        self.tool_calls = 0
        self.changes: list[tuple[Event, Mapping[str, Any]]] = []

    def apply(self, event: Event, seen: Row | None, *, starts_turn: bool) -> None:
        """Fold one event about the person; whether a turn of its stream begins with it is the stream's to say."""
        self.events.append(event)
        self.user_messages += starts_turn
        name, payload = (seen["name"], seen["payload"]) if seen else (None, {})
        if name == "model.decision":
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
            key = (payload["table"], json_text(payload.get("key")))
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
            "user_messages": self.user_messages,
            "tool_call_count": self.tool_calls,
            "refunds_asked": sum(table == "refunds" for table, _ in inserted),
            "refunds_paid": len(paid),
            "refunds_paid_usd": dollars([row.get("amount_usd") for row in paid]) or 0.0,
            **spent(self.model_calls),
            "rows": [
                {"table": table, "key": key, "row": json_text(row)}
                for (table, key), row in sorted(newest.items())
                if row is not None
            ],
        }
