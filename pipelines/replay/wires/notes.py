"""What a wire changes of a recorded request on its way, or has no form for: said before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

Code = Literal[
    "arguments_wrapped",
    "call_unanswered",
    "empty_left_out",
    "reasoning_left_out",
    "result_added",
    "result_as_text",
    "result_moved",
    "result_unasked",
    "speaker_left_out",
    "system_as_user",
    "tool_as_function",
    "tool_renamed",
    "user_added",
]

DETAILS: dict[str, str] = {
    "arguments_wrapped": "arguments that are no JSON object are the one argument `input`",
    "call_unanswered": "a call that nothing answered goes without a result, which strict endpoints refuse",
    "empty_left_out": "an empty text is left out",
    "reasoning_left_out": "reasoning that the wire's vendor did not sign or encrypt is left out",
    "result_added": "a call that nothing answered gets a result that says so",
    "result_as_text": "a result that answers no call goes as a text of the user's",
    "result_moved": "a result that came late stands directly after its call",
    "result_unasked": "a result that answers no call goes as it is, which strict endpoints refuse",
    "speaker_left_out": "the name of a speaker is left out",
    "system_as_user": "a system message in the middle goes as a text of the user's",
    "tool_as_function": "a tool that takes free text is a function with the one argument `input`",
    "tool_renamed": "the name of a tool goes in letters, digits, `_` and `-`, and comes back as it is",
    "user_added": "a text of the user's is put where the wire wants one and the agent speaks",
}
"""What is done about each, in words that hold nothing of the recording."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that goes out in another form than it was recorded in, or cannot go out.

    Attributes:
        code: What it is, as counted in a dry run.
        detail: What is done about it, in words that hold nothing of the recording.
        is_fatal: Whether the request cannot be sent.
    """

    code: str
    detail: str
    is_fatal: bool = False


class CannotExpressError(ValueError):
    """A wire has no form for a request.

    Args:
        reason: Code, as that of a `Note`.
        detail: What has no form, and what to do.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Remarks:
    """What a writer remarks while it writes; each kind once."""

    codes: dict[Code, None] = field(default_factory=dict)

    def add(self, code: Code) -> None:
        """Remark."""
        self.codes[code] = None


def list_notes(remarks: Remarks, write: Callable[[], object]) -> Iterator[Note]:
    """The notes of a request, given what writes it and remarks on the way.

    Args:
        remarks: The writer's.
        write: Writes it, and may find that it cannot.
    """
    fatal: Iterable[Note] = ()
    try:
        write()
    except CannotExpressError as error:
        fatal = (Note(error.reason, error.detail, is_fatal=True),)
    yield from fatal
    yield from (Note(code, DETAILS[code]) for code in get_args(Code) if code in remarks.codes)
