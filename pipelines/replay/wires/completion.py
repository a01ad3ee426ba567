"""Read a chat completion: the bytes of a response as an answer.

What was paid for is kept as it came; this reading is done anew each time, so a better one reads old responses too. What a
response means that is no answer is said in `fault`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.experiment.decision import ToolCall
from pipelines.replay.asking.fault import error_in, is_interrupted, shown, storable
from pipelines.replay.asking.usage import Usage
from pipelines.replay.wires.answer import DECLINED, NoAnswerError, Said, usual_usage, word
from pipelines.replay.wires.calls import read_arguments
from pipelines.replay.wires.message import read_message


class _Function(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    function: _Function
    id: str | None = None
    type: str | None = None
    index: int | None = None


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    content: str | None = None
    tool_calls: list[_Call] | None = None
    role: str | None = None
    refusal: None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    reasoning: None = None
    reasoning_content: None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    error: None = None
    usage: None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Completion(msgspec.Struct):
    """A completion as nearly all are; others are read by `read_document`, which takes whatever comes."""

    choices: list[_Choice]
    usage: _Usage
    model: str | None = None
    error: None = None
    x_groq: None = None
    usageMetadata: None = None  # noqa: N815 -- the endpoint's word
    usage_metadata: None = None


_decode = msgspec.json.Decoder(_Completion).decode


def read_usual(body: bytes) -> tuple[Said, Usage] | None:
    """What a chat completion of the usual shape says and counts; None of another one.

    Raises:
        ValueError: It is of another shape.
    """
    completion = _decode(body if body.isascii() else body.decode())
    usage = _usual_usage(completion.usage)
    choices = completion.choices
    if len(choices) != 1 or usage is None:
        return None
    choice = choices[0]
    message = choice.message
    is_silent = message.content is None and not message.tool_calls and choice.finish_reason is None
    if is_silent or is_interrupted(choice.finish_reason or ""):
        return None
    calls = tuple(
        [
            ToolCall(storable(call.function.name), read_arguments(call.function.arguments), call.id)
            for call in message.tool_calls or ()
        ]
    )
    text = None if message.content is None else storable(message.content)
    reason = finish_reason(word(choice.finish_reason))
    return Said(text, calls, reason, word(completion.model)), usage


def read_document(document: Mapping[str, Any], body: bytes) -> Said:
    """What a completion of whatever shape says.

    Raises:
        NoAnswerError: It is no complete chat completion; the message says why.
    """
    listed = document.get("choices")
    choices = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    messages = [message for each in choices if isinstance(message := each.get("message"), dict)]
    if error_in(document) is not None:
        raise NoAnswerError(f"an error: {shown(body)}")
    if not messages:
        raise NoAnswerError(f"no choice with a message: {shown(body)}", is_worked=bool(choices))
    try:
        said = read_message(messages)
    except ValueError as error:
        raise NoAnswerError(str(error), is_worked=True) from None
    said = said._replace(finish_reason=_finish_reason(choices), model=word(document.get("model")))
    if said.text is None and not said.tool_calls and said.finish_reason is None:
        raise NoAnswerError(f"a message that says nothing: {shown(body)}", is_worked=True)
    return said


def _usual_usage(usage: _Usage) -> Usage | None:
    """Counts that add up, as nearly all do; None where `read_usage` has to look."""
    details = usage.prompt_tokens_details
    cached, written = (details.cached_tokens, details.cache_write_tokens) if details is not None else (None, None)
    thought = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details is not None else None
    return usual_usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, cached, thought, written)


def _finish_reason(choices: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the model stopped: of several choices, what says that the message is not whole, else of the one that calls tools."""
    told = [(finish_reason(word(each.get("finish_reason"))), each) for each in choices]
    for reason, _ in told:
        if reason is not None and (reason == "length" or reason.lower() in DECLINED):
            return reason
    for reason, each in told:
        message = each.get("message")
        if (
            reason is not None
            and isinstance(message, dict)
            and (message.get("tool_calls") or message.get("function_call"))
        ):
            return reason
    return told[0][0]
