"""What the test server's wires have in common: the form between them, refusals, seals of reasoning, server-sent events.

A request is read into the neutral form, which is that of chat completions: `model`, `messages`, `tools`, `response_format` and what
else came. An answer is a message of that form, with two members of its own: `reasoning` (a text) and `finish` (`stop`,
`tool_calls`, `length`, `content_filter` or `refusal`; by default what the message says). Nothing here knows how a replay writes
or reads: it is written from the providers' own references, so that each holds the other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Message = dict[str, Any]
Body = dict[str, Any]
Document = dict[str, Any]
PIECE = 7
"""Characters of a text that one event of a stream has."""
_SEAL = "sealed-"
_TOOL_NAME = re.compile("[a-zA-Z0-9_-]{1,64}")
_TYPES = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))


@dataclass
class Refused(Exception):  # noqa: N818 -- reads as what happened
    """The provider refuses the request.

    Attributes:
        message: In the provider's words.
        status: HTTP status.
        code: The provider's code, or its kind of error.
        param: What it is about, where that is said.
    """

    message: str
    status: int = 400
    code: str | None = None
    param: str | None = None


class Tokens(NamedTuple):
    """What an answer counts: tokens in with cached ones, out with reasoning, and what of them was cached, written, thought."""

    given: int
    made: int = 10
    cached: int = 0
    written: int = 0
    thought: int = 0


def digest(*values: Any) -> str:
    """Letters and digits that stand for the values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def seal(text: str) -> str:
    """What the server gives with its reasoning, and knows again."""
    return _SEAL + digest(text)[:32]


def is_broken_seal(text: str, given: str) -> bool:
    """Whether it is a seal of this server, of another text."""
    return given.startswith(_SEAL) and given != seal(text)


def unsealed(given: str, texts: Sequence[str]) -> bool:
    """Whether a seal is that of one of the texts."""
    return any(given == seal(text) for text in texts)


def text_of(content: Any) -> str:
    """The text of a content: it, or that of its parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return content or ""


def finish_of(message: Message) -> str:
    """Why the model stopped."""
    if "finish" in message:
        return str(message["finish"])
    return "tool_calls" if message.get("tool_calls") else "stop"


def pieces(text: str) -> Iterator[str]:
    """A text as a stream sends it; an empty one not at all."""
    for at in range(0, len(text), PIECE):
        yield text[at : at + PIECE]


def event(data: Mapping[str, Any], *, is_named: bool = True) -> bytes:
    """One server-sent event; its name is the type of its data."""
    name = f"event: {data['type']}\n" if is_named else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def check_names(names: Iterable[Any]) -> None:
    """Refuse names of tools that OpenAI does not take."""
    for name in names:
        if not _TOOL_NAME.fullmatch(str(name)):
            words = f"Invalid name '{name}': string does not match pattern. Expected a string that matches '^[a-zA-Z0-9_-]+$'."
            raise Refused(words, code="invalid_value")


def check_types(schema: Any, at: str) -> None:
    """Refuse a schema in which a type is none of JSON Schema's."""
    if isinstance(schema, list):
        for each in schema:
            check_types(each, at)
    if not isinstance(schema, dict):
        return
    told = schema.get("type")
    for word in told if isinstance(told, list) else [told]:
        if word is not None and word not in _TYPES:
            words = f"Invalid schema for function '{at}': '{word}' is not valid under any of the given schemas."
            raise Refused(words, code="invalid_function_parameters")
    for name in ("properties", "$defs"):
        check_types(list((schema.get(name) or {}).values()), at)
    for name in ("items", "anyOf", "additionalProperties"):
        check_types(schema.get(name), at)


def known(given: Mapping[str, Any], names: frozenset[str], refuse: Any) -> None:
    """Refuse members that are not known.

    Args:
        given: The object.
        names: What it may have.
        refuse: Makes the refusal, given the name.
    """
    for name in given:
        if name not in names:
            raise refuse(name)
