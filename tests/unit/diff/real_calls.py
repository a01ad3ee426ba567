"""The agent's tool calls in a real conversation, read without the importer."""

from __future__ import annotations

import json

from pipelines.diff.pair.align import ToolCall


def agent_calls(conversation: dict) -> list[ToolCall]:
    """The agent's tool calls, a message being a parallel block; arguments as jsonb would print them."""
    found = []
    for message_index, message in enumerate(conversation["messages"]):
        if message["role"] == "assistant":
            for call in message.get("tool_calls") or []:
                function = call["function"]
                arguments = json.dumps(function["arguments"], ensure_ascii=False)
                found.append(ToolCall(len(found), message_index, function["name"], arguments))
    return found
