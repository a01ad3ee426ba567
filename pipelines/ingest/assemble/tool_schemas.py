"""Schemas of tools as each API of models has them, in the shape of chat completions. Pure."""

from __future__ import annotations

from typing import Any

_OF_MESSAGES = {"name": "name", "description": "description", "input_schema": "parameters"}


def of_responses(tool: Any) -> Any:
    """A function as the Responses API has it, in the shape of chat completions; tools of the provider's own stay as they are."""
    if not isinstance(tool, dict) or tool.get("type") != "function" or "function" in tool:
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def of_messages(tool: Any) -> Any:
    """A tool as the Messages API has it, in the shape of chat completions; tools of the provider's own stay as they are."""
    if not isinstance(tool, dict) or "input_schema" not in tool:
        return tool
    function = {new: tool[old] for old, new in _OF_MESSAGES.items() if old in tool}
    beside = {key: value for key, value in tool.items() if key not in (*_OF_MESSAGES, "type")}
    return {"type": "function", "function": function, **beside}
