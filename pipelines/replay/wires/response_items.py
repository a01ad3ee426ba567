"""Read a response object of OpenAI's Responses: its items as one message, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.experiment.decision import Reply, ToolCall
from pipelines.experiment.prices import Price
from pipelines.replay.asking.fault import error_in, shown, storable
from pipelines.replay.asking.usage import Usage, read_usage
from pipelines.replay.failure import Answer
from pipelines.replay.wires.answer import NoAnswerError, counted, read_object, usual_usage, word
from pipelines.replay.wires.calls import read_arguments
from pipelines.replay.wires.thoughts import FIELD, keep_order

_ENDED = ("completed", "incomplete")
"""Of a response that is an answer; others failed, or are still being made."""


def read_response_object(
    body: bytes, *, price: Price | None = None, cost_usd: float | None = None, latency_ms: float | None = None
) -> Answer:
    """A response object: a reply, or `refused` where a filter stopped it.

    Args:
        body: The JSON of the response.
        price: What tokens cost; None when not known, or when the cost is given.
        cost_usd: What it cost, when that was found out before.
        latency_ms: How long it took.

    Raises:
        NoAnswerError: It is no complete answer; the message says why.
    """
    document = read_object(body)
    status, output = document.get("status"), document.get("output")
    if document.get("error") and error_in(document) is not None:
        raise NoAnswerError(f"an error: {shown(body)}")
    if not isinstance(output, list) or (status is not None and status not in _ENDED):
        raise NoAnswerError(f"no response that has ended: {shown(body)}", is_worked=isinstance(output, list))
    said = _Said()
    for item in output:
        if isinstance(item, dict):
            said.take(item)
    reason = _reason(document, said)
    if not said.kinds and reason in (None, "stop"):
        raise NoAnswerError(f"a response that says nothing: {shown(body)}", is_worked=True)
    reply = Reply(
        said.text,
        tuple(said.calls),
        finish_reason=reason,
        model=word(document.get("model")),
        is_refusal=bool(said.refusals),
        extra=said.extra,
    )
    return counted(reply, _usage(document), price, cost_usd, latency_ms)


def _reason(document: Mapping[str, Any], said: _Said) -> str | None:
    """Why it ended, in the one vocabulary; a response says so only where it is cut."""
    if document.get("status") == "incomplete":
        details = document.get("incomplete_details")
        return finish_reason(word(details.get("reason")) if isinstance(details, dict) else None) or "length"
    return "tool_calls" if said.calls else "stop"


@dataclass(slots=True)
class _Said:
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


def _usage(document: Mapping[str, Any]) -> Usage:
    """What it counts; input holds the cached tokens, output the reasoning."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return read_usage(document)
    given, made, total = (usage.get(name) for name in ("input_tokens", "output_tokens", "total_tokens"))
    details, made_of = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    counts: list[Any] = [given, made, total, details.get("cached_tokens", 0), made_of.get("reasoning_tokens", 0)]
    usual = usual_usage(*counts) if all(type(each) is int for each in counts) else None
    return usual or read_usage(document)
