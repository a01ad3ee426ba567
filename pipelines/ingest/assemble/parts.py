"""Parts of a message's content, in every dialect that recorders write, as the chat shape says them.

A part is text, reasoning, a call of a tool, what a tool answered, a system text, or something else, which stays in the content as
it is. What a part says beside these stays on what it became. Which fields say a message is `messages`'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.ingest.assemble.leaves import said

_TEXT = frozenset({"text", "input_text", "output_text", "user-prompt"})
_CALLS = frozenset(
    {
        "tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "tool-call", "server_tool_call", "function_call",
        "custom_tool_call", "toolCall", "function", "tool-invocation", "dynamic-tool", "toolUse", "functionCall",
        "custom", "builtin-tool-call",
    }
)  # fmt: skip
_RESULTS = frozenset(
    {
        "tool_result", "mcp_tool_result", "tool-result", "tool_call_response", "server_tool_call_response", "tool_response",
        "tool-return", "function_response", "function_call_output", "custom_tool_call_output", "toolResult",
        "functionResponse", "retry-prompt", "builtin-tool-return",
    }
)  # fmt: skip
_REASONING = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoningContent"})
_BY_PROVIDER = frozenset(
    {"server_tool_use", "server_tool_call", "server_tool_call_response", "mcp_tool_use", "mcp_tool_result",
     "builtin-tool-call", "builtin-tool-return"}
)  # fmt: skip
"""Types of parts by which a tool is called, or answers, at the provider's."""
_KEYED = (
    "toolUse",
    "toolResult",
    "functionCall",
    "functionResponse",
    "function_call",
    "function_response",
    "reasoningContent",
)
"""Fields that hold a whole part, in dialects without a type."""
_HOLDERS = (*_KEYED, "toolCall", "toolInvocation", "function", "custom")
"""Fields in which a part says what it is, in the order in which they count."""
_HOLDER_NAMES = frozenset(_HOLDERS)
_CALL_IDS = ("call_id", "tool_call_id", "toolCallId", "toolUseId", "id")
_NAMES = ("name", "tool_name", "toolName")
_ARGUMENTS = ("arguments", "args", "input")
_RESULT_IDS = ("tool_use_id", "toolUseId", "tool_call_id", "toolCallId", "call_id", "id")
_OUTPUTS = ("response", "result", "content", "output")
_ERRORS = ("is_error", "isError", "error")
_KNOWN = _TEXT | _CALLS | _RESULTS | _REASONING
_PICTURES = frozenset({"image", "image_url", "input_image", "document", "file"})


def kind_of(part: dict[str, Any]) -> str | None:
    """The type that a part gives itself, or the field that stands for one."""
    kind = part.get("type") or part.get("part_kind")
    if isinstance(kind, str):
        return kind
    return next((name for name in _KEYED if isinstance(part.get(name), dict)), None)


def is_parts(value: Any) -> bool:
    """Whether a list that stood in a text is parts of a content: only where all of it is of types that recorders write.

    An agent may answer in JSON; that is text.
    """
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(p, dict) and (kind_of(p) in _KNOWN | _PICTURES or set(p) <= {"text", "cachePoint"})
            for p in value
        )
    )


@dataclass(slots=True)
class Said:
    """What the parts of one message came to.

    Attributes:
        content: Text and all that is no part of the others, in order.
        calls: Calls of tools, in the shape of chat completions.
        results: Messages of the role tool.
        reasoning: As the run line has it.
        system: System texts.
        order: Types of the parts in their order.
    """

    content: list[Any] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    reasoning: list[dict[str, Any]] = field(default_factory=list)
    system: list[Any] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def add(self, part: Any) -> None:
        """Take the next part."""
        if isinstance(part, str):
            self.content.append({"type": "text", "text": part})
            self.order.append("text")
            return
        kind = kind_of(part) if isinstance(part, dict) else None
        if not isinstance(part, dict) or (kind is None and not _is_text(part)):
            self.content.append(part)
            self.order.append("other")
        elif part.get("thought") is True or kind in _REASONING:
            self.reasoning.append(reasoning_of(part))
            self.order.append("reasoning")
        elif kind in _RESULTS or (kind and kind.endswith(("_tool_result", "_tool_return"))):
            self._result(part, kind or "")
        elif kind in _CALLS and _names_tool(part):
            self._call(part, kind or "")
        elif kind == "system-prompt":
            self.system.append(part.get("content"))
        else:
            self.content.append(_text(part) if kind is None or kind in _TEXT else part)
            self.order.append("text" if kind is None or kind in _TEXT else str(kind))

    def _call(self, part: dict[str, Any], kind: str) -> None:
        call = call_of(part)
        if kind in _BY_PROVIDER:
            call["executor"] = "provider"
        self.calls.append(call)
        self.order.append("tool_call")
        if kind in ("tool-invocation", "dynamic-tool"):  # of these a part is both, once there is an output
            output = _take(call, ("result", "output", "errorText"))
            if output is not None:
                self.results.append({"role": "tool", "tool_call_id": call["id"], "content": output})
                self.order.append("tool_result")

    def _result(self, part: dict[str, Any], kind: str) -> None:
        if kind == "retry-prompt" and not part.get("tool_name"):
            self.content.append(_text({k: v for k, v in part.items() if k != "part_kind"}))
            return
        result = result_of(part)
        if kind == "retry-prompt":
            result.setdefault("error", True)
        if kind in _BY_PROVIDER or (kind.endswith("_tool_result") and kind != "mcp_tool_result"):
            result["executor"] = "provider"
        self.results.append(result)
        self.order.append("tool_result")


def _is_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


def _names_tool(part: dict[str, Any]) -> bool:
    inner = _inner(part)
    return any([isinstance(inner.get(name), str) for name in _NAMES])  # noqa: C419 -- of three, asked of every call


def _inner(part: dict[str, Any]) -> dict[str, Any]:
    """The object in which a part says what it is, where it holds one."""
    if _HOLDER_NAMES.isdisjoint(part):
        return part
    return next((dict(part[name]) for name in _HOLDERS if isinstance(part.get(name), dict)), part)


def _text(part: dict[str, Any]) -> Any:
    """A part of text under the name that chat completions give it."""
    rest = {key: value for key, value in part.items() if key not in ("type", "part_kind")}
    for name in ("text", "content", "value"):
        if isinstance(rest.get(name), str):
            return {"type": "text", "text": rest.pop(name), **said(rest)}
    return part


def _take(value: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Take out the first field that says something."""
    for name in names:
        if value.get(name) is not None:
            return value.pop(name)
    return None


def call_of(part: dict[str, Any]) -> dict[str, Any]:
    """A call of a tool, in any dialect, in the shape of chat completions; what it says beside stays on it.

    Arguments are as they were recorded: text as the model wrote it, or an object.
    """
    inner = _inner(part)
    rest = (
        {} if inner is part else {k: v for k, v in part.items() if v is not part.get("custom") and not _is_inner(k, v)}
    )
    given = dict(inner)
    call_id = _take(given, _CALL_IDS)
    if call_id is None:
        call_id = _take(rest, _CALL_IDS)
    name = _take(given, _NAMES)
    arguments = _take(given, _ARGUMENTS)
    for each in (given, rest):
        for key in ("type", "part_kind"):
            each.pop(key, None)
    call: dict[str, Any] = {"id": call_id if isinstance(call_id, (str, int)) else None, "type": "function"}
    call["function"] = {"name": name, "arguments": {} if arguments in (None, "") else arguments}
    extras = said(rest | given)
    if "id" in extras:
        extras["item_id"] = extras.pop("id")
    return call | {key: value for key, value in extras.items() if key not in call}


def _is_inner(key: str, value: Any) -> bool:
    return isinstance(value, dict) and key in _HOLDER_NAMES


def result_of(part: dict[str, Any]) -> dict[str, Any]:
    """What a tool answered, as a message of the role tool; what it says beside stays on it."""
    inner = _inner(part)
    given = dict(inner)
    rest = {} if inner is part else {key: value for key, value in part.items() if not _is_inner(key, value)}
    message: dict[str, Any] = {"role": "tool", "tool_call_id": _take(given, _RESULT_IDS)}
    output = _take(given, _OUTPUTS)
    error = _take(given, _ERRORS)
    if isinstance(output, dict) and set(output) == {"type", "value"} and isinstance(output["type"], str):
        kind, output = output["type"], output["value"]  # what the Vercel SDK puts around a result
        error = True if kind.startswith("error") and error is None else error
    message["content"] = output
    if (name := _take(given, _NAMES)) is not None:
        message["name"] = name
    if given.get("status") == "error" and error is None:
        error = True
    if error is not None:
        message["error"] = error
    for each in (given, rest):
        for key in ("type", "part_kind"):
            each.pop(key, None)
    extras = said(rest | given)
    if "id" in extras:
        extras["item_id"] = extras.pop("id")
    return message | {key: value for key, value in extras.items() if key not in message}


def reasoning_of(part: dict[str, Any]) -> dict[str, Any]:
    """Reasoning as the run line has it: any of text, summary, encrypted, signature, redacted, and what else was said.

    Encrypted texts and signatures stay as they are, byte for byte: without them the model does not take the history again.
    """
    given = {k: v for k, v in part.items() if k not in ("type", "part_kind", "thought")}
    inner = given.pop("reasoningContent", None)
    if isinstance(inner, dict):
        text = inner.pop("reasoningText", None) if isinstance(inner.get("reasoningText"), dict) else None
        given |= inner | (text or {})
    made: dict[str, Any] = {}
    for name, names in (
        ("text", ("thinking", "reasoning", "text", "content", "value")),
        ("summary", ("summary",)),
        ("encrypted", ("encrypted_content", "data", "redactedContent")),
        ("signature", ("signature", "thoughtSignature", "thought_signature")),
    ):
        value = _take(given, names)
        if value not in (None, "", []):
            made[name] = _joined(value) if name == "text" else value
    if part.get("type") == "redacted_thinking" or given.get("redacted") is True or "redactedContent" in part:
        made["redacted"] = True
    return made | {key: value for key, value in said(given).items() if key not in made}


def _joined(value: Any) -> Any:
    """The text of reasoning that is given as parts of text."""
    if isinstance(value, list) and all(isinstance(each, dict) and isinstance(each.get("text"), str) for each in value):
        return "".join(each["text"] for each in value)
    return value
