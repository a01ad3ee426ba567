"""Which result answers which call of a request: strict wires take no call without one, and no result without its call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NO_RESULT = "[no result of this call was recorded]"
"""What stands for the result of a call that nothing answered."""
ORPHAN = "Result of a tool call that is not shown:\n"
"""Before the text of a result that answers no call."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The calls and results of a request.

    Attributes:
        results: Place of the message that answers a call, by the call's rendered id.
        orphans: Places of messages that answer no call before them, or one that is answered already.
    """

    results: Mapping[str, int] = field(default_factory=dict)
    orphans: frozenset[int] = frozenset()


def pair_calls(messages: Sequence[Mapping[str, Any]]) -> Pairing:
    """Pair calls and results of messages in the form of chat completions."""
    asked: set[str] = set()
    results: dict[str, int] = {}
    orphans = set()
    for place, message in enumerate(messages):
        if message.get("role") == "tool":
            answered = str(message.get("tool_call_id"))
            if answered in asked and answered not in results:
                results[answered] = place
            else:
                orphans.add(place)
        elif "tool_calls" in message:
            asked.update(str(call.get("id")) for call in message["tool_calls"] or ())
    return Pairing(results, frozenset(orphans))
