"""What a model call of a span was sent and what it answered, in every dialect of OpenTelemetry.

A dialect is told by the attributes that are there, never by the name of the scope. What is read is taken out of the span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import Read, read, system_messages, take_answer
from pipelines.ingest.assemble.rows import Message, Record
from pipelines.ingest.forms.otlp_texts import Items, Texts, take_indexed

DETAILS = "gen_ai.client.inference.operation.details"
CHOICE = "gen_ai.choice"
EVALUATION = "gen_ai.evaluation.result"
_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_EVENT_FIELDS = ("role", "content", "tool_calls", "id", "name", "parts", "finish_reason", "index", "message")
_CALLS_REASONS = ("tool_call", "tool_calls", "tool_use")
_JSON = "application/json"


@dataclass(slots=True)
class Content:
    """What a call was sent and answered.

    Attributes:
        system: System messages that stand apart.
        input: Messages that it was sent; None where they were not recorded.
        output: What came back.
        finish_reason: As recorded.
        tools: Tool schemas as recorded.
        choices: Further choices, verbatim.
        request: The body that was sent.
    """

    system: list[Message] = field(default_factory=list)
    input: list[Message] | None = None
    output: list[Message] = field(default_factory=list)
    finish_reason: str | None = None
    tools: list[Any] | None = None
    choices: list[Any] = field(default_factory=list)
    request: dict[str, Any] | None = None

    @property
    def is_there(self) -> bool:
        """Whether any of it was recorded."""
        return self.input is not None or bool(self.output)


class Span:
    """A record that is being read, and what helps to read it.

    Args:
        record: The record; what is read is taken out of its value.
        texts: What was read of the conversation before.
    """

    def __init__(self, record: Record, texts: Texts) -> None:
        self.record = record
        self.texts = texts
        self.value = record.value
        self.attributes: dict[str, Any] = record.value.setdefault("attributes", {})
        self.indexed: dict[str, list[Items]] = take_indexed(self.attributes)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Events of the span."""
        return self.value.get("events") or []

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Log records of the span."""
        return self.value.get("logs") or []

    def take(self, *names: str) -> Any:
        """Take out the first of these attributes that is there."""
        for name in names:
            if (value := self.attributes.get(name)) is not None:
                del self.attributes[name]
                return value
        return None

    def take_json(self, name: str) -> Any:
        """Take out an attribute that is JSON in a text; it counts by what is in it."""
        text = self.attributes.pop(name, None)
        if text is None:
            return None
        value, count = self.texts.value(text, f"{self.record.place}, {name}")
        self.record.leaves += count - leaves(text)
        return value

    def take_history(self, name: str) -> Read | None:
        """Take out an attribute that is a list of messages, as JSON or as values; one that was cut stays."""
        given = self.attributes.get(name)
        if given is None:
            return None
        if isinstance(given, str):
            known = self.texts.history(given, f"{self.record.place}, {name}")
            if known is None:
                self.attributes[f"unparsed {name}"] = self.attributes.pop(name)
                return None
            made, count = known
            self.record.leaves += count - 1
        else:
            made = read(given)
        del self.attributes[name]
        return made


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
        _leave_out_repeated(span, made)
    answer = span.take_json("gen_ai.output.messages")
    if isinstance(answer, str):
        span.attributes["unparsed gen_ai.output.messages"] = answer
    elif answer:
        _answered(made, answer if isinstance(answer, list) else [answer])
    return made


def _leave_out_repeated(span: Span, made: Content) -> None:
    """System texts that are said twice, apart and as the first message, are said once."""
    assert made.input is not None
    if [m.chat.get("content") for m in made.system] == [made.input[0].chat.get("content")]:
        span.record.repeated += sum(m.leaves for m in made.system)
        made.system = []


def _answered(made: Content, choices: Sequence[Any]) -> None:
    """Take the choices of an answer: the first is what was said, the others are alternatives or further calls of it."""
    told = [
        {
            "finish_reason": choice.get("finish_reason"),
            "message": {k: v for k, v in choice.items() if k != "finish_reason"},
        }
        if isinstance(choice, dict) and "message" not in choice
        else choice
        for choice in choices
    ]
    answer = take_answer({"choices": told})
    made.output, made.finish_reason, made.choices = answer.messages, answer.finish_reason, answer.choices


def _openllmetry(span: Span) -> Content | None:
    """Numbered attributes of OpenLLMetry before it took over the conventions' lists."""
    if "gen_ai.prompt" not in span.indexed and "gen_ai.completion" not in span.indexed:
        return None
    made = Content(input=_numbered(span, "gen_ai.prompt"))
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


def _numbered(span: Span, family: str) -> list[Message]:
    return [message for items in span.indexed.pop(family, ()) for message in span.texts.messages(items)]


def _openinference(span: Span) -> Content | None:
    """Numbered attributes of OpenInference, and the bodies that it keeps as they went over the wire."""
    kind = span.attributes.get("openinference.span.kind")
    families = ("llm.input_messages", "llm.output_messages", "llm.prompts", "llm.choices")
    if not any(family in span.indexed for family in families) and kind != "LLM":
        return None
    made = Content()
    if "llm.input_messages" in span.indexed or "llm.prompts" in span.indexed:
        made.input = _numbered(span, "llm.input_messages") + _numbered(span, "llm.prompts")
    made.output = _numbered(span, "llm.output_messages")
    choices = _numbered(span, "llm.choices")
    made.output = made.output or choices[:1]
    made.choices = [message.chat for message in choices[1:]]
    for message in made.output:
        if message.chat["role"] == "user":
            message.chat = {**message.chat, "role": "assistant"}
    _wire_request(span, made)
    _wire_answer(span, made)
    return made if made.is_there or made.request else None


def _wire_request(span: Span, made: Content) -> None:
    body = span.attributes.get("input.value")
    if body is None:
        return
    if span.take("input.mime_type") == _JSON or (isinstance(body, str) and body[:1] in "[{"):
        body = span.take_json("input.value")
    else:
        del span.attributes["input.value"]
    if isinstance(body, dict):
        made.request = body
    if made.input is None:
        made.input = read(body).messages or None
        if made.input is None and made.request is None:
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
    made.tools = [span.texts.value(each, span.record.place)[0] for each in span.take("ai.prompt.tools") or ()] or None
    return made


def _livekit(span: Span) -> Content | None:
    """Attributes of LiveKit's agents."""
    if "lk.chat_ctx" not in span.attributes and "lk.response.text" not in span.attributes:
        return None
    made = Content()
    context = span.take_json("lk.chat_ctx")
    if isinstance(context, dict):
        items = [each for each in context.get("items") or () if isinstance(each, dict)]
        told = [
            each
            for each in items
            if each.get("type", "message") in ("message", "function_call", "function_call_output")
        ]
        made.input = read(told).messages
        if len(told) != len(items):
            span.attributes["lk.chat_ctx"] = [each for each in items if each not in told]
    text, calls = span.take("lk.response.text"), span.take_json("lk.response.function_calls")
    if text or calls:
        made.output = read(
            [{"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}]
        ).messages
    return made


def _pipecat(span: Span) -> Content | None:
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
        _leave_out_repeated(span, made)
    made.output = read(span.take("output"), "assistant").messages
    return made


def _message_events(span: Span) -> Content | None:
    """One event or log record a message, as the conventions had it before lists."""
    told = [each for each in (*span.events, *span.logs) if name_of(each) in _ROLES or name_of(each) == CHOICE]
    if not told:
        return None
    made = Content(input=[])
    choices = []
    for each in told:
        name, given = name_of(each), _taken(each)
        at = each.pop("timeUnixNano", None) or each.pop("observedTimeUnixNano", None)
        each.pop("observedTimeUnixNano", None)
        each.pop("name", None)
        each.pop("eventName", None)
        if name == CHOICE:
            choices.append(_choice(given))
            continue
        if name == "gen_ai.tool.message" and "tool_call_id" not in given and "id" in given:
            given["tool_call_id"] = given.pop("id")
        messages = read([{"role": _ROLES[name], **given}]).messages
        for message in messages:
            message.at = at
        assert made.input is not None
        made.input += messages
    if choices:
        _answered(made, choices)
    _keep_what_is_left(span)
    return made


def _taken(event: dict[str, Any]) -> dict[str, Any]:
    """The fields of a message that an event says, taken out of it: of its body where it has one, else of its attributes."""
    body = event.get("body")
    if isinstance(body, dict):
        return dict(event.pop("body"))
    attributes = event.get("attributes") or {}
    given = {key: attributes.pop(key) for key in _EVENT_FIELDS if key in attributes}
    if body is not None:
        given["content"] = event.pop("body")
    return given


def _choice(given: dict[str, Any]) -> dict[str, Any]:
    """A choice as chat completions have it; what some emitters put in its place is its content."""
    given.pop("index", None)
    message = given.pop("message", None)
    reason = given.pop("finish_reason", None)
    if isinstance(message, dict):
        message = {"role": "assistant", **message}
    else:
        message = {"role": "assistant", "content": message if message is not None else given.pop("content", None)}
    return {"finish_reason": reason, "message": {**message, **given}}


def name_of(event: dict[str, Any]) -> str:
    """The name of an event or log record; older log records have it among their attributes."""
    name = event.get("eventName") or event.get("name")
    if not name:
        name = (event.get("attributes") or {}).get("event.name")
    return name if isinstance(name, str) else ""


def _keep_what_is_left(span: Span) -> None:
    """What message events said beside; events that say the same beside say it once."""
    for listed in ("events", "logs"):
        left: list[dict[str, Any]] = []
        for each in span.value.get(listed) or ():
            if name_of(each) in _ROLES or "name" not in each:
                _drop_known(span, each)
            if not leaves(each):
                continue
            if each in left:
                span.record.repeated += leaves(each)
            else:
                left.append(each)
        if left:
            span.value[listed] = left
        else:
            span.value.pop(listed, None)


def _drop_known(span: Span, event: dict[str, Any]) -> None:
    """Attributes that the span has itself say nothing new."""
    attributes = event.get("attributes") or {}
    for name in [*attributes]:
        if name in span.attributes and span.attributes[name] == attributes[name]:
            del attributes[name]
            span.record.repeated += 1
        elif name == "event.name":
            del attributes[name]


_DIALECTS: tuple[Callable[[Span], Content | None], ...] = (
    _genai,
    _openllmetry,
    _openinference,
    _vercel,
    _livekit,
    _pipecat,
    _message_events,
)


def has_messages(span: Span) -> bool:
    """Whether events or log records of the span are messages."""
    return any(name_of(each) in _ROLES or name_of(each) == CHOICE for each in _events(span))


def _events(span: Span) -> Iterator[dict[str, Any]]:
    yield from span.events
    yield from span.logs


def merge_details(span: Span) -> None:
    """Take the attributes of the log record that has the details of a call as the span's."""
    for event in (*span.logs, *span.events):
        if name_of(event) != DETAILS:
            continue
        attributes = event.get("attributes") or {}
        given = event.get("body")
        if isinstance(given, dict) and any(name.startswith("gen_ai.") for name in given):
            attributes = {**attributes, **event.pop("body")}
        for name in [*attributes]:
            if name not in span.attributes:
                span.attributes[name] = attributes.pop(name)
            elif span.attributes[name] == attributes[name]:
                del attributes[name]
                span.record.repeated += 1
        event["attributes"] = attributes
