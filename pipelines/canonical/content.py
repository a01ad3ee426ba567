"""What the content of a message says: which of its parts are text that was said, whether it says anything at all, begins a turn.

Content is a string, null or a list of parts. Shared by whoever writes the log and whoever reads it, so that "the text" of a
message means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Flags = TypeVar("Flags", bool, "npt.NDArray[np.bool_]")

SAID_PARTS = ("text", "input_text", "output_text", "refusal")
"""Types of content parts whose text was said; a part without a type is text, too. Any other type (`reasoning`, `thinking`,
`redacted_thinking`, pictures, and what is not known) says no text."""
_TEXT_KEYS = ("text", "content", "refusal")


def text_of(content: Any) -> str:
    """The text of a message's content that was said: of parts, each one's `text` or `content`, joined with nothing between."""
    if isinstance(content, str):
        return content
    return "".join(_part_text(part) for part in content) if isinstance(content, list) else ""


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and is_text_part(part):
        for key in _TEXT_KEYS:
            if isinstance(part.get(key), str):
                return str(part[key])
    return ""


def is_text_part(part: Mapping[str, Any]) -> bool:
    """Whether a part of content is text that was said."""
    return part.get("type") is None or part["type"] in SAID_PARTS


def text_of_prompt(content: Any) -> Any:
    """The text of a prompt that is given as parts; the parts, where one of them is no text."""
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    said = [text for text in texts if isinstance(text, str)]
    return "".join(said) if len(said) == len(texts) else content


def refusal_in(content: Any) -> bool:
    """Whether a part of the content is a refusal."""
    return isinstance(content, list) and any(
        isinstance(part, Mapping) and part.get("type") == "refusal" for part in content
    )


def is_input(text: str | None, content: Any) -> bool:
    """Whether what a person sent opens a turn: it has text, or a part that is something else, such as a picture or sound.

    What a redaction left in the place of one counts, too, so that turns keep their numbers.
    """
    if text or (content and isinstance(content, str)):
        return True
    return isinstance(content, list) and any(
        not is_text_part(part) if isinstance(part, Mapping) else bool(part) and isinstance(part, str)
        for part in content
    )


def begins_turn(is_input: Flags, is_nameless: Flags, is_other: Flags) -> Flags:
    """Whether a person's utterance begins a turn: it is an input, and does not go on with the message of the one before it.

    Args:
        is_input: Whether it says something.
        is_nameless: Whether it has no message id, and so goes on with nothing.
        is_other: Whether its message id is another than that of the stream's utterance before it; true of the first.
    """
    return is_input & (is_nameless | is_other)


def compacted_range(payload: Mapping[str, Any], count: int) -> tuple[int, int]:
    """Which of `count` messages a compaction takes out, as a half-open range: what it names, as far as that is there."""
    start, end = (payload.get(name) for name in ("from_message", "to_message"))
    first = min(max(int(start), 0), count) if isinstance(start, int | float) else 0
    return first, min(max(int(end), first), count) if isinstance(end, int | float) else first
