"""An agent's loop by each of the three APIs: it keeps its history as its provider has it, and gives back what it got."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

Api = Literal["chat", "responses", "messages"]
APIS: tuple[Api, ...] = ("chat", "responses", "messages")
SYSTEM = "You answer for the shop. Zoë 😀"
_SCHEMA = {"type": "object", "properties": {"key": {"type": "string"}}}
TOOLS: Mapping[Api, Any] = {
    "chat": [{"type": "function", "function": {"name": "look_up", "description": "Finds.", "parameters": _SCHEMA}}],
    "responses": [{"type": "function", "name": "look_up", "description": "Finds.", "parameters": _SCHEMA}],
    "messages": [{"name": "look_up", "description": "Finds.", "input_schema": _SCHEMA}],
}
_BODIES: Mapping[Api, dict[str, Any]] = {
    "chat": {},
    "responses": {"instructions": SYSTEM, "store": False, "include": ["reasoning.encrypted_content"]},
    "messages": {
        "system": [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
        "max_tokens": 100,
    },
}
_HISTORY: Mapping[Api, str] = {"chat": "messages", "responses": "input", "messages": "messages"}


class Loop:
    """A conversation as an agent keeps it."""

    def __init__(self, api: Api, model: str = "m", **params: Any) -> None:
        self.api: Api = api
        self.history: list[Any] = [{"role": "system", "content": SYSTEM}] if api == "chat" else []
        self._body = {"model": model, "tools": TOOLS[api], **_BODIES[api], **params}

    def offer_nothing(self) -> None:
        """Offer the model no tools."""
        del self._body["tools"]

    def request(self) -> dict[str, Any]:
        """What the client's method is called with next."""
        return {**self._body, _HISTORY[self.api]: self.history}

    def user(self, content: Any) -> None:
        """The person says something."""
        last = self.history[-1] if self.history else None
        if (
            self.api == "messages" and isinstance(last, dict) and last["role"] == "user"
        ):  # results and text are one message
            last["content"] = [*last["content"], {"type": "text", "text": content}]
        else:
            self.history = [*self.history, {"role": "user", "content": content}]

    def results(self, answers: Mapping[str, str]) -> None:
        """Tools answered, by the ids of their calls."""
        made = [_RESULTS[self.api](call_id, text) for call_id, text in answers.items()]
        new = [{"role": "user", "content": made}] if self.api == "messages" else made
        self.history = [*self.history, *(new if made else [])]

    def took(self, response: Any) -> list[str]:
        """The model answered, as a dict or the SDK's object; the ids of the calls it made."""
        given = (
            response
            if isinstance(response, dict)
            else response.model_dump(mode="json", exclude_unset=True, warnings=False)
        )
        whole = given if isinstance(response, dict) else response
        self.history = [*self.history, *_SAID[self.api](whole)]
        return [*_CALLS[self.api](given)]


def _at(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


_SAID: Mapping[Api, Callable[[Any], list[Any]]] = {
    "chat": lambda given: [_at(_at(given, "choices")[0], "message")],
    "responses": lambda given: list(_at(given, "output")),
    "messages": lambda given: [{"role": "assistant", "content": _at(given, "content")}],
}
_RESULTS: Mapping[Api, Callable[[str, str], dict[str, Any]]] = {
    "chat": lambda call, text: {"role": "tool", "tool_call_id": call, "content": text},
    "responses": lambda call, text: {"type": "function_call_output", "call_id": call, "output": text},
    "messages": lambda call, text: {"type": "tool_result", "tool_use_id": call, "content": text},
}
_CALLS: Mapping[Api, Callable[[dict[str, Any]], Iterator[str]]] = {
    "chat": lambda given: (call["id"] for call in given["choices"][0]["message"].get("tool_calls") or ()),
    "responses": lambda given: (item["call_id"] for item in given["output"] if item["type"] == "function_call"),
    "messages": lambda given: (block["id"] for block in given["content"] if block["type"] == "tool_use"),
}


def plain(events: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Events without what APIs say each in their way: parameters, hashes, ids, the spelling of arguments, what was thought."""
    calls: dict[str, str] = {}
    found = []
    for event in events:
        payload = {key: value for key, value in event.payload.items() if key not in _OWN}
        if isinstance(payload.get("call_id"), str):
            payload["call_id"] = calls.setdefault(payload["call_id"], str(len(calls)))
        if isinstance(payload.get("arguments"), str):
            payload["arguments"] = json.loads(payload["arguments"] or "{}")
        found.append((event.event_type, {} if event.event_type.startswith("agent.reasoning.") else payload))
    return found


_OWN = ("params", "request_sha256", "response_id")
