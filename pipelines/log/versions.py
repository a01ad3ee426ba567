"""The types of events that Refold writes of conversations, and in which version each is written.

An event has the oldest version of its type whose schema names all that it says, so that what could be said before is written
as before: a line that was imported years ago makes the same events today. Upcasters lift all to the latest version for reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STARTED, ENDED = "conversation.started", "conversation.ended"
USER_SAID, AGENT_SAID = "user.utterance", "agent.utterance"
TOOL_CALL, TOOL_RESULT = "tool.call", "tool.result"
DECISION, REASONING = "model.decision", "agent.reasoning"
SUPPLIED, COMPACTED = "context.supplied", "context.compacted"
HANDOFF, CALL_EVENT = "agent.handoff", "call.event"
SCORE = "score.recorded"

RESULT_FIELDS = ("executor", "latency_ms", "denied", "truncated")
"""What a tool's result says since its version 2."""
CALL_FIELDS = ("executor", "server", "has_nested_calls")
"""What a tool call says since its version 2."""
STARTED_FIELDS = ("parent", "tags", "metadata", "fidelity")
"""What a start says since its version 2."""
DECISION_FIELDS = (
    "model_requested",
    "provider",
    "response_id",
    "ttft_ms",
    "error",
    "retries",
    "history",
    "usage_basis",
    "content_missing",
    "stop_details",
)
"""What a decision says since its version 3."""
_USAGE_FIELDS = ("cache_write_tokens", "reasoning_tokens")

_FIRST = {DECISION: 2}
"""Versions before these were written by others, and are only read."""
_LATEST: dict[str, tuple[int, frozenset[str]]] = {
    STARTED: (2, frozenset(STARTED_FIELDS)),
    USER_SAID: (2, frozenset({"speech"})),
    AGENT_SAID: (2, frozenset({"speech"})),
    TOOL_CALL: (2, frozenset(CALL_FIELDS)),
    TOOL_RESULT: (2, frozenset(RESULT_FIELDS)),
    DECISION: (3, frozenset(DECISION_FIELDS)),
}
"""The latest version of a type, where it is not the first, and the members that it has more."""


def written_type(name: str, payload: Mapping[str, Any]) -> str:
    """The type of an event with this payload, `noun.verb.vN`.

    Args:
        name: `noun.verb`.
        payload: What it says.
    """
    first = _FIRST.get(name, 1)
    latest, more = _LATEST.get(name, (first, frozenset()))
    says_more = not more.isdisjoint(payload) or (name == DECISION and _counts_more(payload.get("usage")))
    return f"{name}.v{latest if says_more else first}"


def _counts_more(usage: Any) -> bool:
    return isinstance(usage, Mapping) and any(name in usage for name in _USAGE_FIELDS)


def name_of(event_type: str) -> str:
    """`noun.verb` of `noun.verb.vN`."""
    return event_type.rpartition(".v")[0]
