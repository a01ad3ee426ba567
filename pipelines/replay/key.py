"""The key of a paid answer: what of a request makes a difference, in one spelling.

SHA-256 over wire, model, parameters and tools in one line of JSON, then each message in one, then the draw. Names are sorted;
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

from pipelines.compact_json import ENCODER, NOT_ENCODED, SORTED
from pipelines.replay.wires.calls import read_arguments

if TYPE_CHECKING:
    from pipelines.experiment.sides import Api

_encode, _encode_lines = SORTED.encode, SORTED.encode_lines
_encode_as_given = ENCODER.encode
_decode = msgspec.json.Decoder().decode
_NOT_DECODED = (msgspec.DecodeError, UnicodeEncodeError, RecursionError)
_HAS_FLOAT = re.compile("[0-9][.eE]").search
_WHOLE = 2**53
"""Whole numbers up to this one are the same as a double."""


def key_head(api: Api, model: str | None, params: Mapping[str, Any], tools_sha256: str | None) -> bytes:
    """First line: what surrounds the messages."""
    return _line([api, model, _valued(dict(params)), tools_sha256])


def key_lines(messages: Sequence[Mapping[str, Any]], custom: frozenset[str] = frozenset()) -> bytes:
    """The messages, one line each.

    Args:
        messages: As they are rendered.
        custom: Names of the tools that take free text: their arguments are text, whatever it looks like.
    """
    spelled = [_spelled(message, custom) for message in messages]
    try:
        return _encode_lines(spelled)
    except NOT_ENCODED:
        return b"".join(map(_line, spelled))


def finish_key(digest: Any, draw: int, occurrence: int = 0) -> str:
    """The key, hex, given the SHA-256 of head and messages, which stays as it is.

    Args:
        digest: A hash object.
        draw: Index of the draw.
        occurrence: How often the same was asked before in its unit, by an agent that asks what it likes.
    """
    whole = digest.copy()
    whole.update(b"%d.%d" % (draw, occurrence) if occurrence else b"%d" % draw)
    return str(whole.hexdigest())


def request_key(
    head: bytes, messages: Sequence[Mapping[str, Any]], draw: int, custom: frozenset[str], occurrence: int = 0
) -> str:
    """The key of one request, made by itself."""
    return finish_key(hashlib.sha256(head + key_lines(messages, custom)), draw, occurrence)


def _line(value: Any) -> bytes:
    try:
        return _encode(value) + b"\n"
    except NOT_ENCODED:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return text.encode("utf-8", "surrogatepass") + b"\n"


def _spelled(message: Mapping[str, Any], custom: frozenset[str]) -> Mapping[str, Any]:
    """A message in its one spelling; the same object where it is rendered so."""
    content, calls = message.get("content"), message.get("tool_calls")
    if calls is None and type(content) is str:
        return message
    changed: dict[str, Any] = {}
    if type(calls) is list:
        changed["tool_calls"] = [_spelled_call(call, custom) for call in calls]
    if type(content) is list and len(content) == 1 and (text := _only_text(content[0])) is not None:
        changed["content"] = text
    elif not calls and (content is None or content == []):
        changed["content"] = ""
    return {**message, **changed} if changed else message


def _only_text(part: Any) -> str | None:
    """The text of a part that says nothing else."""
    is_text = isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text"
    return part["text"] if is_text and isinstance(part["text"], str) else None


def _spelled_call(call: Any, custom: frozenset[str]) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    given = function.get("arguments") if isinstance(function, dict) else None
    if function is None or not isinstance(given, str) or function.get("name") in custom:
        return call
    made = _spelled_arguments(given)
    return call if made == given else {**call, "function": {**function, "arguments": made}}


def _spelled_arguments(given: str) -> str:
    """The one text of the JSON object that a text is, in every detail; else the text.

    No arguments are an empty object, as which they
    are sent.
    """
    try:
        value = _decode(given)
        if type(value) is dict:
            text = _encode(value).decode()
            is_told = text == given or _encode_as_given(value).decode() == given
            if is_told:  # in every detail: nothing is there twice, no number was rounded
                return _encode(_valued(value)).decode() if _HAS_FLOAT(text) else text
    except _NOT_DECODED:
        pass
    value = read_arguments(given if given.strip() else "{}")
    return _line(_valued(value))[:-1].decode("utf-8", "surrogatepass") if isinstance(value, dict) else str(value)


def _valued(value: Any) -> Any:
    """A JSON value with every whole number written as one."""
    if type(value) is float and value.is_integer() and -_WHOLE <= value <= _WHOLE:
        return int(value)
    if type(value) is dict:
        return {name: _valued(inner) for name, inner in value.items()}
    return [_valued(inner) for inner in value] if type(value) is list else value
