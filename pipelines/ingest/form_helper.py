"""Conversations of a form that can hand them out are read by two processes, and come in their order all the same.

The one that looks through the files gives pieces to its helper while that has fewer than two, and reads the others itself. What is
made of a piece waits for those before it; where something is wrong with several, the first one's error is told.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from pipelines.collecting import collecting_seldom
from pipelines.errors import RefoldError
from pipelines.ingest import processes
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.assemble.rows import Group
from pipelines.ingest.form_lines import Read, group_lines, line_bytes
from pipelines.ingest.forms.form import Form, Options, form_named

_ASKED = 2
"""Pieces that the helper has at most: one that it reads, and the next."""
_WAITING = 16
"""Pieces whose lines wait for those before them at most."""


class PieceReader(Protocol):
    """Reads pieces of a form's files."""

    def groups(self, piece: bytes) -> Iterator[Group]:
        """The conversations of a piece."""


class Dividing(Protocol):
    """A form whose conversations can be handed out."""

    def pieces(self, files: Sequence[Path], options: Options) -> Iterator[Group | bytes]:
        """As `Form.groups`, where some conversations come as pieces, for any process that has the files and the folder."""

    def piece_reader(self, files: Sequence[Path], options: Options) -> PieceReader:
        """What reads them."""


def dividing(form: Form) -> Dividing | None:
    """The form, where it hands out conversations."""
    return cast("Dividing", form) if hasattr(form, "pieces") and hasattr(form, "piece_reader") else None


@dataclass(frozen=True, slots=True)
class Made:
    """What a piece came to.

    Attributes:
        lines: Run lines as they are written.
        read: What they hold.
    """

    lines: bytes
    read: Read


@dataclass(frozen=True, slots=True)
class _Task:
    """What a helper is told first."""

    form: str
    home: Path
    files: tuple[Path, ...]
    options: Options


def made_of(form: Form, groups: Iterable[Group], options: Options) -> Made:
    """The lines of conversations."""
    read = Read(form.name, Tally())
    lines = [line_bytes(line) for group in groups for line in group_lines(form, group, options, read.tally, read)]
    return Made(b"".join(lines), read)


class Helper:
    """A process that reads pieces; it has no memory of its own to speak of but for the conversation that it is at.

    Args:
        form: Name of the form.
        home: REFOLD_HOME.
        files: The files.
        options: What was asked; its folder is the one in which the pieces' records are.
    """

    def __init__(self, form: str, home: Path, files: Sequence[Path], options: Options) -> None:
        self.asked = 0
        self._answers: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._process = processes.start(__name__)
        assert self._process.stdin is not None
        processes.send(self._process.stdin, _Task(form, home, tuple(files), options))
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                self._answers.put(processes.receive(self._process.stdout))
        except (EOFError, OSError, ValueError):  # it has ended, or was let go
            code = self._process.wait()
            self._answers.put(("failed", RefoldError(f"a process that read the files ended with code {code}")))

    def give(self, piece: bytes) -> None:
        """Give it a piece to read."""
        assert self._process.stdin is not None
        self.asked += 1
        with suppress(OSError):  # it has ended, which its answer says
            processes.send(self._process.stdin, piece)

    @property
    def has_answered(self) -> bool:
        """Whether the oldest of its pieces is read."""
        return not self._answers.empty()

    def answer(self) -> Made:
        """What the oldest of its pieces came to; waits for it.

        Raises:
            BadInputError: As `form_lines.form_lines`; anything else that it may raise, too.
            RefoldError: The process ended.
        """
        kind, told = self._answers.get()
        self.asked -= 1
        if kind == "failed":
            raise told
        return Made(*told)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._listener.join()
        processes.end(self._process)


@contextmanager
def helped(form: str, home: Path, files: Sequence[Path], options: Options) -> Iterator[Helper]:
    """A helper that ends with the block."""
    helper = Helper(form, home, files, options)
    try:
        yield helper
    finally:
        helper.close()


def made_together(
    form: Form, divided: Dividing, helper: Helper, files: Sequence[Path], options: Options
) -> Iterator[Made]:
    """What files come to, piece after piece in the order of their conversations.

    Raises:
        BadInputError: As `form_lines.form_lines`.
    """
    reader = divided.piece_reader(files, options)
    waiting: deque[Made | None] = deque()  # None: what the helper is at
    try:
        for piece in divided.pieces(files, options):
            if isinstance(piece, bytes) and helper.asked < _ASKED:
                helper.give(piece)
                waiting.append(None)
            else:
                groups = reader.groups(piece) if isinstance(piece, bytes) else [piece]
                waiting.append(made_of(form, groups, options))
            while waiting and (waiting[0] is not None or helper.has_answered or len(waiting) > _WAITING):
                yield waiting.popleft() or helper.answer()
    except Exception:
        for each in waiting:  # what is wrong with a piece before is told first
            yield each or helper.answer()
        raise
    for each in waiting:
        yield each or helper.answer()


def _serve(asks: BinaryIO, tells: BinaryIO) -> None:
    """Read the pieces that are given, one after the other."""
    task = cast("_Task", processes.receive(asks))
    given: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    processes.heard(asks, given.put)
    form = form_named(task.form, task.home)
    divided = dividing(form)
    assert divided is not None
    reader = divided.piece_reader(task.files, task.options)
    with collecting_seldom():
        while True:
            piece = given.get()
            try:
                made = made_of(form, reader.groups(piece), task.options)
            except Exception as error:  # noqa: BLE001 -- raised where it was asked for
                processes.send(tells, ("failed", processes.sendable(error)))
                return
            processes.send(tells, ("made", (made.lines, made.read)))


if __name__ == "__main__":
    _serve(*processes.pipes())
