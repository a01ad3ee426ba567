"""The left fold of one stream that goes on from a snapshot instead of the stream's first event."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import RefoldError
from pipelines.folds.reference_folds import NEVER, Event, StreamFold
from pipelines.folds.reference_values import Row, call_state, exact_dollars, json_text

_COUNTS = (
    "agent_messages",
    "agent_text_messages",
    "tool_call_count",
    "unanswered_tool_calls",
    "failed_tool_calls",
    "redaction_count",
)
_JSON = ("arguments", "output", "error")


class MessageGoesOnError(RefoldError):
    """The first event after a snapshot goes on with a message that was open there: the fold must begin before it."""


class ResumedFold(StreamFold):
    """Feed the events after the snapshot in order with `apply`, as to the fold that it goes on with.

    Args:
        snapshot: A row of `snapshots`.
        lists: `transcript`, `tool_calls` and `redactions` of the state at the snapshot, in order.
    """

    def __init__(self, snapshot: Mapping[str, Any], lists: Mapping[str, Sequence[Row]]) -> None:
        super().__init__()
        self._snapshot = snapshot
        self._lists = lists
        self.aggregate_id, self.aggregate_type = snapshot["aggregate_id"], snapshot["aggregate_type"]
        self.first = {"created_at": snapshot["started_at"]}
        self.last = {name: snapshot[name] for name in ("created_at", "stream_version", "position")}
        self.envelope = {name: snapshot[name] for name in self.envelope}
        self.started = {name: snapshot[name] for name in ("agent", "variant", "task", "channel", "vertical")}
        if snapshot["ended_at"] is not None:
            self.ended = {"outcome": _parsed(snapshot["outcome"]), "at": snapshot["ended_at"]}
        self.event_count, self.skipped_events = snapshot["event_count"], snapshot["skipped_events"]
        self.user_messages, self.turns = snapshot["user_messages"], snapshot["turns"]
        self.tool_results = snapshot["tool_result_count"]
        self._open_before: str | None = snapshot["open_message"] or None
        self._last_utterance = _message_id(snapshot["said_in"])
        self._last_user = _message_id(snapshot["user_message"])
        self._after_user = snapshot["last_role"] == "user"
        self._carried = [_waiting_call(call) for call in snapshot["waiting"]]
        for call in self._carried:
            asked_in = ("user", call["message_id"]) if call["actor"] == "user" else ("before", call["group_no"])
            key = call["payload"]["call_id"] or ""
            self._waiting.setdefault(key, (asked_in, deque()))[1].append(call)

    def _input(self) -> None:
        self._open_before = None
        super()._input()

    def _message(self, event: Event) -> Row:
        message_id = event["metadata"].get("message_id")
        if self._open_before == ("-" if message_id is None else f"={message_id}"):
            raise MessageGoesOnError(f"version {event['stream_version']} goes on with a message of before the snapshot")
        self._open_before = None
        return super()._message(event)

    def state(self) -> Row:
        """The row of `conversation_months` or `call_months` after the events so far."""
        row, before = super().state(), self._snapshot
        answered = [call_state(call) for call in self._carried if call["result"] is not None]
        for name in _COUNTS:
            row[name] += before[name]
        row["unanswered_tool_calls"] -= len(answered)
        row["failed_tool_calls"] += sum(call["error"] not in (None, "false") for call in answered)
        for name in ("input_tokens", "output_tokens"):
            known = [count for count in (before[name], row[name]) if count is not None]
            row[name] = sum(known) if known else None
        spent = [before["cost_usd"], exact_dollars([call.get("cost_usd") for call in self.model_calls])]
        row["cost_usd"] = float(sum(usd for usd in spent if usd is not None)) if spent != [None, None] else None
        if row["final_text"] is None:
            row["final_text"] = before["final_text"]
        row["transcript"] = [*self._lists["transcript"], *row["transcript"]]
        row["redactions"] = [*self._lists["redactions"], *row["redactions"]]
        calls = {call["stream_version"]: _spelled(call) for call in self._lists["tool_calls"]}
        calls |= {call["stream_version"]: call for call in (*answered, *row["tool_calls"])}
        row["tool_calls"] = [calls[version] for version in sorted(calls)]
        return row


def _message_id(key: str | None) -> object:
    """The message id in a key: `=id`; `-` is a message without id, null is none."""
    if key is None:
        return NEVER
    return key.removeprefix("=") if key.startswith("=") else None


def _waiting_call(call: Mapping[str, Any]) -> Row:
    payload = {
        "call_id": call["call_id"],
        "name": call["name"],
        "arguments": _parsed(call["recorded"] or call["arguments"]),
    }
    place = {"stream_version": call["stream_version"]}
    return {**call, "event": place, "payload": payload, "result": None}


def _spelled(call: Mapping[str, Any]) -> Row:
    """The call with its JSON texts spelled as the fold spells them."""
    return {**call, **{name: None if call[name] is None else json_text(_parsed(call[name])) for name in _JSON}}


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)
