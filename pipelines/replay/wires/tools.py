"""The tools of a request, in whatever form the recording or the experiment has them, and what a wire makes of that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.replay.wires.calls import INPUT

_DEFINED = ("name", "description", "parameters", "strict")


def function_tools(tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Tools as they are offered: functions, however the recording or the experiment writes them."""
    return [_function_tool(tool) for tool in tools]


def custom_names(tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the tools that take free text."""
    return frozenset(str(definition(tool).get("name")) for tool in tools if takes_text(tool))


def takes_text(tool: Mapping[str, Any]) -> bool:
    """Whether a tool takes free text; Anthropic calls every tool that it does not run itself `custom`, and gives it a schema."""
    return tool.get("type") == "custom" and "input_schema" not in definition(tool)


def _function_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """One tool; a definition without its wrapper, as other interfaces have them, gets it."""
    if not takes_text(tool) and ("function" in tool or "name" not in tool):
        return _own_words(tool)
    defined = dict(definition(tool))
    if takes_text(tool):
        text = {"type": "string"}
        if isinstance(kept := defined.get("format"), Mapping) and kept.get("type") != "text":
            text["description"] = f"Must be of this form: {json.dumps(kept, ensure_ascii=False)}"
        defined["parameters"] = {"type": "object", "properties": {INPUT: text}, "required": [INPUT]}
    elif "parameters" not in defined and "input_schema" in defined:
        defined["parameters"] = defined["input_schema"]
    return {"type": "function", "function": {key: defined[key] for key in _DEFINED if key in defined}}


def _own_words(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function in its wrapper, of the members that endpoints know, with a schema of an object; the same where it is so already."""
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return tool
    kept = {key: value for key, value in function.items() if key in _DEFINED}
    schema = kept.get("parameters")
    if isinstance(schema, Mapping) and schema.get("type") != "object":
        kept["parameters"] = {"properties": {}, **schema, "type": "object"}
    return tool if kept == function else {**tool, "function": kept}


def definition(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name, description and parameters of a tool, inside its wrapper or without one."""
    inner = tool.get(str(tool.get("type")))
    return inner if isinstance(inner, Mapping) else tool
