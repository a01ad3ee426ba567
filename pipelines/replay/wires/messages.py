"""Anthropic's Messages: a request as turns of blocks that alternate, with the system texts beside them.

The wire is strict: a call is answered in the turn directly after it, no block is empty, the first and the last turn are the user's.
What was recorded otherwise goes out in the nearest form that is taken, and `notes` says so. How answers are read is
`message_blocks`' matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api
from pipelines.log.context import message_bytes, text_bytes
from pipelines.replay.wires import message_blocks, message_writer
from pipelines.replay.wires.answer import Said
from pipelines.replay.wires.calls import INPUT, read_arguments, wire_id, wire_name
from pipelines.replay.wires.frame import Frame, dump
from pipelines.replay.wires.notes import CannotExpressError, Note, Remarks, list_notes
from pipelines.replay.wires.pairing import NO_RESULT, ORPHAN, pair_calls
from pipelines.replay.wires.parts import Medium, Other, Part, Text, only_text, read_parts
from pipelines.replay.wires.thoughts import Thought, in_order, read_thoughts
from pipelines.replay.wires.tools import changed_names, custom_names, function_tools, named_params
from pipelines.replay.wires.wire import Found, Wire

Block = dict[str, Any]
VERSION = "2023-06-01"
BEGIN = "[the conversation begins]"
"""The user's text where the agent speaks first."""
GO_ON = "[go on]"
"""The user's text where the agent has spoken last and is to speak again."""
_BEARER = "sk-ant-oat"
"""Beginning of a key that is a token of an account."""
_PICTURES = frozenset(("image/gif", "image/jpeg", "image/png", "image/webp"))
_LONGEST_NAME = 128
"""Characters of a tool's name."""
_ROLES = ("user", "assistant")
_PAPER = "application/pdf"
_TEXT, _TEXT_FIELDS = b'{"type":"text","text":%b}', 2
"""A block that is a text and nothing else."""
_TURNS = {role: b'{"role":"%b","content":%%b}' % role.encode() for role in _ROLES}
_OWN_TOOL = ("allowed_callers", "cache_control", "defer_loading", "eager_input_streaming", "input_examples")
"""What this wire says of a tool beside its schema."""


class Messages(Wire):
    """The wire `messages`."""

    api: ClassVar[Api] = "messages"
    path: ClassVar[str] = "/v1/messages"

    def headers(self, key: str | None) -> Mapping[str, str]:
        """Version, and the key in the header of its kind."""
        version = {"anthropic-version": VERSION}
        if key is None:
            return version
        return version | ({"Authorization": f"Bearer {key}"} if key.startswith(_BEARER) else {"x-api-key": key})

    def frame(self, model: str | None, params: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Frame:
        """Model, tools and parameters before the turns."""
        given: Block = {"model": model} if model is not None else {}
        if tools:
            given["tools"] = [_tool(tool) for tool in tools]
        custom = custom_names(tools)
        prefix, names = dump({**given, **named_params(params, _LONGEST_NAME)})[:-1], changed_names(tools, _LONGEST_NAME)
        return Frame(prefix, b"}", custom, names, is_complete="max_tokens" in params)

    def body(self, frame: Frame, messages: Sequence[Mapping[str, Any]], lines: Sequence[bytes]) -> bytes:  # noqa: ARG002
        """System texts and turns."""
        writer = _Writer(frame, messages)
        turns = writer.turns()
        system = b',"system":' + _list(writer.system) if writer.system else b""
        start = b"," if len(frame.prefix) > 1 else b""
        parts = (frame.prefix, system if start else system[1:], start or (b"," if system else b""))
        return b"".join(
            (
                *parts,
                b'"messages":[',
                b",".join([_TURNS[turn["role"]] % _list(turn["content"]) for turn in turns]),
                b"]",
                frame.suffix,
            )
        )

    def notes(self, frame: Frame, messages: Sequence[Mapping[str, Any]]) -> Iterator[Note]:
        """See `Wire.notes`."""
        writer = _Writer(frame, messages)
        return list_notes(writer.remarks, writer.turns)

    def read_usual(self, body: bytes) -> Found | None:
        """See `Wire.read_usual`."""
        return message_blocks.read_usual(body)

    def read_document(self, document: Mapping[str, Any], body: bytes) -> Said:
        """See `Wire.read_document`."""
        return message_blocks.read_document(document, body)

    def write(
        self, reply: Reply, *, model: str | None, number: int, custom: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """See `Wire.write`."""
        return message_writer.write(reply, model=model, number=number, custom=custom)

    def events(self, document: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[bytes]:
        """See `Wire.events`."""
        return message_writer.events(document, asked)

    def error(self, reason: str, detail: str) -> dict[str, Any]:
        """See `Wire.error`."""
        return {"type": "error", "error": {"type": "invalid_request_error", "message": f"{reason}: {detail}"}}


class _Writer:
    """Writes the turns of one request.

    Attributes:
        system: Blocks of the system texts, after `turns`.
        remarks: What was changed, likewise.
    """

    def __init__(self, frame: Frame, messages: Sequence[Mapping[str, Any]]) -> None:
        self.system: list[Block] = []
        self.remarks = Remarks()
        if frame.names:
            self.remarks.add("tool_renamed")
        self._frame, self._messages = frame, messages
        self._pairing = pair_calls(messages)
        self._turns: list[dict[str, Any]] = []

    def turns(self) -> list[dict[str, Any]]:
        """The turns.

        Raises:
            CannotExpressError: Something has no form.
        """
        if not self._frame.is_complete:
            raise CannotExpressError("max_tokens", "messages needs a bound of the reply: set max_tokens in params")
        for place, message in enumerate(self._messages):
            role = message.get("role")
            if role in _ROLES and (text := only_text(message)) is not None and text.strip():
                self._add(role, [{"type": "text", "text": text}])
            elif role == "assistant":
                self._agent(place, message)
            elif role == "tool":
                self._left_over(place, message)
            elif role in ("system", "developer") and not self._turns:
                self.system += self._system(message)
            else:
                self._said(message)
        if not self._turns or self._turns[0]["role"] == "assistant":
            self._turns.insert(0, {"role": "user", "content": [{"type": "text", "text": BEGIN}]})
            self.remarks.add("user_added")
        if self._turns[-1]["role"] == "assistant":
            self._add("user", [{"type": "text", "text": GO_ON}])
            self.remarks.add("user_added")
        return self._turns

    def _add(self, role: str, blocks: list[Block]) -> None:
        """Blocks of a speaker; who speaks on goes on with the same turn."""
        if blocks and self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        elif blocks:
            self._turns.append({"role": role, "content": blocks})

    def _system(self, message: Mapping[str, Any]) -> list[Block]:
        blocks = self._blocks(message.get("content"))
        if any(block["type"] != "text" for block in blocks):
            raise CannotExpressError(
                "content_part", "a system message that is more than text has no form over messages"
            )
        return blocks

    def _said(self, message: Mapping[str, Any]) -> None:
        if message.get("role") in ("system", "developer"):
            self.remarks.add("system_as_user")
        if message.get("name"):
            self.remarks.add("speaker_left_out")
        self._add("user", self._blocks(message.get("content")))

    def _agent(self, place: int, message: Mapping[str, Any]) -> None:
        """A message of the agent, and after it, in the user's turn, what its calls were answered."""
        calls = message.get("tool_calls") or ()
        texts = self._own_texts(message.get("content"), is_alone=not calls)
        thoughts = self._own_thoughts(message, is_followed=bool(calls or texts))
        made = {"reasoning": thoughts, "text": texts, "tool_call": [self._call(each) for each in calls]}
        counts = {kind: len(blocks) for kind, blocks in made.items()}
        self._add("assistant", [made[kind][number] for kind, number in in_order(message, counts)])
        answered = [(self._pairing.results.get(str(call.get("id"))), call) for call in calls]
        answered.sort(key=lambda each: len(self._messages) if each[0] is None else each[0])
        self._add("user", [self._result(place + 1 + number, at, call) for number, (at, call) in enumerate(answered)])

    def _own_texts(self, content: Any, *, is_alone: bool) -> list[Block]:
        blocks = self._blocks(content, is_told=is_alone or bool(content))
        if any(block["type"] != "text" for block in blocks):
            raise CannotExpressError("content_part", "the agent's own picture has no form over messages")
        return blocks

    def _own_thoughts(self, message: Mapping[str, Any], *, is_followed: bool) -> list[Block]:
        """Those that Anthropic signed or hides; a turn does not end with one."""
        thoughts = read_thoughts(message)
        own = [block for each in thoughts if (block := _thinking(each)) is not None]
        if len(own) < len(thoughts) or (own and not is_followed):
            self.remarks.add("reasoning_left_out")
        return own if is_followed else []

    def _call(self, call: Mapping[str, Any]) -> Block:
        function = call.get("function") or {}
        name, given = function.get("name"), function.get("arguments")
        is_custom = name in self._frame.custom
        text = given if isinstance(given, str) else ""
        value = read_arguments(given) if given is not None and not is_custom else text
        if is_custom:
            self.remarks.add("tool_as_function")
        if isinstance(name, str) and (sent_name := wire_name(name, _LONGEST_NAME)) != name:
            self.remarks.add("tool_renamed")
            name = sent_name
        if not isinstance(value, dict):
            is_none = not is_custom and not text.strip()
            value = {} if is_none else {INPUT: value}
            if not (is_none or is_custom):
                self.remarks.add("arguments_wrapped")
        return {"type": "tool_use", "id": wire_id(str(call.get("id"))), "name": name, "input": value}

    def _result(self, expected: int, at: int | None, call: Mapping[str, Any]) -> Block:
        """What a call was answered, wherever that stands; `expected` is where it would if it had come at once."""
        block: Block = {"type": "tool_result", "tool_use_id": wire_id(str(call.get("id")))}
        if at is None:
            self.remarks.add("result_added")
            return {**block, "content": NO_RESULT, "is_error": True}
        if at != expected:
            self.remarks.add("result_moved")
        content = self._messages[at].get("content")
        if isinstance(content, str):
            return {**block, "content": content} if content.strip() else block
        blocks = self._blocks(content)
        return {**block, "content": blocks} if blocks else block

    def _left_over(self, place: int, message: Mapping[str, Any]) -> None:
        """A result that answers no call; the others stand after their calls already."""
        if place in self._pairing.orphans:
            self.remarks.add("result_as_text")
            self._add("user", [{"type": "text", "text": ORPHAN}, *self._blocks(message.get("content"))])

    def _blocks(self, content: Any, *, is_told: bool = True) -> list[Block]:
        """Blocks of a content, but for empty ones."""
        parts = list(read_parts(content))
        kept = [part for part in parts if not isinstance(part, Text) or part.text.strip()]
        if is_told and (len(kept) < len(parts) or not parts):
            self.remarks.add("empty_left_out")
        return [_block(part) for part in kept]


def _list(blocks: Sequence[Mapping[str, Any]]) -> bytes:
    """Blocks as a list in JSON; nearly all are a text, which needs no look at what is in it."""
    written = [
        _TEXT % text_bytes(each["text"])
        if len(each) == _TEXT_FIELDS and each["type"] == "text"
        else message_bytes(each)
        for each in blocks
    ]
    return b"[" + b",".join(written) + b"]"


def _block(part: Part) -> Block:
    """One part.

    Raises:
        CannotExpressError: There is no form for it.
    """
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Other):
        if part.kind == "tool_reference":  # the wire's own
            name = part.part.get("tool_name")
            return (
                {**part.part, "tool_name": wire_name(name, _LONGEST_NAME)} if isinstance(name, str) else dict(part.part)
            )
        raise CannotExpressError("content_part", f"content of type {part.kind} has no form over messages")
    title = {"title": part.name} if part.name and part.kind == "document" else {}
    return {"type": part.kind, "source": _source(part), **title}


def _source(medium: Medium) -> Block:
    if medium.data is None:
        return {"type": "url", "url": medium.url} if medium.url else {"type": "file", "file_id": medium.file_id}
    taken = _PICTURES if medium.kind == "image" else {_PAPER}
    if medium.media_type not in taken:
        raise CannotExpressError("content_part", f"messages takes no {medium.kind} but {', '.join(sorted(taken))}")
    return {"type": "base64", "media_type": medium.media_type, "data": medium.data}


def _thinking(thought: Thought) -> Block | None:
    """A block as it came; None for what Anthropic did not think."""
    if thought.is_redacted:
        return {"type": "redacted_thinking", "data": thought.encrypted} if thought.encrypted else None
    if thought.signature is None:
        return None
    return {"type": "thinking", "thinking": thought.text or "", "signature": thought.signature}


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool by its name and the schema of its input; the provider's own stay as they are."""
    if tool.get("type") not in (None, "function", "custom"):
        return tool
    (made,) = function_tools([tool], _LONGEST_NAME)
    function = made.get("function")
    if not isinstance(function, Mapping):
        return tool
    sent = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    schema = function.get("parameters") or {}
    sent["input_schema"] = schema if schema.get("type") == "object" else {"properties": {}, **schema, "type": "object"}
    strict = {"strict": True} if function.get("strict") is True else {}
    return {**sent, **strict, **{name: tool[name] for name in _OWN_TOOL if tool.get(name) is not None}}
