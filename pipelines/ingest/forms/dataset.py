"""Datasets of conversations with tools, as models are trained and judged on: ShareGPT, Hermes, ToolACE, xLAM, content parts.

A row is a conversation; it has no times, no model and no usage. Its name is its own id, or the file's with the number of the row.
Calls have no ids in these sets and get one each, in order; what comes back is of the calls that wait.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.rows import Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.fields import named, take, take_text
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.reading import objects

_IDS = (("conversation_id",), ("id",), ("uuid",))
_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant", "system": "system",
    "function_call": "call", "tool_call": "call", "observation": "tool", "tool": "tool", "function_response": "tool", "function": "tool",
}  # fmt: skip
_CALLED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_ANSWERED = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
_TOOLS = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.DOTALL)
_PYTHON_CALLS = re.compile(r"\[\s*[A-Za-z_][\w.]*\(.*\)\s*\]", re.DOTALL)


class Dataset:
    """The form `dataset`, of any shape or of one."""

    name = "dataset"

    def __init__(self, shape: str | None = None) -> None:
        self._shape = shape

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with a row of a shape."""
        return _shape(head.first) is not None

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """Rows, each a conversation.

        Raises:
            BadInputError: A file is no JSON, or a row of it is of no shape, or of another than was asked for.
        """
        return gathered((found for path in files for found in self._rows(path, options)), options)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """What was said, in order."""
        record = next(group.records)
        conversation = _Conversation(record)
        said = list({"parts": _parts, "xlam": _xlam}.get(record.kind, _turns)(record, conversation))
        subject = named(record.value, options.subject_key, ())
        fields: dict[str, Any] = {"source": "dataset"} | ({"subject_id": subject} if subject else {})
        if conversation.tools:
            fields["tools"] = conversation.tools
        yield Facts(record.place, fields, [], record.value)
        for index, chat in enumerate(said):
            place = f"{record.place}[{index}]"
            yield Step("utterance", place, place, message=Message(chat))

    def _rows(self, path: Path, options: Options) -> Iterator[Found]:
        for number, (place, value) in enumerate(objects(path, options.memory_bytes), start=1):
            shape = _shape(value)
            if shape is None or (self._shape is not None and _family(shape) != _family(self._shape)):
                wanted = self._shape or "of no shape that is read here"
                raise BadInputError(
                    f"{place}: is {f'not of the shape {wanted}' if self._shape else wanted}; it has {', '.join(value) or 'nothing'}"
                )
            key = named(value, options.conversation_key, _IDS)
            yield Found(key or f"{path.name.split('.')[0]}/{number}", key is not None, place, value, shape)


def _family(shape: str) -> str:
    return "sharegpt" if shape == "hermes" else shape  # the same rows; calls stand in the texts of one


def _shape(row: dict[str, Any]) -> str | None:
    turns = row.get("conversations")
    if isinstance(turns, list) and all(isinstance(turn, dict) and "value" in turn for turn in turns):
        return "sharegpt"
    messages = row.get("messages")
    if isinstance(messages, list) and messages and all(_is_parts(message) for message in messages):
        return "parts"
    return "xlam" if isinstance(row.get("query"), str) and "answers" in row else None


def _is_parts(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    return isinstance(content, list) and all(
        isinstance(part, dict) and {"type", "value"} <= part.keys() for part in content
    )


class _Conversation:
    """The calls of a conversation that wait for an answer, and the tools that were on offer."""

    def __init__(self, record: Record) -> None:
        self._waiting: list[str] = []
        self._calls = 0
        self.tools = _tools(take(record.value, "tools"), record)

    def call(self, found: Sequence[Any]) -> list[dict[str, Any]] | None:
        """Calls as they are written in a set, in the shape of chat completions; None where one of them is none."""
        if not found or not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in found):
            return None
        calls = []
        self._waiting = []
        for each in found:
            self._calls += 1
            self._waiting.append(f"call-{self._calls}")
            arguments = each.get("arguments", each.get("parameters", {}))
            more = {k: v for k, v in each.items() if k not in ("name", "arguments", "parameters")}
            function = {"name": each["name"], "arguments": {} if arguments is None else arguments}
            calls.append({"id": self._waiting[-1], "type": "function", "function": function, **more})
        return calls

    def answers(self, texts: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """What tools answered; each answer is of the oldest call that waits."""
        for text in texts:
            call = self._waiting.pop(0) if self._waiting else None
            yield {"role": "tool", "tool_call_id": call or f"call-{self._calls}", "content": text}


def _turns(record: Record, conversation: _Conversation) -> Iterator[dict[str, Any]]:
    """ShareGPT, and what is written in it: Hermes' tags, ToolACE's calls in Python."""
    system = take_text(record.value, "system")
    if system is not None:
        yield {"role": "system", "content": system}
    for index, turn in enumerate(take(record.value, "conversations", of=list)):
        role = _ROLES.get(str(turn.get("from", turn.get("role"))))
        if role is None:
            raise BadInputError(
                f"{record.place}: $.conversations[{index}].from: is {turn.get('from')!r}; it must be one of {', '.join(_ROLES)}"
            )
        text = turn["value"]
        more = {key: value for key, value in turn.items() if key not in ("from", "role", "value")}
        if role == "system" and not conversation.tools and isinstance(text, str) and (shown := _TOOLS.search(text)):
            conversation.tools = _tools(shown[1], None)
        if role in ("call", "assistant"):
            yield _answer(text, conversation, is_call=role == "call") | more
        elif role == "tool":
            answers = _ANSWERED.findall(text) if isinstance(text, str) else []
            yield from (answer | more for answer in conversation.answers(answers or [text]))
        else:
            yield {"role": role, "content": text, **more}


def _answer(text: Any, conversation: _Conversation, *, is_call: bool) -> dict[str, Any]:
    """What the agent said: a call by itself, text with calls in it, or text."""
    inner = _CALLED.findall(text) if isinstance(text, str) else []
    if is_call and not inner:
        inner = [text]
    found = _flat(inner)
    if not inner and isinstance(text, str) and _PYTHON_CALLS.fullmatch(text.strip()):
        found = _python(text.strip())
    calls = conversation.call(found) if found else None
    if calls is None:
        return {"role": "assistant", "content": text}
    said = None if is_call or not _CALLED.search(text) else _CALLED.sub("", text).strip() or None
    return {"role": "assistant", "content": said, "tool_calls": calls}


def _parts(record: Record, conversation: _Conversation) -> Iterator[dict[str, Any]]:
    for index, message in enumerate(take(record.value, "messages", of=list)):
        role = _ROLES.get(str(message.get("role")))
        if role is None or role == "call":
            raise BadInputError(
                f"{record.place}: $.messages[{index}].role: is {message.get('role')!r}; it names nobody"
            )
        more = {key: value for key, value in message.items() if key not in ("role", "content")}
        if role == "tool":
            beside = [{k: v for k, v in part.items() if k != "value" and v != "text"} for part in message["content"]]
            answers = conversation.answers([part["value"] for part in message["content"]])
            yield from (answer | about | more for answer, about in zip(answers, beside, strict=True))
        else:
            yield {"role": role, **_said(message["content"], conversation), **more}


def _said(parts: list[dict[str, Any]], conversation: _Conversation) -> dict[str, Any]:
    """What the parts of a message say; those of other types, and what a part says beside its value, stay as `parts_read`."""
    values: dict[str, list[Any]] = {"text": [], "reasoning": [], "tool_call": []}
    other: list[dict[str, Any]] = []
    for part in parts:
        known = values.get(str(part["type"]), other)
        known.append(part if known is other else part["value"])
        if known is not other and len(part) > len(("type", "value")):
            other.append({key: value for key, value in part.items() if key != "value"})
    calls = conversation.call(_flat(values["tool_call"])) if values["tool_call"] else None
    if calls is None:
        other += [{"type": "tool_call", "value": value} for value in values["tool_call"]]
    texts = values["text"]
    content: Any = texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts] or None
    said = {
        "tool_calls": calls,
        "reasoning": [{"text": text} for text in values["reasoning"]],
        "parts_read": other,
    }
    return {"content": content} | {name: value for name, value in said.items() if value}


def _xlam(record: Record, conversation: _Conversation) -> Iterator[dict[str, Any]]:
    yield {"role": "user", "content": take(record.value, "query")}
    yield _answer(take(record.value, "answers"), conversation, is_call=True)


def _tools(value: Any, record: Record | None) -> list[dict[str, Any]]:
    """Tool schemas in the shape of chat completions, from a list or a text that is one; what is none stays in the record."""
    found = _json(value)
    found = [found] if isinstance(found, dict) else found
    if isinstance(found, list) and all(isinstance(tool, dict) for tool in found):
        return [tool if "function" in tool else {"type": "function", "function": tool} for tool in found]
    if record is not None and value not in (None, ""):
        record.value["tools"] = value
    return []


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _flat(values: Iterable[Any]) -> list[Any]:
    """What texts of JSON say, those that are lists by what is on them."""
    found = [_json(value) for value in values]
    return [each for value in found for each in (value if isinstance(value, list) else [value])]


def _python(text: str) -> list[dict[str, Any]]:
    """Calls that are written as a Python list of them; none where one has arguments that are no literals."""
    try:
        tree = ast.parse(text, mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else []
        return [
            {
                "name": ast.unparse(node.func),
                "arguments": {str(k.arg): ast.literal_eval(k.value) for k in node.keywords},
            }
            for node in nodes
            if isinstance(node, ast.Call) and not node.args
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


FORM = Dataset()
