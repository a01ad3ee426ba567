"""What a wire changes of a recorded request on its way, or has no form for: said before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass


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
