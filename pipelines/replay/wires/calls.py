"""Tool calls on a wire: their ids and names, and their arguments both ways.

A request's hash is over its messages as a fold renders them; what is sent is made of that from the message alone, so that equal
requests are sent alike.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import Any

from pipelines.log.context import arguments_text
from pipelines.replay.asking.fault import storable

INPUT = "input"
"""The one argument of a function that stands for a tool that takes free text."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID = 9
"""Characters of an id: letters and digits, as many as the strictest endpoints ask for."""
_CALLS_BITS = 20
_NAMES = 4_096
_MARK = 8
"""Characters that tell a changed name from every other one."""
_NAME = re.compile("[A-Za-z0-9_-]+", re.ASCII)
_IN_NO_NAME = re.compile("[^A-Za-z0-9_-]+", re.ASCII)
_RENDERED = re.compile(r"call_(\d+)_(\d+)|call_none_(\d+)", re.ASCII)


class JsonText(str):
    """Arguments of a recorded call taken over as they are: JSON text, not a value."""

    __slots__ = ()


def fresh_id(number: int, place: int) -> str:
    """The id of a tool call in an answer that is made here: as the ids of a rendered recording, which every wire takes.

    Args:
        number: Of the answer, in its unit.
        place: Of the call in the answer.
    """
    return f"call_{number}_{place}"


def arguments_as_sent(arguments: Any) -> str:
    """A reply's arguments as the text that the model sent: a value as JSON, a raw text and a recorded one as they are."""
    return storable(arguments_text(json.loads(arguments) if isinstance(arguments, JsonText) else arguments))


def arguments_as_object(arguments: Any, *, is_custom: bool = False) -> dict[str, Any]:
    """A reply's arguments as an object: none are none, and what is no object is one argument, `INPUT`."""
    text = arguments_as_sent(arguments)
    value = text if is_custom else read_arguments(text)
    if isinstance(value, dict):
        return value
    return {INPUT: value} if is_custom or text.strip() else {}


def wire_id(rendered: str) -> str:
    """Nine letters and digits for an id of a tool call, another one for every other id of a request.

    Args:
        rendered: `call_{message}_{k}`, or `call_none_{message}` of a result that answers nothing.
    """
    match = _RENDERED.fullmatch(rendered)
    if match is None:
        number, mark = int.from_bytes(hashlib.sha256(rendered.encode("utf-8", "replace")).digest()[:5]), "x"
    elif match[3] is not None:
        number, mark = int(match[3]), "n"
    else:
        number, mark = (int(match[1]) << _CALLS_BITS) + int(match[2]), "c"
    digits = []
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return mark + "".join(reversed(digits)).rjust(_ID - 1, "0")


@lru_cache(maxsize=_NAMES)
def wire_name(name: str, longest: int) -> str:
    """The name of a tool in letters, digits, `_` and `-`, as providers take it: itself where it is one, another one for every other name.

    Args:
        name: As recorded, or offered by an experiment.
        longest: Characters that the wire takes.
    """
    if len(name) <= longest and _NAME.fullmatch(name):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK]
    return f"{_IN_NO_NAME.sub('_', name)[: longest - _MARK - 1]}_{mark}"


def wire_arguments(arguments: Any, *, is_custom: bool) -> Any:
    """Arguments as JSON text of an object: none are `{}`, and free text is one argument. What a model broke off stays so."""
    if not isinstance(arguments, str):
        return arguments
    begin = arguments.lstrip()[:1]
    if not begin and not is_custom:
        return "{}"
    if is_custom or (begin not in '{["' and not _is_json(arguments)):
        return json.dumps({INPUT: arguments}, ensure_ascii=False)
    return arguments


def from_wire(arguments: Any) -> Any:
    """The free text that stands in the arguments of a call of a custom tool; other arguments as they are."""
    is_wrapped = isinstance(arguments, dict) and arguments.keys() == {INPUT} and isinstance(arguments[INPUT], str)
    return arguments[INPUT] if is_wrapped else arguments


def read_arguments(given: Any) -> Any:
    """A JSON object where the text is one, in every detail; else the text as it came."""
    if not isinstance(given, str):
        return given if given is None or isinstance(given, dict) else json.dumps(given)
    try:
        parsed = _DECODER.decode(given)
        if "\\u" in given:
            json.dumps(parsed, ensure_ascii=False).encode()  # an escape can stand for what UTF-8 cannot carry
    except (ValueError, RecursionError):
        return storable(given)
    return parsed if isinstance(parsed, dict) else storable(given)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
"""`json.loads` would make one for every text."""
