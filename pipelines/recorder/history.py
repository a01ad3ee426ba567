"""A request's messages against what was recorded: one rendering for both, so that they can be compared and hashed.

A fold rebuilds a request from events, with call ids of its own (recorded ids collide). So that the recorded hash can be
checked by it, the request as sent is rendered in the same way: its messages become events and go through the same
`Context`. What a rebuilt request would lack (a person's name, a cache mark) stays in the message, so that its hash
differs; a result's tool name does not, as the call that it answers says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.ingest.messages import ACTORS, Draft, drafts_of
from pipelines.ingest.shape import role_of
from pipelines.log.context import Context, message_bytes
from pipelines.log.versions import TOOL_CALL


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a request as events.

    Attributes:
        actor: Who acted: system, user, agent or service.
        drafts: Its events, at least one.
    """

    actor: str
    drafts: list[Draft]


def said(message: dict[str, Any], index: int = 0) -> Said:
    """The events of one message.

    Raises:
        BadLineError: The message does not have the shape of a chat-completions message.
    """
    role = role_of(message, ("messages", index))
    drafts = drafts_of(message, role, ("messages", index))
    return Said(ACTORS[role], [Draft(draft.name, draft.payload, _notes(draft), draft.actor) for draft in drafts])


def render(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages as a fold writes them: one for each given.

    Raises:
        BadLineError: A message does not have the shape of a chat-completions message.
    """
    context = Context()
    for index, message in enumerate(messages):
        each = said(message, index)
        calls = 0
        for draft in each.drafts:
            context.apply(
                draft.event_type, draft.payload, {"message_id": f"m{index}", "actor": draft.actor or each.actor}
            )
            fields = draft.notes.get("source_fields", {})
            last = context.messages[-1]
            last.update(fields.get("message", {}))
            if draft.name == TOOL_CALL and each.actor == "agent":
                call = last["tool_calls"][calls]
                call.update(fields.get("tool_call", {}))
                call["function"].update(fields.get("function", {}))
                calls += 1
    return context.messages


def first_difference(recorded: Sequence[dict[str, Any]], sent: Sequence[dict[str, Any]]) -> int | None:
    """Index of the first recorded message that the request sent does not have there; None when it continues them."""
    for index, message in enumerate(recorded):
        if index >= len(sent) or message_bytes(message) != message_bytes(sent[index]):
            return index
    return None


def _notes(draft: Draft) -> dict[str, dict[str, Any]]:
    """Fields without a place in the payload that say something; what is null, empty or implied says nothing."""
    kept = {
        level: {
            key: value
            for key, value in fields.items()
            if value not in (None, [], {}) and not (level == "tool_call" and key == "type" and value == "function")
        }
        for level, fields in draft.notes.get("source_fields", {}).items()
    }
    kept = {level: fields for level, fields in kept.items() if fields}
    form = {key: how for key, how in draft.notes.get("source_form", {}).items() if key == "reasoning"}
    return ({"source_fields": kept} if kept else {}) | ({"source_form": form} if form else {})
