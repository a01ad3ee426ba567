"""Responses as the test server speaks them: it refuses what the provider refuses, in the provider's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.support.wires.form import (
    Body,
    Document,
    Message,
    Refused,
    Tokens,
    check_names,
    check_types,
    digest,
    event,
    finish_of,
    is_broken_seal,
    known,
    pieces,
    seal,
)

PATH = "/v1/responses"
MALFORMED: Document = {"id": "resp_1", "object": "response", "status": "completed"}
ENCRYPTED = "reasoning.encrypted_content"
_KNOWN = frozenset(
    [
        "background",
        "background_options",
        "conversation",
        "context_management",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)
_MOVED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "messages": "input",
}
_ITEMS: dict[str, frozenset[str]] = {
    "message": frozenset(("type", "role", "content", "id", "status", "phase")),
    "function_call": frozenset(("type", "call_id", "name", "arguments", "id", "status", "namespace", "caller")),
    "custom_tool_call": frozenset(("type", "call_id", "name", "input", "id", "status", "namespace", "caller")),
    "function_call_output": frozenset(("type", "call_id", "output", "id", "status", "caller")),
    "custom_tool_call_output": frozenset(("type", "call_id", "output", "id", "status", "caller")),
    "reasoning": frozenset(("type", "id", "summary", "content", "encrypted_content", "status")),
}
_PREFIXES = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}
_WORDS = {"function_call": "function call", "custom_tool_call": "custom tool call"}
_PARTS = {
    "user": ("input_text", "input_image", "input_file"),
    "system": ("input_text", "input_image", "input_file"),
    "developer": ("input_text", "input_image", "input_file"),
    "assistant": ("output_text", "refusal"),
}
_TOOL = frozenset(("type", "name", "description", "parameters", "strict", "defer_loading", "allowed_callers"))
_CUSTOM = frozenset(("type", "name", "description", "format", "defer_loading", "allowed_callers"))
_LEAST_OUTPUT = 16
_LONGEST_ID = 64


def _missing(param: str) -> Refused:
    return Refused(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)


def _unknown(at: str) -> Callable[[str], Refused]:
    def refuse(name: str) -> Refused:
        if not at and name in _MOVED:
            words = (
                f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to '{_MOVED[name]}'."
            )
            return Refused(words, code="unsupported_parameter", param=name)
        return Refused(f"Unknown parameter: '{at}{name}'.", code="unknown_parameter", param=at + name)

    return refuse


def read(body: Body) -> Body:
    """The request in the neutral form.

    Raises:
        Refused: The provider would not take it.
    """
    known(body, _KNOWN, _unknown(""))
    if "model" not in body:
        raise _missing("model")
    if "input" not in body:
        raise _missing("input")
    most = body.get("max_output_tokens")
    if most is not None and most < _LEAST_OUTPUT:
        words = f"integer below minimum value. Expected a value >= {_LEAST_OUTPUT}, but got {most} instead."
        raise Refused(f"Invalid 'max_output_tokens': {words}", code="integer_below_min_value")
    items = _listed(body)
    _check_order(items)
    messages: list[Message] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    thoughts: list[str] = []
    for place, item in enumerate(items):
        _read_item(item, f"input[{place}]", messages, thoughts)
    neutral = {key: value for key, value in body.items() if key not in ("input", "instructions", "tools", "text")}
    tools = [_read_tool(tool, f"tools[{place}]") for place, tool in enumerate(body.get("tools") or ())]
    neutral |= {"messages": messages} | ({"tools": tools} if tools else {})
    shape = (body.get("text") or {}).get("format") or {}
    if shape.get("type") == "json_schema":
        inner = {key: value for key, value in shape.items() if key != "type"}
        neutral["response_format"] = {"type": "json_schema", "json_schema": inner}
    return neutral


def _check_order(items: Sequence[dict[str, Any]]) -> None:
    """Calls and outputs belong together, ids are there once, reasoning is followed by what it led to."""
    kinds = [item.get("type", "message") for item in items]
    calls: dict[str, str] = {}
    seen: set[str] = set()
    for place, (item, kind) in enumerate(zip(items, kinds, strict=True)):
        if (item_id := item.get("id")) is not None:
            if item_id in seen:
                words = f"Duplicate item found with id {item_id}. Remove duplicate items from your input and try again."
                raise Refused(words, param="input")
            seen.add(item_id)
        if kind in _CALLS:
            if item.get("call_id") in calls:
                raise Refused(f"Duplicate function call found with call_id {item['call_id']}.", param="input")
            calls[str(item.get("call_id"))] = kind
        if kind in _OUTPUTS:
            wanted = _OUTPUTS[kind]
            if calls.get(str(item.get("call_id"))) != wanted:
                words = f"No tool call found for {_WORDS[wanted]} output with call_id {item.get('call_id')}."
                raise Refused(words, param="input")
        if kind == "reasoning" and (place + 1 == len(items) or _begins_anew(items[place + 1])):
            words = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
            raise Refused(words, param="input")
    answered = [item.get("call_id") for item, kind in zip(items, kinds, strict=True) if kind in _OUTPUTS]
    for call_id, kind in calls.items():
        if answered.count(call_id) != 1:
            words = "No tool output found" if call_id not in answered else "Duplicate tool output found"
            raise Refused(f"{words} for {_WORDS[kind]} {call_id}.", param="input")


def _begins_anew(item: dict[str, Any]) -> bool:
    kind = item.get("type", "message")
    return kind in _OUTPUTS or (kind == "message" and item.get("role") != "assistant")


def _read_item(item: dict[str, Any], at: str, messages: list[Message], thoughts: list[str]) -> None:
    """One item, added to the messages."""
    kind = item.get("type", "message")
    if kind not in _ITEMS:
        values = ", ".join(f"'{each}'" for each in _ITEMS)
        raise Refused(f"Invalid value: '{kind}'. Supported values are: {values}.", code="invalid_value", param=at)
    known(item, _ITEMS[kind], _unknown(f"{at}."))
    prefix, item_id = _PREFIXES.get(kind), item.get("id")
    if prefix is not None and item_id is not None and not item_id.startswith(prefix):
        words = f"Invalid '{at}.id': '{item_id}'. Expected an ID that begins with '{prefix}'."
        raise Refused(words, code="invalid_value", param=f"{at}.id")
    if kind == "message":
        _read_message(item, at, messages, thoughts)
    elif kind == "reasoning":
        thoughts.append(_read_reasoning(item, at))
    elif kind in _CALLS:
        _read_call(item, at, messages, thoughts)
    else:
        messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": _read_output(item, at)})


def _read_message(item: dict[str, Any], at: str, messages: list[Message], thoughts: list[str]) -> None:
    role = item.get("role")
    if role not in _PARTS:
        values = ", ".join(f"'{each}'" for each in _PARTS)
        raise Refused(f"Invalid value: '{role}'. Supported values are: {values}.", code="invalid_value")
    if not isinstance(item.get("content"), str | list):
        raise Refused(f"Invalid type for '{at}.content': expected one of an array of objects or string.", param=at)
    message: Message = {"role": role, "content": item["content"]}
    if isinstance(item["content"], list):
        parts = [_read_part(part, role, f"{at}.content[{n}]") for n, part in enumerate(item["content"])]
        refusals = [part["refusal"] for part in parts if "refusal" in part]
        message["content"] = [part for part in parts if "refusal" not in part]
        if refusals:
            message |= {"refusal": "".join(refusals), "content": message["content"] or None}
    if role == "assistant" and thoughts:
        message["reasoning"] = "".join(thoughts)
        thoughts.clear()
    messages.append(message)


def _read_part(part: dict[str, Any], role: str, at: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind not in _PARTS[role]:
        values = " and ".join(f"'{each}'" for each in _PARTS[role])
        raise Refused(f"Invalid value: '{kind}'. Supported values are: {values}.", code="invalid_value", param=at)
    if kind == "refusal":
        return {"refusal": part["refusal"]}
    if kind in ("input_text", "output_text"):
        if not isinstance(part.get("text"), str):
            raise _missing(f"{at}.text")
        return {"type": "text", "text": part["text"]}
    if kind == "input_image":
        if not isinstance(part.get("image_url") or part.get("file_id"), str):
            raise Refused(f"Invalid type for '{at}.image_url': expected an image URL.", code="invalid_type", param=at)
        return {"type": "image_url", "image_url": {"url": part.get("image_url") or part["file_id"]}}
    return {"type": "file", "file": {key: value for key, value in part.items() if key != "type"}}


def _read_reasoning(item: dict[str, Any], at: str) -> str:
    """The text of a reasoning; what it is known by when it has none."""
    if "summary" not in item:
        raise _missing(f"{at}.summary")
    text = "".join(part["text"] for part in item["summary"])
    sealed = item.get("encrypted_content")
    if not sealed:
        words = f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false."
        raise Refused(f"{words} Try again with `store` set to true, or remove this item from your input.", status=404)
    if is_broken_seal(text, sealed):
        raise Refused(
            f"The encrypted content for item {item.get('id')} could not be verified.", code="invalid_encrypted_content"
        )
    return text or str(sealed)


def _read_call(item: dict[str, Any], at: str, messages: list[Message], thoughts: list[str]) -> None:
    for name in ("call_id", "name", "arguments" if item["type"] == "function_call" else "input"):
        if not isinstance(item.get(name), str):
            raise _missing(f"{at}.{name}")
    if not 0 < len(item["call_id"]) <= _LONGEST_ID:
        words = f"Expected a string with maximum length {_LONGEST_ID}, but got a string with length {len(item['call_id'])} instead."
        raise Refused(f"Invalid '{at}.call_id': string too long. {words}", code="string_above_max_length")
    check_names([item["name"]])
    is_custom = item["type"] == "custom_tool_call"
    arguments = json.dumps({"input": item["input"]}) if is_custom else item["arguments"]
    call = {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": arguments}}
    last = messages[-1] if messages else {}
    if thoughts or last.get("role") != "assistant":
        last = {"role": "assistant", "content": None}
        messages.append(last)
    if thoughts:
        last["reasoning"] = "".join(thoughts)
        thoughts.clear()
    last.setdefault("tool_calls", []).append(call)


def _read_output(item: dict[str, Any], at: str) -> Any:
    output = item.get("output")
    if isinstance(output, list):
        return [_read_part(part, "user", f"{at}.output[{n}]") for n, part in enumerate(output)]
    if not isinstance(output, str):
        raise _missing(f"{at}.output")
    return output


def _read_tool(tool: dict[str, Any], at: str) -> dict[str, Any]:
    if tool.get("type") not in ("function", "custom"):
        raise Refused(f"Invalid value: '{tool.get('type')}'.", code="invalid_value", param=f"{at}.type")
    if "name" not in tool:
        raise _missing(f"{at}.name")
    check_names([tool["name"]])
    if tool["type"] == "custom":
        known(tool, _CUSTOM, _unknown(f"{at}."))
        return {"type": "custom", "custom": {key: value for key, value in tool.items() if key != "type"}}
    known(tool, _TOOL, _unknown(f"{at}."))
    schema = tool.get("parameters") or {"type": "object"}
    if schema.get("type") != "object":
        words = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
        raise Refused(f"Invalid schema for function '{tool['name']}': {words}", code="invalid_function_parameters")
    check_types(schema, tool["name"])
    function = {key: value for key, value in tool.items() if key != "type" and value is not None}
    return {"type": "function", "function": {"strict": True, **function}}  # what is not said is strict here


def write(body: Body, message: Message, tokens: Tokens) -> Document:
    """A response."""
    mark = digest(body["messages"], message)[:24]
    finish = finish_of(message)
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish)
    status = "completed" if reason is None else "incomplete"
    output = list(_items(body, message, mark, status))
    details = {
        "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": tokens.written},
        "output_tokens_details": {"reasoning_tokens": tokens.thought},
    }
    counts = {"input_tokens": tokens.given, "output_tokens": tokens.made, "total_tokens": tokens.given + tokens.made}
    return {
        "id": f"resp_{mark}",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "instructions": None,
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": {},
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {**counts, **details},
    }


def _items(body: Body, message: Message, mark: str, status: str) -> Iterator[dict[str, Any]]:
    """What the model put out."""
    if text := message.get("reasoning"):
        item = {"type": "reasoning", "id": f"rs_{mark}", "summary": [{"type": "summary_text", "text": text}]}
        yield {**item, "encrypted_content": seal(text) if ENCRYPTED in (body.get("include") or ()) else None}
    parts: list[dict[str, Any]] = []
    if message.get("content"):
        parts.append({"type": "output_text", "text": message["content"], "annotations": [], "logprobs": []})
    if message.get("refusal"):
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    if parts:
        yield {"type": "message", "id": f"msg_{mark}", "status": status, "role": "assistant", "content": parts}
    custom = {tool["custom"]["name"] for tool in body.get("tools") or () if tool["type"] == "custom"}
    for number, call in enumerate(message.get("tool_calls") or ()):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        shared = {"call_id": f"call_{mark}{number}", "name": name, "status": "completed"}
        if name in custom:
            given = json.loads(arguments)
            yield {"type": "custom_tool_call", "id": f"ctc_{mark}{number}", "input": given["input"], **shared}
        else:
            yield {"type": "function_call", "id": f"fc_{mark}{number}", "arguments": arguments, **shared}


def whole(body: Body, kept: Mapping[str, list[dict[str, Any]]]) -> Body:
    """The request with what the server kept of earlier ones before its own input.

    Args:
        body: The request.
        kept: Items by the id of a response or a conversation.

    Raises:
        Refused: It names what was not kept.
    """
    before: list[dict[str, Any]] = []
    if (previous := body.get("previous_response_id")) is not None:
        if previous not in kept:
            words = f"Previous response with id '{previous}' not found."
            raise Refused(words, code="previous_response_not_found", param="previous_response_id")
        before = kept[previous]
    if (conversation := body.get("conversation")) is not None:
        before = kept.get(conversation if isinstance(conversation, str) else conversation["id"], [])
    return {**body, "input": [*before, *_listed(body)]} if before else body


def keep(body: Body, document: Document, kept: dict[str, list[dict[str, Any]]]) -> None:
    """Keep what was said so far, as the server does unless it is told not to.

    Args:
        body: The request, whole.
        document: Its response.
        kept: Where.
    """
    names = [document["id"]] if body.get("store", True) else []
    if (conversation := body.get("conversation")) is not None:
        names.append(conversation if isinstance(conversation, str) else conversation["id"])
    said = [
        {**item, "encrypted_content": item["encrypted_content"] or "kept"} if item["type"] == "reasoning" else item
        for item in document["output"]
    ]
    items = [*_listed(body), *_without_marks(said)]
    kept.update((name, items) for name in names)


def _listed(body: Body) -> list[dict[str, Any]]:
    given = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _without_marks(items: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Items of an answer as they are taken back."""
    for item in items:
        if item["type"] == "message":
            parts = [{key: value for key, value in part.items() if key != "logprobs"} for part in item["content"]]
            yield {**item, "content": parts}
        else:
            yield item


def error(refused: Refused) -> Document:
    """An error."""
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}}


def stream(_body: Body, document: Document) -> Iterator[bytes]:
    """The response as events, numbered."""
    ending = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}
    begun = {**document, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    events.append({"type": "response.in_progress", "response": begun})
    for index, item in enumerate(document["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        empty = {**item, "status": "in_progress"} | {
            name: type(item[name])() for name in ("content", "summary", "arguments", "input") if name in item
        }
        events.append({"type": "response.output_item.added", "output_index": index, "item": empty})
        events += _inner_events(item, at)
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": ending[document["status"]], "response": document})
    for number, each in enumerate(events):
        yield event({**each, "sequence_number": number})


def _inner_events(item: dict[str, Any], at: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What is said within one item."""
    for number, part in enumerate(item.get("summary") or ()):
        place, name = {**at, "summary_index": number}, "response.reasoning_summary"
        yield {"type": f"{name}_part.added", **place, "part": {**part, "text": ""}}
        yield from ({"type": f"{name}_text.delta", **place, "delta": piece} for piece in pieces(part["text"]))
        yield {"type": f"{name}_text.done", **place, "text": part["text"]}
        yield {"type": f"{name}_part.done", **place, "part": part}
    for number, part in enumerate(item.get("content") or ()):
        place, key = {**at, "content_index": number}, "text" if "text" in part else "refusal"
        name = "response.output_text" if key == "text" else "response.refusal"
        more = {"logprobs": []} if key == "text" else {}
        yield {"type": "response.content_part.added", **place, "part": {**part, key: ""}}
        yield from ({"type": f"{name}.delta", **place, "delta": piece, **more} for piece in pieces(part[key]))
        yield {"type": f"{name}.done", **place, key: part[key], **more}
        yield {"type": "response.content_part.done", **place, "part": part}
    for key, name in (("arguments", "response.function_call_arguments"), ("input", "response.custom_tool_call_input")):
        if key in item:
            yield from ({"type": f"{name}.delta", **at, "delta": piece} for piece in pieces(item[key]))
            yield {"type": f"{name}.done", **at, key: item[key], "name": item["name"]}
