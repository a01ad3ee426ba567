"""Rebuild what the agent saw: fold a stream's events into the chat messages of its next request.

`Context` is fed the events of one stream in order. Before any event, `messages` is the request's message list as the
agent would get it; `request_sha256` is the hash that a recorder stores and that a replay checks against.

User-side tool calls and their results are invisible to the agent. Call ids of recordings are not keys (they repeat,
collide or are null), so rendered ids are `call_{message}_{k}`: index of the message in the request, place in the block.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.canonical.content import begins_turn, compacted_range, is_input
from pipelines.canonical.tools import tools_sha256 as tools_sha256  # noqa: PLC0414 -- hashes of a request are had from here
from pipelines.compact_json import ENCODER, NOT_ENCODED, SORTED, compact_encoder, is_written_alike

_CONTAINERS = frozenset((dict, list))
_encode, _encode_lines, _encode_sorted = ENCODER.encode, ENCODER.encode_lines, SORTED.encode
_GIVEN_BACK = frozenset(
    (
        "encrypted_content",
        "extra_content",
        "provider_specific_fields",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "reasoning_opaque",
        "thinking",
        "thinking_blocks",
        "thought_signature",
    )
)
"""Members of a recorded message, and of a call, that the vendors of models want back with it."""


_HEAD = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


_COMPACT = compact_encoder(allow_nan=True)


def message_bytes(message: Mapping[str, Any]) -> bytes:
    """The UTF-8 bytes of one message as sent: compact JSON, keys in the order given, no newline inside."""
    if type(message) is dict and is_written_alike(message):
        try:
            return _encode(message)
        except NOT_ENCODED:
            pass
    return _COMPACT(message).encode("utf-8", "surrogatepass")


def text_bytes(text: str) -> bytes:
    """The UTF-8 bytes of one text as `message_bytes` writes it inside of a message."""
    try:
        return _encode(text)
    except NOT_ENCODED:
        return _COMPACT(text).encode("utf-8", "surrogatepass")


def message_lines(messages: Sequence[Mapping[str, Any]], *, is_plain: bool = False) -> bytes:
    r"""The bytes of messages as sent, one line each, every line ended by `\n`: what a request's hash is over.

    Args:
        messages: In order.
        is_plain: Whether they are known to hold nothing but text; saves looking.
    """
    if is_plain:
        try:
            return _encode_lines(messages)
        except NOT_ENCODED:
            pass
    return b"".join([line for message in messages for line in (message_bytes(message), b"\n")])


def _compact_text(value: Any) -> str:
    """A JSON value as compact text."""
    if type(value) in _CONTAINERS and is_written_alike(value):
        try:
            return _encode(value).decode()
        except NOT_ENCODED:
            pass
    return _COMPACT(value)


def request_head(model: str | None, params: Mapping[str, Any] | None, tools_sha256: str | None) -> bytes:
    """First line of the hashed request: what surrounds the messages. Keys are sorted, so their order is no input.

    Parameters that were redacted before the event was imported are the text that hides them.
    """
    sent = dict(params) if isinstance(params, Mapping) else params or {}
    head = {"model": model, "params": sent, "tools_sha256": tools_sha256}
    if is_written_alike(head):
        try:
            return _encode_sorted(head)
        except NOT_ENCODED:
            pass
    return _HEAD(head).encode("utf-8")


def decision_head(decision: Mapping[str, Any]) -> bytes:
    """The head of the request that a `model.decision` is of, by its payload: of the model that was asked for, where it says that."""
    asked = decision.get("model_requested")
    model = decision.get("model") if asked is None else asked
    return request_head(model, decision.get("params"), decision.get("tools_sha256"))


def request_sha256(
    messages: Sequence[Mapping[str, Any]],
    *,
    model: str | None,
    params: Mapping[str, Any] | None = None,
    tools_sha256: str | None = None,
) -> str:
    r"""SHA-256 (hex) of a request: its head and its messages, one line each, every line ended by `\n`.

    Anyone can recompute it: `sha256` of the newline-delimited JSON of head and messages.
    """
    head = request_head(model, params, tools_sha256)
    return hashlib.sha256(head + b"\n" + message_lines(messages)).hexdigest()


class Context:
    """The messages of one stream's next request, kept up to date event by event.

    Feed the events in `stream_version` order with `apply`; types may be given with or without their `.vN`. Events that
    the agent cannot see change nothing. Erased events are given to `add_erased`: after one, no request can be rebuilt or
    verified (`is_erased`), and what there is of the others is for people to read. Reading `messages` closes no block: an agent message is complete once an
    event of another message arrives.
    """

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.turn = 0
        """Number of turns so far: user messages with text, a picture or the like."""
        self.is_plain = True
        """Whether the messages hold nothing but text: no list of parts, no other value."""
        self.is_erased = False
        """Whether an event of it is erased, so that the messages are not those of any request."""
        self._block: str | None = None
        self._block_index = -1
        """Place of the open agent message, whose `message_id` is `_block`; -1 while none is open."""
        # recorded call id -> (message that last asked with it, rendered ids still unanswered; None: a user's call)
        self._waiting: dict[str, tuple[object, deque[str | None]]] = {}
        self._user_turn_of: str | None = None

    def copy(self) -> Context:
        """A context that goes on from here by itself; the messages so far are the same objects, the list is not."""
        made = Context()
        made.messages, made.turn = list(self.messages), self.turn
        made.is_plain, made.is_erased = self.is_plain, self.is_erased
        made._waiting = {key: (asked, deque(ids)) for key, (asked, ids) in self._waiting.items()}
        return made

    def apply(self, event_type: str, payload: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Fold one event, given by its type, latest-version payload and envelope."""
        self.add(event_type, payload, metadata.get("message_id"), metadata.get("actor"))

    def add(self, event_type: str, payload: Mapping[str, Any], message_id: str | None, actor: str | None) -> None:
        """Fold one event, given by its type, latest-version payload and what of its envelope matters."""
        handler = _HANDLERS.get(event_type) or _HANDLERS.get(event_type.rsplit(".v", 1)[0])
        if handler is not None:
            handler(self, payload, message_id, actor)

    def add_erased(self, event_type: str) -> None:
        """Fold one erased event: a message of its type, if it was one, that says so."""
        self.is_erased = True
        self._block_index = -1
        role = _ERASED_ROLES.get(event_type.rsplit(".v", 1)[0])
        if role is not None:
            self._say(role, ERASED)

    def give_back(self, beside: Mapping[str, Any]) -> None:
        """Add what vendors want back to the agent message that the last event belongs to, and to its last call.

        Args:
            beside: Recorded fields that the event's payload does not say, by level: `message`, `tool_call`, `function`; or what
                the model thought (`thought`), and in which field of the message that stood.
        """
        if self._block_index < 0:
            return
        if "thought" in beside:
            self.give_back_reasoning(beside["thought"], beside["field"])
            return
        message = self.messages[self._block_index]
        calls: Sequence[dict[str, Any]] = message.get("tool_calls") or ({},)
        holders = {"message": message, "tool_call": calls[-1], "function": calls[-1].get("function", {})}
        for level, fields in beside.items():
            kept = {
                key: value for key, value in fields.items() if key in _GIVEN_BACK and value not in (None, "", [], {})
            }
            if kept and level in holders:
                holders[level].update(kept)
                self.is_plain = False

    def _started(self, payload: Mapping[str, Any], _message_id: str | None, _actor: str | None) -> None:
        for message in payload["messages"]:
            self._say("system", message["content"], message.get("name"))

    def _say(self, role: str, content: Any, name: Any = None) -> None:
        said = {"role": role, "content": content}
        if type(name) is str:
            said["name"] = name
        self.messages.append(said)
        if type(content) is not str or type(role) is not str:
            self.is_plain = False

    def _supplied(self, payload: Mapping[str, Any], _message_id: str | None, _actor: str | None) -> None:
        self._block_index = -1
        content = payload["content"]
        self._say(payload.get("role") or "system", _content_text(content))

    def _user(self, payload: Mapping[str, Any], message_id: str | None, _actor: str | None) -> None:
        self._block_index = -1
        text = payload["text"]
        content = payload.get("content", text)
        self._say("user", content, payload.get("name"))
        self.turn += begins_turn(is_input(text, content), message_id is None, message_id != self._user_turn_of)
        self._user_turn_of = message_id

    def _agent_message(self, message_id: str | None) -> dict[str, Any]:
        """The open agent message that this event belongs to, or a new one."""
        if self._block_index < 0 or message_id != self._block:
            self._block = message_id
            self._block_index = len(self.messages)
            self.messages.append({"role": "assistant", "content": None})
        return self.messages[self._block_index]

    def _agent(self, payload: Mapping[str, Any], message_id: str | None, _actor: str | None) -> None:
        content = payload.get("content", payload["text"])
        message = self._agent_message(message_id)
        message["content"] = content
        if type(payload.get("name")) is str:
            message["name"] = payload["name"]
        if type(content) is not str and content is not None:
            self.is_plain = False

    def _tool_call(self, payload: Mapping[str, Any], message_id: str | None, actor: str | None) -> None:
        if actor == "user":
            self._block_index = -1
            self._wait(payload["call_id"], ("user", message_id), None)
            return
        message = self._agent_message(message_id)
        calls = message.setdefault("tool_calls", [])
        rendered = f"call_{self._block_index}_{len(calls)}"
        name = payload["name"]
        function = {"name": name, "arguments": arguments_text(payload.get("arguments", {}))}
        calls.append({"id": rendered, "type": "function", "function": function})
        if type(name) is not str:
            self.is_plain = False
        self._wait(payload["call_id"], self._block_index, rendered)

    def _wait(self, recorded: str | None, asked_in: object, rendered: str | None) -> None:
        """Remember a call. A message that asks with an id hides older calls with the same id."""
        key = recorded or ""
        waiting = self._waiting.get(key)
        if waiting is None or waiting[0] != asked_in:
            waiting = self._waiting[key] = (asked_in, deque())
        waiting[1].append(rendered)

    def _tool_result(self, payload: Mapping[str, Any], _message_id: str | None, _actor: str | None) -> None:
        """Answer the first unanswered call of the last message that asked with this id.

        A result that answers nothing gets an id of its own, so that the oddity stays visible to the agent as it was.
        """
        self._block_index = -1
        waiting = self._waiting.get(payload["call_id"] or "")
        rendered = waiting[1].popleft() if waiting is not None and waiting[1] else GONE
        if rendered == GONE:
            rendered = f"call_none_{len(self.messages)}"
        if rendered is not None:
            content = _result_text(payload)
            self.messages.append({"role": "tool", "tool_call_id": rendered, "content": content})
            if type(content) is not str:
                self.is_plain = False

    def _reasoned(self, _payload: Mapping[str, Any], message_id: str | None, _actor: str | None) -> None:
        """What it thought opens its message, and is not said in it; `give_back_reasoning` adds it for its vendor."""
        self._agent_message(message_id)

    def give_back_reasoning(self, payload: Mapping[str, Any], field: str | None) -> None:
        """Add what the model thought to the message of the agent that is open: vendors want it back verbatim.

        Args:
            payload: Of the reasoning.
            field: Of the message, in which it stood as text; None lists it in `reasoning`.
        """
        if self._block_index < 0:
            return
        message = self.messages[self._block_index]
        if field is not None:
            message[field] = payload.get("text")
        else:
            message.setdefault("reasoning", []).append(dict(payload))
        self.is_plain = False

    def _compacted(self, payload: Mapping[str, Any], _message_id: str | None, _actor: str | None) -> None:
        """Messages give way to others; the ids of calls are those of the places that messages have now."""
        self._block_index = -1
        start, end = compacted_range(payload, len(self.messages))
        given = payload.get("replacement")
        self.messages[start:end] = [_replacing(each) for each in given] if isinstance(given, list) else []
        self.is_plain = False
        renamed = _renumber(self.messages)
        for _, waiting in self._waiting.values():
            known = [None if each is None else renamed.get(each, GONE) for each in waiting]
            waiting.clear()
            waiting.extend(known)

    def _decision(self, _payload: Mapping[str, Any], message_id: str | None, _actor: str | None) -> None:
        """A model decision describes the message it precedes; it opens no message of its own."""
        if message_id != self._block:
            self._block_index = -1


GONE = ""
"""Instead of the id of a call that stands in no message any more."""
ERASED = "[erased]"
_ERASED_ROLES = {
    "conversation.started": "system",
    "context.supplied": "system",
    "user.utterance": "user",
    "agent.utterance": "assistant",
    "tool.call": "assistant",
    "tool.result": "tool",
}
_HANDLERS = {
    "conversation.started": Context._started,  # noqa: SLF001 -- the class's own dispatch table
    "context.supplied": Context._supplied,  # noqa: SLF001
    "user.utterance": Context._user,  # noqa: SLF001
    "agent.utterance": Context._agent,  # noqa: SLF001
    "tool.call": Context._tool_call,  # noqa: SLF001
    "tool.result": Context._tool_result,  # noqa: SLF001
    "model.decision": Context._decision,  # noqa: SLF001
    "agent.reasoning": Context._reasoned,  # noqa: SLF001
    "context.compacted": Context._compacted,  # noqa: SLF001
}


def _replacing(message: Any) -> dict[str, Any]:
    """A message that takes the place of others; one that is hidden is its text."""
    return dict(message) if isinstance(message, Mapping) else {"role": "system", "content": message}


def _renumber(messages: list[dict[str, Any]]) -> dict[str, str]:
    """Give all calls and results the ids of their places; what each id became."""
    renamed: dict[str, str] = {}
    for index, message in enumerate(messages):
        calls = message.get("tool_calls")
        if isinstance(calls, list) and all(isinstance(call, Mapping) for call in calls):
            ids = [f"call_{index}_{n}" for n in range(len(calls))]
            renamed |= {str(call.get("id")): new for call, new in zip(calls, ids, strict=True)}
            messages[index] = {
                **message,
                "tool_calls": [{**call, "id": new} for call, new in zip(calls, ids, strict=True)],
            }
        elif message.get("role") == "tool":
            answered = renamed.get(str(message.get("tool_call_id")), f"call_none_{index}")
            messages[index] = {**message, "tool_call_id": answered}
    return renamed


def arguments_text(arguments: Any) -> str:
    """Tool-call arguments as the wire carries them: a string; objects are written as compact JSON."""
    if isinstance(arguments, str):
        return arguments
    return _compact_text(arguments)


def _content_text(content: Any) -> Any:
    """A message content as the wire carries it: text and lists of parts as they are, other values as JSON text."""
    if type(content) is dict:
        return _compact_text(content)
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, Mapping) and "type" in part for part in content):
        return content
    return _compact_text(content)


def _result_text(payload: Mapping[str, Any]) -> Any:
    """What the agent read: the output, or the error's text where there is no output."""
    output, error = payload["output"], payload["error"]
    if output in (None, "", []) and isinstance(error, str):
        return error
    return "" if output is None else _content_text(output)
