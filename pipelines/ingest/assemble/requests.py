"""The hash of what a call was sent, by which a decision's context is checked against the one that its stream gives back.

Its input becomes events as any messages do, and these the request that an agent would get: the one rendering that a fold has, too.
Inputs grow, so what the last one with the same head began with is not rendered again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.canonical.jsonb import as_jsonb
from pipelines.ingest import shape
from pipelines.ingest.assemble.rows import Call, Message
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.messages import ACTORS, drafts_of
from pipelines.log.context import Context, message_lines, request_head

_HELD = 8
"""Heads whose last request is held: agents of one conversation that take turns."""

_PLAIN = {
    "system": ("context.supplied", "content"),
    "user": ("user.utterance", "text"),
    "assistant": ("agent.utterance", "text"),
}
"""Events that a message of text alone is, and where its text stands."""


@dataclass(slots=True)
class _Request:
    """A request that was rendered, and how far it was hashed."""

    hashed: Any
    context: Context = field(default_factory=Context)
    messages: list[Message] = field(default_factory=list)


class Requests:
    """Requests of one conversation."""

    def __init__(self) -> None:
        self._last: dict[bytes, _Request] = {}

    def sha256(self, call: Call, given: Sequence[Message], tools_sha256: str | None) -> str | None:
        """Hash of the request of a call; None where a message of it is none that an agent can be sent."""
        head = request_head(call.model_requested or call.model, call.params, tools_sha256)
        request = self._last.pop(head, None)
        if request is None or not _begins_with(given, request.messages):
            request = _Request(hashlib.sha256(head + b"\n"))
        try:
            for message in given[len(request.messages) :]:
                _add(request, message)
        except (BadLineError, KeyError, TypeError, AttributeError, ValueError):
            return None
        self._last[head] = request
        if len(self._last) > _HELD:
            del self._last[next(iter(self._last))]
        return str(request.hashed.hexdigest())


def _begins_with(given: Sequence[Message], messages: list[Message]) -> bool:
    if len(given) < len(messages):
        return False
    return given[: len(messages)] == messages or all(
        mine is new or mine.chat == new.chat for mine, new in zip(messages, given, strict=False)
    )


def _add(request: _Request, message: Message) -> None:
    index, chat, context = len(request.messages), message.chat, request.context
    known = len(context.messages)
    role, content = shape.role_of(chat, ()), chat.get("content")
    if role in _PLAIN and type(content) is str and len(chat) == 2:  # most messages are so, and need no care
        name, payload = _PLAIN[role]
        context.add(name, {payload: content}, f"m{index}", ACTORS[role])
    else:
        for draft in drafts_of(chat, role, ()):
            context.add(draft.event_type, as_jsonb(draft.payload), f"m{index}", draft.actor or ACTORS[role])
    request.hashed.update(message_lines(context.messages[known:]))
    request.messages.append(message)
