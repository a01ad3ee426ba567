"""OpenAI's Responses: a request as a list of items, which holds its whole context and is kept nowhere.

Nothing is left to the provider's memory: no earlier response is named, and `store` is false unless the experiment says otherwise.
Messages keep their places and roles; calls and results are items of their own. How answers are read is `response_items`' matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pipelines.canonical.content import text_of_prompt
from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api
from pipelines.log.context import message_bytes
from pipelines.replay.wires import response_items, response_writer
from pipelines.replay.wires.answer import Said
from pipelines.replay.wires.calls import wire_arguments, wire_id, wire_name
from pipelines.replay.wires.frame import Frame, dump
from pipelines.replay.wires.notes import CannotExpressError, Note, Remarks, list_notes
from pipelines.replay.wires.pairing import NO_RESULT, ORPHAN, pair_calls
from pipelines.replay.wires.parts import Medium, Other, Text, only_text, read_parts
from pipelines.replay.wires.thoughts import Thought, in_order, read_thoughts
from pipelines.replay.wires.tools import (
    LONGEST_NAME,
    changed_names,
    custom_names,
    definition,
    function_tools,
    named_params,
    takes_text,
)
from pipelines.replay.wires.wire import Found, Wire

Item = dict[str, Any]
_ENCRYPTED = "reasoning.encrypted_content"
_SPEAKERS = ("system", "developer", "user")


class Responses(Wire):
    """The wire `responses`."""

    api: ClassVar[Api] = "responses"
    path: ClassVar[str] = "/responses"

    def headers(self, key: str | None) -> Mapping[str, str]:
        """A bearer token, where there is a key."""
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    def frame(self, model: str | None, params: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Frame:
        """Model, tools and parameters before the items; where reasoning is asked for, it is asked for in a form that can go back."""
        given: Item = {"model": model} if model is not None else {}
        if tools:
            given["tools"] = [_tool(tool) for tool in tools]
        given |= {"store": False, **named_params(params)}
        if "reasoning" in params and not given["store"]:
            asked = list(params.get("include") or ())
            given["include"] = asked if _ENCRYPTED in asked else [*asked, _ENCRYPTED]
        return Frame(dump(given)[:-1] + b',"input":[', b"]}", custom_names(tools), changed_names(tools))

    def body(self, frame: Frame, messages: Sequence[Mapping[str, Any]], lines: Sequence[bytes]) -> bytes:
        """The items; a message of nothing but a role and a text is its line as it was rendered."""
        written = _Writer(frame, messages, lines).items()
        return b"".join((frame.prefix, b",".join(written), frame.suffix))

    def notes(self, frame: Frame, messages: Sequence[Mapping[str, Any]]) -> Iterator[Note]:
        """See `Wire.notes`."""
        writer = _Writer(frame, messages, None)
        return list_notes(writer.remarks, lambda: list(writer.items()))

    def read_usual(self, body: bytes) -> Found | None:
        """See `Wire.read_usual`."""
        return response_items.read_usual(body)

    def read_document(self, document: Mapping[str, Any], body: bytes) -> Said:
        """See `Wire.read_document`."""
        return response_items.read_document(document, body)

    def write(
        self, reply: Reply, *, model: str | None, number: int, custom: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """See `Wire.write`."""
        return response_writer.write(reply, model=model, number=number, custom=custom)

    def events(self, document: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[bytes]:
        """See `Wire.events`."""
        return response_writer.events(document, asked)


class _Writer:
    """Writes the items of one request."""

    def __init__(self, frame: Frame, messages: Sequence[Mapping[str, Any]], lines: Sequence[bytes] | None) -> None:
        self.remarks = Remarks()
        if frame.names:
            self.remarks.add("tool_renamed")
        self._custom = frame.custom
        self._messages, self._lines = messages, lines
        self._pairing = pair_calls(messages)
        self._kinds: dict[str, str] = {}

    def items(self) -> Iterator[bytes]:
        """The items in order, each as JSON."""
        for place, message in enumerate(self._messages):
            role = message.get("role")
            if self._lines is not None and only_text(message) is not None:
                yield self._lines[place]
            elif role == "assistant":
                yield from map(message_bytes, self._agent(message))
            elif role == "tool":
                yield message_bytes(self._result(message, is_orphan=place in self._pairing.orphans))
            else:
                yield message_bytes(self._said(message))

    def _said(self, message: Mapping[str, Any]) -> Item:
        role = message.get("role")
        if message.get("name"):
            self.remarks.add("speaker_left_out")
        content = message.get("content")
        if role in ("system", "developer"):
            content = text_of_prompt(content)
        return {"role": role if role in _SPEAKERS else "user", "content": self._content(content)}

    def _content(self, content: Any) -> Any:
        """A text as it is; parts in the wire's words."""
        return content if isinstance(content, str) else [_part(part) for part in read_parts(content)]

    def _agent(self, message: Mapping[str, Any]) -> Iterator[Item]:
        """A message of the agent: its thoughts, its text, its calls, and results for calls that have none."""
        calls = message.get("tool_calls") or ()
        text = _said_text(message.get("content"))
        thoughts = self._own_thoughts(message, is_followed=bool(calls or text))
        counts = {"reasoning": len(thoughts), "text": int(bool(text) or not calls), "tool_call": len(calls)}
        for kind, place in in_order(message, counts):
            if kind == "reasoning":
                yield thoughts[place]
            elif kind == "tool_call":
                yield self._call(calls[place])
            else:
                phase = {"phase": message["phase"]} if isinstance(message.get("phase"), str) else {}
                yield {"role": "assistant", "content": text, **phase}
        for call in calls:
            if str(call.get("id")) not in self._pairing.results:
                self.remarks.add("result_added")
                yield self._output(str(call.get("id")), NO_RESULT)

    def _own_thoughts(self, message: Mapping[str, Any], *, is_followed: bool) -> list[Item]:
        """Those that OpenAI encrypted; without anything after them they belong to nothing."""
        thoughts = read_thoughts(message)
        own = [_reasoning(each) for each in thoughts if each.encrypted is not None and not each.is_redacted]
        if len(own) < len(thoughts) or (own and not is_followed):
            self.remarks.add("reasoning_left_out")
        return own if is_followed else []

    def _call(self, call: Mapping[str, Any]) -> Item:
        function = call.get("function") or {}
        name, arguments = function.get("name"), function.get("arguments")
        rendered, is_custom = str(call.get("id")), name in self._custom
        if isinstance(name, str) and (sent_name := wire_name(name, LONGEST_NAME)) != name:
            self.remarks.add("tool_renamed")
            name = sent_name
        if is_custom:
            self._kinds[rendered] = "custom_tool_call"
            return {"type": "custom_tool_call", "call_id": wire_id(rendered), "name": name, "input": arguments or ""}
        sent = wire_arguments(arguments, is_custom=False)
        if sent != arguments and arguments:
            self.remarks.add("arguments_wrapped")
        return {"type": "function_call", "call_id": wire_id(rendered), "name": name, "arguments": sent}

    def _result(self, message: Mapping[str, Any], *, is_orphan: bool) -> Item:
        content = self._content("" if message.get("content") is None else message["content"])
        if not is_orphan:
            return self._output(str(message.get("tool_call_id")), content)
        self.remarks.add("result_as_text")
        said = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        return {"role": "user", "content": [{"type": "input_text", "text": ORPHAN}, *said]}

    def _output(self, rendered: str, content: Any) -> Item:
        kind = f"{self._kinds.get(rendered, 'function_call')}_output"
        return {"type": kind, "call_id": wire_id(rendered), "output": content}


def _said_text(content: Any) -> str:
    """The text of a message of the agent; a picture of its own has no form here.

    Raises:
        CannotExpressError: It is more than text.
    """
    texts = []
    for part in read_parts(content):
        if not isinstance(part, Text):
            raise CannotExpressError("content_part", f"the agent's own {part.kind} has no form over responses")
        texts.append(part.text)
    return "".join(texts)


def _part(part: Text | Medium | Other) -> Item:
    """A part of what somebody else says.

    Raises:
        CannotExpressError: There is no form for it.
    """
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Medium):
        return _picture(part) if part.kind == "image" else _file(part)
    raise CannotExpressError("content_part", f"content of type {part.kind} has no form over responses")


def _picture(medium: Medium) -> Item:
    where = {"file_id": medium.file_id} if medium.address is None else {"image_url": medium.address}
    return {"type": "input_image", "detail": medium.detail or "auto", **where}


def _file(medium: Medium) -> Item:
    name = {"filename": medium.name} if medium.name else {}
    if medium.data is not None:
        return {"type": "input_file", "file_data": medium.address, "filename": medium.name or "file"}
    where = {"file_url": medium.url} if medium.url else {"file_id": medium.file_id}
    return {"type": "input_file", **where, **name}


def _reasoning(thought: Thought) -> Item:
    """An item as it came; its name, where it was not recorded, is made of what it holds."""
    assert thought.encrypted is not None
    made = f"rs_{hashlib.sha256(thought.encrypted.encode('utf-8', 'replace')).hexdigest()[:48]}"
    summary = [{"type": "summary_text", "text": each} if isinstance(each, str) else each for each in thought.summary]
    return {
        "type": "reasoning",
        "id": thought.id or made,
        "summary": summary,
        "encrypted_content": thought.encrypted,
    }


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool without its wrapper; `strict` as recorded, and not as this wire takes for granted. The provider's own stay as they are."""
    if takes_text(tool):
        defined = dict(definition(tool))
        custom: Item = {key: defined[key] for key in ("name", "description", "format") if key in defined}
        if isinstance(name := custom.get("name"), str):
            custom["name"] = wire_name(name, LONGEST_NAME)
        form = custom.get("format")
        if isinstance(form, Mapping) and isinstance(form.get("grammar"), Mapping):
            custom["format"] = {"type": "grammar", **form["grammar"]}
        return {"type": "custom", **custom}
    (made,) = function_tools([tool])
    function = made.get("function")
    if not isinstance(function, Mapping):
        return made
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", "strict": False, **function, "parameters": parameters}
