"""Run lines of large files are made by a process of their own, and imported here as they come: making them is most of the work.

Of very large ones two processes make them (`form_helper`). What comes of it is the same. The lines stand in the one private file of the import, in their order, and reading it waits for what is
still to come. Where files cannot be read, that is what is told, whatever else went wrong meanwhile. The process ends with this one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipelines.collecting import collecting_seldom
from pipelines.errors import RefoldError
from pipelines.ingest import processes
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_helper import dividing, helped, made_together
from pipelines.ingest.form_lines import Read, form_lines, line_bytes
from pipelines.ingest.forms.form import SHIPPED, Form, Options, form_named

LEAST_BYTES = 50_000_000
"""Of the files together: with fewer a second process costs more than it saves."""
LEAST_MEMORY = 800_000_000
"""Of `REFOLD_MEMORY`: with less there is no room for its libraries beside ours."""
LEAST_BYTES_OF_TWO = 400_000_000
"""Of the files together: with fewer a helper costs more than it saves."""
LEAST_MEMORY_OF_TWO = 1_000_000_000
"""Of `REFOLD_MEMORY`: with less files are not read by two such processes."""
_TOLD_TOGETHER = 32
_PACKED = (b"\x1f\x8b", b"PK", b"PA")
_PACKED_BY = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """What the process is to read.

    Attributes:
        form: Name of the form.
        home: REFOLD_HOME.
        files: The files.
        options: What was asked.
        spool: The file that the lines go to; it is there, and empty.
    """

    form: str
    home: Path
    files: tuple[Path, ...]
    options: Options
    spool: Path


def is_worth_it(form: Form, files: Sequence[Path], options: Options) -> bool:
    """Whether a second process is worth its start: for large files, where there is a processor and memory for it.

    A form that was given something, as a database's address, and one of one's own are read here.
    """
    is_ours = form.name in SHIPPED and type(form).__module__.startswith(f"{__package__}.forms.")
    is_shipped = is_ours and getattr(form, "__dict__", None) == {}
    return (
        is_shipped
        and (os.cpu_count() or 1) > 1
        and options.memory_bytes >= LEAST_MEMORY
        and bytes_of(files) >= LEAST_BYTES
    )


def bytes_of(files: Sequence[Path]) -> int:
    """About how many bytes of text files hold together."""
    return sum(map(_bytes_of, files))


def _bytes_of(path: Path) -> int:
    with path.open("rb") as file:
        return path.stat().st_size * (_PACKED_BY if file.read(2) in _PACKED else 1)


class Arriving(io.RawIOBase):
    """The lines as a file that is still being written: reading waits for what comes, and adds to `read` what is told of it.

    Args:
        asked: What is to be read.
        read: What the files hold, as `form_lines.read_form` gives it; complete once the end was read.
        progress: Called with the number of lines so far.
    """

    def __init__(self, asked: Reading, read: Read, progress: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        self._read, self._progress = read, progress
        self._there, self._is_done = 0, False
        self._file = asked.spool.open("rb", buffering=0)
        self._process = processes.start(__name__)
        assert self._process.stdin is not None
        processes.send(self._process.stdin, asked)

    def fileno(self) -> int:
        """Of the file."""
        return self._file.fileno()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, among what is there."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        """Read some bytes of what is there; 0 once all was read.

        Raises:
            BadInputError: As `form_lines.form_lines`; anything else that it may raise, too.
            RefoldError: The process ended.
        """
        at = self._file.tell()
        while at >= self._there and not self._is_done:
            self._hear()
        return self._file.readinto(memoryview(buffer)[: self._there - at])

    @contextmanager
    def told_first(self) -> Iterator[None]:
        """Where something goes wrong, files that cannot be read are told first, as if they had been read before.

        The first lines are there when it begins, so that no transaction is open while a file is read through.
        """
        try:
            self._hear()
            yield
        except Exception:
            with suppress(Exception):
                while self.failure is None and not self._is_done:
                    self._hear()
            if self.failure is not None:
                raise self.failure from None
            raise

    def _hear(self) -> None:
        """Wait for the next thing that the process tells."""
        assert self._process.stdout is not None
        try:
            kind, *told = processes.receive(self._process.stdout)
        except EOFError:
            code = self._process.wait()
            kind, told = "failed", [RefoldError(f"the process that read the files ended with code {code}")]
        if kind == "failed":
            (self.failure,) = told
            raise self.failure
        if kind == "done":
            self._read.tally.add(told[0])
            self._is_done = True
            return
        self._there, places, conversations = told
        self._read.places.extend(places)
        self._read.conversations.extend(conversations)
        if self._progress is not None:
            self._progress(len(self._read.places))

    def close(self) -> None:
        """End the process, whatever it is doing, and let go of the file."""
        if self.closed:
            return
        processes.end(self._process)
        self._file.close()
        super().close()


def _serve(asks: BinaryIO, tells: BinaryIO) -> None:
    """Read what is asked, and tell of it."""
    asked = cast("Reading", processes.receive(asks))
    processes.heard(asks, lambda _: None)
    read = Read(asked.form, Tally())
    try:
        with collecting_seldom(), asked.spool.open("ab") as file:
            _write_lines(asked, read, file, tells)
    except Exception as error:  # noqa: BLE001 -- raised where it was asked for
        processes.send(tells, ("failed", processes.sendable(error)))
    else:
        processes.send(tells, ("done", read.tally))


def _write_lines(asked: Reading, read: Read, file: BinaryIO, tells: BinaryIO) -> None:
    def tell() -> None:
        file.flush()
        processes.send(tells, ("lines", file.tell(), [*read.places], [*read.conversations]))
        read.places.clear()
        read.conversations.clear()

    form = form_named(asked.form, asked.home)
    for lines in _lines(form, asked, read):
        file.write(lines)
        if len(read.places) >= _TOLD_TOGETHER:
            tell()
    tell()


def _lines(form: Form, asked: Reading, read: Read) -> Iterator[bytes]:
    """What the files come to, some lines at a time; what they hold is added to `read`."""
    is_large = asked.options.memory_bytes >= LEAST_MEMORY_OF_TWO and bytes_of(asked.files) >= LEAST_BYTES_OF_TWO
    divided = dividing(form) if is_large else None
    if divided is None:
        yield from map(line_bytes, form_lines(form, asked.files, asked.options, read.tally, read))
        return
    with helped(asked.form, asked.home, asked.files, asked.options) as helper:
        for made in made_together(form, divided, helper, asked.files, asked.options):
            read.places.extend(made.read.places)
            read.conversations.extend(made.read.conversations)
            read.tally.add(made.read.tally)
            yield made.lines


if __name__ == "__main__":
    _serve(*processes.pipes())
