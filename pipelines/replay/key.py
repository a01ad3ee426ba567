"""The key of a paid answer: what of a request makes a difference, in one spelling.

SHA-256 over wire, model, parameters and tools in one line of JSON, then each message in one, then the draw. Names have one order;
arguments of tool calls are JSON values (`1.0` is 1), content that is one part of text is this text, parameters are as given:
nothing that an endpoint takes for granted is left out. It is another hash than `request_sha256`, which is over the messages as
they are rendered.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.log.context import message_bytes
from pipelines.replay.wires.calls import read_arguments

if TYPE_CHECKING:
    from pipelines.experiment.sides import Api

_encode = msgspec.json.Encoder(order="sorted").encode
_NOT_ENCODED = (UnicodeEncodeError, OverflowError, TypeError)
"""What `msgspec` says of half a surrogate pair, of 2 ** 64, and of keys that are no text."""
_SPELLED = frozenset((("role", "content"), ("role", "tool_call_id", "content"), ("role", "content", "name")))
_SPELLED_BY = {frozenset(names): names for names in _SPELLED}
"""Names of a message that is nothing but a text, in the order in which they are rendered; of other messages they are sorted."""
_HAS_FLOAT = re.compile("[0-9][.eE]").search
_WHOLE = 2**53
"""Whole numbers up to this one are the same as a double."""


def key_head(api: Api, model: str | None, params: Mapping[str, Any], tools_sha256: str | None) -> bytes:
    """First line: what surrounds the messages."""
    return _line([api, model, _valued(dict(params)), tools_sha256])


def key_lines(
    messages: Sequence[Mapping[str, Any]], custom: frozenset[str] = frozenset(), rendered: bytes | None = None
) -> bytes:
    """The messages, one line each.

    Args:
        messages: As they are rendered.
        custom: Names of the tools that take free text: their arguments are text, whatever it looks like.
        rendered: Their lines as `message_lines` writes them, where these are made already: a message of nothing but a text has one
            spelling, which is this.
    """
    if rendered is not None and all(map(_is_spelled, messages)):
        return rendered
    return b"".join([_message_line(message, custom) for message in messages])


def finish_key(digest: Any, draw: int) -> str:
    """The key, hex, given the SHA-256 of head and messages, which stays as it is."""
    whole = digest.copy()
    whole.update(b"%d" % draw)
    return str(whole.hexdigest())


def request_key(head: bytes, messages: Sequence[Mapping[str, Any]], draw: int, custom: frozenset[str]) -> str:
    """The key of one request, made by itself."""
    return finish_key(hashlib.sha256(head + key_lines(messages, custom)), draw)


def _is_spelled(message: Mapping[str, Any]) -> bool:
    """Whether a message is a text and who says it, in the order in which that is rendered."""
    return type(message.get("content")) is str and tuple(message) in _SPELLED


def _message_line(message: Mapping[str, Any], custom: frozenset[str]) -> bytes:
    plain = _plain(message, custom)
    if "tool_calls" in plain:
        return _line(plain)
    if type(plain.get("content")) is str and (names := _SPELLED_BY.get(frozenset(plain))) is not None:
        return message_bytes({name: plain[name] for name in names}) + b"\n"
    return _line(plain)


def _line(value: Any) -> bytes:
    try:
        return _encode(value) + b"\n"
    except _NOT_ENCODED:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return text.encode("utf-8", "surrogatepass") + b"\n"


def _plain(message: Mapping[str, Any], custom: frozenset[str]) -> Mapping[str, Any]:
    """A message in its one spelling; the same object where it is that already."""
    content, calls = message.get("content"), message.get("tool_calls")
    if type(content) is str and calls is None:
        return message
    changed: dict[str, Any] = {}
    if isinstance(content, list) and len(content) == 1 and (text := _only_text(content[0])) is not None:
        changed["content"] = text
    elif content in (None, []) and not calls:
        changed["content"] = ""
    if isinstance(calls, list):
        changed["tool_calls"] = [_plain_call(call, custom) for call in calls]
    return {**message, **changed} if changed else message


def _only_text(part: Any) -> str | None:
    """The text of a part that says nothing else."""
    is_text = isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text"
    return part["text"] if is_text and isinstance(part["text"], str) else None


def _plain_call(call: Any, custom: frozenset[str]) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    given = function.get("arguments") if isinstance(function, Mapping) else None
    if function is None or not isinstance(given, str) or function.get("name") in custom:
        return call
    if not given.strip():
        given = "{}"  # how a call without arguments is sent
    value = read_arguments(given)
    if isinstance(value, dict) and _HAS_FLOAT(given):
        value = _valued(value)
    return {**call, "function": {**function, "arguments": value}}


def _valued(value: Any) -> Any:
    """A JSON value with every whole number written as one."""
    if type(value) is float and value.is_integer() and -_WHOLE <= value <= _WHOLE:
        return int(value)
    if type(value) is dict:
        return {name: _valued(inner) for name, inner in value.items()}
    return [_valued(inner) for inner in value] if type(value) is list else value
