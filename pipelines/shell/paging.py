"""A long result in the pager of whoever reads it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys

from pipelines.console import printable, tell

_PAGER = "less"
_OPTIONS = "FX"
"""Of less: a text that fits is left on the terminal, and so is what was read."""


def show(text: str) -> None:
    """Print a text; page it where it is longer than the terminal. What is paged is printable, as all that is printed is.

    `PAGER` names the pager; empty or `cat` is none.
    """
    command = _pager(text)
    if not command:
        sys.stdout.write(f"{text}\n")
        return
    sys.stdout.flush()
    environment = {"LESS": _OPTIONS, **os.environ}
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the pager's while it runs
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, restore_signals=True)  # noqa: S603 - theirs
    except OSError as error:
        tell(f"refold: PAGER is {command[0]!r}, which cannot be run: {error.strerror}")
        sys.stdout.write(f"{text}\n")
    else:
        pager.communicate(f"{printable(text)}\n".encode())
    finally:
        signal.signal(signal.SIGINT, before)


def _pager(text: str) -> list[str]:
    """The pager's command; nothing where there is none, or nothing to page."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or text.count("\n") + 2 < shutil.get_terminal_size().lines:
        return []
    named = os.environ.get("PAGER")
    try:
        command = shlex.split(_PAGER if named is None else named)
    except ValueError:
        tell(f"refold: PAGER is {named!r}, which is no command")
        return []
    if command == ["cat"] or (named is None and shutil.which(_PAGER) is None):
        return []
    return command
