"""Habits of real endpoints, by wire: what they want in a request, what they answer instead, how they write an answer.

`QUIRKS` has each habit with the wires on which it can occur; what stands in for it elsewhere, or why it cannot occur, is said
in `NOWHERE`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from tests.support.wires import chat, messages, responses
from tests.support.wires.form import Body, Document, Message, Refused, text_of

Fixed = tuple[int, dict[str, str], Document]
MODEL = "spare-model-mini"
THOUGHT = "I think about parcels."
REFUSAL = "I'm sorry, I can't help with that request."
BUSY_SECONDS = 20
"""Seconds ahead of now at which a busy endpoint wants to be asked again."""
_ERRORS: Mapping[str, Callable[[Refused], Document]] = {
    "chat": chat.error,
    "responses": responses.error,
    "messages": messages.error,
}


def _nothing(_body: Body, _times: int) -> Fixed | None:
    return None


def _same_message(_body: Body, message: Message) -> Message:
    return message


def _same(document: Document) -> Document:
    return document


@dataclass(frozen=True)
class Quirk:
    """One habit on one wire.

    Attributes:
        instead: What is answered instead of an answer, given the request in the neutral form and how often it was sent; it may
            refuse the request.
        message: What becomes of the model's message.
        document: What becomes of the document.
    """

    instead: Callable[[Body, int], Fixed | None] = _nothing
    message: Callable[[Body, Message], Message] = _same_message
    document: Callable[[Document], Document] = _same


def quirk_of(name: str | None, api: str) -> Quirk:
    """The habit of that name on a wire; none without a name."""
    return Quirk() if name is None else QUIRKS[name][api]


def _everywhere(**parts: Any) -> dict[str, Quirk]:
    return dict.fromkeys(_ERRORS, Quirk(**parts))


def _errors(
    make: Callable[[Callable[[Refused], Document], str], Callable[[Body, int], Fixed | None]],
) -> dict[str, Quirk]:
    """The same error, written as each wire writes errors."""
    return {api: Quirk(make(write, api)) for api, write in _ERRORS.items()}


def _asks_for_first(body: Body) -> bool:
    """Whether the person asks about the first parcel."""
    first = next((text_of(each["content"]) for each in body["messages"] if each["role"] == "user"), "")
    return "P-1" in first


# --- what is wanted in a request ---------------------------------------------------------------------------------------


def _no_null(body: Body, _times: int) -> None:
    for each in body["messages"]:
        is_said = each.get("content") is not None or each.get("tool_calls") or each.get("refusal")
        if each["role"] == "assistant" and not is_said:
            raise Refused("content of an assistant message is null and it calls no tool", code="invalid_value")


def _short_ids(body: Body, _times: int) -> None:
    for each in body["messages"]:
        ids = [call["id"] for call in each.get("tool_calls") or ()]
        ids += [each["tool_call_id"]] if each["role"] == "tool" else []
        for one in ids:
            if not re.fullmatch("[0-9A-Za-z]{9}", one):
                raise Refused(f"id of a tool call is {one!r}; nine letters or digits are wanted", code="3280")


def _wants_thoughts(body: Body, _times: int) -> None:
    since = max(place for place, each in enumerate(body["messages"]) if each["role"] == "user")
    for each in body["messages"][since:]:
        if each.get("tool_calls") and not each.get("reasoning"):
            raise Refused("the reasoning of the message with tool calls is missing")


def _thinks(_body: Body, message: Message) -> Message:
    return {**message, "reasoning": THOUGHT}


# --- what is answered instead ------------------------------------------------------------------------------------------


def _upstream(write: Callable[[Refused], Document], _api: str) -> Callable[[Body, int], Fixed]:
    document = write(Refused("upstream went away", 502, "502"))
    return lambda _body, _times: (200, {}, document)


def _crowded(write: Callable[[Refused], Document], _api: str) -> Callable[[Body, int], Fixed | None]:
    document = write(Refused("too many requests upstream", 429, "429"))
    return lambda _body, times: (200, {}, document) if times <= 2 else None


def _responses_crowded(_body: Body, times: int) -> Fixed | None:
    """In a response that failed: its status is where an error in HTTP 200 stands."""
    error = {"code": "rate_limit_exceeded", "message": "too many requests upstream"}
    failed = {"id": "resp_1", "object": "response", "status": "failed", "error": error, "output": [], "usage": None}
    return (200, {}, failed) if times <= 2 else None


def _busy(write: Callable[[Refused], Document], _api: str) -> Callable[[Body, int], Fixed | None]:
    document = write(Refused("busy", 429, "rate_limited"))

    def instead(_body: Body, times: int) -> Fixed | None:
        if times > 1:
            return None
        return 429, {"Retry-After": formatdate(time.time() + BUSY_SECONDS, usegmt=True)}, document

    return instead


def _overloaded(write: Callable[[Refused], Document], _api: str) -> Callable[[Body, int], Fixed | None]:
    document = write(Refused("Overloaded", 529))
    return lambda _body, times: (529, {}, document) if times <= 2 else None


def _filtered(write: Callable[[Refused], Document], api: str) -> Callable[[Body, int], Fixed | None]:
    document = write(Refused("the prompt was filtered", 400, "content_filter", "prompt"))
    if api == "messages":  # which has no codes: the words are the provider's
        document = write(Refused("Output blocked by content filtering policy", 400))
    return lambda body, _times: (400, {}, document) if _asks_for_first(body) else None


def _moderated(write: Callable[[Refused], Document], _api: str) -> Callable[[Body, int], Fixed | None]:
    document = write(Refused("input was flagged", 403, "403"))
    return lambda body, _times: (403, {}, document) if _asks_for_first(body) else None


def _redirects(path: str) -> Quirk:
    return Quirk(lambda _body, _times: (308, {"Location": path}, {}))


# --- how an answer is written ------------------------------------------------------------------------------------------


def _cut_empty(_body: Body, _message: Message) -> Message:
    return {"role": "assistant", "content": None, "reasoning": "I think and think", "finish": "length"}


def _refuses(body: Body, message: Message) -> Message:
    is_first = not any(each["role"] == "assistant" for each in body["messages"])
    return {"role": "assistant", "content": None, "refusal": REFUSAL} if is_first else message


def _tagged(_body: Body, message: Message) -> Message:
    if message.get("refusal"):
        return message
    return {**message, "content": "<think>parcels, hm</think>" + (message.get("content") or "")}


def _looks(_body: Body, message: Message) -> Message:
    return {**message, "content": "I have a look."} if message.get("tool_calls") else message


def _other_model(document: Document) -> Document:
    return {**document, "model": MODEL}


def _chat_broken(document: Document) -> Document:
    choice = {
        **document["choices"][0],
        "finish_reason": "error",
        "error": {"code": 502, "message": "upstream went away"},
    }
    choice["message"] = {"role": "assistant", "content": "Parcel P-"}
    return {**document, "choices": [choice], "usage": None}


def _responses_broken(document: Document) -> Document:
    part = {"type": "output_text", "text": "Parcel P-", "annotations": []}
    item = {"type": "message", "id": "msg_1", "status": "incomplete", "role": "assistant", "content": [part]}
    error = {"code": "server_error", "message": "upstream went away"}
    return {**document, "status": "failed", "error": error, "output": [item], "usage": None}


def _chat_split(document: Document) -> Document:
    (choice,) = document["choices"]
    calls = choice["message"].pop("tool_calls", None)
    if not calls:
        return document
    second = {"role": "assistant", "content": None, "tool_calls": calls}
    return {**document, "choices": [choice, {"index": 1, "finish_reason": "tool_calls", "message": second}]}


def _responses_split(document: Document) -> Document:
    """The text in two parts, after the calls."""
    messages = [item for item in document["output"] if item["type"] == "message"]
    others = [item for item in document["output"] if item["type"] != "message"]
    if not messages or not others:
        return document
    (part,) = messages[0]["content"]
    halves = [{**part, "text": half} for half in (part["text"][:6], part["text"][6:])]
    return {**document, "output": [*others, {**messages[0], "content": halves}]}


def _messages_split(document: Document) -> Document:
    content: list[Document] = []
    for block in document["content"]:
        is_cut = block["type"] == "text" and document["stop_reason"] == "tool_use"
        texts = (block["text"][:6], block["text"][6:]) if is_cut else ()
        content += [{**block, "text": text} for text in texts] or [block]
    return {**document, "content": content}


def _old_call(document: Document) -> Document:
    (choice,) = document["choices"]
    if calls := choice["message"].pop("tool_calls", None):
        choice["message"]["function_call"] = calls[0]["function"]
        choice["finish_reason"] = "function_call"
    return document


def _chat_no_arguments(document: Document) -> Document:
    for call in document["choices"][0]["message"].get("tool_calls") or ():
        if call["function"]["arguments"] == "{}":
            call["function"]["arguments"] = ""
    return document


def _responses_no_arguments(document: Document) -> Document:
    output = [{**item, "arguments": ""} if item.get("arguments") == "{}" else item for item in document["output"]]
    return {**document, "output": output}


def _messages_no_arguments(document: Document) -> Document:
    """As gateways write it that put a stream together: a call without arguments sends no JSON at all."""
    content = [{**block, "input": ""} if block.get("input") == {} else block for block in document["content"]]
    return {**document, "content": content}


def _chat_empty(document: Document) -> Document:
    message = document["choices"][0]["message"]
    if message.get("content") is None:
        message["content"] = []
    return document


def _responses_empty(document: Document) -> Document:
    if any(item["type"] == "message" for item in document["output"]):
        return document
    item = {"type": "message", "id": "msg_0", "status": "completed", "role": "assistant", "content": []}
    return {**document, "output": [item, *document["output"]]}


def _messages_empty(document: Document) -> Document:
    if any(block["type"] == "text" for block in document["content"]):
        return document
    return {**document, "content": [{"type": "text", "text": "", "citations": None}, *document["content"]]}


QUIRKS: dict[str, dict[str, Quirk]] = {
    "plain": _everywhere(),
    "strict-openai": {"chat": Quirk(_no_null)},
    "mistral-ids": {"chat": Quirk(_short_ids)},
    "thinking": _everywhere(instead=_wants_thoughts, message=_thinks),
    "error-choice": {"chat": Quirk(document=_chat_broken), "responses": Quirk(document=_responses_broken)},
    "error-body": _errors(_upstream),
    "error-body-2": {**_errors(_crowded), "responses": Quirk(_responses_crowded)},
    "overloaded": {"messages": Quirk(_overloaded(messages.error, "messages"))},
    "filter-400": _errors(_filtered),
    "moderated-403": _errors(_moderated),
    "split": {
        "chat": Quirk(message=_looks, document=_chat_split),
        "responses": Quirk(message=_looks, document=_responses_split),
        "messages": Quirk(message=_looks, document=_messages_split),
    },
    "old-call": {"chat": Quirk(document=_old_call)},
    "other-model": _everywhere(document=_other_model),
    "no-arguments": {
        "chat": Quirk(document=_chat_no_arguments),
        "responses": Quirk(document=_responses_no_arguments),
        "messages": Quirk(document=_messages_no_arguments),
    },
    "cut-empty": _everywhere(message=_cut_empty),
    "refuses": _everywhere(message=_refuses),
    "think-tags": _everywhere(message=_tagged),
    "redirect": {
        "chat": _redirects("/v2/chat/completions"),
        "responses": _redirects("/v2/responses"),
        "messages": _redirects("/v2/messages"),
    },
    "empty-list": {
        "chat": Quirk(document=_chat_empty),
        "responses": Quirk(document=_responses_empty),
        "messages": Quirk(document=_messages_empty),
    },
    "busy-date": _errors(_busy),
}
"""Habit, wire, how it is there."""

NOWHERE: dict[tuple[str, str], str] = {
    ("strict-openai", "responses"): "always so: what says nothing is no item",
    ("strict-openai", "messages"): "always so: an empty text and an empty message are refused",
    ("mistral-ids", "responses"): "always so: at most 64 characters, none of which is bound",
    ("mistral-ids", "messages"): "always so: letters, digits, underscores and hyphens",
    ("error-choice", "messages"): "a message holds no error: one that breaks off is an error as a whole, `error-body`",
    ("overloaded", "chat"): "a status of Anthropic's",
    ("overloaded", "responses"): "a status of Anthropic's",
    ("old-call", "responses"): "has one form of a call",
    ("old-call", "messages"): "has one form of a call",
}
"""Why a habit is not tried on a wire."""
