"""What is wrong with a projection's file, where it was found: its line and the reason, without a value of the data."""

from __future__ import annotations

from typing import Any


class FileFaultError(Exception):
    """What is wrong with the text, and in which line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason

    def __reduce__(self) -> Any:
        """It comes from another process."""
        return FileFaultError, (self.line, self.reason)
