"""How an agent's own request stands to the recording: what it must hold, and in what else it differs.

Frameworks write arguments anew, split messages, wrap results and drop names and reasoning. None of that changes what the model is
told; what was said to the agent, and what its tools answered, must be there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.canonical.content import text_of
from pipelines.replay.wires.parts import Medium, Text, read_parts

Message = Mapping[str, Any]

_SEE = re.compile(r"See file \w+\.", re.ASCII)
_WRAPPERS = ("result", "output", "content", "value")
"""Members in which frameworks wrap a result that is no object."""


def find_missing(recorded: Sequence[Message], asked: Sequence[Message]) -> str | None:
    """What a request lacks of the user's texts and the tools' results that were there by then, in words; None for nothing.

    They must be there in their order; results of one block may change places.

    Args:
        recorded: What the request would have been rendered as, from the unit's first message on.
        asked: The messages of the request.
    """
    left = [message for message in asked if message.get("role") in ("user", "tool")]
    for block in _blocks(recorded):
        last = -1
        for message in block:
            place = next((at for at, other in enumerate(left) if other is not None and _is_same(message, other)), None)
            if place is None:
                return f"{'a text of the user' if message['role'] == 'user' else 'the result of a tool'} is not in it: {_shown(message)}"
            last = max(last, place)
            left[place] = _GONE
        left = [message for message in left[last + 1 :] if message is not _GONE]
    return None


_GONE: Message = {}


def _blocks(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The user's texts, one by one, and the results between two of the agent's messages, together."""
    results: list[Message] = []
    for message in messages:
        if message.get("role") == "tool":
            results.append(message)
            continue
        if results:
            yield results
            results = []
        if message.get("role") == "user" and text_of(message.get("content")).strip():
            yield [message]
    if results:
        yield results


def _is_same(recorded: Message, asked: Message) -> bool:
    """Whether a message says what another says, whatever form its content has."""
    if recorded["role"] != asked.get("role"):
        return False
    if recorded["role"] == "user":
        return text_of(recorded.get("content")).strip() in text_of(asked.get("content"))
    return bool(_values(recorded.get("content")) & _values(asked.get("content")))


def _values(content: Any) -> set[str]:
    """A result in every form in which frameworks hand it on, each as one text."""
    forms = {_spelled(content)}
    text = text_of(content)
    if text or (content and all(isinstance(part, Text) for part in read_parts(content))):
        forms.add(_spelled(text))
    value = _parsed(content if isinstance(content, str) else text)
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _WRAPPERS:
        forms |= _values(next(iter(value.values())))
    if said := _said(content if isinstance(content, list) else value):
        forms.add(_spelled(said))
    if value == []:
        forms.add(_spelled(""))  # PydanticAI has no other text for nothing
    return forms


def _said(content: Any) -> list[Any]:
    """The values of a list of parts, or of what a framework made of one: a text that is JSON as what it says, and no pictures."""
    if not isinstance(content, list):
        return []
    texts = (part.text if isinstance(part, Text) else each for each in content for part in read_parts([each]))
    values = [_parsed(text) for text in texts]
    return [value for value in values if not _is_picture(value)]


def _is_picture(value: Any) -> bool:
    """Whether a part is a picture or a paper, or stands where one was: PydanticAI sends it after the results."""
    if isinstance(value, str):
        return _SEE.fullmatch(value) is not None
    return isinstance(next(read_parts([value]), None), Medium)


def _spelled(value: Any) -> str:
    """A value as JSON in one spelling; a text that is JSON as what it says."""
    return json.dumps(_parsed(value), sort_keys=True, ensure_ascii=False)


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value.strip()


def _shown(message: Message) -> str:
    text = text_of(message.get("content"))
    return json.dumps(text if len(text) <= 80 else f"{text[:80]}…", ensure_ascii=False)


def list_differences(recorded: Sequence[Message], asked: Sequence[Message]) -> list[str]:
    """In what a request differs from what would have been rendered, by kind, in the order of the alphabet.

    Kinds: `arguments` (spelled in another way), `call_ids`, `calls` (others, or elsewhere), `content_form` (the same text in
    another form), `messages` (split, put together, more or fewer), `names`, `other_members`, `reasoning`, `results`, `system`,
    `texts`.

    Args:
        recorded: What the request would have been rendered as.
        asked: The messages of the request.
    """
    found = {"system"} if _system(recorded) != _system(asked) else set()
    ours, theirs = _without_system(recorded), _without_system(asked)
    if [each.get("role") for each in ours] != [each.get("role") for each in theirs]:
        return sorted(found | {"messages"})
    for mine, other in zip(ours, theirs, strict=True):
        found.update(_differences(mine, other))
    return sorted(found)


def _system(messages: Sequence[Message]) -> str:
    return "\n".join(text_of(each.get("content")) for each in messages if each.get("role") in ("system", "developer"))


def _without_system(messages: Sequence[Message]) -> list[Message]:
    return [each for each in messages if each.get("role") not in ("system", "developer")]


_MEMBERS = {"name": "names", "tool_call_id": "call_ids", "reasoning_content": "reasoning", "reasoning": "reasoning"}
_LOOKED_AT = ("role", "content", "tool_calls")


def _differences(mine: Message, other: Message) -> Iterator[str]:
    said, heard = mine.get("content"), other.get("content")
    if said != heard and (said or heard):
        if mine.get("role") == "tool":
            yield "content_form" if _values(said) & _values(heard) else "results"
        else:
            yield "content_form" if text_of(said) == text_of(heard) else "texts"
    yield from _call_differences(mine.get("tool_calls") or [], other.get("tool_calls") or [])
    for name in (mine.keys() | other.keys()) - set(_LOOKED_AT):
        if mine.get(name) != other.get(name):
            yield _MEMBERS.get(name, "other_members")


def _call_differences(mine: Sequence[Any], other: Sequence[Any]) -> Iterator[str]:
    if len(mine) != len(other):
        yield "calls"
        return
    for ours, theirs in zip(mine, other, strict=True):
        if not isinstance(theirs, Mapping):
            yield "calls"
            continue
        if ours.get("id") != theirs.get("id"):
            yield "call_ids"
        function, given = ours.get("function") or {}, theirs.get("function") or {}
        if function.get("name") != given.get("name") or _spelled(function.get("arguments")) != _spelled(
            given.get("arguments")
        ):
            yield "calls"
        elif function.get("arguments") != given.get("arguments"):
            yield "arguments"
