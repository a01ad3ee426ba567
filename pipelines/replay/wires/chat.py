"""Chat completions: what an endpoint of that wire is sent, and how its answers are read.

A request's hash is over its messages as a fold renders them; what is sent is made of that here, from the message alone, so that
equal requests are sent alike: ids of tool calls that every endpoint takes, prompts as text, names without blanks, no message
without anything in it, and tools that take free text as functions with one argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pipelines.canonical.content import is_text_part, text_of_prompt
from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api
from pipelines.log.context import message_bytes
from pipelines.replay.wires import completion, completion_writer
from pipelines.replay.wires.answer import Said
from pipelines.replay.wires.calls import wire_arguments, wire_id, wire_name
from pipelines.replay.wires.frame import Frame, dump
from pipelines.replay.wires.notes import Note, Remarks, list_notes
from pipelines.replay.wires.pairing import pair_calls
from pipelines.replay.wires.parts import Medium, Text, only_text, read_parts
from pipelines.replay.wires.tools import LONGEST_NAME, changed_names, custom_names, function_tools, named_params
from pipelines.replay.wires.wire import Found, Wire

_IN_NO_NAME = re.compile(r"[\s<|\\/>]+")
_LONGEST_NAME = 64
_PROMPTS = ("system", "developer")
_FOREIGN = frozenset(("image", "input_image", "document", "input_file"))
"""Types of pictures and files on other wires."""


class Chat(Wire):
    """The wire `chat`."""

    api: ClassVar[Api] = "chat"
    path: ClassVar[str] = "/chat/completions"

    def headers(self, key: str | None) -> Mapping[str, str]:
        """A bearer token, where there is a key."""
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    def frame(self, model: str | None, params: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Frame:
        """Model before the messages, tools and parameters after them."""
        given = {"model": model} if model is not None else {}
        after = {**({"tools": function_tools(tools)} if tools else {}), **named_params(params)}
        prefix = dump(given)[:-1] + (b"," if given else b"") + b'"messages":['
        suffix = b"]" + (b"," + dump(after)[1:] if after else b"}")
        return Frame(prefix, suffix, custom_names(tools), changed_names(tools))

    def body(self, frame: Frame, messages: Sequence[Mapping[str, Any]], lines: Sequence[bytes]) -> bytes:
        """Each message as it was rendered, or in the form in which endpoints take it."""
        sent_lines = list(lines)
        for place, message in enumerate(messages):
            sent = wire_message(message, frame.custom)
            if sent is not message:
                sent_lines[place] = message_bytes(sent)
        return b"".join((frame.prefix, b",".join(sent_lines), frame.suffix))

    def notes(self, frame: Frame, messages: Sequence[Mapping[str, Any]]) -> Iterator[Note]:
        """Every message goes as it is rendered; what strict endpoints refuse of that is said, and nothing left out."""
        pairing = pair_calls(messages)
        remarks = Remarks()
        if pairing.orphans:
            remarks.add("result_unasked")
        if frame.names:
            remarks.add("tool_renamed")
        for call in (call for message in messages for call in message.get("tool_calls") or ()):
            if str(call.get("id")) not in pairing.results:
                remarks.add("call_unanswered")
            function = call.get("function") or {}
            name, given = function.get("name"), function.get("arguments")
            is_custom = name in frame.custom
            if name and wire_name(name, LONGEST_NAME) != name:
                remarks.add("tool_renamed")
            if is_custom:
                remarks.add("tool_as_function")
            elif given and wire_arguments(given, is_custom=False) != given:
                remarks.add("arguments_wrapped")
        return list_notes(remarks, lambda: None)

    def read_usual(self, body: bytes) -> Found | None:
        """See `Wire.read_usual`."""
        return completion.read_usual(body)

    def read_document(self, document: Mapping[str, Any], body: bytes) -> Said:
        """See `Wire.read_document`."""
        return completion.read_document(document, body)

    def write(
        self, reply: Reply, *, model: str | None, number: int, custom: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """See `Wire.write`."""
        return completion_writer.write(reply, model=model, number=number, custom=custom)

    def events(self, document: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[bytes]:
        """See `Wire.events`."""
        return completion_writer.events(document, asked)


def wire_message(message: Mapping[str, Any], custom: frozenset[str] = frozenset()) -> Mapping[str, Any]:
    """A message as it is sent: the same object where nothing about it changes.

    Args:
        message: As it is rendered.
        custom: Names of offered tools that take free text.
    """
    if only_text(message) is not None:
        return message
    role, content = message.get("role"), message.get("content")
    changed: dict[str, Any] = {}
    if "tool_call_id" in message:
        changed["tool_call_id"] = wire_id(message["tool_call_id"])
    if "tool_calls" in message:
        changed["tool_calls"] = [_wire_call(call, custom) for call in message["tool_calls"]]
    elif role == "assistant" and content in (None, []):
        changed["content"] = ""
    if isinstance(content, list) and any(_is_foreign(part) for part in content):
        changed["content"] = content = [_own_part(part) for part in content]
    if role in _PROMPTS and isinstance(content, list):
        changed["content"] = text_of_prompt(content)
    if role == "tool" and isinstance(message.get("name"), str):
        changed["name"] = wire_name(message["name"], LONGEST_NAME)
    elif "name" in message:
        changed["name"] = _IN_NO_NAME.sub("_", str(message["name"]))[:_LONGEST_NAME] or None
    if all(value == message.get(key) for key, value in changed.items()):
        return message
    return {key: value for key, value in {**message, **changed}.items() if key != "name" or value is not None}


def _wire_call(call: Mapping[str, Any], custom: frozenset[str]) -> Mapping[str, Any]:
    function = call.get("function")
    sent = {**call, "id": wire_id(str(call.get("id")))}
    if isinstance(function, Mapping):
        name = function.get("name")
        arguments = wire_arguments(function.get("arguments"), is_custom=name in custom)
        named = {"name": wire_name(name, LONGEST_NAME)} if isinstance(name, str) else {}
        sent["function"] = {**function, **named, "arguments": arguments}
    return sent


def _is_foreign(part: Any) -> bool:
    """Whether a part is a text, a picture or a file in the words of another wire."""
    if not isinstance(part, Mapping) or part.get("type") == "refusal":
        return False
    is_text = is_text_part(part) and not (part.get("type") == "text" and isinstance(part.get("text"), str))
    return is_text or part.get("type") in _FOREIGN


def _own_part(part: Any) -> Any:
    """A text, a picture or a file in this wire's words; what has none here stays as it was recorded."""
    (read,) = read_parts([part]) if _is_foreign(part) else (None,)
    if isinstance(read, Text):
        return {"type": "text", "text": read.text}
    if not isinstance(read, Medium):
        return part
    if read.kind == "image" and read.address is not None:
        detail = {"detail": read.detail} if read.detail else {}
        return {"type": "image_url", "image_url": {"url": read.address, **detail}}
    if read.kind == "document" and read.data is not None:
        return {"type": "file", "file": {"file_data": read.address, "filename": read.name or "file"}}
    return part
