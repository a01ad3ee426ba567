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

from pipelines.ingest.assemble.bodies import PARSED
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.messages import ACTORS, Draft, drafts_of
from pipelines.ingest.shape import role_of
from pipelines.log.context import Context, message_bytes
from pipelines.log.versions import COMPACTED, TOOL_CALL
from pipelines.recorder.exchange import Request
from pipelines.recorder.opening import Held


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


def render(
    messages: Sequence[dict[str, Any]], before: Context | None = None, *, is_chat: bool = True
) -> list[dict[str, Any]]:
    """The messages as a fold writes them: one for each given, after those of `before`.

    Args:
        messages: The messages.
        before: What the provider has of the request already; it is not changed.
        is_chat: Whether they were sent as they are. Those of another API have fields of its own (ids of items, states), which
            the model does not see.

    Raises:
        BadLineError: A message does not have the shape of a chat-completions message.
    """
    context = Context() if before is None else before.copy()
    for index, message in enumerate(messages, start=len(context.messages)):
        each = said(message, index)
        calls = 0
        for draft in each.drafts:
            context.apply(
                draft.event_type, draft.payload, {"message_id": f"m{index}", "actor": draft.actor or each.actor}
            )
            fields = draft.notes.get("source_fields", {}) if is_chat else {}
            last = context.messages[-1]
            last.update(fields.get("message", {}))
            if draft.name == TOOL_CALL and each.actor == "agent":
                call = last["tool_calls"][calls]
                call.update(fields.get("tool_call", {}))
                call["function"].update(fields.get("function", {}))
                calls += 1
    return context.messages


@dataclass(frozen=True, slots=True)
class Sent:
    """What a model was sent, by its request and by what its provider had.

    Attributes:
        messages: Those of the request.
        rendered: All of them as a fold writes them; None where one has another shape.
        before: How many of `rendered` the provider had.
        is_whole: Whether these are all messages that the model saw.
    """

    messages: list[dict[str, Any]]
    rendered: list[dict[str, Any]] | None
    before: int = 0
    is_whole: bool = True


def sent_by(request: Request, held: Held | None) -> Sent:
    """What the model of a request was sent.

    Args:
        request: The request.
        held: What the provider has since the response that the request goes on from; None where that is not known, or it does not
            go on from one.
    """
    is_chat = request.api == "chat"
    if not request.state:
        return Sent(request.messages, _rendered(request.messages, is_chat=is_chat))
    if held is None or set(request.state) != {"previous_response_id"}:
        return Sent(request.messages, _rendered(request.messages, is_chat=is_chat), is_whole=False)
    own, before = request.instructions, held.context.copy()
    instructions = _rendered(request.messages[:own], is_chat=is_chat)
    if instructions != before.messages[: held.instructions]:  # those of a response are not taken over by the next one
        place = {"from_message": 0, "to_message": held.instructions}
        before.apply(COMPACTED, {"kind": "instructions", **place, "replacement": instructions}, {})
    new = request.messages[own:]
    return Sent(new, _rendered(new, before, is_chat=is_chat), len(before.messages))


def _rendered(
    messages: Sequence[dict[str, Any]], before: Context | None = None, *, is_chat: bool
) -> list[dict[str, Any]] | None:
    """The messages as a fold writes them, None when one has another shape."""
    try:
        return render(messages, before, is_chat=is_chat)
    except BadLineError:
        return None


def unrecorded(sent: Sent, recorded: Sequence[dict[str, Any]], instructions: int) -> int:
    """Index of the first message of a request that is not recorded, where what was before is not known, or is otherwise.

    Messages that were recorded by themselves before they were sent are the last ones recorded and the first ones of the request.

    Args:
        sent: The request.
        recorded: What is recorded.
        instructions: How many of its messages stood apart; they are sent with each request, and are none that came now.
    """
    new = [_nameless(message) for message in (sent.rendered or [])[sent.before + instructions :]]
    known = [_nameless(message) for message in recorded]
    most = min(len(new), len(known))
    return instructions + next((n for n in range(most, 0, -1) if known[-n:] == new[:n]), 0)


def _nameless(message: dict[str, Any]) -> bytes:
    """A message without the name of the call that it answers, which is that of a place."""
    return message_bytes({key: value for key, value in message.items() if key != "tool_call_id"})


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
            if value not in (None, [], {})
            and key not in PARSED
            and (level, key, value) != ("tool_call", "type", "function")
            and (level, key) != ("tool_call", "index")  # its place in a stream, which the SDK's helper leaves on it
        }
        for level, fields in draft.notes.get("source_fields", {}).items()
    }
    kept = {level: fields for level, fields in kept.items() if fields}
    form = {key: how for key, how in draft.notes.get("source_form", {}).items() if key == "reasoning"}
    return ({"source_fields": kept} if kept else {}) | ({"source_form": form} if form else {})
