"""The files that a comparison is told in, a comment and a JUnit file, as they are asked for: checked before anybody is asked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import BadInputError

_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'*+,;=%-]{1,2000}")


@dataclass(frozen=True, slots=True)
class Files:
    """Where a comparison is told, beside the terminal.

    Attributes:
        comment: File of the comment; None for none.
        junit: File for other CI; None for none.
        link: Where the report can be opened, for the comment.
        with_texts: Whether the comment quotes what was recorded.
    """

    comment: Path | None = None
    junit: Path | None = None
    link: str | None = None
    with_texts: bool = True

    def __bool__(self) -> bool:
        return self.comment is not None or self.junit is not None

    def require(self) -> None:
        """Check what can be checked before there is a comparison.

        Raises:
            BadInputError: A file cannot be written where it should be, or the link is no address.
        """
        for option, path in (("--github-comment", self.comment), ("--junit", self.junit)):
            if path is not None and not os.access(path.resolve().parent, os.W_OK):
                raise BadInputError(f"{option} {path}: {path.resolve().parent} is no folder that can be written in")
        if self.link is not None and not _LINK.fullmatch(self.link):
            raise BadInputError(
                f"--report-url is {self.link!r}; write an address such as https://example.com/report.html, without brackets"
            )
        if self.comment is None and (self.link is not None or not self.with_texts):
            raise BadInputError(
                "--report-url and --without-texts are about a comment: name its file with --github-comment"
            )
