"""The system prompt that a model is asked with: a text of its own, edits of the recorded one, or the recorded one itself.

`{{name}}` in a text of the experiment stands for a variable that was recorded with the conversation: the member `name` of
`variables` in its `conversation.started`. Values are put in once and not read again, so nothing in them is taken for a
variable; recorded texts are never searched for variables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.canonical.content import is_text_part, text_of_prompt
from pipelines.documents import find_file, read_text
from pipelines.experiment.sides import Candidate, Control, Edit

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")

Message = dict[str, Any]

PromptReason = Literal["missing_variable", "prompt_edit"]


class PromptError(Exception):
    """The candidate's system prompt cannot be made for a conversation; all its units fail.

    Args:
        reason: Code of the failure.
        detail: What is wrong, for people.
    """

    def __init__(self, reason: PromptReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: PromptReason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands in place of the recorded system messages.

    Attributes:
        text: One system message instead of them; None when they are kept.
        edits: Replacements in them, one after the other.
    """

    text: str | None = None
    edits: tuple[Edit, ...] = ()

    def __call__(self, recorded: Sequence[Message], started: Mapping[str, Any]) -> list[Message]:
        """The system messages of one conversation.

        Args:
            recorded: The recorded ones.
            started: Payload of `conversation.started`.

        Raises:
            PromptError: A variable was not recorded (`missing_variable`), or the text to replace is not there exactly once
                (`prompt_edit`).
        """
        variables = started.get("variables")
        known = variables if isinstance(variables, Mapping) else {}
        if self.text is not None:
            return [{"role": "system", "content": _fill(self.text, known)}]
        messages = [{**message, "content": text_of_prompt(message.get("content"))} for message in recorded]
        for edit in self.edits:
            _apply(messages, edit, _fill(edit.replace, known))
        return messages


def load_prompt(asked: Candidate | Control, folder: Path, allowed: Sequence[Path] = ()) -> Prompt | None:
    """The prompt of one side; None leaves the recorded system messages as they are.

    Args:
        asked: The side, a model.
        folder: Folder of the experiment file.
        allowed: Further folders in which the prompt may be.

    Raises:
        BadInputError: The prompt file cannot be read, or is elsewhere.
    """
    if asked.prompt_file is None:
        return Prompt(edits=asked.prompt_edit) if asked.prompt_edit else None
    return Prompt(text=read_text(find_file(asked.prompt_file, folder, "prompt_file", allowed), "prompt_file"))


def _fill(text: str, variables: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        found = variables.get(match[1])
        if found is None:
            known = ", ".join(sorted(name for name, given in variables.items() if given is not None)) or "none"
            raise PromptError("missing_variable", f"{{{{{match[1]}}}}} was not recorded; there are {known}")
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    return _VARIABLE.sub(value, text)


def _apply(messages: list[Message], edit: Edit, replacement: str) -> None:
    """Replace the one occurrence in place."""
    holders = [holder for message in messages for holder in _texts(message)]
    counts = [str(holder[key]).count(edit.find) for holder, key in holders]
    if sum(counts) != 1:
        shown = edit.find if len(edit.find) <= 60 else f"{edit.find[:60]}…"
        raise PromptError("prompt_edit", f"{shown!r} is {sum(counts)} times in the recorded system messages, not once")
    holder, key = holders[counts.index(1)]
    holder[key] = str(holder[key]).replace(edit.find, replacement)


def _texts(message: Message) -> list[tuple[Any, Any]]:
    """Where the texts of a message are: its content, or the texts of its parts, which are copied to be changed."""
    content = message.get("content")
    if isinstance(content, str):
        return [(message, "content")]
    if not isinstance(content, list):
        return []
    message["content"] = parts = [dict(part) if isinstance(part, Mapping) else part for part in content]
    holders: list[tuple[Any, Any]] = []
    for place, part in enumerate(parts):
        if isinstance(part, str):
            holders.append((parts, place))
        elif isinstance(part, dict) and is_text_part(part):
            holders += [(part, key) for key in ("text", "content") if isinstance(part.get(key), str)][:1]
    return holders
