"""The form in which messages and tools go to a chat endpoint, where it is another one than that which is hashed and kept.

A request's hash is over its messages as a fold renders them; what is sent is made of that here, from the message alone, so that
equal requests are sent alike: ids of tool calls that every endpoint takes, prompts as text, names without blanks, no message
without anything in it, and tools that take free text as functions with one argument.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.canonical.content import text_of_prompt

INPUT = "input"
"""The one argument of a function that stands for a tool that takes free text."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID = 9
"""Characters of an id: letters and digits, as many as the strictest endpoints ask for."""
_CALLS_BITS = 20
_RENDERED = re.compile(r"call_(\d+)_(\d+)|call_none_(\d+)", re.ASCII)
_IN_NO_NAME = re.compile(r"[\s<|\\/>]+")
_LONGEST_NAME = 64
_PROMPTS = ("system", "developer")
_DEFINED = ("name", "description", "parameters", "strict")


def wire_message(message: Mapping[str, Any], custom: frozenset[str] = frozenset()) -> Mapping[str, Any]:
    """A message as it is sent: the same object where nothing about it changes.

    Args:
        message: As it is rendered.
        custom: Names of offered tools that take free text.
    """
    role, content = message.get("role"), message.get("content")
    changed: dict[str, Any] = {}
    if "tool_call_id" in message:
        changed["tool_call_id"] = wire_id(message["tool_call_id"])
    if "tool_calls" in message:
        changed["tool_calls"] = [_wire_call(call, custom) for call in message["tool_calls"]]
    elif role == "assistant" and content in (None, []):
        changed["content"] = ""
    if role in _PROMPTS and isinstance(content, list):
        changed["content"] = text_of_prompt(content)
    if "name" in message:
        changed["name"] = _IN_NO_NAME.sub("_", str(message["name"]))[:_LONGEST_NAME] or None
    if all(value == message.get(key) for key, value in changed.items()):
        return message
    return {key: value for key, value in {**message, **changed}.items() if key != "name" or value is not None}


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


def wire_tools(tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Tools as they are offered: functions, however the recording or the experiment writes them."""
    return [_wire_tool(tool) for tool in tools]


def custom_names(tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the tools that take free text."""
    return frozenset(str(_defined(tool).get("name")) for tool in tools if tool.get("type") == "custom")


def from_wire(arguments: Any) -> Any:
    """The free text that stands in the arguments of a call of a custom tool; other arguments as they are."""
    is_wrapped = isinstance(arguments, dict) and arguments.keys() == {INPUT} and isinstance(arguments[INPUT], str)
    return arguments[INPUT] if is_wrapped else arguments


def _wire_call(call: Mapping[str, Any], custom: frozenset[str]) -> Mapping[str, Any]:
    function = call.get("function")
    sent = {**call, "id": wire_id(str(call.get("id")))}
    if isinstance(function, Mapping):
        arguments = _wire_arguments(function.get("arguments"), is_custom=function.get("name") in custom)
        sent["function"] = {**function, "arguments": arguments}
    return sent


def _wire_arguments(arguments: Any, *, is_custom: bool) -> Any:
    """Arguments as JSON text of an object: none are `{}`, and free text is one argument. What a model broke off stays so."""
    if not isinstance(arguments, str):
        return arguments
    begin = arguments.lstrip()[:1]
    if not begin and not is_custom:
        return "{}"
    if is_custom or (begin not in '{["' and not _is_json(arguments)):
        return json.dumps({INPUT: arguments}, ensure_ascii=False)
    return arguments


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _wire_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """One tool; a definition without its wrapper, as other interfaces have them, gets it."""
    if tool.get("type") != "custom" and ("function" in tool or "name" not in tool):
        return tool
    defined = dict(_defined(tool))
    if tool.get("type") == "custom":
        text = {"type": "string"}
        if isinstance(kept := defined.get("format"), Mapping) and kept.get("type") != "text":
            text["description"] = f"Must be of this form: {json.dumps(kept, ensure_ascii=False)}"
        defined["parameters"] = {"type": "object", "properties": {INPUT: text}, "required": [INPUT]}
    elif "parameters" not in defined and "input_schema" in defined:
        defined["parameters"] = defined["input_schema"]
    return {"type": "function", "function": {key: defined[key] for key in _DEFINED if key in defined}}


def _defined(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = tool.get(str(tool.get("type")))
    return inner if isinstance(inner, Mapping) else tool
