"""The tools of a request, in whatever form the recording or the experiment has them, and what a wire makes of that."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.replay.wires.calls import INPUT, wire_name

LONGEST_NAME = 64
"""Characters of a tool's name that OpenAI takes."""
_DEFINED = ("name", "description", "parameters", "strict")
_TYPES: Mapping[str, str | None] = {
    **{name: name for name in ("array", "boolean", "integer", "null", "number", "object", "string")},
    "any": None,
    "bool": "boolean",
    "dict": "object",
    "double": "number",
    "float": "number",
    "int": "integer",
    "list": "array",
    "long": "integer",
    "none": "null",
    "nonetype": "null",
    "str": "string",
    "tuple": "array",
}
"""Words for types, in lower case, and JSON Schema's for them; None where that has none, since everything is meant."""
_WORD = re.compile("[a-z]+")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Members of a schema that hold schemas by name; `_INNER` hold one, or a list of them."""
_INNER = (
    *("items", "prefixItems", "additionalItems", "contains", "additionalProperties", "propertyNames"),
    *("anyOf", "oneOf", "allOf", "not", "if", "then", "else"),
)
_DEEPEST = 100
"""Levels of a schema that are read."""


def function_tools(tools: Sequence[Mapping[str, Any]], longest: int = LONGEST_NAME) -> list[Mapping[str, Any]]:
    """Tools as they are offered: functions, however the recording or the experiment writes them.

    Args:
        tools: The tools.
        longest: Characters of a name that the wire takes.
    """
    return [_own_words(_function_tool(tool), longest) for tool in tools]


def custom_names(tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the tools that take free text."""
    return frozenset(str(definition(tool).get("name")) for tool in tools if takes_text(tool))


def changed_names(tools: Sequence[Mapping[str, Any]], longest: int = LONGEST_NAME) -> Mapping[str, str]:
    """Names of tools by those under which the wire has them, where these are others."""
    names = [name for tool in tools if isinstance(name := definition(tool).get("name"), str)]
    return {sent: name for name in names if (sent := wire_name(name, longest)) != name}


def named_params(params: Mapping[str, Any], longest: int = LONGEST_NAME) -> Mapping[str, Any]:
    """Parameters as given, but for the names of tools in `tool_choice`."""
    choice = params.get("tool_choice")
    return {**params, "tool_choice": _named(choice, longest)} if isinstance(choice, Mapping) else params


def _named(value: Any, longest: int) -> Any:
    if isinstance(value, Mapping):
        return {
            key: wire_name(inner, longest) if key == "name" and isinstance(inner, str) else _named(inner, longest)
            for key, inner in value.items()
        }
    return [_named(inner, longest) for inner in value] if isinstance(value, list) else value


def takes_text(tool: Mapping[str, Any]) -> bool:
    """Whether a tool takes free text; Anthropic calls every tool that it does not run itself `custom`, and gives it a schema."""
    return tool.get("type") == "custom" and "input_schema" not in definition(tool)


def _function_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """One tool; a definition without its wrapper, as other interfaces have them, gets it."""
    if not takes_text(tool) and ("function" in tool or "name" not in tool):
        return tool
    defined = dict(definition(tool))
    if takes_text(tool):
        text = {"type": "string"}
        if isinstance(kept := defined.get("format"), Mapping) and kept.get("type") != "text":
            text["description"] = f"Must be of this form: {json.dumps(kept, ensure_ascii=False)}"
        defined["parameters"] = {"type": "object", "properties": {INPUT: text}, "required": [INPUT]}
    elif "parameters" not in defined and "input_schema" in defined:
        defined["parameters"] = defined["input_schema"]
    return {"type": "function", "function": {key: defined[key] for key in _DEFINED if key in defined}}


def _own_words(tool: Mapping[str, Any], longest: int) -> Mapping[str, Any]:
    """A function in its wrapper, of the members that endpoints know, with a schema of an object; the same where it is so already."""
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return tool
    kept = {key: value for key, value in function.items() if key in _DEFINED}
    if isinstance(name := kept.get("name"), str):
        kept["name"] = wire_name(name, longest)
    if isinstance(schema := kept.get("parameters"), Mapping):
        own = _json_schema(schema)
        kept["parameters"] = own if own.get("type") == "object" else {"properties": {}, **own, "type": "object"}
    return tool if kept == function else {**tool, "function": kept}


def _json_schema(schema: Any, levels: int = _DEEPEST) -> Any:
    """A schema in the types of JSON Schema, by whatever words the recording has them; nothing else of it changes."""
    if not isinstance(schema, Mapping) or not levels:
        return schema
    own = dict(schema)
    for name in _NAMED:
        if isinstance(held := own.get(name), Mapping):
            own[name] = {key: _json_schema(inner, levels - 1) for key, inner in held.items()}
    for name in _INNER:
        if name in own:
            held = own[name]
            is_list = isinstance(held, list)
            own[name] = [_json_schema(each, levels - 1) for each in held] if is_list else _json_schema(held, levels - 1)
    if "type" in own:
        told = own.pop("type")
        found = [*dict.fromkeys(map(_type, told if isinstance(told, list) else [told]))]
        if found and None not in found:
            own = {
                name: own[name] if name != "type" else found if isinstance(told, list) else found[0] for name in schema
            }
    return own


def _type(told: Any) -> str | None:
    """The first word for a type that stands in a text such as `int, optional` or `list[str]`; None where none does."""
    words = _WORD.findall(told.lower()) if isinstance(told, str) else ()
    return _TYPES[known] if (known := next((word for word in words if word in _TYPES), None)) is not None else None


def definition(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name, description and parameters of a tool, inside its wrapper or without one."""
    inner = tool.get(str(tool.get("type")))
    return inner if isinstance(inner, Mapping) else tool
