"""The decisions of a story: what the agent was sent, who was asked with which prompt, and whether the log holds just that.

Requests are rebuilt from events as recorded and held to the recorded hash by `folds.verification`, as the table `decisions`
does it. What is shown of a context is as redactions leave it, unless the story is read as recorded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.evidence.parts import (
    ContextCall,
    ContextMessage,
    Part,
    Prompt,
    StoryDecision,
    Tool,
    Verification,
)
from pipelines.evidence.parts_of_events import as_text, feed, fields_of, text_or_none
from pipelines.evidence.registrations import Registrations
from pipelines.evidence.stream_events import StreamEvent, StreamEvents
from pipelines.folds.verification import Event, Request, RunningRequests
from pipelines.log.context import Context, decision_head
from pipelines.review.conversation import plain_text


def named_hashes(stream: StreamEvents, numbers: Iterable[int], *, is_original: bool) -> tuple[set[str], set[str]]:
    """Hashes of the prompts, and of the lists of tools, that some decisions name."""
    wanted = set(numbers)
    calls = [_model_call(stream, row, is_original=is_original) for row in stream.decisions if row["decision"] in wanted]

    def named(name: str) -> set[str]:
        return {call[name] for call in calls if isinstance(call.get(name), str)}

    return named("prompt_sha256"), named("tools_sha256")


def make_decisions(
    stream: StreamEvents, parts: Iterable[Part], registered: Registrations, *, focus: int | None, is_original: bool
) -> tuple[StoryDecision, ...]:
    """The decisions, in order.

    Args:
        stream: The events.
        parts: Of the whole stream.
        registered: The prompts and tools that they name, as far as they are known.
        focus: The only decision that is told, with its context; None for all, without.
        is_original: Whether texts are as recorded.
    """
    spoken = [part.version for part in parts if part.kind == "user"]
    verified = _verify(stream)
    made = []
    for row in stream.decisions:
        if focus is not None and row["decision"] != focus:
            continue
        first = row["first_version"]
        count = None if row["is_context_erased"] else row["decision"] - 1 + row["inputs_before"]
        call = _model_call(stream, row, is_original=is_original)
        made.append(
            StoryDecision(
                decision=row["decision"],
                turn=row["turn"],
                first_version=first,
                last_version=row["last_version"],
                at=row["created_at"],
                asked=max((version for version in spoken if version < first), default=None),
                context_messages=count,
                verification=_verification(stream, row, verified.get(row["decision"])),
                is_erased=row["is_erased"],
                context=None if focus is None else _context(stream, first, is_original=is_original),
                **_told(call, registered),
            )
        )
    return tuple(made)


def _model_event(stream: StreamEvents, row: Mapping[str, Any]) -> StreamEvent | None:
    """The model call that led to a message; None where none was recorded."""
    version = row["model_version"]
    return None if version is None else stream.event(version)


def _model_call(stream: StreamEvents, row: Mapping[str, Any], *, is_original: bool) -> Mapping[str, Any]:
    """Its payload; nothing where none was recorded, or it is erased."""
    event = _model_event(stream, row)
    if event is None:
        return {}
    return event.recorded if is_original else event.shown


def _told(call: Mapping[str, Any], registered: Registrations) -> dict[str, Any]:
    """What a model call says, by the names of a story's decision; what has another shape was redacted and is a text, or nothing."""
    usage = call.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    params, prompt, tools = call.get("params"), call.get("prompt_sha256"), call.get("tools_sha256")
    numbers = {
        "input_tokens": _number(usage.get("input_tokens")),
        "output_tokens": _number(usage.get("output_tokens")),
        "latency_ms": _number(call.get("latency_ms")),
        "cost_usd": _number(call.get("cost_usd")),
    }
    texts = {name: call.get(name) for name in ("error", "finish_reason", "request_sha256")} | _models(call)
    return (
        numbers
        | {name: text_or_none(value) for name, value in texts.items()}
        | {
            "params": None if params is None else fields_of(params),
            "prompt": None if prompt is None else registered.prompts.get(prompt, Prompt(as_text(prompt))),
            "tools_sha256": text_or_none(tools),
            "tools": _tools(tools, registered),
        }
    )


def _models(call: Mapping[str, Any]) -> dict[str, Any]:
    """The model that was asked for, and the one that answered where it is another: which is which depends on the event's version."""
    model, asked = call.get("model"), call.get("model_requested")
    if asked is None:
        return {"model": model, "response_model": call.get("response_model")}
    return {"model": asked, "response_model": None if model == asked else model}


def _tools(sha256: Any, registered: Registrations) -> tuple[Tool, ...] | None:
    return registered.tools.get(sha256) if isinstance(sha256, str) else None


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _verification(stream: StreamEvents, row: Mapping[str, Any], is_verified: bool | None) -> Verification:
    if row["is_context_erased"]:
        return "erased"
    event = _model_event(stream, row)
    if event is None:
        return "erased" if row["is_erased"] else "no_model"
    if event.is_erased:
        return "erased"
    return "no_hash" if is_verified is None else "same" if is_verified else "other"


def _verify(stream: StreamEvents) -> dict[int, bool]:
    """Whether the request of each decision has the recorded hash, by number; those without a hash are left out."""
    requests = []
    for row in stream.decisions:
        call = _model_call(stream, row, is_original=True)
        if call.get("request_sha256") is not None and not row["is_context_erased"]:
            sha256 = call["request_sha256"]
            requests.append(Request(0, row["decision"], "", row["first_version"], decision_head(call), sha256))
    if not requests:
        return {}
    events = (
        Event(
            "",
            event.version,
            event.event_name,
            json.dumps(event.recorded),
            event.metadata.get("message_id"),
            event.metadata.get("actor"),
        )
        for event in stream.events
        if event.event_name is not None and not event.is_erased
    )
    running = RunningRequests(Counter(request.head for request in requests))
    return {decision: is_verified for _, decision, is_verified in running.verify(requests, events)}


def _context(stream: StreamEvents, first: int, *, is_original: bool) -> tuple[ContextMessage, ...]:
    """The messages that were sent before the event `first`."""
    context = Context()
    for event in stream.events:
        if event.version >= first:
            break
        feed(context, event, is_original=is_original)
    return tuple(_message(number, message) for number, message in enumerate(context.messages, 1))


def _message(number: int, message: Mapping[str, Any]) -> ContextMessage:
    content = message.get("content")
    return ContextMessage(
        number=number,
        role=as_text(message["role"]),
        name=message.get("name"),
        text=None if content is None else plain_text(content),
        calls=tuple(
            ContextCall(each["id"], as_text(each["function"]["name"]), each["function"]["arguments"])
            for each in message.get("tool_calls", ())
        ),
        call_id=message.get("tool_call_id"),
    )
