"""Calls as OpenInference records them: numbered attributes, and the bodies as they went over the wire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import read, take_answer
from pipelines.ingest.assemble.rows import Message
from pipelines.ingest.forms.otel.span import Content, Span, numbered_messages

_JSON = "application/json"


def openinference(span: Span) -> Content | None:
    """Numbered attributes of OpenInference, and the bodies that it keeps as they went over the wire."""
    kind = span.attributes.get("openinference.span.kind")
    families = ("llm.input_messages", "llm.output_messages", "llm.prompts", "llm.choices")
    if not any(family in span.indexed for family in families) and kind != "LLM":
        return None
    made = Content()
    if "llm.input_messages" in span.indexed or "llm.prompts" in span.indexed:
        made.input = numbered_messages(span, "llm.input_messages") + numbered_messages(span, "llm.prompts")
    made.output = numbered_messages(span, "llm.output_messages")
    choices = numbered_messages(span, "llm.choices")
    made.output = made.output or choices[:1]
    made.choices = [message.chat for message in choices[1:]]
    made.output = [
        replace(message, chat={**message.chat, "role": "assistant"}) if message.chat["role"] == "user" else message
        for message in made.output
    ]
    _wire_request(span, made)
    _wire_answer(span, made)
    return made if made.is_there or made.request else None


def _wire_request(span: Span, made: Content) -> None:
    body = span.attributes.get("input.value")
    if body is None:
        return
    if span.take("input.mime_type") == _JSON or (isinstance(body, str) and body[:1] in "[{"):
        body, count = span.take_counted("input.value")
    else:
        del span.attributes["input.value"]
        count = leaves(body)
    if isinstance(body, dict) and "model" in body:
        made.request = body
        if made.input is not None:
            span.record.repeated += count
        else:
            made.input = read(body).messages or None
        return
    told = read(body).messages
    if made.input is None and told:
        made.input = told
    elif told and made.input is not None and [_said(m) for m in told] == [_said(m) for m in made.input]:
        span.record.repeated += count
    else:
        span.attributes["input.value"] = body


def _wire_answer(span: Span, made: Content) -> None:
    body = span.attributes.get("output.value")
    if body is None:
        return
    if span.take("output.mime_type") == _JSON or (isinstance(body, str) and body[:1] in "[{"):
        body = span.take_json("output.value")
        body = dict(body) if isinstance(body, dict) else body
    else:
        del span.attributes["output.value"]
    if not isinstance(body, dict):
        if not made.output:
            made.output = read(body, "assistant").messages
        elif body not in [message.chat.get("content") for message in made.output]:
            span.attributes["output.value"] = body
        return
    said = dict(body)
    answer = take_answer(said)
    if not made.output:
        made.output, made.finish_reason, made.choices, body = (
            answer.messages,
            answer.finish_reason,
            answer.choices,
            said,
        )
    elif [_said(m) for m in answer.messages] == [_said(m) for m in made.output]:
        span.record.repeated += sum(m.leaves for m in answer.messages)
        made.choices, body = answer.choices, said
        made.output = answer.messages  # with fields that the numbered attributes have no names for
    if isinstance(body.get("id"), str):
        span.attributes.setdefault("gen_ai.response.id", body.pop("id"))
    if leaves(body):
        span.attributes["output.value"] = body


def _said(message: Message) -> tuple[Any, ...]:
    calls = [
        (call["function"].get("name"), call["function"].get("arguments"))
        for call in message.chat.get("tool_calls") or ()
    ]
    return message.chat["role"], message.chat.get("content") or "", calls
