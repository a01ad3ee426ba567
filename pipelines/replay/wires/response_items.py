"""Read a response object of OpenAI's Responses: its items as one message, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.experiment.decision import ToolCall
from pipelines.replay.asking.fault import error_in, shown, storable
from pipelines.replay.asking.usage import Usage
from pipelines.replay.wires.answer import NoAnswerError, Said, usual_usage, word
from pipelines.replay.wires.calls import read_arguments
from pipelines.replay.wires.thoughts import FIELD, keep_order

_ENDED = ("completed", "incomplete")
"""Of a response that is an answer; others failed, or are still being made."""


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    cost: None = None


class _Response(msgspec.Struct):
    """A response as nearly all are, as far as it is read; others are read by `read_document`, which takes whatever comes."""

    status: Literal["completed", "incomplete"]
    output: list[Any]
    usage: _Usage
    model: str | None = None
    incomplete_details: dict[str, Any] | None = None
    error: None = None


_decode = msgspec.json.Decoder(_Response).decode


def read_usual(body: bytes) -> tuple[Said, Usage] | None:
    """What a response object of the usual shape says and counts; None of another one.

    Raises:
        ValueError: It is of another shape, or no answer.
    """
    usual = _decode(body if body.isascii() else body.decode())
    usage = _usual(usual.usage)
    if usage is None:
        return None
    return _reply(body, usual.status, usual.output, usual.incomplete_details, usual.model), usage


def read_document(document: Mapping[str, Any], body: bytes) -> Said:
    """What a response of whatever shape says.

    Raises:
        NoAnswerError: It is no complete answer; the message says why.
    """
    status, output = document.get("status"), document.get("output")
    if error_in(document) is not None:
        raise NoAnswerError(f"an error: {shown(body)}")
    if not isinstance(output, list) or (status is not None and status not in _ENDED):
        raise NoAnswerError(f"no response that has ended: {shown(body)}", is_worked=isinstance(output, list))
    return _reply(body, status, output, document.get("incomplete_details"), document.get("model"))


def _reply(body: bytes, status: str | None, output: Sequence[Any], details: Any, model: Any) -> Said:
    """What the items say, as one message."""
    said = _Items()
    for item in output:
        if isinstance(item, dict):
            said.take(item)
    reason = "tool_calls" if said.calls else "stop"  # a response says why only where it is cut
    if status == "incomplete":
        reason = finish_reason(word(details.get("reason")) if isinstance(details, dict) else None) or "length"
    if not said.kinds and reason == "stop":
        raise NoAnswerError(f"a response that says nothing: {shown(body)}", is_worked=True)
    return Said(
        said.text,
        tuple(said.calls),
        finish_reason=reason,
        model=word(model),
        is_refusal=bool(said.refusals),
        extra=said.extra,
    )


@dataclass(slots=True)
class _Items:
    """What the items of a response came to.

    Attributes:
        texts: What was said.
        refusals: Words of refusals.
        calls: In order.
        thoughts: As they go back.
        kinds: Types of the parts in their order.
        phase: Of the last message, where it says one.
    """

    texts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    thoughts: list[dict[str, Any]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    phase: str | None = None

    def take(self, item: dict[str, Any]) -> None:
        """Take the next item; what a provider's own tool did is no part of the message."""
        kind = item.get("type")
        if kind == "message":
            self._message(item)
        elif kind in ("function_call", "custom_tool_call"):
            self._call(item, is_text=kind == "custom_tool_call")
        elif kind == "reasoning":
            self.thoughts.append(_thought(item))
            self.kinds.append("reasoning")

    def _message(self, item: Mapping[str, Any]) -> None:
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                for name, words in (("text", self.texts), ("refusal", self.refusals)):
                    if isinstance(part.get(name), str):
                        words.append(storable(part[name]))
        if "text" not in self.kinds:
            self.kinds.append("text")
        self.phase = word(item.get("phase")) or self.phase

    def _call(self, item: Mapping[str, Any], *, is_text: bool) -> None:
        name, call_id = item.get("name"), item.get("call_id")
        if not isinstance(name, str):
            raise NoAnswerError("a tool call has no name", is_worked=True)
        given = item.get("input" if is_text else "arguments")
        arguments = storable(given) if is_text and isinstance(given, str) else read_arguments(given)
        self.calls.append(ToolCall(storable(name), arguments, call_id if isinstance(call_id, str) else None))
        self.kinds.append("tool_call")

    @property
    def text(self) -> str | None:
        """What was said, else the words of the refusal; None where no message is."""
        spoken: Sequence[str] = [each for each in self.texts if each] or self.refusals
        return "".join(spoken) if "text" in self.kinds else None

    @property
    def extra(self) -> dict[str, Any] | None:
        """What goes back with the message."""
        extra: dict[str, Any] = {FIELD: self.thoughts} if self.thoughts else {}
        if self.thoughts:
            extra |= keep_order(self.kinds)
        if self.phase is not None:
            extra["phase"] = self.phase
        return extra or None


def _thought(item: Mapping[str, Any]) -> dict[str, Any]:
    """A reasoning item by the names under which thoughts are recorded."""
    names = {"id": "id", "summary": "summary", "encrypted_content": "encrypted", "content": "text", "status": "status"}
    kept = {new: item[old] for old, new in names.items() if item.get(old) not in (None, "", [])}
    text = kept.get("text")
    if isinstance(text, list):
        words = [part.get("text") for part in text if isinstance(part, dict)]
        kept["text"] = "".join(each for each in words if isinstance(each, str))
    return kept


def _usual(usage: _Usage) -> Usage | None:
    """Counts that add up; input holds the cached tokens, output the reasoning."""
    details = usage.input_tokens_details
    cached, written = (details.cached_tokens, details.cache_write_tokens) if details is not None else (None, None)
    thought = usage.output_tokens_details.reasoning_tokens if usage.output_tokens_details is not None else None
    return usual_usage(usage.input_tokens, usage.output_tokens, usage.total_tokens, cached, thought, written)
