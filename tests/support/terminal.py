"""A program on a pseudo-terminal of its own, as a person has it: keys go in, what the screen is sent comes out."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
_ANSWERS = {b"\x1b[6n": b"\x1b[1;1R"}
"""What programs ask a terminal, and what it answers: where the cursor is."""
_CODES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\x1b\][^\x07]*\x07")
# a terminal becomes that of a session whose leader opens it
_START = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR)); from pipelines.cli import run; run()"


class Terminal:
    """`refold` with these arguments at a terminal; it is ended on leaving.

    Args:
        arguments: Of the verb.
        environment: What it has beyond this process's.
        rows: Height; the width is 100.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], rows: int = 24) -> None:
        self._outer, inner = os.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, *arguments],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "", "LINES": "", **environment},
        )
        os.close(inner)
        self.raw = b""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._outer)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._outer, keys.encode())

    def wait_for(self, text: str) -> str:
        """What is shown until a text is, without codes; from the last that was waited for on.

        Raises:
            AssertionError: It does not come.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            shown = self.shown()
            place = shown.find(text, self._seen)
            if place >= 0:
                before, self._seen = self._seen, place + len(text)
                return shown[before : self._seen]
            self._read(end - time.monotonic())
        raise AssertionError(f"{text!r} is not in {self.shown()[self._seen :]!r}")

    def shown(self) -> str:
        """All that was shown so far, without codes."""
        return _CODES.sub("", self.raw.decode("utf-8", "replace"))

    def ended(self) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(PATIENCE)
        while select.select([self._outer], [], [], 0)[0] and self._read(0):
            pass
        return code

    def _read(self, seconds: float) -> bool:
        if not select.select([self._outer], [], [], max(seconds, 0))[0]:
            return False
        try:
            part = os.read(self._outer, 1 << 16)
        except OSError:  # the other end is closed
            part = b""
        self.raw += part
        for asked, answer in _ANSWERS.items():
            if asked in part:
                os.write(self._outer, answer)
        return bool(part)
