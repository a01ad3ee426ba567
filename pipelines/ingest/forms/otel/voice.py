"""Model calls of voice pipelines: LiveKit's agents and Pipecat."""

from __future__ import annotations

from pipelines.ingest.assemble.messages import read, system_messages
from pipelines.ingest.forms.fields import objects_at
from pipelines.ingest.forms.otel.span import Content, Span, leave_out_repeated


def livekit(span: Span) -> Content | None:
    """Attributes of LiveKit's agents."""
    if "lk.chat_ctx" not in span.attributes and "lk.response.text" not in span.attributes:
        return None
    made = Content()
    context = span.take_json("lk.chat_ctx")
    if context is not None:
        items = objects_at(context, "items")
        told = [
            each
            for each in items
            if each.get("type", "message") in ("message", "function_call", "function_call_output")
        ]
        made.input = read(told).messages
        if not items:
            span.attributes["lk.chat_ctx"] = context
        elif len(told) != len(items):
            span.attributes["lk.chat_ctx"] = [each for each in items if each not in told]
    text, calls = span.take("lk.response.text"), span.take_json("lk.response.function_calls")
    if text or calls:
        made.output = read(
            [{"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}]
        ).messages
    return made


def pipecat(span: Span) -> Content | None:
    """Attributes of Pipecat's model calls, which have plain names."""
    if (
        span.value.get("name") not in ("llm", "llm_setup", "llm_request", "llm_response")
        or not {"input", "output"} & span.attributes.keys()
    ):
        return None
    history = span.take_history("input")
    made = Content(input=None if history is None else history.messages)
    if (tools := span.take_json("tools")) is not None:
        made.tools = tools if isinstance(tools, list) else [tools]
    made.system = system_messages(span.take_json("gen_ai.system_instructions"))
    if made.system and made.input and made.input[0].chat["role"] == "system":
        leave_out_repeated(span, made)
    made.output = read(span.take("output"), "assistant").messages
    return made
