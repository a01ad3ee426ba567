"""What a model thought, as it stands on a message: recorded by whichever vendor, or of the candidate's own message before.

A vendor takes its own thoughts back, verbatim and in their place, and nobody else's: what it signed or encrypted says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

FIELD = "reasoning"
"""Of a message, in which thoughts are listed."""
ORDER = "order"
"""Of a message: the types of its parts in their order, where that is not thoughts, text, calls."""


class Thought(NamedTuple):
    """One piece of reasoning.

    Attributes:
        text: In words; None where it is not shown.
        summary: Parts of its summary.
        encrypted: For the vendor alone.
        signature: Of the vendor, over the text.
        is_redacted: Whether the vendor hides it.
        id: The vendor's name for it; None where it was not recorded.
        status: How it ended, in the vendor's word; None where that is not said.
    """

    text: str | None
    summary: Sequence[Any] = ()
    encrypted: str | None = None
    signature: str | None = None
    is_redacted: bool = False
    id: str | None = None
    status: str | None = None


def read_thoughts(message: Mapping[str, Any]) -> list[Thought]:
    """The thoughts of a message, in order."""
    return list(_thoughts(message))


def _thoughts(message: Mapping[str, Any]) -> Iterator[Thought]:
    listed = message.get(FIELD)
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping):
            yield _listed(each)
    for holder in ("content", "thinking_blocks"):
        parts = message.get(holder)
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping) and part.get("type") in ("thinking", "redacted_thinking"):
                yield _block(part)
    for name in ("reasoning_content", "thinking", FIELD):
        if isinstance(message.get(name), str) and message[name]:
            yield Thought(message[name])


def _listed(given: Mapping[str, Any]) -> Thought:
    summary = given.get("summary")
    return Thought(
        _text(given, "text"),
        summary if isinstance(summary, list) else [summary] if isinstance(summary, str) else (),
        _text(given, "encrypted"),
        _text(given, "signature"),
        given.get("redacted") is True,
        _text(given, "id"),
        _text(given, "status"),
    )


def _block(part: Mapping[str, Any]) -> Thought:
    if part["type"] == "redacted_thinking":
        return Thought(None, encrypted=_text(part, "data"), is_redacted=True)
    return Thought(_text(part, "thinking"), signature=_text(part, "signature"))


def _text(holder: Mapping[str, Any], name: str) -> str | None:
    value = holder.get(name)
    return value if isinstance(value, str) and value else None


def in_order(message: Mapping[str, Any], counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """(Type, which one of it) of a message's parts: as the message says, else thoughts, text, calls.

    Args:
        message: The message.
        counts: How many there are to be placed, of `reasoning`, `text` and `tool_call`; each comes exactly once.
    """
    left = dict(counts)
    given = message.get(ORDER)
    for kind in given if isinstance(given, list) else ():
        if isinstance(kind, str) and left.get(kind):
            yield kind, counts[kind] - left[kind]
            left[kind] -= 1
    for kind in ("reasoning", "text", "tool_call"):
        for place in range(counts.get(kind, 0) - left.get(kind, 0), counts.get(kind, 0)):
            yield kind, place


def keep_order(kinds: Sequence[str]) -> Mapping[str, Any]:
    """What a message says of its order, given the types of its parts; nothing, where it is the usual one."""
    usual = sorted(kinds, key=("reasoning", "text", "tool_call").index)
    return {} if list(kinds) == usual else {ORDER: list(kinds)}
