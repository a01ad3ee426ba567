"""Anthropic Messages as the test server speaks them: it refuses what the provider refuses, in the provider's words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tests.support.wires.form import (
    Body,
    Document,
    Message,
    Refused,
    Tokens,
    check_types,
    digest,
    event,
    finish_of,
    is_broken_seal,
    known,
    pieces,
    seal,
)

PATH = "/v1/messages"
MALFORMED: Document = {"id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "end_turn"}
_KNOWN = frozenset(
    [
        "cache_control",
        "container",
        "context_management",
        "inference_geo",
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ]
)
_BLOCKS: dict[str, frozenset[str]] = {
    "text": frozenset(("type", "text", "citations", "cache_control")),
    "image": frozenset(("type", "source", "cache_control")),
    "document": frozenset(("type", "source", "title", "context", "citations", "cache_control")),
    "tool_use": frozenset(("type", "id", "name", "input", "cache_control", "caller")),
    "tool_result": frozenset(("type", "tool_use_id", "content", "is_error", "cache_control")),
    "thinking": frozenset(("type", "thinking", "signature")),
    "redacted_thinking": frozenset(("type", "data")),
}
_ROLES: dict[str, frozenset[str]] = {
    "user": frozenset(("text", "image", "document", "tool_result")),
    "assistant": frozenset(("text", "tool_use", "thinking", "redacted_thinking")),
}
_TOOL = frozenset(
    [
        "type",
        "name",
        "description",
        "input_schema",
        "cache_control",
        "strict",
        "eager_input_streaming",
        "defer_loading",
        "input_examples",
        "allowed_callers",
    ]
)
_IMAGES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_ID = re.compile("[a-zA-Z0-9_-]+")
_NAME = re.compile("[a-zA-Z0-9_-]{1,128}")
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def _extra(at: str) -> Callable[[str], Refused]:
    return lambda name: Refused(f"{at}{name}: Extra inputs are not permitted")


def read(body: Body) -> Body:
    """The request in the neutral form.

    Raises:
        Refused: The provider would not take it.
    """
    known(body, _KNOWN, _extra(""))
    for name in ("model", "messages", "max_tokens"):
        if body.get(name) is None:
            raise Refused(f"{name}: Field required")
    if body["max_tokens"] < 1:
        raise Refused("max_tokens: Input should be greater than or equal to 1")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise Refused("temperature: range: 0..1")
    _check_thinking(body)
    given = [_blocks(message, n) for n, message in enumerate(body["messages"])]
    _check_order(body["messages"], given)
    messages: list[Message] = []
    if body.get("system"):
        messages.append({"role": "system", "content": _read_system(body["system"])})
    for message, blocks in zip(body["messages"], given, strict=True):
        messages += _read_user(blocks) if message["role"] == "user" else [_read_assistant(blocks)]
    neutral = {key: value for key, value in body.items() if key not in ("system", "tools")} | {"messages": messages}
    if body.get("tools"):
        neutral["tools"] = _read_tools(body["tools"])
    shape = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if shape:
        neutral["response_format"] = {"type": "json_schema", "json_schema": {"schema": shape["schema"]}}
    return neutral


def _check_thinking(body: Body) -> None:
    thinking = body.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return
    if thinking["budget_tokens"] >= body["max_tokens"]:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature", 1) != 1:
        raise Refused("`temperature` may only be set to 1 when thinking is enabled.")
    last = next((message for message in reversed(body["messages"]) if message["role"] == "assistant"), None)
    blocks = last["content"] if last is not None and isinstance(last["content"], list) else []
    if any(block["type"] == "tool_use" for block in blocks) and "thinking" not in blocks[0]["type"]:
        place = body["messages"].index(last)
        raise Refused(
            f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{blocks[0]['type']}`. "
            "When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost "
            "set of `tool_use` and `tool_result` blocks)."
        )


def _blocks(message: dict[str, Any], place: int) -> list[dict[str, Any]]:
    """The content of a message as blocks, each of a known kind."""
    at, role = f"messages.{place}", message.get("role")
    if role == "system":
        raise Refused(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an '
            "input message role."
        )
    if role not in _ROLES:
        raise Refused(f"{at}.role: Input should be 'user' or 'assistant'")
    known(message, frozenset(("role", "content")), _extra(f"{at}."))
    content = message.get("content")
    if not isinstance(content, str | list):
        raise Refused(f"{at}.content: Input should be a valid list")
    if not content:
        raise Refused(f"{at}: all messages must have non-empty content except for the optional final assistant message")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for number, block in enumerate(blocks):
        _check_block(block, role, f"{at}.content.{number}")
    return blocks


def _check_block(block: dict[str, Any], role: str, at: str) -> None:
    kind = block.get("type")
    if kind not in _BLOCKS:
        tags = ", ".join(f"'{each}'" for each in _BLOCKS)
        raise Refused(f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}")
    if kind not in _ROLES[role]:
        raise Refused(f"{at}: `{kind}` blocks are not allowed in `{role}` messages")
    known(block, _BLOCKS[kind], _extra(f"{at}.{kind}."))
    if kind in _CHECKS:
        _CHECKS[kind](block, at)


def _check_text(block: dict[str, Any], _at: str) -> None:
    if not block.get("text"):
        raise Refused("messages: text content blocks must be non-empty")
    if not block["text"].strip():
        raise Refused("messages: text content blocks must contain non-whitespace text")


def _check_use(block: dict[str, Any], at: str) -> None:
    if not _ID.fullmatch(str(block.get("id", ""))):
        raise Refused(f"{at}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block.get("input"), dict):
        raise Refused(f"{at}.tool_use.input: Input should be a valid dictionary")
    if not isinstance(block.get("name"), str) or not 1 <= len(block["name"]) <= 200:
        raise Refused(f"{at}.tool_use.name: String should have at least 1 character and at most 200")


def _check_result(block: dict[str, Any], at: str) -> None:
    if not _ID.fullmatch(str(block.get("tool_use_id", ""))):
        raise Refused(f"{at}.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    content = block.get("content")
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if part.get("type") == "tool_reference":  # what a search for tools found
            continue
        if part.get("type") not in ("text", "image", "document"):
            raise Refused(f"{at}.tool_result.content.{number}: Input tag '{part.get('type')}' is not expected")
        _check_block(part, "user", f"{at}.tool_result.content.{number}")


def _check_thought(block: dict[str, Any], at: str) -> None:
    if not block.get("signature"):
        raise Refused(f"{at}.thinking.signature: Field required")
    if is_broken_seal(block["thinking"], block["signature"]):
        raise Refused(f"{at}: Invalid `signature` in `thinking` block")


def _check_image(block: dict[str, Any], at: str) -> None:
    source = block.get("source") or {}
    if source.get("type") == "base64" and source.get("media_type") not in _IMAGES:
        raise Refused(f"{at}.image.source.base64.media_type: Input should be one of {sorted(_IMAGES)}")
    wanted = {"base64": "data", "url": "url", "file": "file_id"}.get(str(source.get("type")))
    if wanted is None or not isinstance(source.get(wanted), str):
        raise Refused(f"{at}.image.source: Input should be a valid source")


_CHECKS = {
    "text": _check_text,
    "tool_use": _check_use,
    "tool_result": _check_result,
    "thinking": _check_thought,
    "image": _check_image,
}


def _check_order(messages: Sequence[dict[str, Any]], given: Sequence[list[dict[str, Any]]]) -> None:
    """Roles take turns, and each result stands right after its call."""
    if not messages:
        raise Refused("messages: at least one message is required")
    roles = [message["role"] for message in messages]
    if roles[0] != "user":
        raise Refused('messages: first message must use the "user" role')
    for before, role in pairwise(roles):
        if before == role:
            raise Refused(
                f'messages: roles must alternate between "user" and "assistant", but found multiple "{role}" roles in a row'
            )
    seen: set[str] = set()
    waiting: list[str] = []
    for place, blocks in enumerate(given):
        _check_answers(place, blocks, waiting)
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len({*waiting}) < len(waiting) or seen & {*waiting}:
            raise Refused("messages: `tool_use` ids must be unique")
        seen |= {*waiting}
    if waiting:
        _refuse_unanswered(len(given) - 1, waiting)
    last = given[-1][-1]
    if roles[-1] == "assistant" and last["type"] == "text" and last["text"] != last["text"].rstrip():
        raise Refused("messages: final assistant content cannot end with trailing whitespace")


def _check_answers(place: int, blocks: Sequence[dict[str, Any]], waiting: Sequence[str]) -> None:
    """Each call of the message before has one result, at the beginning of this one; and nothing else has."""
    results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    for number, block in enumerate(blocks):
        if block["type"] == "tool_result" and block["tool_use_id"] not in waiting:
            raise Refused(
                f"messages.{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
    for each in results:
        if results.count(each) > 1:
            raise Refused(
                f"messages.{place}.content: each tool_use must have a single result. Found multiple `tool_result` blocks with id: {each}"
            )
    begin = {block.get("tool_use_id") for block in blocks[: len(waiting)]}
    if missing := [each for each in waiting if each not in begin]:
        _refuse_unanswered(place - 1, missing)


def _refuse_unanswered(place: int, missing: Sequence[str]) -> None:
    raise Refused(
        f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _read_system(system: Any) -> Any:
    if isinstance(system, str):
        return system
    for block in system:
        if block.get("type") != "text":
            raise Refused("system.0.type: Input should be 'text'")
        if not block.get("text"):
            raise Refused("system: text content blocks must be non-empty")
    return "\n\n".join(block["text"] for block in system)


def _read_user(blocks: Sequence[dict[str, Any]]) -> Iterator[Message]:
    """Results, then what was said."""
    said = []
    for block in blocks:
        if block["type"] == "tool_result":
            content = block.get("content", "")
            parts = [_part(part) for part in content] if isinstance(content, list) else content
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": parts}
        else:
            said.append(_part(block))
    if said:
        is_text = len(said) == 1 and said[0]["type"] == "text"
        yield {"role": "user", "content": said[0]["text"] if is_text else said}


def _part(block: Mapping[str, Any]) -> dict[str, Any]:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    if block["type"] == "tool_reference":
        return dict(block)
    source = block["source"]
    url = source.get("url") or source.get("file_id")
    if source["type"] == "base64":
        url = f"data:{source['media_type']};base64,{source['data']}"
    return {"type": "image_url", "image_url": {"url": url}}


def _read_assistant(blocks: Sequence[dict[str, Any]]) -> Message:
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    message: Message = {"role": "assistant", "content": "".join(texts) or None}
    thoughts = [block.get("thinking") or block.get("data") for block in blocks if "thinking" in block["type"]]
    if thoughts:
        message["reasoning"] = "".join(thoughts)
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"], ensure_ascii=False)},
        }
        for block in blocks
        if block["type"] == "tool_use"
    ]
    return {**message, "tool_calls": calls} if calls else message


def _read_tools(tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    names = [tool.get("name") for tool in tools]
    if len({*names}) < len(names):
        raise Refused("tools: Tool names must be unique.")
    found = []
    for place, tool in enumerate(tools):
        at = f"tools.{place}.custom"
        known(tool, _TOOL, _extra(f"{at}."))
        if not _NAME.fullmatch(str(tool.get("name", ""))):
            raise Refused(f"{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if not isinstance(tool.get("input_schema"), dict):
            raise Refused(f"{at}.input_schema: Field required")
        if tool["input_schema"].get("type") != "object":
            raise Refused(f"{at}.input_schema.type: Input should be 'object'")
        check_types(tool["input_schema"], at)
        function = {"name": tool["name"], "parameters": tool["input_schema"]}
        function |= {key: tool[key] for key in ("description", "strict") if tool.get(key) is not None}
        found.append({"type": "function", "function": function})
    return found


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse a request that names no version of the interface.

    Raises:
        Refused: It does not.
    """
    if "anthropic-version" not in headers:
        raise Refused("anthropic-version: header is required")


def write(body: Body, message: Message, tokens: Tokens) -> Document:
    """A message."""
    mark = digest(body["messages"], message)[:24]
    content: list[dict[str, Any]] = []
    if text := message.get("reasoning"):
        content.append({"type": "thinking", "thinking": text, "signature": seal(text)})
    if text := message.get("content") or message.get("refusal"):
        content.append({"type": "text", "text": text, "citations": None})
    for number, call in enumerate(message.get("tool_calls") or ()):
        given = json.loads(call["function"]["arguments"] or "{}")
        block = {"type": "tool_use", "id": f"toolu_{mark}{number}", "name": call["function"]["name"], "input": given}
        content.append(block)
    finish = finish_of(message)
    return {
        "id": f"msg_{mark}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "refusal" if message.get("refusal") else _STOPS.get(finish, finish),
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens.given - tokens.cached - tokens.written,
            "cache_creation_input_tokens": tokens.written,
            "cache_read_input_tokens": tokens.cached,
            "output_tokens": tokens.made,
            **({"output_tokens_details": {"thinking_tokens": tokens.thought}} if tokens.thought else {}),
            "service_tier": "standard",
        },
    }


def error(refused: Refused) -> Document:
    """An error."""
    kind = _KINDS.get(refused.status, "api_error" if refused.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": refused.message}, "request_id": "req_1"}


def stream(_body: Body, document: Document) -> Iterator[bytes]:
    """The message as events."""
    begun = {**document, "content": [], "stop_reason": None, "usage": {**document["usage"], "output_tokens": 1}}
    yield event({"type": "message_start", "message": begun})
    yield event({"type": "ping"})
    for index, block in enumerate(document["content"]):
        yield from _block_events(index, block)
    ended = {"stop_reason": document["stop_reason"], "stop_sequence": document["stop_sequence"]}
    usage = {"output_tokens": document["usage"]["output_tokens"]}
    yield event({"type": "message_delta", "delta": ended, "usage": usage})
    yield event({"type": "message_stop"})


def _block_events(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}[
        block["type"]
    ]
    yield event({"type": "content_block_start", "index": index, "content_block": {**block, **empty}})
    deltas: list[dict[str, Any]] = []
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    elif block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        text = json.dumps(block["input"]) if block["input"] else ""  # no arguments are sent as no text at all
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(text))]
    yield from (event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas)
    yield event({"type": "content_block_stop", "index": index})
