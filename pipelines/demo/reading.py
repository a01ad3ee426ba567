"""What an agent can tell from its context: the customer's request so far and what the tools answered.

The desk's agents are rules, and this is their understanding; what they do with it is in `policies`. `read` takes any
chat-completions context, also one that no simulated customer would write, and never raises on its content.
Understanding depends on request words and on order numbers only, never on personal data: a context in which personal
data was redacted is read the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_INTENT_WORDS: Mapping[str, tuple[str, ...]] = {
    "refund": ("refund", "money back", "reimburse"),
    "cancel": ("cancel",),
    "claim": ("claim",),
    "viewing": ("viewing",),
    "appointment": ("appointment",),
    "status": ("where is", "not arrived", "status of"),
}
"""Requests by priority ("cancel my appointment" is a cancellation), with the words that tell them."""
INTENTS = tuple(_INTENT_WORDS)
_REASON_WORDS: Mapping[str, tuple[str, ...]] = {
    "damaged": ("damaged", "broken"),
    "late": ("too late",),
    "wrong_item": ("wrong",),
    "duplicate_charge": ("charged twice",),
    "changed_mind": ("changed my mind", "no longer need"),
}
_TOPIC_WORDS: Mapping[str, tuple[str, ...]] = {
    "hours": (" open ", "opening"),
    "fees": (" fee", " cost"),
    "documents": ("document",),
}
_BYE_WORDS = ("thank", " bye", "that's all")
_WAITING_WORDS = ("still there", "hello?", "any news")
_ANGRY_WORDS = ("ridiculous", "unacceptable", "third time", "fed up")
_DETAILS = re.compile(
    r"\b(?P<reference>[A-Z]{2}-\d{5,9})\b|\$(?P<amount>\d{1,6}(?:\.\d{2})?)\b"
    r"|\b(?P<slot>(?:Mon|Tue|Wed|Thu|Fri|Sat) \d{2}:\d{2})\b"
    r"|\b(?P<service>check-up|vaccination|lab test|follow-up)\b"
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one text of the customer says, as far as the agents understand it.

    Attributes:
        intent: One of `INTENTS`, or None.
        reference: Number of an order, bill, deposit, claim, appointment or listing.
        amount_usd: US dollars named, written `$12.30`.
        slot: Weekday and time, `Tue 14:30`.
        service: Kind of appointment.
        reason: Why a refund is asked, as the tool wants it.
        topic: What a general question is about.
        is_question: It holds a question mark.
        is_angry: It complains.
        is_bye: It thanks or takes leave.
        is_waiting: It asks whether anybody is still there.
    """

    intent: str | None = None
    reference: str | None = None
    amount_usd: float | None = None
    slot: str | None = None
    service: str | None = None
    reason: str | None = None
    topic: str | None = None
    is_question: bool = False
    is_angry: bool = False
    is_bye: bool = False
    is_waiting: bool = False


_SILENCE = Utterance()


@dataclass(slots=True)
class Reading:
    """An agent's understanding of its context.

    Attributes:
        said: The newest text of the customer; `None` before any.
        intent: The request being served, or None.
        reference: Number that the request is about, or None.
        amount_usd: US dollars that the customer named, or None.
        slot: Time that the customer named, or None.
        service: Kind of appointment named, or None.
        reason: Why a refund is asked.
        is_angry: The customer complained at any time.
        is_known: The context holds the customer's record.
        is_answering: The newest message is a tool's result.
        results: Tool name -> text of its newest result for this request.
        failures: Tool name -> number of its results that were no JSON object, for this request.
        open_calls: Ids of tool calls without a result yet.
        length: Number of messages.
    """

    said: Utterance | None = None
    intent: str | None = None
    reference: str | None = None
    amount_usd: float | None = None
    slot: str | None = None
    service: str | None = None
    reason: str = "other"
    is_angry: bool = False
    is_known: bool = False
    is_answering: bool = False
    results: dict[str, str] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    open_calls: dict[str, str] = field(default_factory=dict)
    length: int = 0

    @property
    def is_request(self) -> bool:
        """Whether the newest text of the customer moves the request on: it asks, or names a number or a time."""
        said = self.said
        return said is not None and not (said.intent is None and said.reference is None and said.slot is None)

    def hear(self, said: Utterance) -> None:
        """Take in what the customer says; a new request or number makes the earlier results void."""
        self.said = said
        self.is_answering = False
        self.is_angry = self.is_angry or said.is_angry
        if said.intent is not None:
            self.intent, self.reference, self.amount_usd, self.slot, self.reason = (
                said.intent,
                None,
                None,
                None,
                "other",
            )
            self._forget()
        if said.reference is not None and said.reference != self.reference:
            self.reference = said.reference
            self._forget()
        self.amount_usd = said.amount_usd if said.amount_usd is not None else self.amount_usd
        self.slot = said.slot or self.slot
        self.service = said.service or self.service
        self.reason = said.reason or self.reason

    def learn(self, name: str, text: str) -> None:
        """Take in a tool's result; a text that is no JSON object is a failure."""
        self.is_answering = True
        self.results[name] = text
        if not text.startswith("{"):
            self.failures[name] = self.failures.get(name, 0) + 1

    def result(self, name: str) -> Mapping[str, Any] | None:
        """The newest result of the tool for this request, or None when there is none or it failed."""
        text = self.results.get(name)
        return None if text is None else _json_object(text)

    def _forget(self) -> None:
        if self.results:
            self.results, self.failures = {}, {}


def read(messages: Sequence[Mapping[str, Any]]) -> Reading:
    """Understand a context, given as chat-completions messages, oldest first."""
    reading = Reading(length=len(messages))
    for message in messages:
        role = message.get("role")
        if role == "user":
            reading.hear(utterance(_text(message.get("content"))))
        elif role == "assistant":
            for call in message.get("tool_calls") or ():
                name = (call.get("function") or {}).get("name")
                reading.open_calls[str(call.get("id"))] = str(name)
        elif role == "tool":
            name = reading.open_calls.pop(str(message.get("tool_call_id")), "")
            reading.learn(name, _text(message.get("content")))
        elif '"customer_id"' in _text(message.get("content")):
            reading.is_known = True
    return reading


@lru_cache(maxsize=4096)
def utterance(text: str) -> Utterance:
    """What `text` says. Kept, because every later decision of a conversation reads the same texts again."""
    if not text:
        return _SILENCE
    words = f" {text.lower()} "
    details: dict[str, str] = {}
    for match in _DETAILS.finditer(text):
        details.setdefault(str(match.lastgroup), match[str(match.lastgroup)])
    return Utterance(
        intent=_first(_INTENT_WORDS, words),
        reference=details.get("reference"),
        amount_usd=float(details["amount"]) if "amount" in details else None,
        slot=details.get("slot"),
        service=details.get("service"),
        reason=_first(_REASON_WORDS, words),
        topic=_first(_TOPIC_WORDS, words),
        is_question="?" in text,
        is_angry=_has(_ANGRY_WORDS, words),
        is_bye=_has(_BYE_WORDS, words),
        is_waiting=_has(_WAITING_WORDS, words),
    )


def _first(table: Mapping[str, tuple[str, ...]], words: str) -> str | None:
    """The first entry of `table` one of whose phrases stands in `words`, or None."""
    for name, phrases in table.items():
        for phrase in phrases:
            if phrase in words:
                return name
    return None


def _has(phrases: tuple[str, ...], words: str) -> bool:
    """Whether one of the phrases stands in `words`."""
    return any(phrase in words for phrase in phrases)


@lru_cache(maxsize=4096)
def _json_object(text: str) -> Mapping[str, Any] | None:
    """`text` as a JSON object, or None. The result is shared: nobody may change it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(content: Any) -> str:
    """The text of a message's content: a string, or the texts of its parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") or part.get("content") for part in content if isinstance(part, Mapping))
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""
