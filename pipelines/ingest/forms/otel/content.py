"""What a model call of a span was sent and what it answered, in every dialect of OpenTelemetry.

A dialect is told by the attributes that are there, never by the name of the scope. What is read is taken out of the span.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import read, system_messages
from pipelines.ingest.forms.otel.events import message_events
from pipelines.ingest.forms.otel.openinference import openinference
from pipelines.ingest.forms.otel.span import Content, Span, answered, leave_out_repeated, numbered_messages
from pipelines.ingest.forms.otel.voice import livekit, pipecat


def content_of(span: Span) -> Content:
    """What the call of a span was sent and answered: of the first dialect that has it."""
    for dialect in _DIALECTS:
        if (made := dialect(span)) is not None:
            return made
    return Content()


def _genai(span: Span) -> Content | None:
    """The attributes of the current conventions, on the span or in its log record of details."""
    names = ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions")
    if not any(name in span.attributes for name in names):
        return None
    made = Content()
    history = span.take_history("gen_ai.input.messages")
    made.input = None if history is None else history.messages
    made.tools = history.tools if history is not None and history.tools else None
    instructions = span.take_json("gen_ai.system_instructions")
    made.system = system_messages(instructions)
    if made.system and made.input and made.input[0].chat["role"] == "system":
        leave_out_repeated(span, made)
    answer = span.take_json("gen_ai.output.messages")
    if isinstance(answer, str):
        span.attributes["unparsed gen_ai.output.messages"] = answer
    elif answer:
        answered(made, answer if isinstance(answer, list) else [answer])
    return made


def _openllmetry(span: Span) -> Content | None:
    """Numbered attributes of OpenLLMetry before it took over the conventions' lists."""
    if "gen_ai.prompt" not in span.indexed and "gen_ai.completion" not in span.indexed:
        return None
    made = Content(input=numbered_messages(span, "gen_ai.prompt"))
    choices = []
    for items in span.indexed.pop("gen_ai.completion", ()):
        named = dict(items)
        reason = named.pop("finish_reason", None)
        messages = span.texts.messages(tuple(named.items()))
        choices.append((reason, messages, named))
    if choices:
        made.finish_reason, messages, _ = choices[0]
        made.output = list(messages)
        made.choices = [{"finish_reason": reason, **named} for reason, _, named in choices[1:]]
    return made


def _vercel(span: Span) -> Content | None:
    """Attributes of the Vercel AI SDK."""
    if not any(
        name in span.attributes
        for name in ("ai.prompt.messages", "ai.prompt", "ai.response.text", "ai.response.toolCalls")
    ):
        return None
    made = Content()
    history = span.take_history("ai.prompt.messages")
    if history is None and isinstance(prompt := span.take_json("ai.prompt"), dict):
        made.system = system_messages(prompt.pop("system", None)) if prompt.get("system") else []
        history = read(prompt["messages"]) if prompt.get("messages") else read(prompt.get("prompt"))
    made.input = None if history is None else history.messages
    text, thought = span.take("ai.response.text"), span.take("ai.response.reasoning", "ai.response.reasoningText")
    answer = {
        "role": "assistant",
        "content": text if text is not None else span.take("ai.response.object"),
        "tool_calls": span.take_json("ai.response.toolCalls"),
        "reasoning": [{"text": thought}] if thought else None,
    }
    if leaves(answer) > 1:
        made.output = read([{key: value for key, value in answer.items() if value}]).messages
    made.finish_reason = span.take("ai.response.finishReason")
    tools = span.take("ai.prompt.tools") or []
    listed = tools if isinstance(tools, list) else [tools]
    made.tools = [span.texts.value(each, span.where)[0] for each in listed] or None
    return made


_DIALECTS: tuple[Callable[[Span], Content | None], ...] = (
    pipecat,  # before the conventions, of whose attributes it has some
    _genai,
    _openllmetry,
    openinference,
    _vercel,
    livekit,
    message_events,
)
